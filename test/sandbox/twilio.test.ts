import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { BounceReason } from '../../src/events/outcome.ts';
import type { State } from '../../src/ports/state/state.ts';
import { openOutbox, type Outbox } from '../../src/sandbox/outbox.ts';
import {
  openSandboxTwilio,
  SANDBOX_NUMBERS,
  SANDBOX_TWILIO,
  type SandboxTwilioOptions,
} from '../../src/sandbox/twilio.ts';
import { openSandboxReceipts } from '../../src/sandbox/twilio-receipts.ts';
import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';
import { openTwilioSender, type TwilioSenderOptions } from '../../src/senders/sms-twilio.ts';
import { readTwilioReceipt, type TwilioReceipt } from '../../src/senders/sms-twilio-receipt.ts';
import { eventually } from '../support/eventually.ts';
import { openTempState } from '../support/temp-state.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const MESSAGE: Message = {
  tenant: 'acme',
  notificationId: 'n-1',
  deliveryId: 'd-1',
  channel: 'SMS',
  lane: 'TRANSACTIONAL',
  address: '+4915112345678',
  platform: null,
  attempt: 1,
  title: 'Never seen',
  body: 'Grüße, Anna 🎉 Your parcel is on its way.',
  html: null,
  url: 'https://shop.example/orders/1',
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};

const never = (): AbortSignal => new AbortController().signal;

const use = stoppedAfterEach();

interface Received {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly form: Readonly<Record<string, string>>;
  readonly receipt: TwilioReceipt;
}

interface Receiver {
  readonly url: string;
  readonly received: readonly Received[];
}

/** Takes receipts as the service does; `answer` says with which status, 204 by default. */
async function receiver(answer: (count: number) => number = () => 204, publicUrl?: string): Promise<Receiver> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const url = (publicUrl ?? base) + (request.url ?? '');
      const signature = request.headers['x-twilio-signature']?.toString();
      const receipt = readTwilioReceipt(SANDBOX_TWILIO, { url, signature, body });
      const form = Object.fromEntries(new URLSearchParams(body));
      received.push({ url: request.url ?? '', headers: request.headers, form, receipt });
      response.writeHead(answer(received.length)).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  use({
    value: undefined,
    stop: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  });
  return { url: base, received };
}

interface Sandbox {
  readonly outbox: Outbox;
  readonly url: string;
  readonly sender: (changes?: Partial<TwilioSenderOptions>) => Sender;
  readonly send: (message?: Partial<Message>) => Promise<Outcome>;
}

/** `callback`: where receipts go. */
async function sandbox(
  callback: string | null = null,
  options: Partial<SandboxTwilioOptions> = {},
  changes: Partial<TwilioSenderOptions> = {},
): Promise<Sandbox> {
  const state = options.state ?? use(await openTempState());
  const outbox = openOutbox(use(await openTempState()));
  const { url } = use(await openSandboxTwilio(outbox, { ...options, state }));
  const sender: Sandbox['sender'] = (more) =>
    use(
      openTwilioSender({
        ...SANDBOX_TWILIO,
        messagingServiceSid: null,
        apiUrl: url,
        statusCallback: ({ deliveryId, attempt }) =>
          callback === null ? null : `${callback}/receipts/${deliveryId}/${String(attempt)}`,
        connections: 4,
        ...changes,
        ...more,
      }),
    );
  const one = sender();
  return { outbox, url, sender, send: (message) => one.send({ ...MESSAGE, ...message }, never()) };
}

function rawsOf({ received }: Receiver): readonly string[] {
  return received.map(({ receipt }) => (receipt.kind === 'receipt' ? receipt.raw : receipt.kind));
}

