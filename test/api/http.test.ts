import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect as connectTcp } from 'node:net';
import type { IncomingMessage } from 'node:http';
import { serverAudits } from 'graphql-http';
import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { Answer, TestApi } from './given-api.ts';
import { ask, basic, fetchAnswer, givenApi } from './given-api.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const QUERY = JSON.stringify({ query: '{ head }' });

function post(
  api: TestApi,
  body: string | Uint8Array<ArrayBuffer> | null,
  headers: Record<string, string> = JSON_TYPE,
): Promise<Answer> {
  return fetchAnswer(`${api.url}/graphql`, { method: 'POST', headers: { authorization: basic(), ...headers }, body });
}

function expectRefusal(
  { status, code, headers }: Answer,
  expected: { readonly status: number; readonly code: string },
): void {
  expect({ status, code }).toEqual(expected);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  expect(headers.get('x-request-id')).toMatch(/^request-\d+$/);
}

describe('GraphQL over HTTP', () => {
  it('passes every audit that must, and all that should but three', async () => {
    const api = await givenApi({ development: true });
    const withCredentials = (url: RequestInfo, init?: RequestInit): Promise<Response> =>
      fetch(url, { ...init, headers: { ...(init?.headers as Record<string, string>), authorization: basic() } });
    const audits = serverAudits({ url: `${api.url}/graphql`, fetchFn: withCredentials });
    const results = await Promise.all(audits.map((audit) => audit.fn()));
    const must = results.filter(({ name }) => name.startsWith('MUST'));
    const should = results.filter(({ name }) => name.startsWith('SHOULD'));
    expect([must.length, should.length]).toEqual([13, 23]);
    expect(must.filter(({ status }) => status !== 'ok')).toEqual([]);
    // What never ran answers 400 for application/json too, so that callers who look at the status alone notice.
    const failed = should.filter(({ status }) => status !== 'ok').map(({ id }) => id);
    expect(failed).toEqual(['572B', 'FDE2', '7B9B']);
  });

  it('answers queries by GET, for clients that say they are no page', async () => {
    const api = await givenApi();
    const url = `${api.url}/graphql?query=${encodeURIComponent('query ($id: ID!) { user(id: $id) { id } }')}&variables={"id":"a"}`;
    const answer = await fetchAnswer(url, { headers: { authorization: basic(), 'apollo-require-preflight': '1' } });
    expect(answer.data).toEqual({ user: null });
    expectRefusal(await fetchAnswer(url, { headers: { authorization: basic() } }), {
      status: 400,
      code: 'BAD_REQUEST',
    });
  });

  it('runs no mutation by GET', async () => {
    const api = await givenApi();
    const url = `${api.url}/graphql?query=${encodeURIComponent('mutation { registerUser(input: { id: "a" }) { id } }')}`;
    const answer = await fetchAnswer(url, { headers: { authorization: basic(), 'apollo-require-preflight': '1' } });
    expectRefusal(answer, { status: 405, code: 'METHOD_NOT_ALLOWED' });
    expect(answer.headers.get('allow')).toBe('POST');
    expect(api.fake.calls).toEqual([]);
  });

  it.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND'])(
    'answers %s with 405 and what is allowed',
    async (method) => {
      const api = await givenApi();
      const answer = await fetchAnswer(`${api.url}/graphql`, { method, ...(method === 'PUT' && { body: '<x/>' }) });
      expectRefusal(answer, { status: 405, code: 'METHOD_NOT_ALLOWED' });
      expect(answer.headers.get('allow')).toBe('GET, POST');
    },
  );

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/graphql',
    'nonsense',
  ])('refuses a body of type %s', async (type) => {
    const api = await givenApi();
    expectRefusal(await post(api, QUERY, { 'content-type': type }), { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
    expect(api.fake.calls).toEqual([]);
  });

  it('refuses a body without a type', async () => {
    const api = await givenApi();
    const answer = await post(api, new TextEncoder().encode(QUERY), {});
    expectRefusal(answer, { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
  });

  it.each([
    ['broken JSON', '{"query": "{ head }"'],
    ['nothing', ''],
    ['no object', '"{ head }"'],
    ['null', 'null'],
    ['an empty object', '{}'],
    ['a batch', `[${QUERY},${QUERY}]`],
    ['a batch of one', `[${QUERY}]`],
    ['a poisoned prototype', '{"query":"{ head }","variables":{"__proto__":{"a":1}}}'],
    ['a query that is no string', '{"query":{"kind":"Document"}}'],
    ['variables that are no object', '{"query":"{ head }","variables":[]}'],
  ])('refuses %s as a body', async (_what, body) => {
    expectRefusal(await post(await givenApi(), body), { status: 400, code: 'BAD_REQUEST' });
  });

  it.each([5, 10, 40])('refuses a body of %i MB, and the client hears it', async (megabytes) => {
    const api = await givenApi();
    const body = new TextEncoder().encode(JSON.stringify({ query: '{ head }', padding: 'x'.repeat(megabytes * 1e6) }));
    expectRefusal(await post(api, body), { status: 413, code: 'PAYLOAD_TOO_LARGE' });
    const chunks = new ReadableStream({
      start: (controller) => {
        for (let at = 0; at < body.length; at += 65_536) controller.enqueue(body.subarray(at, at + 65_536));
        controller.close();
      },
    });
    const init: RequestInit & { readonly duplex: 'half' } = {
      method: 'POST',
      headers: { ...JSON_TYPE, authorization: basic() },
      body: chunks,
      duplex: 'half',
    };
    expectRefusal(await fetchAnswer(`${api.url}/graphql`, init), { status: 413, code: 'PAYLOAD_TOO_LARGE' });
  });

  it('lets a client that sends all before it listens hear the refusal', async () => {
    const { port } = await givenApi();
    const socket = connectTcp(port, '127.0.0.1');
    const body = Buffer.alloc(20_000_000, ' ');
    socket.write(
      `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${String(body.length)}\r\n\r\n`,
    );
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject).write(body, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 Payload Too Large\r\n/);
    socket.destroy();
  });

  it('takes a body of just under 4 MiB', async () => {
    const body = JSON.stringify({ query: '{ head }', variables: { padding: 'x'.repeat(4 * 1024 * 1024 - 100) } });
    expect((await post(await givenApi(), body)).data).toEqual({ head: 'cursor-0' });
  });

  it.each([
    ['a length', 'content-length: 1500000'],
    ['no length', 'transfer-encoding: chunked'],
  ])('reads no big body of %s from strangers, and hangs up', async (_what, size) => {
    const api = await givenApi();
    const answer = await raw(
      api,
      `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${size}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    expect(answer).toMatch(/\r\nconnection: close\r\n/);
    expect(answer).toMatch(/\r\nwww-authenticate: Basic realm="heliograph"\r\n/);
    expect(answer).toContain('"code":"UNAUTHENTICATED"');
  });

  it.each([65_537, 2_000_000, 4_194_304])('tells a stranger who sends %i bytes to say who it is', async (length) => {
    const api = await givenApi();
    const answer = await post(api, 'x'.repeat(length), { ...JSON_TYPE, authorization: basic('key', 'wrong') });
    expectRefusal(answer, { status: 401, code: 'UNAUTHENTICATED' });
  });

  it('says of a small broken body that it is broken, of a huge one that it is huge, whoever sends it', async () => {
    const api = await givenApi();
    const headers = { ...JSON_TYPE, authorization: '' };
    expectRefusal(await post(api, '{'.repeat(65_536), headers), { status: 400, code: 'BAD_REQUEST' });
    const huge = await post(api, 'x'.repeat(4 * 1024 * 1024 + 1), headers);
    expectRefusal(huge, { status: 413, code: 'PAYLOAD_TOO_LARGE' });
  });

  it('keeps the connection of a client that sent a big body', async () => {
    const body = JSON.stringify({ query: '{ head }', variables: { padding: 'x'.repeat(100_000) } });
    const answer = await post(await givenApi(), body);
    expect(answer.data).toEqual({ head: 'cursor-0' });
    expect(answer.headers.get('connection')).toBe('keep-alive');
  });

  it('says where it listens, and where clients reach it', async () => {
    const plain = await givenApi();
    expect(plain.publicUrl).toBe(plain.url);
    const behind = await givenApi({ publicUrl: 'https://notify.example/base', host: '0.0.0.0' });
    expect(behind.publicUrl).toBe('https://notify.example/base');
    expect(behind.url).toBe(`http://localhost:${String(behind.port)}`);
    expect((await fetchAnswer(`${behind.url}/healthz`)).status).toBe(200);
  });

  it('has no persisted queries', async () => {
    const extensions = { persistedQuery: { version: 1, sha256Hash: 'x' } };
    const { code } = await post(await givenApi(), JSON.stringify({ extensions }));
    expect(code).toBe('PERSISTED_QUERY_NOT_SUPPORTED');
  });

  it.each(['/', '/graphql/', '/graphqlx', '/..%2f', '/%', '/sandbox/outbox/x'])(
    'answers %s with 404 or 400 in JSON',
    async (path) => {
      const api = await givenApi();
      const answer = await fetchAnswer(`${api.url}${path}`, { headers: { accept: 'text/html' } });
      const expected = path === '/%' ? { status: 400, code: 'BAD_REQUEST' } : { status: 404, code: 'NOT_FOUND' };
      expectRefusal(answer, expected);
    },
  );

  it('shows no GraphiQL outside development', async () => {
    const api = await givenApi();
    const answer = await fetchAnswer(`${api.url}/graphql`, { headers: { accept: 'text/html' } });
    expectRefusal(answer, { status: 401, code: 'UNAUTHENTICATED' });
  });

  it('names every request with an id of its own, whatever the client calls it', async () => {
    const api = await givenApi();
    const ids = [];
    for (const id of ['theirs', 'theirs']) {
      ids.push(
        (await post(api, QUERY, { ...JSON_TYPE, 'x-request-id': id, 'request-id': id })).headers.get('x-request-id'),
      );
    }
    expect(ids).toEqual(['request-1', 'request-2']);
  });

  it('lets no page of another origin read anything', async () => {
    const api = await givenApi();
    const origin = 'https://evil.example';
    const preflight = {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    };
    const answers = [
      await fetchAnswer(`${api.url}/graphql`, { method: 'OPTIONS', headers: preflight }),
      await post(api, QUERY, { ...JSON_TYPE, origin }),
      await fetchAnswer(`${api.url}/healthz`, { headers: { origin } }),
    ];
    for (const { headers } of answers) {
      expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
    }
  });

  it('answers what is no HTTP with JSON and hangs up', async () => {
    const api = await givenApi();
    const answer = await raw(api, 'HELO example.org\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(answer).toMatch(/x-request-id: request-\d+\r\n/);
    expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({
      errors: [{ extensions: { code: 'BAD_REQUEST' } }],
    });
  });

  it.each([
    ['headers', 'POST /graphql HTTP/1.1\r\nhost: x\r\n'],
    ['a body', 'POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{'],
  ])('hangs up on a client that takes too long to send %s', async (_what, start) => {
    const api = await givenApi({ timings: { headersMs: 100, requestMs: 200 } });
    expect(await raw(api, start)).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
  });
});

/** Everything the server sends until it hangs up. */
async function raw({ port }: TestApi, text: string): Promise<string> {
  const socket = connectTcp(port, '127.0.0.1');
  let heard = '';
  socket.setEncoding('utf8').on('data', (data: string) => (heard += data));
  socket.write(text);
  await once(socket, 'close');
  return heard;
}

describe('A stop', () => {
  it('lets a request under way finish, and refuses what is new', async () => {
    const api = await givenApi();
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    api.fake.before = (name) => (name === 'registerUser' ? held : Promise.resolve());
    const agent = new Agent({ keepAlive: true });
    expect(await get(api, '/healthz', agent)).toMatchObject({ status: 200 });
    const underWay = ask(api, 'mutation { registerUser(input: { id: "a" }) { id } }');
    await eventually(() => {
      expect(api.fake.calls).toHaveLength(1);
    });
    const stopped = api.stop();
    expect(await get(api, '/graphql', agent)).toMatchObject({
      status: 503,
      code: 'SHUTTING_DOWN',
      connection: 'close',
    });
    expect(await get(api, '/readyz', agent)).toMatchObject({ status: 503 });
    release();
    expect((await underWay).data).toEqual({ registerUser: { id: 'a' } });
    await stopped;
    await expect(fetch(`${api.url}/healthz`)).rejects.toThrow('fetch failed');
    agent.destroy();
  });

  it('does not wait for ever', async () => {
    const api = await givenApi({ timings: { drainMs: 50 } });
    api.fake.before = (name) => (name === 'registerUser' ? new Promise(() => undefined) : Promise.resolve());
    const underWay = ask(api, 'mutation { registerUser(input: { id: "a" }) { id } }').catch((error: unknown) => error);
    await eventually(() => {
      expect(api.fake.calls).toHaveLength(1);
    });
    await api.stop();
    expect(await underWay).toBeInstanceOf(Error);
  });
});

interface Plain {
  readonly status: number | undefined;
  readonly connection: string | undefined;
  readonly code: string | undefined;
}

async function get({ port }: TestApi, path: string, agent: Agent): Promise<Plain> {
  const request = httpRequest({ port, path, agent, host: '127.0.0.1' }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const body = JSON.parse(Buffer.concat(await response.toArray()).toString()) as {
    errors?: { extensions: { code: string } }[];
  };
  return {
    status: response.statusCode,
    connection: response.headers.connection,
    code: body.errors?.[0]?.extensions.code,
  };
}
