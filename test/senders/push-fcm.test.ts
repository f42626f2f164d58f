import type { ServerResponse } from 'node:http';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { getApps } from 'firebase-admin/app';
import { describe, expect, it } from 'vitest';
import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';
import { type Failure, RULES, ruleFor } from '../../src/senders/push-fcm-outcome.ts';
import { type FcmSenderOptions, openFcmSender } from '../../src/senders/push-fcm.ts';
import { eventually } from '../support/eventually.ts';
import {
  ACCEPT,
  ACCOUNT,
  type Answering,
  HANG,
  NAME,
  openStandIn,
  page,
  PUSH,
  refuse,
  RESET,
  type StandIn,
} from '../support/fcm-server.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const PATH = '/v1/projects/acme-shop/messages:send';

const use = stoppedAfterEach();

const never = (): AbortSignal => new AbortController().signal;

async function standIn(answer: Answering): Promise<StandIn> {
  return use(await openStandIn(answer));
}

function sender({ address }: Pick<StandIn, 'address'>, options: Partial<FcmSenderOptions> = {}): Sender {
  return use(openFcmSender({ account: ACCOUNT, loopback: address, connections: 1, ...options }));
}

interface Scenario {
  readonly title: string;
  readonly rule: string;
  readonly answer: Answering;
  readonly timeouts?: FcmSenderOptions['timeouts'];
  /** The pause before the next attempt. */
  readonly afterMs?: number | null;
  readonly raw?: string;
  /** Give up when the request has arrived. */
  readonly abort?: true;
}

const INVALID = { code: 400, status: 'INVALID_ARGUMENT', errorCode: 'INVALID_ARGUMENT' };
const QUOTA = { code: 429, status: 'RESOURCE_EXHAUSTED', errorCode: 'QUOTA_EXCEEDED' };
const OVERLOADED = { code: 503, status: 'UNAVAILABLE', errorCode: 'UNAVAILABLE' };
const DENIED = { code: 403, status: 'PERMISSION_DENIED' };
const UNAUTHENTICATED = { code: 401, status: 'UNAUTHENTICATED' };
const QUICK = { answer: 60 };