describe('the sandbox Twilio', () => {
  it('shows a message as its recipient would read it', async () => {
    const { outbox, send } = await sandbox(null, { now: () => new Date('2026-03-01T12:30:05.000Z') });
    const outcome = await send();
    const [entry] = outbox.list();
    const sid = entry?.headers['MessageSid'];
    expect(sid).toMatch(/^SM[\da-f]{32}$/);
    expect(entry).toMatchObject({
      channel: 'SMS',
      platform: null,
      address: '+4915112345678',
      title: null,
      text: 'Grüße, Anna 🎉 Your parcel is on its way.\nhttps://shop.example/orders/1',
      html: null,
      headers: { From: '+15005550006', MessageSid: sid, Segments: '2', Encoding: 'UCS-2' },
      receivedAt: '2026-03-01T12:30:05.000Z',
    });
    expect(outcome).toEqual({
      kind: 'sent',
      providerMessageId: sid,
      raw: '201 queued',
      sms: { encoding: 'UCS-2', segments: 2 },
    });
  });

  it('takes many messages at once', async () => {
    const { outbox, send } = await sandbox();
    const addresses = Array.from({ length: 50 }, (_, index) => `+49151123456${String(index + 10)}`);
    const outcomes = await Promise.all(addresses.map((address) => send({ address })));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(new Set(outbox.list().map(({ address }) => address))).toEqual(new Set(addresses));
  });

  it('takes messages of a Messaging Service', async () => {
    const messagingServiceSid = `MG${'0'.repeat(32)}`;
    const { outbox, send } = await sandbox(null, {}, { from: null, messagingServiceSid });
    expect(await send()).toMatchObject({ kind: 'sent', raw: '201 accepted' });
    expect(outbox.list()[0]?.headers['From']).toBe(messagingServiceSid);
  });
});

const RETRIED = { kind: 'retry', afterMs: null };

