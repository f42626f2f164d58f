import fc from 'fast-check';
import PostalMime from 'postal-mime';
import { describe, expect, it } from 'vitest';
import { type Failure, RULES, type Rule, ruleFor } from '../../src/senders/email-smtp-outcome.ts';
import { openSmtpSender, type SmtpSenderOptions } from '../../src/senders/email-smtp.ts';
import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';
import { eventually } from '../support/eventually.ts';
import {
  CUT,
  type Moment,
  openScriptedSmtp,
  openSecureSmtp,
  type Reaction,
  type Script,
  type ScriptedSmtp,
  SILENCE,
  TEST_CERTIFICATE,
} from '../support/smtp-server.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const MESSAGE: Message = {
  tenant: 'acme',
  notificationId: '0190b3a1-0000-7000-8000-000000000001',
  deliveryId: '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11',
  channel: 'EMAIL',
  lane: 'TRANSACTIONAL',
  address: 'anna@example.com',
  platform: null,
  attempt: 1,
  title: 'Your order is on its way',
  body: 'Hello Anna,\nit left our warehouse.',
  html: null,
  url: null,
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};

const never = (): AbortSignal => new AbortController().signal;
const FROM = 'Heliograph <no-reply@heliograph.example>';

const use = stoppedAfterEach();

function sender(options: Partial<SmtpSenderOptions> & { url: string }): Sender {
  return use(openSmtpSender({ from: FROM, connections: 1, ...options }));
}

async function server(script: Script = () => undefined, options?: { pipelining: boolean }): Promise<ScriptedSmtp> {
  return use(await openScriptedSmtp(script, options));
}

/** Reacts at one step, decently everywhere else. */
function at(step: string, ...reactions: readonly Reaction[]): Script {
  return (moment) => (moment.step === step ? reactions : undefined);
}

interface Scenario {
  readonly title: string;
  readonly rule: string;
  readonly script?: Script;
  readonly url?: string;
  readonly user?: string;
  readonly timeouts?: SmtpSenderOptions['timeouts'];
  /** Give up when the server comes to this step. */
  readonly abortAt?: string;
  /** Others keep every connection busy, and are always first in line. */
  readonly crowded?: true;
  readonly expiresAt?: string;
}

const LOGIN = '250-test\r\n250 AUTH PLAIN';
const SHORT = { silence: 60 };

