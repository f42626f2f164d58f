import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import type { Log } from '../../src/log.ts';
import { openSmtpSender } from '../../src/senders/email-smtp.ts';
import type { Message, Sender } from '../../src/senders/outcome.ts';
import { type FcmSenderOptions, openFcmSender } from '../../src/senders/push-fcm.ts';
import { openTwilioSender } from '../../src/senders/sms-twilio.ts';
import { openSenderThread, type SenderThread, type SenderThreadOptions } from '../../src/senders/thread.ts';
import { eventually } from '../support/eventually.ts';
import {
  ACCEPT,
  ACCOUNT,
  type Answering,
  HANG,
  openStandIn,
  PUSH,
  refuse,
  type StandIn,
} from '../support/fcm-server.ts';
import * as twilioServer from '../support/http-stand-in.ts';
import { openScriptedSmtp } from '../support/smtp-server.ts';
import { CREATED, MESSAGE as SMS, options as twilioOptions } from '../support/twilio.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const SABOTEUR = fileURLToPath(new URL('../support/thread-saboteur.mjs', import.meta.url));
const PROCESS = fileURLToPath(new URL('../support/thread-process.mjs', import.meta.url));
const HANDED_OVER = { kind: 'unknown', reason: 'NO_ANSWER' };
const NOT_HANDED_OVER = { kind: 'retry', reason: 'SENDER_STOPPED', afterMs: null, raw: null };
const EMAIL: Message = { ...SMS, channel: 'EMAIL', address: 'anna@example.com' };

const use = stoppedAfterEach();

/** A thread loads its library anew. */
const RESTART = { timeoutMs: 20_000 };

const never = (): AbortSignal => new AbortController().signal;

interface Told {
  readonly level: string;
  readonly fields: object;
  readonly text: string;
}

function recorder(): { readonly logger: Log; readonly told: readonly Told[] } {
  const told: Told[] = [];
  const at = (level: string) => (fields: object, text: string) => void told.push({ level, fields, text });
  return { logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, told };
}

async function standIn(answer: Answering): Promise<StandIn> {
  return use(await openStandIn(answer));
}

function fcmPlan({ address }: StandIn, options: Partial<FcmSenderOptions> = {}): SenderThreadOptions['plan'] {
  return { kind: 'fcm', options: { account: ACCOUNT, loopback: address, connections: 4, ...options } };
}

async function thread(
  options: Omit<SenderThreadOptions, 'logger'> & Partial<SenderThreadOptions>,
): Promise<SenderThread> {
  return use(await openSenderThread({ logger: recorder().logger, ...options }));
}

/** A thread to a provider that accepts everything, to be harmed by messages. */
async function fragile(answer: Answering = ACCEPT, options: Partial<SenderThreadOptions> = {}) {
  const { logger, told } = recorder();
  const fcm = await standIn(answer);
  const times = { pause: 20, ...options.times };
  const sender = await thread({ plan: fcmPlan(fcm), script: SABOTEUR, logger, ...options, times });
  const send = (body = 'Hello', signal = never()) => sender.send({ ...PUSH, body }, signal);
  return { sender, send, told, fcm };
}