describe('a number that misbehaves', () => {
  it.each([
    ['+15005550001', { kind: 'rejected', reason: 'RECIPIENT_REFUSED' }, '400 21211'],
    ['+15005550002', { kind: 'rejected', reason: 'RECIPIENT_REFUSED' }, '400 21612'],
    ['+15005550003', { kind: 'rejected', reason: 'RECIPIENT_REFUSED' }, '400 21408'],
    ['+15005550004', { kind: 'rejected', reason: 'RECIPIENT_OPTED_OUT' }, '400 21610'],
    ['+15005550009', { kind: 'rejected', reason: 'RECIPIENT_REFUSED' }, '400 21614'],
    ['+15005550401', { ...RETRIED, reason: 'PROVIDER_AUTH' }, '401 20003'],
    ['+15005550429', { ...RETRIED, reason: 'PROVIDER_BUSY', afterMs: 1_000 }, '429 20429'],
    ['+15005550500', { kind: 'unknown', reason: 'PROVIDER_FAILED' }, '500 20500'],
    ['+15005550503', { kind: 'unknown', reason: 'PROVIDER_FAILED' }, '503 20503'],
  ])('%s: refused, and not delivered', async (address, expected, raw) => {
    const { outbox, send } = await sandbox();
    const outcome = await send({ address });
    expect(outcome).toMatchObject(expected);
    expect(outcome.raw?.startsWith(raw)).toBe(true);
    expect(outcome.raw).not.toContain(address);
    expect(outbox.list()).toEqual([]);
  });

  it('+15005550408: never answered nor delivered', async () => {
    const { outbox, send } = await sandbox(null, {}, { timeouts: { answer: 60 } });
    expect(await send({ address: '+15005550408' })).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect(outbox.list()).toEqual([]);
  });

  it('+15005550499: delivered, but nobody says so until the receipts come', async () => {
    const receipts = await receiver();
    const { outbox, send } = await sandbox(receipts.url);
    expect(await send({ address: '+15005550499' })).toMatchObject({ kind: 'unknown', reason: 'CONNECTION_LOST' });
    expect(outbox.list()).toHaveLength(1);
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
  });

  it('+15005550410: refused the first time, delivered the next time', async () => {
    const receipts = await receiver();
    const token = 'A'.repeat(42);
    const callbackOf = ({ deliveryId, attempt }: { deliveryId: string; attempt: number }): string =>
      `${receipts.url}/receipts/${deliveryId}${token}${String(attempt).repeat(30)}`;
    const { outbox, send } = await sandbox(null, {}, { statusCallback: callbackOf });
    const address = '+15005550410';
    const first = { kind: 'retry', reason: 'PROVIDER_BUSY' };
    expect(await send({ address, attempt: 1 })).toMatchObject(first);
    expect(await send({ address, attempt: 1, deliveryId: 'd-2' })).toMatchObject(first);
    expect(outbox.list()).toEqual([]);
    expect(await send({ address, attempt: 2 })).toMatchObject({ kind: 'sent' });
    expect(await send({ address, attempt: 2, deliveryId: 'd-2' })).toMatchObject({ kind: 'sent' });
    expect(await send({ address, attempt: 3 })).toMatchObject(first);
    expect(outbox.list()).toHaveLength(2);
  });

  it('+15005550800: delivered late', async () => {
    const { outbox, send } = await sandbox(null, { slowMs: 300 });
    const slow = send({ address: '+15005550800' });
    await send();
    expect(outbox.list().map(({ address }) => address)).toEqual([MESSAGE.address]);
    expect(await slow).toMatchObject({ kind: 'sent' });
    expect(outbox.list()).toHaveLength(2);
  });

  it.each<readonly [string, string, BounceReason]>([
    ['+15005553000', 'failed 30001', 'PROVIDER_FAILED'],
    ['+15005553003', 'undelivered 30003', 'RECIPIENT_UNREACHABLE'],
    ['+15005553004', 'undelivered 30004', 'RECIPIENT_REFUSED'],
    ['+15005553005', 'undelivered 30005', 'RECIPIENT_UNREACHABLE'],
    ['+15005553006', 'undelivered 30006', 'RECIPIENT_UNREACHABLE'],
    ['+15005553007', 'undelivered 30007', 'MESSAGE_FILTERED'],
    ['+15005553008', 'undelivered 30008', 'CARRIER_FAILED'],
  ])('%s: accepted, then %s', async (address, raw, reason) => {
    const receipts = await receiver();
    const { send } = await sandbox(receipts.url);
    expect(await send({ address })).toMatchObject({ kind: 'sent' });
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', raw]);
    });
    expect(receipts.received[1]?.receipt).toMatchObject({ verdict: { kind: 'bounced', reason } });
  });

  it('+15005554000: receipts in the wrong order, and each twice', async () => {
    const receipts = await receiver();
    const { send } = await sandbox(receipts.url);
    await send({ address: '+15005554000' });
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['delivered', 'sent', 'delivered', 'sent']);
    });
  });

  it('+15005554001: a receipt before the answer', async () => {
    const receipts = await receiver();
    const { send } = await sandbox(receipts.url);
    expect(await send({ address: '+15005554001' })).toMatchObject({ kind: 'sent' });
    expect(rawsOf(receipts)[0]).toBe('sent');
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
  });

  it('+15005554002: receipts that come late', async () => {
    const receipts = await receiver();
    const { send } = await sandbox(receipts.url, { slowMs: 400 });
    await send({ address: '+15005554002' });
    await send();
    await eventually(() => {
      expect(receipts.received).toHaveLength(4);
    });
    const late = receipts.received.map(({ form }) => form['To'] === '+15005554002');
    expect(late).toEqual([false, false, true, true]);
  });

  it('+15005554003: no receipts', async () => {
    const receipts = await receiver();
    const { send } = await sandbox(receipts.url);
    expect(await send({ address: '+15005554003' })).toMatchObject({ kind: 'sent' });
    await send();
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
    expect(new Set(receipts.received.map(({ form }) => form['To']))).toEqual(new Set([MESSAGE.address]));
  });

  it('is described to whoever wants to try it, once', () => {
    const names = SANDBOX_NUMBERS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, description } of SANDBOX_NUMBERS) {
      expect(name).toMatch(/^\+1500555\d{4}$/);
      expect(description).toMatch(/^[A-Z].*\.$/);
    }
    expect(names).not.toContain(SANDBOX_TWILIO.from);
  });
});