const SCENARIOS: readonly Scenario[] = [
  { rule: 'no session', title: 'nobody listens', url: 'smtp://127.0.0.1:1' },
  { rule: 'no session', title: 'no such host', url: 'smtp://nobody.invalid', timeouts: { connect: 1_000 } },
  { rule: 'no session', title: 'no greeting comes', script: at('connect', SILENCE), timeouts: { greeting: 60 } },
  { rule: 'no session', title: 'closed before the greeting', script: at('connect', CUT) },
  { rule: 'no session', title: 'greeted with 554', script: at('connect', '554 no service here') },
  { rule: 'no session', title: 'something else than SMTP answers', script: at('connect', 'SSH-2.0-OpenSSH_9.2') },
  { rule: 'no session', title: 'TLS offered, but garbage sent', script: brokenTls, timeouts: { greeting: 60 } },
  { rule: 'no session', title: 'silence to EHLO', script: at('EHLO', SILENCE), timeouts: SHORT },
  { rule: 'no session', title: 'silence to MAIL FROM', script: at('MAIL', SILENCE), timeouts: SHORT },
  { rule: 'no session', title: 'every connection is cut at MAIL FROM', script: at('MAIL', CUT) },
  { rule: 'no session', title: 'every connection is cut at RCPT TO', script: at('RCPT', CUT) },
  { rule: 'no session', title: 'every connection is cut at DATA', script: at('DATA', CUT) },
  { rule: 'no session', title: 'nonsense for an answer to MAIL FROM', script: at('MAIL', '354 what for?') },
  { rule: 'session deferred', title: 'greeted with 450', script: at('connect', '450 too many of you') },
  { rule: 'session deferred', title: 'STARTTLS not available for now', script: noTlsNow },
  { rule: 'service closing', title: 'greeted with 421', script: at('connect', '421 closing') },
  { rule: 'service closing', title: '421 to EHLO', script: at('EHLO', '421 closing') },
  { rule: 'service closing', title: '421 to MAIL FROM', script: at('MAIL', '421 closing') },
  { rule: 'service closing', title: '421 to RCPT TO', script: at('RCPT', '421 closing', CUT) },
  { rule: 'service closing', title: '421 to DATA', script: at('DATA', '421 closing', CUT) },
  { rule: 'login deferred', title: '454 to the login', user: 'me:secret', script: login('454 not now') },
  { rule: 'login refused', title: '535 to the login', user: 'me:secret', script: login('535 no') },
  { rule: 'login refused', title: 'no password set', user: 'me', script: login('235 ok') },
  { rule: 'login required', title: '530 to MAIL FROM', script: at('MAIL', '530 5.7.0 log in first') },
  { rule: 'session out of step', title: '503 to MAIL FROM', script: at('MAIL', '503 what now') },
  { rule: 'sender deferred', title: '451 to MAIL FROM', script: at('MAIL', '451 later') },
  { rule: 'sender refused', title: '550 to MAIL FROM', script: at('MAIL', '550 not from you') },
  { rule: 'recipient deferred', title: '450 to RCPT TO', script: at('RCPT', '450 mailbox busy') },
  { rule: 'recipient refused', title: '550 to RCPT TO', script: at('RCPT', '550 no such user') },
  { rule: 'recipient refused', title: '550 to RCPT TO, and DATA taken all the same', script: eagerForData },
  { rule: 'data command deferred', title: '451 to DATA', script: at('DATA', '451 later') },
  { rule: 'data command refused', title: '554 to DATA', script: at('DATA', '554 no') },
  { rule: 'stopped before the data', title: 'given up in the envelope', script: at('MAIL', SILENCE), abortAt: 'MAIL' },
  { rule: 'out of time before the data', title: 'slow envelope', script: at('RCPT', SILENCE), timeouts: { total: 60 } },
  { rule: 'no free connection', title: 'others always come first', crowded: true, timeouts: { total: 60 } },
  { rule: 'expired while waiting', title: 'worth nothing by now', expiresAt: MESSAGE.requestedAt },
  { rule: 'message deferred', title: '451 to the message', script: at('message', '451 disk full') },
  { rule: 'message deferred', title: '421 to the message', script: at('message', '421 closing', CUT) },
  { rule: 'message refused', title: '554 to the message', script: at('message', '554 spam') },
  { rule: 'no final reply', title: 'silence after the message', script: at('message', SILENCE), timeouts: SHORT },
  { rule: 'no final reply', title: 'nonsense after the message', script: at('message', '354 more?') },
  { rule: 'no final reply', title: 'given up after the data', script: at('message', SILENCE), abortAt: 'message' },
  { rule: 'no final reply', title: 'slow final reply', script: at('message', SILENCE), timeouts: { total: 60 } },
  { rule: 'connection lost', title: 'cut after the message', script: at('message', CUT) },
  { rule: 'connection lost', title: 'cut within the data', script: at('begin', CUT) },
  { rule: 'connection lost', title: 'cut within the final reply', script: at('message', '250-queued', CUT) },
];

function brokenTls({ step }: Moment): Reaction | undefined {
  if (step === 'EHLO') return '250-test\r\n250 STARTTLS';
  return step === 'STARTTLS' ? '220 go\r\nthis is no TLS record' : undefined;
}

function noTlsNow({ step }: Moment): Reaction | undefined {
  if (step === 'EHLO') return '250-test\r\n250 STARTTLS';
  return step === 'STARTTLS' ? '454 TLS not available' : undefined;
}

function eagerForData({ step }: Moment): Reaction | undefined {
  if (step === 'RCPT') return '550 no such user';
  return step === 'DATA' ? '354 go ahead' : undefined;
}

function login(answer: string): Script {
  return ({ step }) => (step === 'EHLO' ? LOGIN : step === 'AUTH' ? answer : undefined);
}

interface Observed {
  readonly outcome: Outcome;
  readonly failures: readonly Failure[];
  readonly smtp: ScriptedSmtp;
}