describe('a sender in a thread', () => {
  interface Scenario {
    readonly title: string;
    readonly answer: Answering;
    readonly timeouts?: FcmSenderOptions['timeouts'];
    readonly abort?: true;
    readonly kind: string;
  }
  const SCENARIOS: readonly Scenario[] = [
    { title: 'sent', answer: ACCEPT, kind: 'sent' },
    {
      title: 'rejected',
      answer: refuse({ code: 404, status: 'NOT_FOUND', errorCode: 'UNREGISTERED' }),
      kind: 'rejected',
    },
    {
      title: 'to be tried again',
      answer: refuse({
        code: 429,
        status: 'RESOURCE_EXHAUSTED',
        errorCode: 'QUOTA_EXCEEDED',
        headers: { 'retry-after': '7' },
      }),
      kind: 'retry',
    },
    { title: 'aborted', answer: HANG, abort: true, kind: 'unknown' },
    { title: 'out of time', answer: HANG, timeouts: { answer: 100 }, kind: 'unknown' },
  ];

  it.each(SCENARIOS)('says of push what the sender itself says: $title', async ({ answer, timeouts, abort, kind }) => {
    const fcm = await standIn(answer);
    const failures: { readonly direct: object[]; readonly threaded: object[] } = { direct: [], threaded: [] };
    const options = { account: ACCOUNT, loopback: fcm.address, connections: 1, ...(timeouts && { timeouts }) };
    const direct = use(openFcmSender({ ...options, onFailure: (failure) => void failures.direct.push(failure) }));
    const threaded = await thread({
      plan: { kind: 'fcm', options },
      onFailure: (failure, message) => void failures.threaded.push({ ...failure, of: message.deliveryId }),
    });
    const outcomeOf = async (sender: Sender) => {
      const controller = new AbortController();
      const before = fcm.posts.length;
      const sending = sender.send(PUSH, controller.signal);
      if (abort) {
        await eventually(() => expect(fcm.posts.length).toBe(before + 1));
        controller.abort();
      }
      return sending;
    };

    const expected = await outcomeOf(direct);
    expect(expected.kind).toBe(kind);
    expect(await outcomeOf(threaded)).toEqual(expected);
    expect(failures.threaded).toEqual(failures.direct.map((failure) => ({ ...failure, of: PUSH.deliveryId })));
    expect([threaded.provider, threaded.channel]).toEqual(['fcm', 'PUSH']);
  });

  it('says of mail what the sender itself says', async () => {
    const server = use(await openScriptedSmtp(() => undefined));
    const options = { url: server.url, from: 'no-reply@heliograph.example', connections: 1 };
    const direct = use(openSmtpSender(options));
    const threaded = await thread({ plan: { kind: 'smtp', options } });
    for (const message of [EMAIL, { ...EMAIL, address: 'nobody' }]) {
      expect(await threaded.send(message, never())).toEqual(await direct.send(message, never()));
    }
    expect([threaded.provider, threaded.channel]).toEqual(['smtp', 'EMAIL']);
  });

  it('tells Twilio where to send receipts of each attempt, or nothing', async () => {
    const bodies: string[] = [];
    const server = use(
      await twilioServer.openStandIn((request) => {
        bodies.push(request.split('\r\n\r\n')[1] ?? '');
        return { text: CREATED };
      }),
    );
    const { statusCallback: _, ...options } = twilioOptions({ apiUrl: server.url });
    const statusCallback = ({ attempt }: { readonly attempt: number }) =>
      attempt === 3 ? null : `https://example.org/${String(attempt)}`;
    const threaded = await thread({ plan: { kind: 'twilio', options }, statusCallback });
    const direct = use(openTwilioSender({ ...options, statusCallback }));
    const attempts = [1, 2, 3].map((attempt) => ({ ...SMS, attempt }));
    const answers = await Promise.all(attempts.map((message) => threaded.send(message, never())));
    expect(answers).toEqual(await Promise.all(attempts.map((message) => direct.send(message, never()))));
    const callbacks = bodies.map((body) => new URLSearchParams(body).get('StatusCallback')?.split('#')[0] ?? null);
    const once = ['https://example.org/1', 'https://example.org/2', null];
    expect(callbacks.slice(0, 3).sort()).toEqual([...once].sort());
    expect(callbacks.slice(3).sort()).toEqual([...once].sort());
  });

  it('asks for no such address where nobody is told of it', async () => {
    const asked = vi.fn(() => 'https://example.com/receipts');
    const sender = await thread({ plan: fcmPlan(await standIn(ACCEPT)), statusCallback: asked });
    expect(await sender.send(PUSH, never())).toMatchObject({ kind: 'sent' });
    expect(asked).not.toHaveBeenCalled();
  });

  it('answers many at once, each its own', async () => {
    const fcm = await standIn((response, { body }) => {
      const { message } = JSON.parse(body) as { readonly message: { readonly token: string } };
      response.end(JSON.stringify({ name: `projects/p/messages/${message.token}` }));
    });
    const sender = await thread({ plan: fcmPlan(fcm) });
    const tokens = Array.from({ length: 500 }, (_, index) => `token-${String(index)}`);
    const answers = await Promise.all(tokens.map((address) => sender.send({ ...PUSH, address }, never())));
    expect(answers).toMatchObject(tokens.map((token) => ({ providerMessageId: `projects/p/messages/${token}` })));
    expect(fcm.connections()).toBeLessThanOrEqual(4);
  });

  it('hands over nothing that was aborted before', async () => {
    const fcm = await standIn(ACCEPT);
    const sender = await thread({ plan: fcmPlan(fcm) });
    const controller = new AbortController();
    const first = sender.send(PUSH, controller.signal);
    controller.abort();
    expect(await first).toEqual(NOT_HANDED_OVER);
    expect(await sender.send(PUSH, controller.signal)).toEqual(NOT_HANDED_OVER);
    expect(fcm.posts).toEqual([]);
  });

  it('does not open with options that the sender refuses, and does not show what is secret', async () => {
    const account = { projectId: 'acme', clientEmail: 'a@b.example', privateKey: 'a-private-key' };
    const opening = openSenderThread({
      plan: { kind: 'fcm', options: { account, connections: 1 } },
      logger: recorder().logger,
    });
    const error: unknown = await opening.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain('a-private-key');
    expect(() => openFcmSender({ account, connections: 1 })).toThrow(String(Reflect.get(Object(error), 'message')));
  });

  it('does not open when its thread does not start', async () => {
    const fcm = await standIn(ACCEPT);
    const { logger } = recorder();
    await expect(openSenderThread({ plan: fcmPlan(fcm), logger, script: `${SABOTEUR}.missing` })).rejects.toThrow();
    const late = openSenderThread({ plan: fcmPlan(fcm), logger, times: { start: 1 } });
    await expect(late).rejects.toThrow('did not start in time');
  });
});