describe("the sandbox's answers", () => {
  const LOGIN = `${SANDBOX_TWILIO.accountSid}:${SANDBOX_TWILIO.authToken}`;
  const PATH = `/2010-04-01/Accounts/${SANDBOX_TWILIO.accountSid}/Messages.json`;
  const FORM = { To: MESSAGE.address, From: SANDBOX_TWILIO.from, Body: 'Hello' };

  interface Asked {
    readonly form?: Readonly<Record<string, string>>;
    readonly login?: string | null;
    readonly path?: string;
    readonly method?: string;
  }

  async function ask({ form = FORM, login = LOGIN, path = PATH, method = 'POST' }: Asked): Promise<{
    readonly status: number;
    readonly body: Readonly<Record<string, unknown>>;
    readonly headers: Headers;
    readonly outbox: Outbox;
  }> {
    const { url, outbox } = await sandbox(null, { now: () => new Date('2026-03-01T12:30:05.000Z') });
    const response = await fetch(url + path, {
      method,
      ...(method === 'POST' && { body: new URLSearchParams(form) }),
      headers: login === null ? {} : { Authorization: `Basic ${Buffer.from(login).toString('base64')}` },
    });
    const body = (await response.json()) as Readonly<Record<string, unknown>>;
    return { status: response.status, body, headers: response.headers, outbox };
  }

  it('show a created message as Twilio does', async () => {
    const { status, body } = await ask({ form: { ...FORM, Body: 'ж'.repeat(71) } });
    const sid = String(body['sid']);
    const path = `/2010-04-01/Accounts/${SANDBOX_TWILIO.accountSid}/Messages/${sid}`;
    expect(status).toBe(201);
    expect(body).toEqual({
      account_sid: SANDBOX_TWILIO.accountSid,
      api_version: '2010-04-01',
      body: 'ж'.repeat(71),
      date_created: 'Sun, 01 Mar 2026 12:30:05 +0000',
      date_sent: null,
      date_updated: 'Sun, 01 Mar 2026 12:30:05 +0000',
      direction: 'outbound-api',
      error_code: null,
      error_message: null,
      from: SANDBOX_TWILIO.from,
      messaging_service_sid: null,
      num_media: '0',
      num_segments: '2',
      price: null,
      price_unit: null,
      sid,
      status: 'queued',
      subresource_uris: { media: `${path}/Media.json` },
      to: MESSAGE.address,
      uri: `${path}.json`,
    });
  });

  it.each<readonly [string, Asked, number, number]>([
    ['a wrong token', { login: `${SANDBOX_TWILIO.accountSid}:wrong` }, 401, 20003],
    ['a wrong account', { login: `AC${'0'.repeat(32)}:${SANDBOX_TWILIO.authToken}` }, 401, 20003],
    ['no login', { login: null }, 401, 20003],
    ['another account’s messages', { path: PATH.replace('5a17', '0000') }, 404, 20404],
    ['another resource', { path: PATH.replace('Messages', 'Calls') }, 404, 20404],
    ['another method', { method: 'GET' }, 404, 20404],
    ['no recipient', { form: { From: FORM.From, Body: 'x' } }, 400, 21604],
    ['no sender', { form: { To: FORM.To, Body: 'x' } }, 400, 21603],
    ['no text', { form: { ...FORM, Body: ' ' } }, 400, 21602],
    ['a text too long', { form: { ...FORM, Body: 'x'.repeat(1_601) } }, 400, 21617],
    ['a recipient that is no number', { form: { ...FORM, To: 'anna' } }, 400, 21211],
    ['an invalid sender', { form: { ...FORM, From: '+15005550001' } }, 400, 21212],
    ['a sender with a full queue', { form: { ...FORM, From: '+15005550008' } }, 400, 21611],
    ['a sender of somebody else', { form: { ...FORM, From: '+4915112345678' } }, 400, 21606],
    ['no Messaging Service', { form: { ...FORM, MessagingServiceSid: 'MG1' } }, 400, 21701],
    ['no address for receipts', { form: { ...FORM, StatusCallback: 'anywhere' } }, 400, 21609],
    ['no validity', { form: { ...FORM, ValidityPeriod: '36001' } }, 400, 21624],
    ['too many requests', { form: { ...FORM, To: '+15005550429' } }, 429, 20429],
  ])('refuse %s', async (_what, asked, status, code) => {
    const answer = await ask(asked);
    expect(answer.status).toBe(status);
    const more_info = `https://www.twilio.com/docs/errors/${String(code)}`;
    expect(answer.body).toEqual({ code, message: expect.any(String) as string, more_info, status });
    expect(answer.headers.get('Retry-After')).toBe(status === 429 ? '1' : null);
    expect(answer.headers.get('WWW-Authenticate')).toBe(status === 401 ? 'Basic realm="Twilio API"' : null);
    expect(answer.outbox.list()).toEqual([]);
  });
});

