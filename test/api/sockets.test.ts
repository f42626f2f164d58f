import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GraphqlError, TestApi, TestSocket } from './given-api.ts';
import { ask, askSocket, basic, connect, givenApi, openSocket } from './given-api.ts';

const REGISTER = 'mutation ($id: ID!) { registerUser(input: { id: $id }) { id } }';

/** Keeps a command from answering until the test says so. */
function hold(api: TestApi, command: string): () => void {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  api.fake.before = (name) => (name === command ? held : Promise.resolve());
  return () => {
    release();
  };
}

describe('GraphQL over a WebSocket', () => {
  it('answers queries and mutations as HTTP does', async () => {
    const api = await givenApi();
    const socket = await connect(api);
    expect(await askSocket(socket, '1', '{ head }')).toEqual({ data: { head: 'cursor-0' }, errors: [] });
    const { data } = await askSocket(socket, '2', REGISTER, { id: 'ada' });
    expect(data).toEqual({ registerUser: { id: 'ada' } });
    await socket.next(({ type, id }) => type === 'complete' && id === '2');
  });

  it('names every operation with an id of its own', async () => {
    const api = await givenApi();
    const socket = await connect(api);
    await askSocket(socket, '1', REGISTER, { id: 'a' });
    await askSocket(socket, '2', REGISTER, { id: 'b' });
    const ids = api.fake.calls.map(({ caller }) => caller.correlationId);
    expect(ids[0]).toMatch(/^request-\d+$/);
    expect(new Set(ids).size).toBe(2);
  });

  it('refuses the 101st operation at once on one socket, and only that', async () => {
    const api = await givenApi();
    const release = hold(api, 'registerUser');
    const socket = await connect(api);
    for (let index = 0; index < 101; index++) socket.subscribe(`op-${String(index)}`, REGISTER, { id: 'a' });
    const refused = await socket.next(({ type }) => type === 'error');
    expect(refused).toMatchObject({ id: 'op-100', payload: [{ extensions: { code: 'TOO_MANY_OPERATIONS' } }] });
    await eventually(() => {
      expect(api.fake.calls).toHaveLength(100);
    });
    release();
    await socket.next(({ type, id }) => type === 'complete' && id === 'op-99');
    expect((await askSocket(socket, 'later', '{ head }')).errors).toEqual([]);
  });

  it('takes 10,000 operations that nobody waits for without running more than 100 at once', async () => {
    const api = await givenApi();
    const release = hold(api, 'registerUser');
    const socket = await connect(api);
    for (let index = 0; index < 10_000; index++) socket.subscribe(String(index), REGISTER, { id: 'a' });
    await eventually(
      () => {
        expect(socket.messages.filter(({ type }) => type === 'error')).toHaveLength(9_900);
      },
      { timeoutMs: 15_000 },
    );
    expect(api.fake.calls).toHaveLength(100);
    release();
  });

  it('hangs up on a client that does not read', async () => {
    const api = await givenApi({ head: () => Promise.resolve('x'.repeat(500_000)), timings: { pingMs: 200 } });
    const socket = await connect(api);
    socket.ws.pause();
    const big = `{ a: head b: head c: head d: head }`;
    for (let index = 0; index < 20; index++) socket.subscribe(String(index), big);
    await eventually(() => {
      expect(api.warnings).toContain('a WebSocket client does not read');
    });
    socket.ws.resume();
    expect(await socket.closed).toBe(1006);
    expect((await ask(api, '{ __typename }')).status).toBe(200);
  });
});

/** Queries that are under way until `release`, and how many ever were at once. */
async function givenSlowQueries(): Promise<{
  readonly api: TestApi;
  readonly underWay: () => number;
  readonly begun: () => number;
  readonly most: () => number;
  readonly release: (count: number) => void;
}> {
  const held: (() => void)[] = [];
  let underWay = 0;
  let begun = 0;
  let most = 0;
  const api = await givenApi();
  api.fake.before = async (name) => {
    if (name !== 'user') return;
    begun++;
    underWay++;
    most = Math.max(most, underWay);
    await new Promise<void>((resolve) => held.push(resolve));
    underWay--;
  };
  const release = (count: number): void => {
    for (const each of held.splice(0, count)) each();
  };
  return { api, underWay: () => underWay, begun: () => begun, most: () => most, release };
}

