import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { ApiOptions, ReceiptOutcome, ReceiptRequest } from '../../src/api/options.ts';
import { openApi } from '../../src/api/server.ts';
import { createReceipts } from '../../src/commands/receipts.ts';
import { DomainError } from '../../src/errors.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import { attempted, DELIVERY, NOTIFICATION, requested, routed, stored } from '../support/given.ts';
import { eventually } from '../support/eventually.ts';
import { everything, withWorld, type World } from '../support/world.ts';
import { createFake, SECRET, UNOBSERVED } from './fake.ts';
import { createFakeReadModels } from './fake-streams.ts';

const FORM = 'application/x-www-form-urlencoded';
const BODY = 'MessageStatus=delivered&MessageSid=SM1';

/** A server whose receiver answers as the test says, and remembers what it was asked. */
interface Edge {
  readonly world: World;
  readonly listening: string;
  readonly port: number;
  readonly asked: ReceiptRequest[];
  readonly warnings: object[];
  readonly errors: object[];
  readonly stop: () => Promise<void>;
}

type Receive = (request: ReceiptRequest) => Promise<ReceiptOutcome>;

interface EdgeOptions extends Partial<Omit<ApiOptions, 'receipts'>> {
  readonly receive?: Receive | null;
}

function withEdge(
  { receive = () => Promise.resolve('recorded'), ...options }: EdgeOptions,
  work: (edge: Edge) => Promise<void>,
): Promise<void> {
  return withWorld(async (world) => {
    const asked: ReceiptRequest[] = [];
    const [warnings, errors]: [object[], object[]] = [[], []];
    const watched: Receive | null =
      receive &&
      ((request) => {
        asked.push(request);
        return receive(request);
      });
    const started = await openApi({
      host: '127.0.0.1',
      port: 0,
      publicUrl: null,
      development: false,
      commands: world.commands,
      queries: world.queries,
      ...createFakeReadModels(() => Promise.resolve()),
      queues: () => Promise.resolve([]),
      head: () => Promise.resolve('cursor-0'),
      ready: () => ({ ready: true, reasons: [] }),
      sandbox: null,
      ...UNOBSERVED,
      log: { error: (fields) => errors.push(fields), warn: (fields) => warnings.push(fields) },
      newId: systemIds.random,
      ...options,
      receipts: watched && { receive: watched },
    });
    let stopping: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopping ??= started.stop());
    world.use({ value: undefined, stop });
    const { listening } = started.value;
    await work({ world, listening, port: Number(new URL(listening).port), asked, warnings, errors, stop });
  });
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly text: string;
}

interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
}