describe('receipts of the sandbox', () => {
  it('come as from Twilio: signed, in its form, `sent` and then `delivered`', async () => {
    const receipts = await receiver();
    const { outbox, send } = await sandbox(receipts.url);
    await send({ attempt: 3 });
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
    const sid = outbox.list()[0]?.headers['MessageSid'];
    const common = {
      SmsSid: sid,
      MessageSid: sid,
      AccountSid: SANDBOX_TWILIO.accountSid,
      To: MESSAGE.address,
      From: SANDBOX_TWILIO.from,
      ApiVersion: '2010-04-01',
    };
    expect(receipts.received.map(({ form }) => form)).toEqual([
      { ...common, MessageStatus: 'sent', SmsStatus: 'sent' },
      { ...common, MessageStatus: 'delivered', SmsStatus: 'delivered' },
    ]);
    for (const { url, headers } of receipts.received) {
      expect(url).toBe('/receipts/d-1/3');
      expect(headers['user-agent']).toBe('TwilioProxy/1.1');
      expect(headers['content-type']).toContain('application/x-www-form-urlencoded');
    }
  });

  it('are signed for the public address and go to where it is reached', async () => {
    const receipts = await receiver(undefined, 'https://notify.example');
    const asked: string[] = [];
    const { send } = await sandbox('https://notify.example', {
      reach: (url) => {
        asked.push(url);
        return url.replace('https://notify.example', receipts.url);
      },
    });
    await send();
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
    expect(new Set(asked)).toEqual(new Set(['https://notify.example/receipts/d-1/1']));
  });

  it('go to any address of this machine that the service says it listens on', async () => {
    const receipts = await receiver(undefined, 'http://notify.invalid');
    // Not of loopback by its looks, and yet this machine.
    const listening = receipts.url.replace('127.0.0.1', '0.0.0.0');
    const { send } = await sandbox('http://notify.invalid', {
      reach: (url) => url.replace('http://notify.invalid', listening),
    });
    await send();
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
  });

  it('are tried again until they are taken', async () => {
    const receipts = await receiver((count) => (count <= 2 ? 500 : count === 3 ? 429 : 200));
    const { send } = await sandbox(receipts.url);
    await send();
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'sent', 'sent', 'sent', 'delivered']);
    });
  });

  it.each([403, 404])('are not tried again when they are refused with %i', async (status) => {
    const receipts = await receiver(() => status);
    const { send } = await sandbox(receipts.url);
    await send();
    await send({ address: '+4915112345679' });
    await eventually(() => {
      expect(receipts.received.filter(({ form }) => form['MessageStatus'] === 'delivered')).toHaveLength(2);
    });
    expect(receipts.received).toHaveLength(4);
  });

  it('wait for a receiver that is not up yet', async () => {
    let address: string | null = null;
    let asked = 0;
    const { send } = await sandbox('http://notify.invalid', {
      reach: (url) => {
        asked++;
        return address && url.replace('http://notify.invalid', address);
      },
    });
    await send();
    await eventually(() => {
      expect(asked).toBeGreaterThan(1);
    });
    const receipts = await receiver(undefined, 'http://notify.invalid');
    address = receipts.url;
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
  });

  it('go nowhere but to this machine', async () => {
    const receipts = await receiver();
    const state = use(await openTempState());
    const { send } = await sandbox('http://192.0.2.1', { state });
    await send();
    await eventually(() => {
      expect(state.count(['receipt'])).toBe(0);
    });
    expect(receipts.received).toEqual([]);
  });

  it('that were still to be delivered survive a restart', async () => {
    const state: State = use(await openTempState());
    const outbox = openOutbox(use(await openTempState()));
    const callback = 'http://notify.invalid/receipts/1';
    const first = await openSandboxTwilio(outbox, { state, reach: () => null });
    const sender = openTwilioSender({
      ...SANDBOX_TWILIO,
      messagingServiceSid: null,
      apiUrl: first.value.url,
      statusCallback: () => callback,
      connections: 1,
    });
    await sender.value.send(MESSAGE, never());
    await sender.stop();
    await first.stop();
    expect(state.count(['receipt'])).toBe(1);

    const receipts = await receiver(undefined, 'http://notify.invalid');
    const reach = (url: string): string => url.replace('http://notify.invalid', receipts.url);
    use(await openSandboxTwilio(outbox, { state, reach }));
    await eventually(() => {
      expect(rawsOf(receipts)).toEqual(['sent', 'delivered']);
    });
    await eventually(() => {
      expect(state.count(['receipt'])).toBe(0);
    });
  });

  it('are kept for the ten thousand newest messages', async () => {
    const state = use(await openTempState());
    const options = { state, authToken: 'secret', reach: () => null, now: () => new Date() };
    const { keep } = use(openSandboxReceipts(options));
    const order = {
      url: 'http://notify.invalid/1',
      fields: {},
      steps: [{ status: 'sent', errorCode: null, afterMs: 0 }],
    } as const;
    for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 1_005 }, () => keep(order)));
    expect(state.count(['receipt'])).toBe(10_000);
    expect(state.get(['receipt', 50])).toBeUndefined();
    expect(state.get(['receipt', 10_050])).toBeDefined();
  });

  it('are given up after a day', async () => {
    const state = use(await openTempState());
    let now = new Date('2026-03-01T12:00:00.000Z');
    const { send } = await sandbox('http://notify.invalid', { state, now: () => now, reach: () => null });
    await send();
    expect(state.count(['receipt'])).toBe(1);
    now = new Date('2026-03-02T12:00:00.001Z');
    await eventually(() => {
      expect(state.count(['receipt'])).toBe(0);
    });
  });
});