const ANSWERED: readonly Scenario[] = [
  {
    rule: 'device unregistered',
    title: 'UNREGISTERED',
    answer: refuse({
      code: 404,
      status: 'NOT_FOUND',
      errorCode: 'UNREGISTERED',
      message: 'Requested entity was not found.',
    }),
    raw: '404 UNREGISTERED Requested entity was not found.',
  },
  {
    rule: 'token not valid',
    title: 'a message that says so',
    answer: refuse({ ...INVALID, message: 'The registration token is not a valid FCM registration token' }),
  },
  { rule: 'token not valid', title: 'the field of the token', answer: refuse({ ...INVALID, field: 'message.token' }) },
  {
    rule: 'token not valid',
    title: 'the field of the token, without a code of FCM',
    answer: refuse({ code: 400, status: 'INVALID_ARGUMENT', field: 'message.token' }),
  },
  {
    rule: 'token not valid',
    title: 'APNs says that the app was removed',
    answer: refuse({ ...INVALID, apns: { statusCode: 410, reason: 'Unregistered' } }),
  },
  {
    rule: 'token of another app or environment',
    title: 'APNs does not know the token for this app',
    answer: refuse({ ...INVALID, apns: { statusCode: 400, reason: 'DeviceTokenNotForTopic' } }),
  },
  {
    rule: 'token of another app or environment',
    title: 'APNs does not know the token in this environment',
    answer: refuse({ ...INVALID, apns: { statusCode: 400, reason: 'BadDeviceToken' } }),
  },
  {
    rule: 'token of another project',
    title: 'SENDER_ID_MISMATCH',
    answer: refuse({ ...DENIED, errorCode: 'SENDER_ID_MISMATCH' }),
  },
  {
    rule: 'message too big',
    title: 'too big for FCM',
    answer: refuse({ ...INVALID, message: 'Android message is too big' }),
  },
  {
    rule: 'message too big',
    title: 'too big for APNs',
    answer: refuse({ ...INVALID, apns: { statusCode: 413, reason: 'PayloadTooLarge' } }),
  },
  { rule: 'request too big', title: 'a page with 413', answer: page(413, 'Your client issued a request too large.') },
  { rule: 'argument not valid', title: 'INVALID_ARGUMENT', answer: refuse(INVALID) },
  {
    rule: 'argument not valid',
    title: 'another field',
    answer: refuse({ code: 400, status: 'INVALID_ARGUMENT', field: 'message.data[0].value' }),
  },
  { rule: 'quota exceeded', title: 'QUOTA_EXCEEDED', answer: refuse(QUOTA), afterMs: 60_000 },
  {
    rule: 'quota exceeded',
    title: 'QUOTA_EXCEEDED, come back in 7 seconds',
    answer: refuse({ ...QUOTA, headers: { 'Retry-After': '7' } }),
    afterMs: 7_000,
  },
  { rule: 'quota exceeded', title: 'a page with 429', answer: page(429, 'Slow down.'), afterMs: 60_000 },
  {
    rule: 'unavailable',
    title: 'UNAVAILABLE',
    answer: refuse({ ...OVERLOADED, message: 'The service is currently unavailable.' }),
    afterMs: 10_000,
    raw: '503 UNAVAILABLE The service is currently unavailable.',
  },
  {
    rule: 'unavailable',
    title: 'UNAVAILABLE, come back in a minute',
    answer: refuse({ ...OVERLOADED, headers: { 'Retry-After': '60' } }),
    afterMs: 60_000,
  },
  {
    rule: 'unavailable',
    title: 'UNAVAILABLE, come back next week',
    answer: refuse({ ...OVERLOADED, headers: { 'Retry-After': '604800' } }),
    afterMs: 3_600_000,
  },
  {
    rule: 'third-party credentials refused',
    title: 'THIRD_PARTY_AUTH_ERROR',
    answer: refuse({
      ...UNAUTHENTICATED,
      errorCode: 'THIRD_PARTY_AUTH_ERROR',
      apns: { statusCode: 403, reason: 'InvalidProviderToken' },
    }),
  },
  { rule: 'credentials refused', title: 'UNAUTHENTICATED', answer: refuse(UNAUTHENTICATED) },
  { rule: 'credentials refused', title: 'PERMISSION_DENIED', answer: refuse(DENIED) },
  { rule: 'credentials refused', title: 'a page with 401', answer: page(401, 'Unauthorized') },
  { rule: 'project not found', title: 'NOT_FOUND', answer: refuse({ code: 404, status: 'NOT_FOUND' }), afterMs: null },
  {
    rule: 'project not found',
    title: 'a page with 404',
    answer: page(404, 'The requested URL was not found.'),
    raw: '404 Error 404 The requested URL was not found.',
  },
  { rule: 'request not complete', title: 'a page with 408', answer: page(408, 'Too slow.') },
  {
    rule: 'failed while processing',
    title: 'INTERNAL',
    answer: refuse({ code: 500, status: 'INTERNAL', errorCode: 'INTERNAL' }),
  },
  { rule: 'failed while processing', title: 'a page with 502', answer: page(502, 'Try again in 30 seconds.') },
  { rule: 'failed while processing', title: 'a page with 503', answer: page(503, 'Try again in 30 seconds.') },
  { rule: 'success not understood', title: 'a page with 200', answer: page(200, 'Welcome to our hotel.') },
  { rule: 'success not understood', title: 'success without a name', answer: (response) => response.end('{}') },
  { rule: 'success not understood', title: 'success without a body', answer: (response) => response.end() },
  {
    rule: 'success not understood',
    title: 'success too large to read',
    answer: (response) => response.end(JSON.stringify({ name: 'x'.repeat(100_000) })),
  },
  { rule: 'refused by something else', title: 'a redirect', answer: page(302, 'Log in first.') },
  { rule: 'refused by something else', title: 'a page with 400', answer: page(400, 'Malformed request.') },
];

const UNANSWERED: readonly Scenario[] = [
  { rule: 'no answer', title: 'hangs', answer: HANG, timeouts: QUICK },
  { rule: 'no answer', title: 'hangs beyond the limit of a send', answer: HANG, timeouts: { total: 60 } },
  { rule: 'no answer', title: 'given up', answer: HANG, abort: true },
  {
    rule: 'no answer',
    title: 'hangs within the answer',
    answer: (response) => response.writeHead(503, { 'Content-Length': 100 }).write('{'),
    timeouts: QUICK,
  },
  { rule: 'connection lost', title: 'reset', answer: RESET, raw: 'ECONNRESET read ECONNRESET' },
  { rule: 'connection lost', title: 'closed', answer: (response) => response.socket?.end() },
  {
    rule: 'connection lost',
    title: 'closed within the answer',
    answer: (response) => {
      response.writeHead(503, { 'Content-Length': 100 });
      response.write('{', () => response.socket?.destroy());
    },
  },
  {
    rule: 'no answer',
    title: 'no HTTP',
    answer: (response) => response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n'),
  },
];

