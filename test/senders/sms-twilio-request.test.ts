import { describe, expect, it } from 'vitest';
import { openTwilioSender, type TwilioSenderOptions } from '../../src/senders/sms-twilio.ts';
import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';
import { eventually } from '../support/eventually.ts';
import { openStandIn, type Reply, type Script, type StandIn, twilioError } from '../support/http-stand-in.ts';
import { ACCOUNT_SID, AUTH_TOKEN, CREATED, MESSAGE, options } from '../support/twilio.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const never = (): AbortSignal => new AbortController().signal;

const use = stoppedAfterEach();

const SILENCE: Reply = { text: null };

function sender(changes: Partial<TwilioSenderOptions> = {}): Sender {
  return use(openTwilioSender(options(changes)));
}

async function standIn(reply: Reply | string | Script): Promise<StandIn> {
  if (typeof reply === 'function') return use(await openStandIn(reply));
  return use(await openStandIn(() => (typeof reply === 'string' ? { text: reply } : reply)));
}

describe('a connection', () => {
  it('serves message after message', async () => {
    const server = await standIn(CREATED);
    const twilio = sender({ apiUrl: server.url });
    for (let index = 0; index < 5; index++) expect((await twilio.send(MESSAGE, never())).kind).toBe('sent');
    expect(server.connections()).toBe(1);
  });

  it('is one of at most as many as allowed, however many messages wait', async () => {
    const server = await standIn(CREATED);
    const twilio = sender({ apiUrl: server.url, connections: 3 });
    const outcomes = await Promise.all(Array.from({ length: 40 }, () => twilio.send(MESSAGE, never())));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(server.connections()).toBeLessThanOrEqual(3);
    expect(server.requests).toHaveLength(40);
  });

  it('that the server closed after an answer costs the next message nothing', async () => {
    const server = await standIn(() => ({ text: CREATED.replace('\r\n', '\r\nConnection: close\r\n'), cut: true }));
    const twilio = sender({ apiUrl: server.url });
    for (let index = 0; index < 3; index++) expect((await twilio.send(MESSAGE, never())).kind).toBe('sent');
    expect(server.connections()).toBe(3);
  });

  it('goes to the transactional lane first', async () => {
    const order: string[] = [];
    const server = await standIn((request) => {
      order.push(/Body=(\w+)/.exec(request)?.[1] ?? '');
      return { text: CREATED };
    });
    const twilio = sender({ apiUrl: server.url, connections: 1 });
    const send = (body: string, lane: Message['lane']): Promise<Outcome> =>
      twilio.send({ ...MESSAGE, body, lane }, never());
    await Promise.all([send('first', 'BULK'), send('bulk', 'BULK'), send('code', 'TRANSACTIONAL')]);
    expect(order).toEqual(['first', 'code', 'bulk']);
  });
});

describe('giving up', () => {
  it('on a message that waits leaves the one that has the connection alone', async () => {
    const server = await standIn(SILENCE);
    const twilio = sender({ apiUrl: server.url, connections: 1, timeouts: { answer: 200 } });
    const first = twilio.send(MESSAGE, never());
    await eventually(() => {
      expect(server.requests).toHaveLength(1);
    });
    const caller = new AbortController();
    const second = twilio.send(MESSAGE, caller.signal);
    caller.abort();
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(await first).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
  });

  it('by stopping lets the message in flight finish and hands back those that wait', async () => {
    let answer = (): void => undefined;
    const server = use(
      await openStandIn(() => {
        answer();
        return { text: CREATED };
      }),
    );
    const arrived = new Promise<void>((resolve) => (answer = resolve));
    const { value, stop } = openTwilioSender(options({ apiUrl: server.url, connections: 1 }));
    const first = value.send(MESSAGE, never());
    const second = value.send(MESSAGE, never());
    await arrived;
    await stop();
    expect((await first).kind).toBe('sent');
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(await value.send(MESSAGE, never())).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(server.requests).toHaveLength(1);
  });
});