const SLOW = '{ user(id: "nobody") { id } }';

describe('The queries of one socket', () => {
  it('wait where its client does not read, before they are executed; mutations do not', async () => {
    let heads = 0;
    // The connection takes not even one of them by itself.
    const answer = 'x'.repeat(12 * 1024 * 1024);
    const api = await givenApi({ head: () => Promise.resolve((heads++, answer)) });
    const socket = await connect(api);
    socket.ws.pause();
    for (let index = 0; index < 20; index++) socket.subscribe(String(index), '{ a: head b: head c: head d: head }');
    socket.subscribe('last', REGISTER, { id: 'ada' });
    await eventually(() => {
      expect(api.fake.calls).toHaveLength(1);
    });
    expect(heads).toBe(4 * 4);
    socket.ws.terminate();
    await api.stop();
    expect(heads).toBe(4 * 4);
  });

  it('are all answered once it reads, in the order asked', async () => {
    const api = await givenApi({ head: () => Promise.resolve('x'.repeat(500_000)) });
    const socket = await connect(api);
    socket.ws.pause();
    const ids = Array.from({ length: 20 }, (_, index) => String(index));
    for (const id of ids) socket.subscribe(id, '{ a: head b: head c: head d: head }');
    socket.ws.resume();
    await socket.next(({ type, id }) => type === 'complete' && id === '19');
    expect(socket.messages.flatMap(({ type, id }) => (type === 'next' ? [id] : []))).toEqual(ids);
  });

  it('do not wait for a slow one, until four are slow', async () => {
    const { api, underWay, begun, most, release } = await givenSlowQueries();
    const socket = await connect(api);
    for (let index = 0; index < 3; index++) socket.subscribe(`slow-${String(index)}`, SLOW);
    for (let index = 0; index < 10; index++) {
      expect((await askSocket(socket, `quick-${String(index)}`, '{ head }')).errors).toEqual([]);
    }
    for (let index = 3; index < 8; index++) socket.subscribe(`slow-${String(index)}`, SLOW);
    socket.subscribe('behind', '{ head }');
    await askSocket(socket, 'mutation', REGISTER, { id: 'ada' });
    await eventually(() => {
      expect(underWay()).toBe(4);
    });
    expect(socket.messages.filter(({ id }) => id === 'behind')).toEqual([]);
    for (let released = 0; released < 8; released++) {
      await eventually(() => {
        expect(begun()).toBe(Math.min(8, 4 + released));
        expect(underWay()).toBe(Math.min(8 - released, 4));
      });
      release(1);
    }
    await socket.next(({ type, id }) => type === 'complete' && id === 'behind');
    await socket.next(({ type, id }) => type === 'complete' && id === 'slow-7');
    expect(most()).toBe(4);
  });

  it('that are completed while they wait are never executed and keep nobody waiting', async () => {
    const { api, underWay, begun, most, release } = await givenSlowQueries();
    const socket = await connect(api);
    for (let index = 0; index < 4; index++) socket.subscribe(`slow-${String(index)}`, SLOW);
    await eventually(() => {
      expect(underWay()).toBe(4);
    });
    for (let index = 0; index < 90; index++) {
      socket.subscribe('waits', SLOW);
      socket.send({ type: 'complete', id: 'waits' });
    }
    // These have places: who asks again and again for what is slow gets no more of them.
    for (let index = 0; index < 4; index++) socket.send({ type: 'complete', id: `slow-${String(index)}` });
    for (let index = 0; index < 4; index++) socket.subscribe(`again-${String(index)}`, SLOW);
    await askSocket(socket, 'mutation', REGISTER, { id: 'ada' });
    expect(begun()).toBe(4);
    release(4);
    await eventually(() => {
      expect(begun()).toBe(8);
    });
    release(4);
    await socket.next(({ type, id }) => type === 'complete' && id === 'again-3');
    for (let index = 0; index < 10; index++) await askSocket(socket, `quick-${String(index)}`, '{ head }');
    expect([begun(), most()]).toEqual([8, 4]);
    const others = socket.messages.filter(({ id }) => id === 'waits' || id?.startsWith('slow-'));
    expect(others).toEqual([]);
    expect(api.errors).toEqual([]);
  });

  it('that wait when the socket closes are not executed', async () => {
    const { api, underWay, begun, release } = await givenSlowQueries();
    const socket = await connect(api);
    for (let index = 0; index < 20; index++) socket.subscribe(String(index), SLOW);
    await eventually(() => {
      expect(underWay()).toBe(4);
    });
    socket.ws.terminate();
    await socket.closed;
    const next = await connect(api);
    await askSocket(next, 'mutation', REGISTER, { id: 'ada' });
    release(4);
    await api.stop();
    expect(begun()).toBe(4);
  });
});