interface Observed {
  readonly outcome: Outcome;
  readonly failures: readonly Failure[];
}

async function observe(
  fcm: Pick<StandIn, 'address'>,
  options: Partial<FcmSenderOptions>,
  signal = never(),
): Promise<Observed> {
  const failures: Failure[] = [];
  const onFailure = (failure: Failure): unknown => failures.push(failure);
  return { outcome: await sender(fcm, { ...options, onFailure }).send(PUSH, signal), failures };
}

function expectRule({ outcome, failures }: Observed, rule: string): void {
  expect(failures.map((failure) => ruleFor(failure).name)).toEqual([rule]);
  expect(outcome).toMatchObject(RULES.find(({ name }) => name === rule)?.verdict ?? { kind: 'no such rule' });
}

describe('what a failed attempt means', () => {
  it.each([...ANSWERED, ...UNANSWERED])('$title: $rule, after one request', async (scenario) => {
    const caller = new AbortController();
    const fcm = await standIn((response, post, index) => {
      if (scenario.abort) caller.abort();
      if (post.body.includes('"next"')) ACCEPT(response, post, index);
      else scenario.answer(response, post, index);
    });
    const failures: Failure[] = [];
    const onFailure = (failure: Failure): unknown => failures.push(failure);
    const once = sender(fcm, { timeouts: scenario.timeouts ?? {}, onFailure });
    const outcome = await once.send(PUSH, caller.signal);
    expectRule({ outcome, failures }, scenario.rule);
    if (scenario.afterMs !== undefined) expect(outcome).toMatchObject({ afterMs: scenario.afterMs });
    if (scenario.raw !== undefined) expect(outcome.raw).toBe(scenario.raw);
    // With one connection, a repetition by the library would come before the second of the next messages.
    for (let index = 0; index < 2; index++) await once.send({ ...PUSH, address: 'next' }, never());
    expect(fcm.posts.filter(({ body }) => body.includes(PUSH.address))).toHaveLength(1);
  });

  it('nobody listens: no connection', async () => {
    const observed = await observe({ address: { host: '127.0.0.1', port: 1 } }, {});
    expectRule(observed, 'no connection');
    expect(observed.outcome.raw).toBe('ECONNREFUSED connect ECONNREFUSED 127.0.0.1:1');
  });

  it('given up before: nothing is sent', async () => {
    const fcm = await standIn(ACCEPT);
    expectRule(await observe(fcm, {}, AbortSignal.abort()), 'stopped before the request');
    expect(fcm.connections()).toBe(0);
  });

  it('others always come first: no free connection', async () => {
    const fcm = await standIn(ACCEPT);
    const failures: Failure[] = [];
    const crowded = sender(fcm, { timeouts: { total: 60 }, onFailure: (failure) => failures.push(failure) });
    let isOver = false;
    const crowd = [1, 2].map(async () => {
      while (!isOver) await crowded.send(PUSH, never());
    });
    const outcome = await crowded.send({ ...PUSH, lane: 'BULK' }, never());
    isOver = true;
    await Promise.all(crowd);
    expectRule({ outcome, failures }, 'no free connection');
    expect(outcome).toMatchObject({ reason: 'SENDER_BUSY', afterMs: 5_000 });
  });

  it('worth nothing by now: expired while waiting', async () => {
    const fcm = await standIn(ACCEPT);
    const failures: Failure[] = [];
    const late = sender(fcm, { onFailure: (failure) => failures.push(failure) });
    const outcome = await late.send({ ...PUSH, expiresAt: PUSH.requestedAt }, never());
    expectRule({ outcome, failures }, 'expired while waiting');
    expect(outcome).toEqual({ kind: 'retry', reason: 'SENDER_BUSY', afterMs: null, raw: 'EXPIRED not offered' });
    expect(fcm.connections()).toBe(0);
    expect((await late.send(PUSH, never())).kind).toBe('sent');
  });

  it('a bug that shows before the request leaves the place to the next message', async () => {
    const fcm = await standIn(ACCEPT);
    const one = sender(fcm);
    expect(await one.send({ ...PUSH, expiresAt: 'nonsense' }, never())).toMatchObject({ reason: 'SENDER_FAILED' });
    expect((await one.send(PUSH, never())).kind).toBe('sent');
  });

  it('takes the message after any number that expired, whatever the library still does with the last one', async () => {
    const fcm = await standIn(ACCEPT);
    const kinds = [];
    // Each of them lets a few more promises settle between the answer to the first message and the turn of the last.
    for (let expired = 0; expired <= 20; expired++) {
      const one = sender(fcm);
      const first = one.send(PUSH, never());
      for (let index = 0; index < expired; index++) void one.send({ ...PUSH, expiresAt: PUSH.requestedAt }, never());
      const last = one.send(PUSH, never());
      kinds.push((await first).kind, (await last).kind);
    }
    expect(kinds).toEqual(kinds.map(() => 'sent'));
  });

  it.each<readonly [string, (text: string) => Buffer]>([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ])('an answer encoded with %s is understood', async (encoding, encode) => {
    const fcm = await standIn((response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': encoding });
      response.end(encode(JSON.stringify({ name: NAME })));
    });
    expect(await sender(fcm).send(PUSH, never())).toMatchObject({ kind: 'sent', providerMessageId: NAME });
  });

  it('repeats nothing of what the message says', async () => {
    const words = { title: 'Your code', body: `Your code is 1234. ${'x'.repeat(5_000)}`, url: 'app://orders/7' };
    const fcm = await standIn((response, post, index) => {
      const said = (JSON.parse(post.body) as { message: { notification: object } }).message.notification;
      const message = `Bad: ${Object.values(said).join('; ')}; ${words.body}; ${words.url}; at 1`;
      refuse({ ...INVALID, message })(response, post, index);
    });
    const { raw } = await sender(fcm).send({ ...PUSH, ...words }, never());
    expect(raw).toBe('400 INVALID_ARGUMENT Bad: ***; ***; ***; ***; at 1');
    const { raw: other } = await sender(fcm).send({ ...PUSH, title: null, body: 'at', url: null }, never());
    expect(other).toContain('Bad: at; ');
  });

  it('has a scenario for every rule, here or over TLS', () => {
    const here = ['no connection', 'stopped before the request', 'no free connection', 'expired while waiting'];
    const overTls = [
      'stopped while connecting',
      'no access token: refused',
      'no access token: busy',
      'no access token: not reached',
    ];
    const rules = [...ANSWERED, ...UNANSWERED].map(({ rule }) => rule);
    expect(new Set([...rules, ...here, ...overTls])).toEqual(new Set(RULES.map(({ name }) => name)));
  });

  it('takes an unforeseen failure for a bug of the sender before the request, and for unknown after it', () => {
    const bug = { code: 'messaging/invalid-payload', status: null, fcm: null, canonical: null, fault: null };
    expect(ruleFor({ stage: 'before', ...bug }).verdict).toEqual({ kind: 'retry', reason: 'SENDER_FAILED' });
    expect(ruleFor({ stage: 'answered', ...bug }).verdict).toEqual({ kind: 'unknown', reason: 'NO_ANSWER' });
  });

  it('goes nowhere without a token', async () => {
    const fcm = await standIn(ACCEPT);
    const outcome = await sender(fcm).send({ ...PUSH, address: '' }, never());
    expect(outcome).toMatchObject({ kind: 'rejected', reason: 'RECIPIENT_REFUSED' });
    expect(fcm.connections()).toBe(0);
  });

  it('goes nowhere when the link alone is too long', async () => {
    const fcm = await standIn(ACCEPT);
    const outcome = await sender(fcm).send({ ...PUSH, url: `myapp://${'x'.repeat(4_000)}` }, never());
    expect(outcome).toMatchObject({ kind: 'rejected', reason: 'MESSAGE_TOO_LONG' });
    expect(fcm.connections()).toBe(0);
  });
});