async function play(scenario: Scenario, pipelining: boolean): Promise<Observed> {
  const caller = new AbortController();
  const failures: Failure[] = [];
  const smtp = await server(
    (moment) => {
      if (moment.step === scenario.abortAt) caller.abort();
      return scenario.script?.(moment);
    },
    { pipelining },
  );
  const url = scenario.url ?? smtp.url.replace('//', scenario.user === undefined ? '//' : `//${scenario.user}@`);
  const smtpSender = sender({
    url,
    ...(scenario.timeouts === undefined ? {} : { timeouts: scenario.timeouts }),
    onFailure: (failure, { deliveryId }) => {
      if (deliveryId === MESSAGE.deliveryId) failures.push(failure);
    },
  });
  if (scenario.crowded) return { outcome: await sendInCrowd(smtpSender), failures, smtp };
  const message = { ...MESSAGE, expiresAt: scenario.expiresAt ?? null };
  return { outcome: await smtpSender.send(message, caller.signal), failures, smtp };
}

/** Sends in bulk while two others send in the transactional lane without a pause. */
async function sendInCrowd(crowded: Sender): Promise<Outcome> {
  let isOver = false;
  const crowd = ['one', 'two'].map(async (deliveryId) => {
    while (!isOver) await crowded.send({ ...MESSAGE, deliveryId }, never());
  });
  const outcome = await crowded.send({ ...MESSAGE, lane: 'BULK' }, never());
  isOver = true;
  await Promise.all(crowd);
  return outcome;
}

function isMessage(taken: string): boolean {
  return taken.includes(`Message-ID: <${MESSAGE.deliveryId}@`);
}

function verdictOf(rule: Rule | undefined): object {
  return rule === undefined ? { kind: 'no such rule' } : rule.verdict;
}

describe('what a failed attempt means', () => {
  for (const pipelining of [true, false]) {
    describe(pipelining ? 'to a server with pipelining' : 'to a server without pipelining', () => {
      it.each(SCENARIOS)('$title: $rule', async (scenario) => {
        const { outcome, failures, smtp } = await play(scenario, pipelining);
        expect(failures.map((failure) => ruleFor(failure).name)).toEqual([scenario.rule]);
        expect(outcome).toMatchObject(verdictOf(RULES.find(({ name }) => name === scenario.rule)));
        if (outcome.kind !== 'unknown') expect(smtp.taken.filter(isMessage)).toEqual([]);
      });
    });
  }

  it('has a scenario for every rule', () => {
    expect(new Set(SCENARIOS.map(({ rule }) => rule))).toEqual(new Set(RULES.map(({ name }) => name)));
  });

  it('takes an unforeseen failure for a bug of the sender before the data, and for unknown after it', () => {
    const bug = { code: 'ESTREAM', command: 'API', reply: null };
    expect(ruleFor({ stage: 'envelope', ...bug }).verdict).toEqual({ kind: 'retry', reason: 'SENDER_FAILED' });
    expect(ruleFor({ stage: 'data', ...bug }).verdict).toEqual({ kind: 'unknown', reason: 'NO_ANSWER' });
  });
});

describe('a server that fails anywhere, in any way', () => {
  const STEPS = ['connect', 'EHLO', 'MAIL', 'RCPT', 'DATA', 'begin', 'message', 'RSET'];
  const reaction = fc.oneof(
    fc.constantFrom<readonly Reaction[]>(
      [CUT],
      [SILENCE],
      ['250 ok', CUT],
      ['354 ok'],
      ['nonsense'],
      ['250 ok', '250 ok'],
    ),
    fc
      .constantFrom('421', '450', '451', '454', '503', '530', '535', '550', '552', '554')
      .chain((code) => fc.constantFrom<readonly Reaction[]>([`${code} no`], [`${code} no`, CUT], [`${code}-no`, CUT])),
  );
  /** Whoever says yes before the end of the data, or twice, has lied: nothing can be asked of such a server. */
  const isHonest = (step: string, [first, second]: readonly Reaction[]): boolean =>
    ['message', 'RSET'].includes(step) ||
    (second !== '250 ok' && !(['DATA', 'begin'].includes(step) && first === '250 ok'));
  const anyFault = fc.record({
    step: fc.constantFrom(...STEPS),
    reactions: reaction,
    connection: fc.constantFrom(1, 2, null),
    messages: fc.constantFrom(0, 1),
  });
  const fault = anyFault.filter(({ step, reactions }) => isHonest(step, reactions));

  it(
    'is never told to have refused what it took, nor to have taken what it refused, and gets no message twice',
    { timeout: 60_000 },
    async () => {
      const attempt = fc.asyncProperty(
        fc.array(fault, { minLength: 1, maxLength: 2 }),
        fc.boolean(),
        async (faults, pipelining) => {
          const smtp = await openScriptedSmtp(
            (moment) =>
              faults.find(
                ({ step, connection, messages }) =>
                  step === moment.step &&
                  (connection ?? moment.connection) === moment.connection &&
                  messages === moment.messages,
              )?.reactions,
            { pipelining },
          );
          const timeouts = { greeting: 40, silence: 40 };
          const opened = openSmtpSender({ url: smtp.value.url, from: FROM, connections: 1, timeouts });
          try {
            for (const deliveryId of ['first', 'second']) {
              const { kind } = await opened.value.send({ ...MESSAGE, deliveryId }, never());
              const copies = smtp.value.taken.filter((message) =>
                message.includes(`Message-ID: <${deliveryId}@`),
              ).length;
              expect(copies).toBeLessThanOrEqual(1);
              if (kind === 'sent') expect(copies).toBe(1);
              if (kind === 'retry' || kind === 'rejected') expect(copies).toBe(0);
            }
          } finally {
            await opened.stop();
            await smtp.stop();
          }
        },
      );
      await fc.assert(attempt, { numRuns: 150 });
    },
  );
});

