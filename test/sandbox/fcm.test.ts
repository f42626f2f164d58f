import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { REFUSALS } from '../../src/sandbox/fcm-answers.ts';
import { openSandboxFcm, SANDBOX_TOKENS, type SandboxFcmOptions } from '../../src/sandbox/fcm.ts';
import { openOutbox, type Outbox } from '../../src/sandbox/outbox.ts';
import type { Message, Outcome } from '../../src/senders/outcome.ts';
import { type FcmTimeouts, openFcmSender } from '../../src/senders/push-fcm.ts';
import { eventually } from '../support/eventually.ts';
import { PUSH } from '../support/fcm-server.ts';
import { openTempState } from '../support/temp-state.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const never = (): AbortSignal => new AbortController().signal;

const use = stoppedAfterEach();

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Sandbox {
  readonly outbox: Outbox;
  readonly address: Address;
  readonly send: (message?: Partial<Message>) => Promise<Outcome>;
}

async function sandbox(options: SandboxFcmOptions = {}, timeouts: Partial<FcmTimeouts> = {}): Promise<Sandbox> {
  const outbox = openOutbox(use(await openTempState()));
  const address = use(await openSandboxFcm(outbox, options));
  const account = { projectId: 'sandbox', accessToken: 'sandbox' };
  const sender = use(openFcmSender({ account, loopback: address, connections: 4, timeouts }));
  return { outbox, address, send: (message) => sender.send({ ...PUSH, ...message }, never()) };
}

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly authorization?: string | null;
}

const PATH = '/v1/projects/sandbox/messages:send';

/** Asks without the library, as any client of FCM HTTP v1 may. */
function ask(address: Address, body: unknown, asked: Asked = {}): Promise<Answered> {
  const { method = 'POST', path = PATH, authorization = 'Bearer any' } = asked;
  return new Promise((resolve, reject) => {
    const headers = authorization === null ? {} : { authorization };
    const sent = request({ ...address, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: JSON.parse(text) as unknown });
      });
    });
    sent.on('error', reject).end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

const fcmError = (errorCode: string): object => ({
  '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError',
  errorCode,
});