describe('the request', () => {
  async function request(message: Partial<Message>, changes: Partial<TwilioSenderOptions> = {}): Promise<string> {
    const server = await standIn(CREATED);
    const outcome = await sender({ apiUrl: server.url, ...changes }).send({ ...MESSAGE, ...message }, never());
    expect(outcome.kind).toBe('sent');
    return server.requests[0] ?? '';
  }

  async function form(
    message: Partial<Message>,
    changes: Partial<TwilioSenderOptions> = {},
  ): Promise<Readonly<Record<string, string>>> {
    const sent = await request(message, changes);
    return Object.fromEntries(new URLSearchParams(sent.slice(sent.indexOf('\r\n\r\n') + 4)));
  }

  it('is one to the Messages of the account, with its login', async () => {
    const sent = await request({});
    expect(sent).toContain(`POST /2010-04-01/Accounts/${ACCOUNT_SID}/Messages.json HTTP/1.1\r\n`);
    const login = Buffer.from(`${ACCOUNT_SID}:${AUTH_TOKEN}`).toString('base64');
    expect(sent).toContain(`\r\nAuthorization: Basic ${login}\r\n`);
    expect(sent).toContain('\r\nContent-Type: application/x-www-form-urlencoded\r\n');
  });

  it('names the recipient, the sender and the text, and nothing else', async () => {
    expect(await form({ title: 'Never seen', body: 'Grüße & 😀 = 100 %\n+1' })).toEqual({
      To: MESSAGE.address,
      From: '+15005550006',
      Body: 'Grüße & 😀 = 100 %\n+1',
    });
  });

  it('names the Messaging Service in place of a sender', async () => {
    const messagingServiceSid = `MG${'0'.repeat(32)}`;
    expect(await form({}, { from: null, messagingServiceSid })).toEqual({
      To: MESSAGE.address,
      MessagingServiceSid: messagingServiceSid,
      Body: MESSAGE.body,
    });
  });

  it('ends with the link', async () => {
    expect(await form({ url: 'https://shop.example/o/1' })).toMatchObject({
      Body: `${MESSAGE.body}\nhttps://shop.example/o/1`,
    });
  });

  it('asks for receipts of this attempt, as often as Twilio tries at all', async () => {
    const statusCallback: TwilioSenderOptions['statusCallback'] = (of) =>
      `https://notify.example/${of.notificationId}/${of.deliveryId}/${String(of.attempt)}?x=1`;
    const { notificationId, deliveryId } = MESSAGE;
    expect(await form({ attempt: 7 }, { statusCallback })).toMatchObject({
      StatusCallback: `https://notify.example/${notificationId}/${deliveryId}/7?x=1#rc=5&rp=all`,
    });
    expect(await form({}, { statusCallback: () => 'https://notify.example/#rc=0' })).toMatchObject({
      StatusCallback: 'https://notify.example/#rc=0',
    });
  });

  it.each([
    ['in a minute', 60_000, /^(?:59|60)$/],
    ['just under ten hours', 35_990_000, /^359(?:89|90)$/],
    ['in a moment', 1_900, /^1$/],
  ])('says how long the message may wait when it expires %s', async (_when, inMs, expected) => {
    const expiresAt = new Date(Date.now() + inMs).toISOString();
    expect((await form({ expiresAt }))['ValidityPeriod']).toMatch(expected);
  });

  it('does not when it expires later than anything waits', async () => {
    const expiresAt = new Date(Date.now() + 36_100_000).toISOString();
    expect(await form({ expiresAt })).not.toHaveProperty('ValidityPeriod');
  });

  it('follows no variable of the environment', async () => {
    const before = { ...process.env };
    use({
      value: undefined,
      stop: () => {
        process.env = before;
        return Promise.resolve();
      },
    });
    const nowhere = 'http://127.0.0.1:1';
    Object.assign(process.env, {
      TWILIO_EDGE: 'sydney',
      TWILIO_REGION: 'au1',
      TWILIO_LOG_LEVEL: 'debug',
      TWILIO_ACCOUNT_SID: `AC${'9'.repeat(32)}`,
      TWILIO_AUTH_TOKEN: 'another',
      TWILIO_CA_BUNDLE: '/nonexistent',
      HTTP_PROXY: nowhere,
      HTTPS_PROXY: nowhere,
      http_proxy: nowhere,
    });
    const sent = await request({});
    expect(sent).toContain(`POST /2010-04-01/Accounts/${ACCOUNT_SID}/Messages.json`);
    expect(sent).toContain(Buffer.from(`${ACCOUNT_SID}:${AUTH_TOKEN}`).toString('base64'));
  });
});