describe('a pooled connection', () => {
  it('serves message after message', async () => {
    const smtp = await server();
    const pooled = sender({ url: smtp.url });
    for (let index = 0; index < 5; index++) expect((await pooled.send(MESSAGE, never())).kind).toBe('sent');
    expect(smtp.moments.filter(({ step }) => step === 'connect')).toHaveLength(1);
  });

  it.each<readonly [string, readonly Reaction[]]>([
    ['cut', [CUT]],
    ['ended with 421', ['421 idle for too long', CUT]],
  ])('%s by the server between two messages costs the second nothing', async (_how, reactions) => {
    for (const pipelining of [true, false]) {
      const smtp = await server(
        ({ step, connection, messages }) =>
          step === 'MAIL' && connection === 1 && messages === 1 ? reactions : undefined,
        { pipelining },
      );
      const pooled = sender({ url: smtp.url });
      expect((await pooled.send({ ...MESSAGE, deliveryId: 'first' }, never())).kind).toBe('sent');
      expect((await pooled.send({ ...MESSAGE, deliveryId: 'second' }, never())).kind).toBe('sent');
      expect(smtp.taken).toHaveLength(2);
    }
  });

  it('that is lost after the data of its second message leaves that one unknown and is not tried again', async () => {
    const smtp = await server(({ step, messages }) => (step === 'message' && messages === 1 ? CUT : undefined));
    const pooled = sender({ url: smtp.url });
    expect((await pooled.send(MESSAGE, never())).kind).toBe('sent');
    expect(await pooled.send(MESSAGE, never())).toMatchObject({ kind: 'unknown', reason: 'CONNECTION_LOST' });
    expect(smtp.taken).toHaveLength(2);
  });

  it('goes on after a refused recipient', async () => {
    const smtp = await server(({ step, line }) => (step === 'RCPT' && line.includes('gone@') ? '550 gone' : undefined));
    const pooled = sender({ url: smtp.url });
    expect(await pooled.send({ ...MESSAGE, address: 'gone@example.com' }, never())).toMatchObject({ kind: 'rejected' });
    expect((await pooled.send(MESSAGE, never())).kind).toBe('sent');
    expect(smtp.moments.filter(({ step }) => step === 'connect')).toHaveLength(1);
  });

  it('is one of at most as many as allowed, however many messages wait', async () => {
    const smtp = await server();
    const pooled = sender({ url: smtp.url, connections: 3 });
    const outcomes = await Promise.all(Array.from({ length: 40 }, () => pooled.send(MESSAGE, never())));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(smtp.moments.filter(({ step }) => step === 'connect').length).toBeLessThanOrEqual(3);
  });
});