describe('one send', () => {
  it('is one request even where the vendor asks for a pause, and no timer is left of it', async () => {
    const fcm = await standIn(refuse({ ...OVERLOADED, headers: { 'Retry-After': '30' } }));
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const opened = openFcmSender({ account: ACCOUNT, loopback: fcm.address, connections: 2 });
    await Promise.all(Array.from({ length: 10 }, () => opened.value.send(PUSH, never())));
    await opened.stop();
    expect(fcm.posts).toHaveLength(10);
    await eventually(() => {
      expect(timers()).toBeLessThanOrEqual(before);
    });
  });

  it('carries its own message, however many are under way', async () => {
    const fcm = await standIn((response, { body }) => {
      const { message } = JSON.parse(body) as { message: { token: string } };
      response.end(JSON.stringify({ name: `name of ${message.token}` }));
    });
    const busy = sender(fcm, { connections: 8 });
    const tokens = Array.from({ length: 100 }, (_, index) => `token-${String(index)}`);
    const outcomes = await Promise.all(tokens.map((address) => busy.send({ ...PUSH, address }, never())));
    const names = outcomes.map((outcome) => (outcome.kind === 'sent' ? outcome.providerMessageId : null));
    expect(names).toEqual(tokens.map((token) => `name of ${token}`));
    expect(fcm.posts).toHaveLength(100);
  });

  it('is authorised with the access token, at the address of the project', async () => {
    const fcm = await standIn(ACCEPT);
    const outcome = await sender(fcm).send(PUSH, never());
    expect(outcome).toEqual({ kind: 'sent', providerMessageId: NAME, raw: `200 ${NAME}` });
    const [{ request } = { request: null }] = fcm.posts;
    expect([request?.method, request?.url]).toEqual(['POST', PATH]);
    expect(request?.headers).toMatchObject({
      authorization: `Bearer ${ACCOUNT.accessToken}`,
      host: 'fcm.googleapis.com',
    });
  });

  it('shows neither the push token nor the access token, whatever the vendor repeats of it', async () => {
    const message = `no ${PUSH.address}\nwith ${ACCOUNT.accessToken} ${'x'.repeat(500)}`;
    const fcm = await standIn(refuse({ ...INVALID, message }));
    const { raw } = await sender(fcm).send(PUSH, never());
    expect(raw).toMatch(/^400 INVALID_ARGUMENT no \*\*\* with \*\*\* x+$/);
    expect(raw).toHaveLength(300);
  });
});