describe('A ping', () => {
  it.each([
    ['anything', { a: 'b' }],
    ['much', { a: 'x'.repeat(60_000) }],
  ])('of a stranger is answered without what it holds: %s', async (_what, payload) => {
    const api = await givenApi();
    const socket = await openSocket(api);
    socket.send({ type: 'ping', payload });
    expect(await socket.next(({ type }) => type === 'pong')).toEqual({ type: 'pong' });
  });

  it('that nests deeper than any stack is answered, too', async () => {
    const api = await givenApi();
    const deep = (depth: number): string => `{"type":"ping","payload":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`;
    const stranger = await openSocket(api);
    stranger.send(deep(32_000));
    expect(await stranger.next(({ type }) => type === 'pong')).toEqual({ type: 'pong' });
    const socket = await connect(api);
    socket.send(deep(1_000_000));
    expect(await socket.next(({ type }) => type === 'pong')).toEqual({ type: 'pong' });
    expect((await askSocket(socket, '1', '{ head }')).errors).toEqual([]);
    expect([api.errors, api.warnings]).toEqual([[], []]);
  });
});

describe('A stranger that does not read', () => {
  it('is cut off once 256 KiB of answers wait; a client is not', async () => {
    const api = await givenApi();
    const client = await connect(api);
    client.ws.pause();
    for (let index = 0; index < 1_000; index++) client.send({ type: 'ping' });
    const stranger = await openSocket(api);
    stranger.ws.pause();
    let pings = 0;
    await eventually(() => {
      for (let index = 0; index < 1_000; index++, pings++) stranger.send({ type: 'ping' });
      expect(api.warnings).toEqual(['a WebSocket client reads less than it asks for']);
    });
    stranger.ws.resume();
    expect(await stranger.closed).toBe(4410);
    expect(stranger.messages.length).toBeLessThan(pings);
    client.ws.resume();
    expect((await askSocket(client, '1', '{ head }')).errors).toEqual([]);
    expect(client.messages.filter(({ type }) => type === 'pong')).toHaveLength(1_000);
  });
});