describe('giving up', () => {
  it('sends nothing when the caller had given up before', async () => {
    const smtp = await server();
    const outcome = await sender({ url: smtp.url }).send(MESSAGE, AbortSignal.abort());
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(smtp.moments).toEqual([]);
  });

  it('on a message that waits for a connection leaves the one that has it alone', async () => {
    const smtp = await server(at('message', SILENCE));
    const pooled = sender({ url: smtp.url, timeouts: { silence: 200 } });
    const first = pooled.send(MESSAGE, never());
    await eventually(() => {
      expect(smtp.moments.some(({ step }) => step === 'message')).toBe(true);
    });
    const caller = new AbortController();
    const second = pooled.send(MESSAGE, caller.signal);
    caller.abort();
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(await first).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
  });

  it('by stopping lets the message in flight finish and hands back those that wait', async () => {
    let inFlight = (): void => undefined;
    const reached = new Promise<void>((resolve) => (inFlight = resolve));
    const smtp = await server(({ step }) => {
      if (step === 'message') inFlight();
      return undefined;
    });
    const { value, stop } = openSmtpSender({ url: smtp.url, from: FROM, connections: 1 });
    const first = value.send(MESSAGE, never());
    const second = value.send(MESSAGE, never());
    await reached;
    await stop();
    expect((await first).kind).toBe('sent');
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(await value.send(MESSAGE, never())).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(smtp.taken).toHaveLength(1);
  });
});

describe('the message on the wire', () => {
  async function wire(
    message: Partial<Message>,
  ): Promise<{ raw: string; mail: Awaited<ReturnType<typeof PostalMime.parse>> }> {
    const smtp = await server();
    const outcome = await sender({ url: smtp.url }).send({ ...MESSAGE, ...message }, never());
    expect(outcome.kind).toBe('sent');
    const raw = smtp.taken[0] ?? '';
    return { raw, mail: await PostalMime.parse(Buffer.from(raw, 'latin1')) };
  }

  it('names one sender, one recipient, the delivery and the time of the request', async () => {
    const { mail } = await wire({});
    expect(mail.from).toEqual({ name: 'Heliograph', address: 'no-reply@heliograph.example' });
    expect(mail.to).toEqual([{ name: '', address: MESSAGE.address }]);
    expect(mail.subject).toBe(MESSAGE.title);
    expect(mail.messageId).toBe(`<${MESSAGE.deliveryId}@heliograph.example>`);
    expect(mail.date).toBe(MESSAGE.requestedAt);
    expect(mail.text?.trim()).toBe(MESSAGE.body);
    expect(mail.headers.find(({ key }) => key === 'x-heliograph-notification')?.value).toBe(MESSAGE.notificationId);
  });

  it('is the same on every attempt, but for the boundaries between its parts', async () => {
    const [first, second] = [await wire({ html: '<b>hi</b>' }), await wire({ html: '<b>hi</b>' })];
    const plain = (raw: string): string => raw.replace(/--_NmP-[\w-]+/g, '');
    expect(plain(first.raw)).toBe(plain(second.raw));
  });

  it('takes its subject from the first line with text when it has no title', async () => {
    const { mail } = await wire({ title: null, body: `\n  \r\n ${'ä'.repeat(119)}😀 and more\nsecond line` });
    expect(mail.subject).toBe(`${'ä'.repeat(119)}😀`);
  });

  it('ends with the link', async () => {
    const url = 'https://shop.example/o?id=1&x=<2>';
    const { mail } = await wire({ url, html: '<html><body><p>Hi</p></body></html>' });
    expect(mail.text?.trimEnd().split('\n').at(-1)).toBe(url);
    const link = 'https://shop.example/o?id=1&amp;x=&lt;2&gt;';
    expect(mail.html).toContain(`<p><a href="${link}">${link}</a></p></body>`);
  });

  it('does not repeat a link that is there', async () => {
    const url = 'https://shop.example/o?id=1&x=2';
    const html = `<a href="https://shop.example/o?id=1&amp;x=2">See</a>`;
    const { mail } = await wire({ url, body: `See\n${url}\nbye`, html });
    expect(mail.text?.trim()).toBe(`See\n${url}\nbye`);
    expect(mail.html?.trim()).toBe(html);
  });

  it('never makes a script of a link', async () => {
    const { mail } = await wire({ url: 'javascript:alert(1)', html: '<p>Hi</p>' });
    expect(mail.html?.trim()).toBe('<p>Hi</p>');
  });

  it('has exactly the headers it should, whatever is in its texts', async () => {
    const expected = (await wire({})).mail.headers.map(({ key }) => key).sort();
    const hostile = fc.string({
      unit: fc.constantFrom('a', '\r', '\n', '\0', ' ', ':', '=?', '\u2028', '\u0085', 'Bcc: x@y.example'),
    });
    const smtp = await server();
    const pooled = sender({ url: smtp.url });
    const property = fc.asyncProperty(hostile, hostile, async (title, id) => {
      const message = { ...MESSAGE, title, notificationId: id, deliveryId: `d${id}`, url: `https://x.example/${id}` };
      expect((await pooled.send(message, never())).kind).toBe('sent');
      const mail = await PostalMime.parse(Buffer.from(smtp.taken.at(-1) ?? '', 'latin1'));
      const keys = mail.headers.map(({ key }) => key).sort();
      const mayLack = new Set(['subject', 'x-heliograph-notification']);
      expect(keys).toEqual(expected.filter((key) => keys.includes(key) || !mayLack.has(key)));
    });
    await fc.assert(property, { numRuns: 60 });
    const recipients = smtp.moments.filter(({ step }) => step === 'RCPT').map(({ line }) => line);
    expect(new Set(recipients)).toEqual(new Set([`RCPT TO:<${MESSAGE.address}>`]));
  });

  it.each([
    'a@x.example, b@x.example',
    'a@x.example\r\nRCPT TO:<b@x.example>',
    '"a@evil.example x"@ok.example',
    'A <a@x.example>',
    'a',
    '',
  ])('goes nowhere when the address is %j', async (address) => {
    const smtp = await server();
    const outcome = await sender({ url: smtp.url }).send({ ...MESSAGE, address }, never());
    expect(outcome).toMatchObject({ kind: 'rejected', reason: 'RECIPIENT_REFUSED' });
    expect(smtp.moments).toEqual([]);
  });

  it('goes to an international domain in its wire form', async () => {
    const smtp = await server();
    expect((await sender({ url: smtp.url }).send({ ...MESSAGE, address: 'anna@jõgeva.ee' }, never())).kind).toBe(
      'sent',
    );
    expect(smtp.moments.find(({ step }) => step === 'RCPT')?.line).toBe('RCPT TO:<anna@xn--jgeva-dua.ee>');
  });
});