/** Sends exactly this path, which `fetch` would tidy up first. */
async function call(
  { port }: Pick<Edge, 'port'>,
  path: string,
  { method = 'POST', headers = {}, body = BODY }: Call = {},
): Promise<Answer> {
  const sent = httpRequest({
    host: '127.0.0.1',
    port,
    path,
    method,
    headers: { 'content-type': FORM, ...headers } as Record<string, string>,
    agent: false,
  });
  // A body that nobody reads may meet a closed connection after the answer.
  sent.on('error', () => undefined);
  sent.end(method === 'GET' || method === 'HEAD' ? undefined : body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  const { errors } = (text === '' ? {} : JSON.parse(text)) as {
    errors?: readonly [{ message: string; extensions: { code: string } }];
  };
  const { statusCode: status = 0 } = response;
  return { status, headers: response.headers, code: errors?.[0].extensions.code, message: errors?.[0].message, text };
}

describe('a call of a provider', () => {
  it('reaches the receiver as it came, and is answered with nothing', async () => {
    await withEdge({}, async (edge) => {
      const body = 'Body=a%20b+c%C3%BC&To=%2B15005550006&x=1&x=2';
      const headers = { 'x-twilio-signature': 'c2lnbmF0dXJl', host: 'evil.example' };
      const answer = await call(edge, '/receipts/twilio/a-Token_1?a=b%20c&a=%C3%BC', { body, headers });
      expect([answer.status, answer.text]).toEqual([204, '']);
      expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
      const url = `${edge.listening}/receipts/twilio/a-Token_1?a=b%20c&a=%C3%BC`;
      const request = { provider: 'twilio', token: 'a-Token_1', url, signature: 'c2lnbmF0dXJl', body };
      expect(edge.asked).toEqual([request]);
    });
  });

  it.each([
    ['recorded', 204, undefined],
    ['parked', 204, undefined],
    ['ignored', 204, undefined],
    ['forged', 403, 'FORBIDDEN'],
    ['unknown-provider', 404, 'NOT_FOUND'],
  ] as const)('that is %s is answered with %i', async (outcome, status, code) => {
    await withEdge({ receive: () => Promise.resolve(outcome) }, async (edge) => {
      const answer = await call(edge, '/receipts/twilio/token');
      expect([answer.status, answer.code]).toEqual([status, code]);
    });
  });

  it('is answered only once the receiver has', async () => {
    let settle: (outcome: ReceiptOutcome) => void = () => undefined;
    const pending = new Promise<ReceiptOutcome>((resolve) => (settle = resolve));
    await withEdge({ receive: () => pending }, async (edge) => {
      let answered = false;
      const answer = call(edge, '/receipts/twilio/token').then(({ status }) => {
        answered = true;
        return status;
      });
      await eventually(() => {
        expect(edge.asked).toHaveLength(1);
      });
      expect(await call(edge, '/healthz', { method: 'GET' })).toMatchObject({ status: 200 });
      expect(answered).toBe(false);
      settle('recorded');
      expect(await answer).toBe(204);
    });
  });

  it('has no signature when it brings none', async () => {
    await withEdge({}, async (edge) => {
      await call(edge, '/receipts/twilio/token');
      expect(edge.asked[0]?.signature).toBeUndefined();
    });
  });

  it('with two signatures is forged, whichever is right', async () => {
    await withEdge({}, async (edge) => {
      for (const values of [
        ['a', 'b'],
        ['a', 'a'],
        ['', ''],
      ]) {
        const answer = await call(edge, '/receipts/twilio/token', { headers: { 'X-Twilio-Signature': values } });
        expect([answer.status, answer.code]).toEqual([403, 'FORBIDDEN']);
      }
      expect(edge.asked).toEqual([]);
    });
  });

  it('needs no credentials, and none help', async () => {
    await withEdge({ receive: () => Promise.resolve('forged') }, async (edge) => {
      const authorization = `Basic ${Buffer.from('key:secret').toString('base64')}`;
      expect((await call(edge, '/receipts/twilio/token', { headers: { authorization } })).status).toBe(403);
    });
  });

  it('tells people that receipts are refused, once a minute', async () => {
    await withEdge({ receive: () => Promise.resolve('forged') }, async (edge) => {
      for (let index = 0; index < 5; index += 1) await call(edge, '/receipts/twilio/secret-token');
      expect(edge.warnings).toHaveLength(1);
      expect(JSON.stringify(edge.warnings)).not.toContain('secret-token');
    });
  });
});

describe('the public URL', () => {
  it.each([
    ['https://notify.example', '/receipts/twilio/token?x=1', 'https://notify.example/receipts/twilio/token?x=1'],
    ['https://example.org/helio', '/receipts/twilio/token', 'https://example.org/helio/receipts/twilio/token'],
    ['http://example.org:8443/a/b', '/receipts/twilio/token?', 'http://example.org:8443/a/b/receipts/twilio/token?'],
  ])('%s is where a call came to, whatever its Host header says', async (publicUrl, path, url) => {
    await withEdge({ publicUrl }, async (edge) => {
      const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http' };
      expect((await call(edge, path, { headers })).status).toBe(204);
      expect(edge.asked[0]?.url).toBe(url);
    });
  });

  it('is not taken from a request line that names another one', async () => {
    await withEdge({ publicUrl: 'https://notify.example' }, async (edge) => {
      await call(edge, 'http://evil.example/receipts/twilio/token');
      expect(edge.asked.map(({ url }) => url.startsWith('https://notify.example'))).toEqual([true]);
    });
  });
});

describe('a path', () => {
  it.each([
    ['with a token of 12,000 characters', `/receipts/twilio/${'A'.repeat(12_000)}`, 'A'.repeat(12_000)],
    ['with an encoded slash', '/receipts/twilio/a%2Fb', 'a/b'],
    ['with an encoded letter', '/receipts/twilio/%41', 'A'],
    ['with an encoded percent sign', '/receipts/twilio/a%2541', 'a%41'],
    ['with dots', '/receipts/twilio/..', '..'],
    ['with an encoded null', '/receipts/twilio/a%00b', 'a\u0000b'],
    ['with a semicolon', '/receipts/twilio/a;b=c', 'a;b=c'],
  ])('%s is the receiver’s to judge, with the URL as it came', async (_, path, token) => {
    await withEdge({ receive: () => Promise.resolve('forged') }, async (edge) => {
      const answer = await call(edge, path);
      expect([answer.status, answer.code]).toEqual([403, 'FORBIDDEN']);
      expect(edge.asked).toMatchObject([{ token, url: edge.listening + path }]);
    });
  });

  it.each([
    ['/receipts/twilio/%', 400],
    ['/receipts/twilio/%zz', 400],
    ['/receipts/twilio/%C3%28', 400],
    ['/receipts/%ff/token', 400],
    ['/receipts', 404],
    ['/receipts/', 404],
    ['/receipts/twilio', 404],
    ['/receipts/twilio/token/more', 404],
    ['//receipts/twilio/token', 404],
    ['/Receipts/twilio/token', 404],
  ])('%s is nowhere: %i', async (path, status) => {
    await withEdge({}, async (edge) => {
      expect((await call(edge, path)).status).toBe(status);
      expect(edge.asked).toEqual([]);
    });
  });

  it('without a token or a provider reaches nobody who could believe it', async () => {
    await withEdge({ receive: () => Promise.resolve('forged') }, async (edge) => {
      for (const path of ['/receipts/twilio/', '/receipts//token']) {
        expect([403, 404]).toContain((await call(edge, path)).status);
      }
      expect(edge.asked.every(({ token, provider }) => token === '' || provider === '')).toBe(true);
    });
  });

  it('longer than any head of a request is refused before it is read', async () => {
    await withEdge({}, async (edge) => {
      expect((await call(edge, `/receipts/twilio/${'A'.repeat(20_000)}`)).status).toBe(400);
      expect(edge.asked).toEqual([]);
    });
  });
});

describe('a body', () => {
  it('of 64 KiB is received', async () => {
    await withEdge({}, async (edge) => {
      const body = `a=${'b'.repeat(64 * 1024 - 2)}`;
      expect((await call(edge, '/receipts/twilio/token', { body })).status).toBe(204);
      expect(edge.asked[0]?.body).toBe(body);
    });
  });

  it.each([
    ['that says how long it is', {}],
    ['that does not', { 'transfer-encoding': 'chunked' }],
  ])('of 65 KiB %s is refused', async (_, headers) => {
    await withEdge({}, async (edge) => {
      const answer = await call(edge, '/receipts/twilio/token', { headers, body: `a=${'b'.repeat(65 * 1024 - 2)}` });
      expect([answer.status, answer.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
      expect(answer.message).toContain('64 KiB');
      expect(edge.asked).toEqual([]);
    });
  });

  it.each([
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencodedx',
    '',
  ])('of type "%s" is refused', async (type) => {
    await withEdge({}, async (edge) => {
      const answer = await call(edge, '/receipts/twilio/token', { headers: { 'content-type': type }, body: '{}' });
      expect([answer.status, answer.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
      expect(answer.message).toContain(FORM);
      expect(edge.asked).toEqual([]);
    });
  });

  it('of no type is refused, also when there is none', async () => {
    await withEdge({}, async (edge) => {
      const socket = connect(edge.port, '127.0.0.1');
      for (const length of ['0', '2']) {
        socket.write(
          `POST /receipts/twilio/token HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n${length === '2' ? '{}' : ''}`,
        );
        const [answer] = (await once(socket, 'data')) as [Buffer];
        expect(answer.toString()).toMatch(/^HTTP\/1\.1 415 /);
      }
      socket.destroy();
      expect(edge.asked).toEqual([]);
    });
  });

  it.each([`${FORM}; charset=UTF-8`, `${FORM};charset=utf-8`, FORM.toUpperCase()])(
    'of type "%s" is a form',
    async (type) => {
      await withEdge({}, async (edge) => {
        const answer = await call(edge, '/receipts/twilio/token', { headers: { 'content-type': type } });
        expect(answer.status).toBe(204);
      });
    },
  );

  it('may be empty', async () => {
    await withEdge({}, async (edge) => {
      expect((await call(edge, '/receipts/twilio/token', { body: '' })).status).toBe(204);
      expect(edge.asked[0]?.body).toBe('');
    });
  });

  it('that is a form is still no GraphQL, and GraphQL no receipt', async () => {
    await withEdge({}, async (edge) => {
      const answer = await call(edge, '/graphql');
      expect([answer.status, answer.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
      expect(answer.message).toContain('application/json');
    });
  });
});

describe('any other method', () => {
  it.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])(
    '%s is told that only POST is answered',
    async (method) => {
      await withEdge({}, async (edge) => {
        const answer = await call(edge, '/receipts/twilio/token?x=1', { method });
        expect([answer.status, answer.headers['allow']]).toEqual([405, 'POST']);
        if (method !== 'HEAD') expect(answer.code).toBe('METHOD_NOT_ALLOWED');
        expect(edge.asked).toEqual([]);
      });
    },
  );
});

describe('a service that receives no receipts', () => {
  it.each(['POST', 'GET'])('has nothing at their paths: %s', async (method) => {
    await withEdge({ receive: null }, async (edge) => {
      const answer = await call(edge, '/receipts/twilio/token', { method });
      expect([answer.status, answer.code]).toEqual([404, 'NOT_FOUND']);
    });
  });
});

describe('a receipt that could not be recorded', () => {
  it.each(['UNAVAILABLE', 'CONFLICT'] as const)('for %s is asked for again', async (reason) => {
    const receive: Receive = () => Promise.reject(new DomainError(reason, 'the event log gave no answer in time'));
    await withEdge({ receive }, async (edge) => {
      const answer = await call(edge, '/receipts/twilio/token');
      expect([answer.status, answer.code]).toEqual([503, 'UNAVAILABLE']);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      expect(edge.errors).toEqual([]);
    });
  });

  it('for a bug of ours is asked for again, and the bug stays with us', async () => {
    await withEdge({ receive: () => Promise.reject(new Error('secret')) }, async (edge) => {
      const answer = await call(edge, '/receipts/twilio/token');
      expect([answer.status, answer.code]).toEqual([500, 'INTERNAL_SERVER_ERROR']);
      expect(answer.text).not.toContain('secret');
      expect(edge.errors).toHaveLength(1);
    });
  });

  it('changes nothing for GraphQL: an operation that met the same is still answered there', async () => {
    const fake = createFake();
    fake.addClient({ appKey: 'key' });
    fake.before = (name) =>
      name === 'registerUser' ? Promise.reject(new DomainError('UNAVAILABLE', 'no answer')) : Promise.resolve();
    const { commands, queries } = fake;
    await withEdge({ commands, queries }, async (edge) => {
      const authorization = `Basic ${Buffer.from(`key:${SECRET}`).toString('base64')}`;
      const headers = { 'content-type': 'application/json', authorization };
      const body = JSON.stringify({ query: 'mutation { registerUser(input: { id: "ada" }) { id } }' });
      const answer = await call(edge, '/graphql', { headers, body });
      expect([answer.status, answer.code, answer.headers['retry-after']]).toEqual([200, 'UNAVAILABLE', undefined]);
    });
  });
});

describe('while the service stops', () => {
  it('a receipt under way is finished, and a new one is sent elsewhere', async () => {
    let settle: (outcome: ReceiptOutcome) => void = () => undefined;
    const pending = new Promise<ReceiptOutcome>((resolve) => (settle = resolve));
    await withEdge({ receive: () => pending }, async (edge) => {
      const underWay = call(edge, '/receipts/twilio/token');
      await eventually(() => {
        expect(edge.asked).toHaveLength(1);
      });
      const stopped = edge.stop();
      const late = await call(edge, '/receipts/twilio/token');
      expect([late.status, late.code]).toEqual([503, 'SHUTTING_DOWN']);
      expect(late.headers['retry-after']).toBeDefined();
      settle('recorded');
      expect((await underWay).status).toBe(204);
      await stopped;
      expect(edge.asked).toHaveLength(1);
    });
  });
});

/** How a provider signs in these tests: over the URL that it was given and the body. */
function signatureOf(url: string, body: string): string {
  return createHmac('sha256', 'auth-token').update(url).update(body).digest('base64');
}

/** Believes what carries our token and the provider's signature, and records it. */
function believing({ context }: World): Receive {
  const receipts = createReceipts(context);
  return ({ provider, token, url, signature, body }) => {
    const attempt = context.keys.readReceiptToken(token);
    if (attempt === null || signature !== signatureOf(url, body)) return Promise.resolve('forged');
    const raw = new URLSearchParams(body).get('MessageStatus') ?? '';
    return receipts.receive({ ...attempt, provider, providerMessageId: 'SM1', verdict: { kind: 'delivered' }, raw });
  };
}

async function given({ log }: World, ...events: readonly NotificationEvent[]): Promise<void> {
  const recorded = events.map((event, index) => ({ ...stored(event, index), id: systemIds.random() }));
  await log.append(streamOf.notification(NOTIFICATION), recorded, 0);
}

describe('with a log behind it', () => {
  const publicUrl = 'https://example.org/helio';
  const named = { notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt: 1 };

  /** The receiver needs the world that the server is opened in. */
  function withLog(work: (edge: Edge, path: string) => Promise<void>): Promise<void> {
    let receive: Receive | undefined;
    const late: Receive = (request) => receive?.(request) ?? Promise.reject(new Error('too early'));
    return withEdge({ publicUrl, receive: late }, async (edge) => {
      receive = believing(edge.world);
      await work(edge, `/receipts/twilio/${edge.world.context.keys.receiptToken(named)}`);
    });
  }

  function signed(path: string, body = BODY): Call {
    return { headers: { 'x-twilio-signature': signatureOf(publicUrl + path, body) }, body };
  }

  it('a receipt is durable when it is answered, whether its attempt is known or not', async () => {
    await withLog(async (edge, path) => {
      expect((await call(edge, path, signed(path))).status).toBe(204);
      expect((await everything(edge.world)).map(({ type }) => type)).toEqual(['ReceiptParked']);
      await given(edge.world, requested(), routed(), attempted());
      expect((await call(edge, path, signed(path))).status).toBe(204);
      expect((await everything(edge.world)).at(-1)?.type).toBe('DeliveryDelivered');
    });
  });

  it('the same receipt, twenty at once, is recorded once', async () => {
    await withLog(async (edge, path) => {
      await given(edge.world, requested(), routed(), attempted());
      const answers = await Promise.all(Array.from({ length: 20 }, () => call(edge, path, signed(path))));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
      expect(await everything(edge.world)).toHaveLength(4);
    });
  });

  it('nothing that is forged appends anything', async () => {
    await withLog(async (edge, path) => {
      await given(edge.world, requested(), routed(), attempted());
      const { keys } = edge.world.context;
      const good = signed(path);
      const signature = signatureOf(publicUrl + path, BODY);
      const other = `/receipts/twilio/${keys.receiptToken({ ...named, attempt: 2 })}`;
      const flipped = path.slice(0, -1) + (path.endsWith('A') ? 'B' : 'A');
      const forged: readonly (readonly [string, Call])[] = [
        [path, {}],
        [path, { headers: { 'x-twilio-signature': '' } }],
        [path, { headers: { 'x-twilio-signature': signature.slice(1) } }],
        [path, { headers: { 'x-twilio-signature': [signature, signature] } }],
        [path, { headers: { 'x-twilio-signature': `${signature}, ${signature}` } }],
        [path, { ...good, body: `${BODY}&MessageStatus=failed` }],
        [path, { ...good, body: `${BODY} ` }],
        [`${path}?a=1`, good],
        [`${path}?`, good],
        [other, good],
        [path.replace('/twilio/', '/%74wilio/'), good],
        [flipped, signed(flipped)],
        [path, { headers: { 'x-twilio-signature': signatureOf(`${edge.listening}${path}`, BODY) } }],
        [path, { headers: { 'x-twilio-signature': signatureOf(`http://example.org/helio${path}`, BODY) } }],
        ['/receipts/twilio/token', signed('/receipts/twilio/token')],
      ];
      for (const [at, how] of forged) {
        const answer = await call(edge, at, how);
        expect([at, how, answer.status, answer.code]).toEqual([at, how, 403, 'FORBIDDEN']);
      }
      expect(await everything(edge.world)).toHaveLength(3);
      expect((await call(edge, path, good)).status).toBe(204);
      expect(await everything(edge.world)).toHaveLength(4);
    });
  });
});