describe('A WebSocket is closed', () => {
  it('with 4408 when nothing is said', async () => {
    const socket = await openSocket(await givenApi({ timings: { initMs: 50 } }));
    expect(await socket.closed).toBe(4408);
  });

  it('with 4401 when an operation comes before the acknowledgement', async () => {
    const socket = await openSocket(await givenApi());
    socket.subscribe('1', '{ head }');
    expect(await socket.closed).toBe(4401);
  });

  it.each([
    ['wrong ones', { authorization: basic('key', 'wrong') }],
    ['unknown ones', { authorization: basic('unknown') }],
    ['none', {}],
    ['no text', { authorization: { appKey: 'key' } }],
  ])('with 4403 for credentials that are not right: %s', async (_what, payload) => {
    const socket = await openSocket(await givenApi());
    socket.send({ type: 'connection_init', payload });
    expect(await socket.closed).toBe(4403);
    expect(socket.messages).toEqual([]);
  });

  it('with 4403 when the credentials are in the headers or the URL alone', async () => {
    const socket = await openSocket(await givenApi(), { headers: { authorization: basic() } });
    socket.send({ type: 'connection_init' });
    expect(await socket.closed).toBe(4403);
  });

  it('with 4429 on a second connection_init', async () => {
    const socket = await connect(await givenApi());
    socket.send({ type: 'connection_init', payload: { authorization: basic() } });
    expect(await socket.closed).toBe(4429);
  });

  it('with 4409 when an id is used twice at once', async () => {
    const api = await givenApi();
    const release = hold(api, 'registerUser');
    const socket = await connect(api);
    socket.subscribe('same', REGISTER, { id: 'a' });
    socket.subscribe('same', REGISTER, { id: 'b' });
    expect(await socket.closed).toBe(4409);
    release();
  });

  it.each(['{', 'null', '{"type":"connect"}', '{"type":"subscribe","id":"1","payload":{}}'])(
    'with 4400 on %s',
    async (message) => {
      const socket = await connect(await givenApi());
      socket.send(message);
      expect(await socket.closed).toBe(4400);
    },
  );

  it.each([['graphql-ws'], [null]])('with 4406 when it speaks %s', async (protocol) => {
    const api = await givenApi();
    // ws as a client insists on a protocol being chosen; plain HTTP shows what the server does.
    if (protocol === null) expect(await (await openSocket(api, { protocol })).closed).toBe(4406);
    else await expect(openSocket(api, { protocol })).rejects.toThrow('Server sent no subprotocol');
  });

  it('with 1009 for a message over 4 MiB, and not below', async () => {
    const api = await givenApi();
    const socket = await connect(api);
    const { errors } = await askSocket(socket, '1', '{ head }', { padding: 'x'.repeat(4 * 1024 * 1024 - 200) });
    expect(errors).toEqual([]);
    socket.subscribe('2', '{ head }', { padding: 'x'.repeat(4 * 1024 * 1024) });
    expect(await socket.closed).toBe(1009);
    expect(api.errors).toEqual([]);
  });

  it('with 1009 for a message over 64 KiB of somebody unknown', async () => {
    const api = await givenApi();
    const socket = await openSocket(api);
    socket.send({ type: 'connection_init', payload: { authorization: basic(), padding: 'x'.repeat(65_536) } });
    expect(await socket.closed).toBe(1009);
    expect(socket.messages).toEqual([]);
  });

  it('when it answers no ping', async () => {
    const api = await givenApi({ timings: { pingMs: 50 } });
    const socket = await openSocket(api);
    await once(socket.ws, 'ping');
    socket.ws.pause();
    expect((await ask(api, '{ head }')).status).toBe(200);
    socket.ws.resume();
    await once(socket.ws, 'ping');
    Object.assign(socket.ws, { pong: () => undefined });
    socket.ws.on('ping', () => undefined);
    expect([1005, 1006]).toContain(await silent(socket));
  });

  it('with 1011 and no details when something is wrong inside', async () => {
    const api = await givenApi();
    api.fake.before = () => Promise.reject(new Error('log is gone'));
    const socket = await openSocket(api);
    const reason = new Promise((resolve) =>
      socket.ws.once('close', (_code, text) => {
        resolve(text.toString());
      }),
    );
    socket.send({ type: 'connection_init', payload: { authorization: basic() } });
    expect([await socket.closed, await reason]).toEqual([4500, 'Internal server error']);
    expect(api.errors).toHaveLength(1);
  });

  it('with 1001 when the server stops, after what is under way has been answered', async () => {
    const api = await givenApi();
    const release = hold(api, 'registerUser');
    const socket = await connect(api);
    socket.subscribe('1', REGISTER, { id: 'a' });
    await eventually(() => {
      expect(api.fake.calls).toHaveLength(1);
    });
    const stopped = api.stop();
    const { errors } = await askSocket(socket, '2', '{ head }');
    expect(errors[0]?.extensions.code).toBe('SHUTTING_DOWN');
    release();
    expect(await socket.next(({ id, type }) => id === '1' && type === 'next')).toMatchObject({ payload: { data: {} } });
    expect(await socket.closed).toBe(1001);
    await stopped;
  });
});