describe('encryption and login', () => {
  const secret = 'p@ss:w/ör%d';
  const credentials = `me:${encodeURIComponent(secret)}`;

  it.each([
    ['smtp', false],
    ['smtps', true],
  ] as const)('work over %s, with a password in any characters', async (scheme, secure) => {
    const smtp = use(await openSecureSmtp({ user: 'me', pass: secret, secure }));
    const url = `${scheme}://${credentials}@localhost:${String(smtp.port)}`;
    const outcome = await sender({ url, ca: TEST_CERTIFICATE }).send(MESSAGE, never());
    expect(outcome.kind).toBe('sent');
    expect(smtp.users).toEqual(['me']);
    expect(smtp.messages).toHaveLength(1);
  });

  it.each([
    ['smtp', false],
    ['smtps', true],
  ] as const)('over %s are not done with a server that nobody vouches for', async (scheme, secure) => {
    const smtp = use(await openSecureSmtp({ user: 'me', pass: secret, secure }));
    const outcome = await sender({ url: `${scheme}://${credentials}@localhost:${String(smtp.port)}` }).send(
      MESSAGE,
      never(),
    );
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'PROVIDER_UNREACHABLE' });
    expect(smtp.users).toEqual([]);
  });

  it('never show the password, even when the server repeats it', async () => {
    const smtp = use(await openSecureSmtp({ user: 'you', pass: 'other', secure: false }));
    const url = `smtp://${credentials}@localhost:${String(smtp.port)}`;
    const outcome = await sender({ url, ca: TEST_CERTIFICATE }).send(MESSAGE, never());
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'PROVIDER_AUTH', raw: '535 no entry for me with ***' });
  });
});

describe('settings', () => {
  it.each(['http://mail.example', 'mail.example:25', 'smtp://', ''])('refuse %j for a server', (url) => {
    expect(() => openSmtpSender({ url, from: FROM, connections: 1 })).toThrow('smtp://host');
  });

  it.each(['nobody', 'a@x.example, b@x.example', 'A <"a b"@x.example>', ''])('refuse %j for a sender', (from) => {
    expect(() => openSmtpSender({ url: 'smtp://127.0.0.1', from, connections: 1 })).toThrow('must be one address');
  });

  it('keep a long reply of the server short', async () => {
    const smtp = await server(at('message', `250 ${'x'.repeat(1000)}`));
    const outcome = await sender({ url: smtp.url }).send(MESSAGE, never());
    expect(outcome).toMatchObject({ kind: 'sent', providerMessageId: `<${MESSAGE.deliveryId}@heliograph.example>` });
    expect(outcome.raw).toHaveLength(300);
  });
});