describe('a sandbox that stops', () => {
  it('leaves nothing open, whatever it was about to do', async () => {
    const outbox = openOutbox(use(await openTempState()));
    const state = use(await openTempState());
    const receipts = await receiver(() => 500);
    const { value, stop } = await openSandboxTwilio(outbox, { state });
    const callback = `${receipts.url}/receipts/1`;
    const sender = openTwilioSender({
      ...SANDBOX_TWILIO,
      messagingServiceSid: null,
      apiUrl: value.url,
      statusCallback: () => callback,
      connections: 8,
    });
    const send = (address: string): Promise<Outcome> => sender.value.send({ ...MESSAGE, address }, never());
    const hanging = [send('+15005550408'), send('+15005550800'), send('+15005554001')];
    await send(MESSAGE.address);
    await eventually(() => {
      expect(receipts.received.length).toBeGreaterThan(1);
    });
    await stop();
    for (const outcome of await Promise.all(hanging)) expect(['unknown', 'sent']).toContain(outcome.kind);
    await sender.stop();
    const count = receipts.received.length;
    await expect(fetch(value.url)).rejects.toThrow();
    expect(receipts.received).toHaveLength(count);
    expect(state.count(['receipt'])).toBeGreaterThan(0);
  });

  it('frees its port, also when another had it', async () => {
    const state = use(await openTempState());
    const outbox = openOutbox(use(await openTempState()));
    const first = await openSandboxTwilio(outbox, { state });
    const port = Number(new URL(first.value.url).port);
    await expect(openSandboxTwilio(outbox, { state, port })).rejects.toThrow('EADDRINUSE');
    await first.stop();
    const second = use(await openSandboxTwilio(outbox, { state, port }));
    expect(second.url).toBe(first.value.url);
  });
});