/** A client that reads, and never answers a ping. */
function silent(socket: TestSocket): Promise<number> {
  const internals = socket.ws as unknown as { readonly _receiver: NodeJS.EventEmitter };
  internals._receiver.removeAllListeners('ping');
  return socket.closed;
}

describe('A revoked client', () => {
  it('is cut off at its next operation', async () => {
    const api = await givenApi();
    const socket = await connect(api);
    api.fake.revoke('key');
    socket.subscribe('1', REGISTER, { id: 'a' });
    expect(await socket.closed).toBe(4403);
    expect(api.fake.calls).toEqual([]);
  });

  it('is cut off even if it says nothing; others are not', async () => {
    const api = await givenApi({ timings: { recheckMs: 20 } });
    api.fake.addClient({ appKey: 'other' });
    const [revoked, other] = await Promise.all([connect(api), connect(api, basic('other'))]);
    api.fake.revoke('key');
    expect(await revoked.closed).toBe(4403);
    expect((await askSocket(other, '1', '{ head }')).errors).toEqual([]);
  });

  it('is not confused with one that cannot be checked', async () => {
    const api = await givenApi({ timings: { recheckMs: 20 } });
    const socket = await connect(api);
    let checks = 0;
    api.fake.before = () => (++checks, Promise.reject(new Error('log is gone')));
    await eventually(() => {
      expect(checks).toBeGreaterThan(2);
    });
    api.fake.before = () => Promise.resolve();
    expect((await askSocket(socket, '1', '{ head }')).errors).toEqual([]);
  });
});

describe('A page', () => {
  async function upgrade(
    api: TestApi,
    path: string,
    origin: string,
  ): Promise<{ readonly status: number | undefined; readonly errors: readonly GraphqlError[] }> {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      origin,
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    const request = httpRequest({ host: '127.0.0.1', port: api.port, path, headers }).end();
    request.on('upgrade', (_response, socket) => socket.destroy());
    const response = await Promise.race([
      once(request, 'response').then(([each]) => each as IncomingMessage),
      once(request, 'upgrade').then(([each]) => each as IncomingMessage),
    ]);
    if (response.statusCode === 101) return { status: 101, errors: [] };
    const { errors } = JSON.parse(Buffer.concat(await response.toArray()).toString()) as { errors: GraphqlError[] };
    return { status: response.statusCode, errors };
  }

  it.each(['https://evil.example', 'null', 'http://127.0.0.1:1', 'http://localhost'])(
    'of %s may not open a WebSocket',
    async (origin) => {
      const { status, errors } = await upgrade(await givenApi(), '/graphql', origin);
      expect(status).toBe(403);
      expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    },
  );

  it('of this server, or of its public URL, may', async () => {
    const api = await givenApi({ publicUrl: 'https://notify.example/base' });
    expect((await upgrade(api, '/graphql', api.url)).status).toBe(101);
    expect((await upgrade(api, '/graphql', 'https://notify.example')).status).toBe(101);
    expect((await upgrade(api, '/graphql', 'http://notify.example')).status).toBe(403);
  });

  it('finds WebSockets at /graphql alone', async () => {
    const api = await givenApi();
    const { status, errors } = await upgrade(api, '/other', api.url);
    expect(status).toBe(404);
    expect(errors).toMatchObject([{ extensions: { code: 'NOT_FOUND' } }]);
  });
});