describe('a message that is not even offered', () => {
  it.each([
    ['nothing', '', 'RECIPIENT_REFUSED'],
    ['no number', 'anna', 'RECIPIENT_REFUSED'],
    ['another channel', 'whatsapp:+4915112345678', 'RECIPIENT_REFUSED'],
    ['two numbers', '+4915112345678,+4915112345679', 'RECIPIENT_REFUSED'],
    ['a number and a line more', '+4915112345678\nFrom: x', 'RECIPIENT_REFUSED'],
  ])('has %s for an address', async (_what, address, reason) => {
    const server = await standIn(CREATED);
    const outcome = await sender({ apiUrl: server.url }).send({ ...MESSAGE, address }, never());
    expect(outcome).toMatchObject({ kind: 'rejected', reason });
    expect(server.requests).toEqual([]);
  });

  it('has nothing to read', async () => {
    const server = await standIn(CREATED);
    const outcome = await sender({ apiUrl: server.url }).send({ ...MESSAGE, title: 'x', body: ' \u0000\n' }, never());
    expect(outcome).toMatchObject({ kind: 'rejected', reason: 'MESSAGE_REFUSED' });
    expect(server.requests).toEqual([]);
  });

  it.each([
    ['letters', 'a'.repeat(1_600), 'a'],
    ['emoji, which count twice', '😀'.repeat(800), 'a'],
    ['letters and an emoji', `${'a'.repeat(1_598)}😀`, 'a'],
  ])('is longer than Twilio takes, by one unit: %s', async (_what, longest, more) => {
    const server = await standIn(CREATED);
    const twilio = sender({ apiUrl: server.url });
    expect((await twilio.send({ ...MESSAGE, body: longest }, never())).kind).toBe('sent');
    expect(await twilio.send({ ...MESSAGE, body: longest + more }, never())).toEqual({
      kind: 'rejected',
      reason: 'MESSAGE_TOO_LONG',
      raw: 'not sent: 1601 characters, and Twilio takes 1600',
    });
    expect(server.requests).toHaveLength(1);
  });
});

describe("Twilio's own word", () => {
  const callback = 'https://notify.example/receipts/signed-and-secret';
  async function rawOf(explanation: string): Promise<string | null> {
    const server = await standIn(twilioError(400, 21211, explanation));
    const twilio = sender({ apiUrl: server.url, statusCallback: () => callback });
    return (await twilio.send(MESSAGE, never())).raw;
  }

  it('is kept: status, error code and explanation', async () => {
    expect(await rawOf("The 'To' number is not a valid phone number.")).toBe(
      "400 21211 The 'To' number is not a valid phone number.",
    );
  });

  it('is kept without the recipient, the text, the address for receipts and the token', async () => {
    const { address, body } = MESSAGE;
    const digits = address.slice(1);
    expect(await rawOf(`No: ${address}, %2B${digits}, ${body}, ${callback}#rc=5 ${AUTH_TOKEN}`)).toBe(
      '400 21211 No: ***, %2B***, ***, *** ***',
    );
  });

  it('is one line of at most 300 characters', async () => {
    const raw = (await rawOf(`a\r\n\u0007b ${'x'.repeat(1_000)}`)) ?? '';
    expect(raw).toMatch(/^400 21211 a b x+$/);
    expect(raw).toHaveLength(300);
  });
});

describe('settings', () => {
  it.each([
    ['no account', { accountSid: 'me' }, 'AC and 32'],
    ['an API key', { accountSid: `SK${'0'.repeat(32)}` }, 'AC and 32'],
    ['no token', { authToken: '' }, 'token is missing'],
    ['nobody to send from', { from: null }, 'one of the two'],
    ['two to send from', { messagingServiceSid: `MG${'0'.repeat(32)}` }, 'one of the two'],
    ['no connection', { connections: 0 }, 'connection'],
    ['a token in the clear', { apiUrl: 'http://api.twilio.com' }, 'https://host'],
    ['no address', { apiUrl: 'api.twilio.com' }, 'https://host'],
    ['another protocol', { apiUrl: 'ftp://127.0.0.1' }, 'https://host'],
  ])('with %s are refused', (_what, changes, expected) => {
    expect(() => openTwilioSender(options(changes))).toThrow(expected);
    expect(() => openTwilioSender(options(changes))).not.toThrow(AUTH_TOKEN);
  });
});