describe('the sandbox FCM', () => {
  it.each([
    [
      'IOS',
      {
        'apns-priority': '10',
        'apns-push-type': 'alert',
        'aps.sound': 'default',
        'apns-collapse-id': PUSH.notificationId,
      },
    ],
    ['ANDROID', { priority: 'high', tag: PUSH.notificationId }],
    [
      'WEB',
      {
        Urgency: 'high',
        Topic: PUSH.notificationId.replaceAll('-', ''),
        tag: PUSH.notificationId,
        link: 'https://shop.example/1',
      },
    ],
  ] as const)('shows a message for %s as its recipient would get it', async (platform, headers) => {
    const { outbox, send } = await sandbox({ now: () => new Date('2026-03-01T12:30:05.000Z') });
    const outcome = await send({ platform, url: 'https://shop.example/1', title: 'Grüße, Anna 🎉' });
    expect(outcome).toMatchObject({
      kind: 'sent',
      providerMessageId: expect.stringMatching(/^projects\/sandbox\/messages\/.+/) as string,
    });
    expect(outbox.list({ address: PUSH.address })).toMatchObject([
      {
        channel: 'PUSH',
        platform,
        title: 'Grüße, Anna 🎉',
        text: PUSH.body,
        html: null,
        receivedAt: '2026-03-01T12:30:05.000Z',
      },
    ]);
    expect(outbox.list()[0]?.headers).toEqual({
      platform,
      'data.notificationId': PUSH.notificationId,
      'data.deliveryId': PUSH.deliveryId,
      'data.url': 'https://shop.example/1',
      ...headers,
    });
  });

  it('takes many messages at once', async () => {
    const { outbox, send } = await sandbox();
    const bodies = Array.from({ length: 50 }, (_, index) => `message ${String(index)}`);
    const outcomes = await Promise.all(bodies.map((body) => send({ body })));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(new Set(outbox.list().map(({ text }) => text))).toEqual(new Set(bodies));
  });

  it('answers to any client as FCM does', async () => {
    const { address, outbox } = await sandbox();
    const { status, body } = await ask(address, { message: { token: 'abc', notification: { body: 'Hi' } } });
    expect(status).toBe(200);
    expect(body).toEqual({ name: expect.stringMatching(/^projects\/sandbox\/messages\/./) as string });
    expect(outbox.list()).toMatchObject([{ platform: null, title: null, text: 'Hi' }]);
  });

  interface Wrong {
    readonly title: string;
    readonly body?: unknown;
    readonly asked?: Asked;
    readonly code: number;
    readonly status: string;
    readonly details: readonly string[];
  }
  const notFound = { code: 404, status: 'NOT_FOUND', details: [] };
  const unauthenticated = { code: 401, status: 'UNAUTHENTICATED', details: [] };
  const invalid = { code: 400, status: 'INVALID_ARGUMENT', details: ['BadRequest', 'FcmError'] };
  const wrong: readonly Wrong[] = [
    { title: 'another address', asked: { path: '/v1/projects/sandbox/messages' }, ...notFound },
    { title: 'another method', asked: { method: 'PUT' }, ...notFound },
    { title: 'no access token', asked: { authorization: null }, ...unauthenticated },
    { title: 'a server key of old', asked: { authorization: 'key=AAAA' }, ...unauthenticated },
    { title: 'no token', body: { message: { topic: 'all' } }, ...invalid },
    { title: 'no message', body: {}, ...invalid },
    { title: 'no JSON', body: 'hello', ...invalid },
    {
      title: 'a number for data',
      body: { message: { token: 'abc', data: { n: 12 } } },
      ...invalid,
      details: ['BadRequest'],
    },
    { title: 'over 4,096 bytes', body: { message: { token: 'abc', data: { x: 'x'.repeat(4_100) } } }, ...invalid },
    { title: 'far too much', body: { message: { token: 'abc', data: { x: 'x'.repeat(100_000) } } }, ...invalid },
  ];
  it.each(wrong)('refuses $title, in the words of Google', async ({ body, asked, code, status, details }) => {
    const { address, outbox } = await sandbox();
    const answered = await ask(address, body ?? { message: { token: 'abc' } }, asked);
    expect(answered.status).toBe(code);
    expect(answered.body).toMatchObject({ error: { code, status, message: expect.stringMatching(/./) as string } });
    const { error } = answered.body as { error: { details?: readonly { '@type': string }[] } };
    expect((error.details ?? []).map((each) => each['@type'].split('.').at(-1))).toEqual(details);
    expect(outbox.list()).toEqual([]);
  });

  it('counts the size without the token', async () => {
    const { address } = await sandbox();
    const notification = { body: 'x'.repeat(4_000) };
    expect((await ask(address, { message: { token: 'x'.repeat(1_000), notification } })).status).toBe(200);
  });

  it('stops at once, whoever is still connected', async () => {
    const opened = await openSandboxFcm(openOutbox(use(await openTempState())), { slowMs: 3_600_000 });
    const answers = ['slow', 'silent'].map((token) => ask(opened.value, { message: { token } }));
    const lost = Promise.all(answers.map((answer) => expect(answer).rejects.toThrow()));
    await eventually(async () => {
      expect((await ask(opened.value, {})).status).toBe(400);
    });
    await opened.stop();
    await lost;
  });

  it('has stopped only when the message that it was taking is kept', async () => {
    const outbox = openOutbox(use(await openTempState()));
    const order: string[] = [];
    let keep = (): void => undefined;
    const slow: Outbox = {
      ...outbox,
      add: async (entry) => {
        order.push('taken');
        await new Promise<void>((resolve) => (keep = resolve));
        order.push('kept');
        return outbox.add(entry);
      },
    };
    const opened = await openSandboxFcm(slow);
    const lost = expect(ask(opened.value, { message: { token: 'phone' } })).rejects.toThrow();
    await eventually(() => {
      expect(order).toEqual(['taken']);
    });
    const stopped = opened.stop().then(() => order.push('stopped'));
    await lost;
    await eventually(async () => {
      await expect(ask(opened.value, {})).rejects.toThrow('ECONNREFUSED');
    });
    keep();
    await stopped;
    expect(order).toEqual(['taken', 'kept', 'stopped']);
  });

  it('says so when its port is taken', async () => {
    const { address } = await sandbox();
    const outbox = openOutbox(use(await openTempState()));
    await expect(openSandboxFcm(outbox, { port: address.port })).rejects.toThrow('EADDRINUSE');
  });
});