describe('connections', () => {
  it('serve message after message', async () => {
    const fcm = await standIn(ACCEPT);
    const kept = sender(fcm, { connections: 3 });
    for (let index = 0; index < 5; index++) expect((await kept.send(PUSH, never())).kind).toBe('sent');
    expect(fcm.connections()).toBe(1);
  });

  it('are at most as many as allowed, however many messages wait', async () => {
    const fcm = await standIn(ACCEPT);
    const kept = sender(fcm, { connections: 3 });
    const outcomes = await Promise.all(Array.from({ length: 60 }, () => kept.send(PUSH, never())));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(fcm.connections()).toBe(3);
  });

  it('leave no more apps of the library behind than there are of them', async () => {
    const fcm = await standIn(ACCEPT);
    const others = getApps().length;
    const kept = sender(fcm, { connections: 2 });
    await Promise.all(Array.from({ length: 20 }, () => kept.send(PUSH, never())));
    await eventually(() => {
      expect(getApps().length - others).toBeLessThanOrEqual(2);
    });
  });

  it('are kept after a refusal, and replaced after a loss', async () => {
    const answers = [refuse(INVALID), refuse(OVERLOADED), RESET, ACCEPT];
    const fcm = await standIn((response, post, index) => answers[index]?.(response, post, index));
    const kept = sender(fcm);
    const kinds = [];
    for (let index = 0; index < 4; index++) kinds.push((await kept.send(PUSH, never())).kind);
    expect(kinds).toEqual(['rejected', 'unknown', 'unknown', 'sent']);
    expect(fcm.connections()).toBe(2);
  });

  it('that the server closed while they were idle cost the next message nothing', async () => {
    const fcm = await standIn(ACCEPT);
    const kept = sender(fcm);
    await kept.send(PUSH, never());
    for (const socket of fcm.sockets) socket.end();
    await eventually(() => {
      expect(fcm.sockets.size).toBe(0);
    });
    expect((await kept.send(PUSH, never())).kind).toBe('sent');
    expect(fcm.posts).toHaveLength(2);
  });

  it('that are lost on their second request leave that one unknown: the server may have taken it', async () => {
    const fcm = await standIn((response, post, index) => (index === 0 ? ACCEPT : RESET)(response, post, index));
    const kept = sender(fcm);
    await kept.send(PUSH, never());
    expect(await kept.send(PUSH, never())).toMatchObject({ kind: 'unknown', reason: 'CONNECTION_LOST' });
    expect(fcm.posts).toHaveLength(2);
    expect(fcm.connections()).toBe(1);
  });

  it('take a transactional message before a bulk one', async () => {
    const order: string[] = [];
    const fcm = await standIn((response, { body }) => {
      order.push((JSON.parse(body) as { message: { token: string } }).message.token);
      response.end(JSON.stringify({ name: NAME }));
    });
    const kept = sender(fcm);
    const send = (address: string, lane: Message['lane']): Promise<Outcome> =>
      kept.send({ ...PUSH, address, lane }, never());
    await Promise.all([send('first', 'BULK'), send('third', 'BULK'), send('second', 'TRANSACTIONAL')]);
    expect(order).toEqual(['first', 'second', 'third']);
  });
});