describe('a thread that breaks', () => {
  it.each([
    ['ends', 'EXIT', { exitCode: 7, error: null }],
    ['throws', 'THROW', { error: { name: 'Error', code: 'BROKEN' } }],
    ['rejects', 'REJECT', { error: { name: 'Error' } }],
  ])('leaves in doubt what it had when it %s, and another takes its place', async (_, harm, how) => {
    const { send, told, fcm } = await fragile(HANG);
    const controller = new AbortController();
    const inFlight = [send('Hello', controller.signal), send('Hello again')];
    await eventually(() => expect(fcm.posts).toHaveLength(2));
    const last = send(harm);
    expect(await Promise.all([...inFlight, last])).toMatchObject([HANDED_OVER, HANDED_OVER, HANDED_OVER]);
    controller.abort();
    expect(await send('Hello', AbortSignal.abort())).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(told).toMatchObject([{ level: 'error', fields: { provider: 'fcm', ...how } }]);
    expect(JSON.stringify(told)).not.toContain('secret-of-an-error');
    const again = new AbortController();
    const arrived = (): void => expect(fcm.posts.some(({ body }) => body.includes('afterwards'))).toBe(true);
    await eventually(async () => {
      const sending = send('afterwards', again.signal);
      await Promise.race([sending, eventually(arrived)]);
      arrived();
    }, RESTART);
    again.abort();
  });

  it('says that it is down, until the next one runs', async () => {
    const ups: boolean[] = [];
    const told = (_: object, text: string): void => {
      if (text.includes('ended')) ups.push(sender.isUp());
    };
    const logger: Log = { ...recorder().logger, error: told };
    const { sender, send } = await fragile(ACCEPT, { logger });
    expect(sender.isUp()).toBe(true);
    await send('EXIT');
    await eventually(async () => expect(await send()).toMatchObject({ kind: 'sent' }), RESTART);
    expect(ups).toEqual([false]);
    expect(sender.isUp()).toBe(true);
  });

  it('sends what comes afterwards', async () => {
    const { send } = await fragile();
    expect(await send('EXIT')).toMatchObject(HANDED_OVER);
    await eventually(async () => expect(await send()).toMatchObject({ kind: 'sent' }), RESTART);
    expect(await send('THROW')).toMatchObject(HANDED_OVER);
    await eventually(async () => expect(await send()).toMatchObject({ kind: 'sent' }), RESTART);
  });

  it('makes messages wait for the next one, which each get one answer, until they are aborted', async () => {
    const { send, told } = await fragile(ACCEPT, { times: { pause: 300 } });
    expect(await send('EXIT')).toMatchObject(HANDED_OVER);
    await eventually(() => expect(told).toHaveLength(1));
    const given = new AbortController();
    const [up, ...waiting] = [send('Hello', given.signal), send(), send()];
    given.abort();
    expect(await up).toEqual({ ...NOT_HANDED_OVER, afterMs: 5_000 });
    for (const outcome of await Promise.all(waiting)) expect(outcome).toMatchObject({ kind: 'sent' });
    expect(told).toHaveLength(1);
  });

  it('is ended when it does not answer any more, and neither holds up this thread nor an abort', async () => {
    const { send, told } = await fragile(ACCEPT, { times: { settle: 50, ping: 60 } });
    const controller = new AbortController();
    const waiting = send('HANG');
    const aborted = send('Hello', controller.signal);
    const turns = { count: 0 };
    const turning = setInterval(() => (turns.count += 1), 1);
    await new Promise(setImmediate);
    controller.abort();
    expect(await aborted).toMatchObject({ ...HANDED_OVER, raw: 'the thread of the sender did not answer' });
    expect(await waiting).toMatchObject({ ...HANDED_OVER, raw: 'the thread of the sender ended' });
    clearInterval(turning);
    expect(turns.count).toBeGreaterThan(20);
    expect(told).toMatchObject([{ fields: { reason: 'it did not answer any more' } }]);
    await eventually(async () => expect(await send()).toMatchObject({ kind: 'sent' }), RESTART);
  });

  it('is not ended for being busy', async () => {
    const { send, told } = await fragile(ACCEPT, { times: { ping: 300 } });
    expect(await send('BUSY')).toMatchObject({ kind: 'sent' });
    expect(told).toEqual([]);
  });
});