describe('the well-known tokens', () => {
  it('are described, each once', () => {
    const names = SANDBOX_TOKENS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(Object.keys(REFUSALS)));
    for (const { description } of SANDBOX_TOKENS) expect(description).toMatch(/^[A-Z].*\.$/);
  });

  interface Refused {
    readonly name: string;
    readonly outcome: object;
    readonly error: object;
    readonly headers?: object;
  }
  const unregistered = { code: 404, status: 'NOT_FOUND', message: 'Requested entity was not found.' };
  const notValid = 'The registration token is not a valid FCM registration token';
  const badValue = "Invalid value at 'message.data[0].value' (TYPE_STRING), 12";
  const violation = { field: 'message.data[0].value', description: badValue };
  const badRequest = { '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations: [violation] };
  const mismatch = { code: 403, status: 'PERMISSION_DENIED', message: 'SenderId mismatch' };
  const exhausted = 'Resource has been exhausted (e.g. check quota).';
  const unavailable = { code: 503, status: 'UNAVAILABLE', message: 'The service is currently unavailable.' };
  const internal = { code: 500, status: 'INTERNAL', message: 'Internal error encountered.' };
  const apns = { code: 401, status: 'UNAUTHENTICATED', message: 'Auth error from APNS or Web Push Service' };
  const refused: readonly Refused[] = [
    {
      name: 'unregistered',
      outcome: { kind: 'rejected', reason: 'DEVICE_UNREGISTERED' },
      error: { ...unregistered, details: [fcmError('UNREGISTERED')] },
    },
    {
      name: 'invalid-token',
      outcome: { kind: 'rejected', reason: 'DEVICE_UNREGISTERED' },
      error: { code: 400, status: 'INVALID_ARGUMENT', message: notValid, details: [fcmError('INVALID_ARGUMENT')] },
    },
    {
      name: 'invalid-argument',
      outcome: { kind: 'rejected', reason: 'MESSAGE_REFUSED' },
      error: { code: 400, status: 'INVALID_ARGUMENT', message: badValue, details: [badRequest] },
    },
    {
      name: 'sender-id-mismatch',
      outcome: { kind: 'rejected', reason: 'RECIPIENT_REFUSED' },
      error: { ...mismatch, details: [fcmError('SENDER_ID_MISMATCH')] },
    },
    {
      name: 'quota-exceeded',
      outcome: { kind: 'retry', reason: 'PROVIDER_BUSY', afterMs: 1_000 },
      error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: exhausted, details: [fcmError('QUOTA_EXCEEDED')] },
      headers: { 'retry-after': '1' },
    },
    {
      name: 'unavailable',
      outcome: { kind: 'unknown', reason: 'PROVIDER_FAILED', afterMs: 10_000 },
      error: { ...unavailable, details: [fcmError('UNAVAILABLE')] },
    },
    {
      name: 'internal',
      outcome: { kind: 'unknown', reason: 'PROVIDER_FAILED' },
      error: { ...internal, details: [fcmError('INTERNAL')] },
    },
    {
      name: 'third-party-auth-error',
      outcome: { kind: 'retry', reason: 'PROVIDER_AUTH' },
      error: { ...apns, details: [fcmError('THIRD_PARTY_AUTH_ERROR')] },
    },
  ];
  it.each(refused)('$name answers as FCM does, every time', async ({ name, outcome, error, headers = {} }) => {
    const { address, outbox, send } = await sandbox();
    for (const token of [name, `${name}-a`, `${name}:a`, `${name}_a`, `${name}.a`, `${name}+a`]) {
      expect(await send({ address: token })).toMatchObject(outcome);
    }
    const answered = await ask(address, { message: { token: `${name}:x` } });
    expect(answered.body).toEqual({ error });
    expect(answered.headers).toMatchObject(headers);
    expect(outbox.list()).toEqual([]);
  });

  it('are no others that merely begin like them', async () => {
    const { send } = await sandbox();
    for (const address of ['unregisteredly', 'internal7', 'lostly:a'])
      expect((await send({ address })).kind).toBe('sent');
  });

  it('flaky takes the same delivery the second time, and treats every delivery on its own', async () => {
    const { outbox, send } = await sandbox();
    const address = 'flaky:a';
    expect(await send({ address })).toMatchObject({ kind: 'unknown', reason: 'PROVIDER_FAILED' });
    expect(await send({ address, deliveryId: 'd-2' })).toMatchObject({ kind: 'unknown', reason: 'PROVIDER_FAILED' });
    expect(outbox.list()).toEqual([]);
    expect((await send({ address })).kind).toBe('sent');
    expect(outbox.list()).toHaveLength(1);
  });

  it('slow takes its time', async () => {
    const { outbox, send } = await sandbox({ slowMs: 50 });
    expect((await send({ address: 'slow' })).kind).toBe('sent');
    expect(outbox.list()).toHaveLength(1);
  });

  it('slow is forgotten when the server stops', async () => {
    const outbox = openOutbox(use(await openTempState()));
    const opened = await openSandboxFcm(outbox, { slowMs: 3_600_000 });
    const account = { projectId: 'sandbox', accessToken: 'sandbox' };
    const timeouts = { answer: 200 };
    const sender = use(openFcmSender({ account, loopback: opened.value, connections: 1, timeouts }));
    const outcome = await sender.send({ ...PUSH, address: 'slow' }, never());
    await opened.stop();
    expect(outcome).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect(outbox.list()).toEqual([]);
  });

  it('silent never answers and shows nothing', async () => {
    const { outbox, send } = await sandbox({}, { answer: 200 });
    expect(await send({ address: 'silent' })).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect(outbox.list()).toEqual([]);
  });

  it('lost has the message though the sender cannot know: sent again, it is there twice', async () => {
    const { outbox, send } = await sandbox();
    const address = 'lost:phone';
    expect(await send({ address })).toMatchObject({ kind: 'unknown', reason: 'CONNECTION_LOST' });
    expect(outbox.list({ address })).toHaveLength(1);
    await send({ address });
    expect(outbox.list({ address }).map(({ headers }) => headers['tag'])).toEqual(Array(2).fill(PUSH.notificationId));
  });
});