describe('giving up', () => {
  it('on a message under way leaves the connections of others alone', async () => {
    const fcm = await standIn((response, post, index) => (index === 0 ? HANG : ACCEPT)(response, post, index));
    const busy = sender(fcm, { connections: 2 });
    const caller = new AbortController();
    const first = busy.send(PUSH, caller.signal);
    await eventually(() => {
      expect(fcm.posts).toHaveLength(1);
    });
    const second = busy.send(PUSH, never());
    caller.abort();
    expect(await first).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect((await second).kind).toBe('sent');
    await eventually(() => {
      expect(fcm.sockets.size).toBe(1);
    });
  });

  it('on a message that waits for a connection sends nothing', async () => {
    const fcm = await standIn(HANG);
    const busy = sender(fcm, { timeouts: { answer: 200 } });
    const first = busy.send(PUSH, never());
    const caller = new AbortController();
    const second = busy.send(PUSH, caller.signal);
    caller.abort();
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(await first).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect(fcm.posts).toHaveLength(1);
  });

  it('by stopping lets the message in flight finish and hands back those that wait', async () => {
    const inFlight: ServerResponse[] = [];
    const fcm = await standIn((response) => inFlight.push(response));
    const { value, stop } = openFcmSender({ account: ACCOUNT, loopback: fcm.address, connections: 1 });
    const first = value.send(PUSH, never());
    const second = value.send(PUSH, never());
    await eventually(() => {
      expect(inFlight).toHaveLength(1);
    });
    const stopped = stop();
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    inFlight[0]?.end(JSON.stringify({ name: NAME }));
    expect((await first).kind).toBe('sent');
    await stopped;
    expect(await value.send(PUSH, never())).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(fcm.posts).toHaveLength(1);
    await eventually(() => {
      expect(fcm.sockets.size).toBe(0);
    });
  });
});

describe('settings', () => {
  const key = { projectId: 'p', clientEmail: 'a@b.example', privateKey: 'no key at all' };
  const here = { host: '127.0.0.1', port: 1 };

  it.each<readonly [string, Partial<FcmSenderOptions>, string]>([
    ['an access token without a stand-in', { account: ACCOUNT }, 'takes a service account'],
    ['a service account with a stand-in', { account: key, loopback: here }, 'takes a service account'],
    ['a stand-in elsewhere', { loopback: { host: 'fcm.example', port: 80 } }, 'not on this machine'],
    ['a stand-in at every address', { loopback: { host: '0.0.0.0', port: 80 } }, 'not on this machine'],
    ['a key that is none', { account: key }, 'private key'],
  ])('refuse %s', (_title, options, error) => {
    expect(() => openFcmSender({ account: ACCOUNT, connections: 1, ...options })).toThrow(error);
  });

  it('do not show a broken key', () => {
    const secret = `-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----`;
    let shown = '';
    try {
      openFcmSender({ account: { ...key, privateKey: secret }, connections: 1 });
    } catch (error) {
      shown = String(error);
    }
    expect(shown).toContain('private key');
    expect(shown).not.toContain('secret');
  });

  it('let several senders live side by side', async () => {
    const fcm = await standIn(ACCEPT);
    const [one, two] = [sender(fcm), sender(fcm)];
    const outcomes = await Promise.all([one.send(PUSH, never()), two.send(PUSH, never())]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['sent', 'sent']);
    expect(fcm.connections()).toBe(2);
  });
});