describe('stopping', () => {
  it('waits for messages in flight', async () => {
    const answers: (() => void)[] = [];
    const fcm = await standIn((response, post, index) => void answers.push(() => ACCEPT(response, post, index)));
    const { value: sender, stop } = await openSenderThread({ plan: fcmPlan(fcm), logger: recorder().logger });
    const sending = [sender.send(PUSH, never()), sender.send(PUSH, never())];
    await eventually(() => expect(answers).toHaveLength(2));
    const stopped = stop();
    for (const answer of answers) answer();
    expect(await Promise.all(sending)).toMatchObject([{ kind: 'sent' }, { kind: 'sent' }]);
    await stopped;
    expect(await sender.send(PUSH, never())).toEqual(NOT_HANDED_OVER);
    expect(fcm.posts).toHaveLength(2);
  });

  it('aborts what is still in flight when its time is over', async () => {
    const fcm = await standIn(HANG);
    const { value: sender, stop } = await openSenderThread({
      plan: fcmPlan(fcm, { connections: 1 }),
      logger: recorder().logger,
      times: { drain: 50 },
    });
    const sending = [sender.send(PUSH, never()), sender.send({ ...PUSH, lane: 'BULK' }, never())];
    await eventually(() => expect(fcm.posts).toHaveLength(1));
    await stop();
    // The second had no connection yet: certainly not sent.
    expect(await Promise.all(sending)).toMatchObject([{ kind: 'unknown' }, { kind: 'retry' }]);
    await eventually(() => expect(fcm.sockets.size).toBe(0));
  });

  it.each([
    ['hangs', 'HANG', 0],
    ['is being started again', 'EXIT', 60_000],
  ])('does not take long when the thread %s', async (_, harm, pause) => {
    const fcm = await standIn(ACCEPT);
    const { value: sender, stop } = await openSenderThread({
      plan: fcmPlan(fcm),
      script: SABOTEUR,
      logger: recorder().logger,
      times: { drain: 50, close: 50, settle: 50, pause },
    });
    const sending = sender.send({ ...PUSH, body: harm }, never());
    await new Promise(setImmediate);
    if (harm === 'EXIT') await sending;
    await stop();
    expect(await sending).toMatchObject(HANDED_OVER);
  });

  it('can be done at any moment of a new start', async () => {
    for (const rounds of [0, 5, 50]) {
      const fcm = await standIn(ACCEPT);
      const { value: sender, stop } = await openSenderThread({
        plan: fcmPlan(fcm),
        script: SABOTEUR,
        logger: recorder().logger,
        times: { pause: 1 },
      });
      await sender.send({ ...PUSH, body: 'EXIT' }, never());
      for (let round = 0; round < rounds; round++) await new Promise((resolve) => setTimeout(resolve, 1));
      await stop();
    }
  });
});

describe('the process', () => {
  it('loads no library of a provider itself, and ends by itself when the threads are stopped', async () => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROCESS], { timeout: 25_000 });
    expect(stdout).toBe('[]\n');
    expect(stderr).toBe('');
  });
});
