import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openTwilioSender, type TwilioSenderOptions } from '../../src/senders/sms-twilio.ts';
import { type Failure, RULES, type Rule, ruleFor } from '../../src/senders/sms-twilio-outcome.ts';
import type { Outcome, Sender } from '../../src/senders/outcome.ts';
import { eventually } from '../support/eventually.ts';
import {
  http,
  longer,
  openStandIn,
  type Reply,
  type Script,
  type StandIn,
  twilioError,
} from '../support/http-stand-in.ts';
import { openSecureSmtp } from '../support/smtp-server.ts';
import { CREATED, MESSAGE, options, SID } from '../support/twilio.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const never = (): AbortSignal => new AbortController().signal;

const use = stoppedAfterEach();

function sender(changes: Partial<TwilioSenderOptions> = {}): Sender {
  return use(openTwilioSender(options(changes)));
}

async function standIn(reply: Reply | string | Script): Promise<StandIn> {
  if (typeof reply === 'function') return use(await openStandIn(reply));
  return use(await openStandIn(() => (typeof reply === 'string' ? { text: reply } : reply)));
}

interface Scenario {
  readonly title: string;
  readonly rule: string;
  readonly reply?: Reply | string;
  readonly url?: string;
  readonly timeouts?: TwilioSenderOptions['timeouts'];
  /** Give up when the request has arrived. */
  readonly abort?: 'before' | 'arrived';
  /** Others keep the only connection busy, and are always first in line. */
  readonly crowded?: true;
  readonly statusCallback?: TwilioSenderOptions['statusCallback'];
  readonly afterMs?: number | null;
  readonly expiresAt?: string;
}

const SILENCE: Reply = { text: null };
const HTML = '<html><body>Forbidden</body></html>';

const SCENARIOS: readonly Scenario[] = [
  { rule: 'stopped before the request', title: 'given up before', abort: 'before' },
  { rule: 'no connection', title: 'nobody listens', url: 'http://127.0.0.1:1' },
  { rule: 'no connection', title: 'no such host', url: 'https://nobody.invalid', timeouts: { connect: 2_000 } },
  { rule: 'no free connection', title: 'others always come first', crowded: true, afterMs: 5_000 },
  { rule: 'expired while waiting', title: 'worth nothing by now', expiresAt: MESSAGE.requestedAt, afterMs: null },
  {
    rule: 'request not built',
    title: 'no address for receipts can be made',
    statusCallback: () => {
      throw new RangeError('no token');
    },
  },
  ...coded('recipient opted out', 400, [21610]),
  ...coded('recipient refused', 400, [21211, 21214, 21217, 21265, 21266, 21408, 21604, 21608, 21612, 21614, 21635]),
  ...coded('message too long', 400, [21605, 21617, 21658]),
  ...coded('body refused', 400, [21602, 21618, 21619]),
  ...coded('our sender refused', 400, [21212, 21601, 21603, 21606, 21616, 21657, 21659, 21660, 21661]),
  ...coded('our sender refused', 400, [21701, 21702, 21703, 21704, 21705, 21709]),
  ...coded('our callback refused', 400, [21609]),
  ...coded('our account refused', 401, [20003]),
  ...coded('our account refused', 403, [20005, 20006, 20008, 20010, 20403, 30002, 90010]),
  ...coded('our account refused', 404, [20404]),
  ...coded('queue full', 429, [21611, 30001]),
  ...coded('too many to one recipient', 400, [14107]).map((each) => ({ ...each, afterMs: 30_000 })),
  ...coded('too many requests', 429, [20429, 63038]).map((each) => ({ ...each, afterMs: 1_000 })),
  { rule: 'too many requests', title: '429 in nobody’s words', reply: http(429, HTML), afterMs: 1_000 },
  {
    rule: 'too many requests',
    title: '429 and when to come again',
    reply: twilioError(429, 20429, 'Too Many Requests', 'Retry-After: 17\r\n'),
    afterMs: 17_000,
  },
  { rule: 'login refused', title: '401 in nobody’s words', reply: http(401, '') },
  { rule: 'login refused', title: '403 of a firewall', reply: http(403, HTML) },
  ...coded('message refused', 400, [21620, 21624, 60000]),
  { rule: 'refused on the way', title: '400 of a load balancer', reply: http(400, HTML) },
  { rule: 'refused on the way', title: '407 of a proxy', reply: http(407, HTML) },
  { rule: 'refused on the way', title: '404 of another server', reply: http(404, '{"error":"no"}') },
  {
    rule: 'too many requests',
    title: '429 and a time that is past',
    reply: twilioError(429, 20429, 'Too Many Requests', 'Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n'),
    afterMs: 1_000,
  },
  ...coded('server error', 503, [20503]),
  {
    rule: 'server error',
    title: '503 and when to come again',
    reply: twilioError(503, 20503, 'Service unavailable', 'Retry-After: 86400\r\n'),
    afterMs: 3_600_000,
  },
  ...coded('server error', 500, [20500]),
  { rule: 'server error', title: '500 that looks like a refusal', reply: twilioError(500, 21211) },
  { rule: 'server error', title: '502 of a gateway', reply: http(502, HTML) },
  { rule: 'server error', title: '503 of a gateway', reply: http(503, HTML) },
  { rule: 'server error', title: '504 of a gateway', reply: http(504, '') },
  { rule: 'answer not understood', title: '200 of a captive portal', reply: http(200, HTML) },
  {
    rule: 'answer not understood',
    title: 'a redirect',
    reply: http(307, '', 'Location: https://elsewhere.example\r\n'),
  },
  { rule: 'no answer', title: 'silence', reply: SILENCE, timeouts: { answer: 60 } },
  { rule: 'no answer', title: 'half of a head, then silence', reply: 'HTTP/1.1 201 Cre', timeouts: { answer: 60 } },
  {
    rule: 'no answer',
    title: 'a refusal that never ends',
    reply: longer(twilioError(400, 21211)),
    timeouts: { answer: 60 },
  },
  { rule: 'no answer', title: 'no answer in the whole time', reply: SILENCE, timeouts: { total: 60 } },
  { rule: 'no answer', title: 'given up after the request', reply: SILENCE, abort: 'arrived' },
  { rule: 'no HTTP', title: 'something else than HTTP answers', reply: 'SSH-2.0-OpenSSH_9.2\r\n' },
  { rule: 'connection lost', title: 'cut after the request', reply: { text: null, cut: true } },
  {
    rule: 'connection lost',
    title: 'cut within the head',
    reply: { text: 'HTTP/1.1 201 Created\r\nConte', cut: true },
  },
  {
    rule: 'connection lost',
    title: 'cut within a refusal',
    reply: { text: longer(twilioError(400, 21211)), cut: true },
  },
  {
    rule: 'connection lost',
    title: 'cut within a 200',
    reply: { text: longer(http(200, `{"sid":"${SID}"`)), cut: true },
  },
];

function coded(rule: string, status: number, codes: readonly number[]): readonly Scenario[] {
  return codes.map((code) => {
    return {
      rule,
      title: `${String(status)} with error ${String(code)}`,
      reply: twilioError(status, code),
      afterMs: null,
    };
  });
}

interface Observed {
  readonly outcome: Outcome;
  readonly failures: readonly Failure[];
  readonly requests: readonly string[];
}

async function play(scenario: Scenario): Promise<Observed> {
  const caller = new AbortController();
  const failures: Failure[] = [];
  const server = await standIn(() => {
    if (scenario.abort === 'arrived') caller.abort();
    return typeof scenario.reply === 'object' ? scenario.reply : { text: scenario.reply ?? CREATED };
  });
  if (scenario.abort === 'before') caller.abort();
  const { timeouts, statusCallback } = scenario;
  const twilio = sender({
    apiUrl: scenario.url ?? server.url,
    ...(timeouts && { timeouts }),
    ...(statusCallback && { statusCallback }),
    ...(scenario.crowded && { connections: 1, timeouts: { total: 60 } }),
    onFailure: (failure, { deliveryId }) => {
      if (deliveryId === MESSAGE.deliveryId) failures.push(failure);
    },
  });
  const message = { ...MESSAGE, expiresAt: scenario.expiresAt ?? null };
  const outcome = await (scenario.crowded ? sendInCrowd(twilio) : twilio.send(message, caller.signal));
  return { outcome, failures, requests: server.requests.filter((request) => !request.includes('Body=crowd')) };
}

/** Sends in bulk while two others send in the transactional lane without a pause. */
async function sendInCrowd(crowded: Sender): Promise<Outcome> {
  let isOver = false;
  const crowd = ['one', 'two'].map(async (deliveryId) => {
    while (!isOver) await crowded.send({ ...MESSAGE, deliveryId, body: 'crowd' }, never());
  });
  const outcome = await crowded.send({ ...MESSAGE, lane: 'BULK' }, never());
  isOver = true;
  await Promise.all(crowd);
  return outcome;
}

function verdictOf(rule: Rule | undefined): object {
  return rule === undefined ? { kind: 'no such rule' } : rule.verdict;
}

describe('what a failed attempt means', () => {
  it.each(SCENARIOS)('$title: $rule', async (scenario) => {
    const { outcome, failures, requests } = await play(scenario);
    expect(failures.map((failure) => ruleFor(failure).name)).toEqual([scenario.rule]);
    expect(outcome).toMatchObject(verdictOf(RULES.find(({ name }) => name === scenario.rule)));
    if ('afterMs' in outcome && scenario.afterMs !== undefined) expect(outcome.afterMs).toBe(scenario.afterMs);
    expect(requests).toHaveLength(failures[0]?.stage === 'unsent' ? 0 : 1);
  });

  it('has a scenario for every rule, and for every error code of each', () => {
    expect(new Set(SCENARIOS.map(({ rule }) => rule))).toEqual(new Set(RULES.map(({ name }) => name)));
    for (const { name, errors } of RULES) {
      const titles = SCENARIOS.filter(({ rule }) => rule === name).map(({ title }) => title);
      for (const code of errors === 'any' ? [] : (errors ?? [])) {
        expect(titles.filter((title) => title.endsWith(`with error ${String(code)}`))).toHaveLength(1);
      }
    }
  });

  it('is that no connection came about when no handshake is made in time', async () => {
    const silent = use(await openStandIn(() => SILENCE));
    const twilio = sender({ apiUrl: silent.url.replace('http:', 'https:'), timeouts: { connect: 60 } });
    const outcome = await twilio.send(MESSAGE, never());
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'PROVIDER_UNREACHABLE', raw: 'NO_CONNECTION' });
  });

  it('is that no connection came about when nobody vouches for the server', async () => {
    const { port } = use(await openSecureSmtp({ user: 'me', pass: 'secret', secure: true }));
    const twilio = sender({ apiUrl: `https://localhost:${String(port)}` });
    const outcome = await twilio.send(MESSAGE, never());
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'PROVIDER_UNREACHABLE' });
    expect(outcome.raw).toContain('CERT');
  });

  it('is that no connection came about when the caller gives up during the handshake', async () => {
    const silent = use(await openStandIn(() => SILENCE));
    const caller = new AbortController();
    const outcome = sender({ apiUrl: silent.url.replace('http:', 'https:') }).send(MESSAGE, caller.signal);
    await eventually(() => {
      expect(silent.connections()).toBe(1);
    });
    caller.abort();
    expect(await outcome).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
  });
});

describe('a message that Twilio created', () => {
  it.each([
    ['with its id', CREATED, SID, '201 queued'],
    ['for a Messaging Service', http(201, JSON.stringify({ sid: SID, status: 'accepted' })), SID, '201 accepted'],
    [
      'as a multimedia message',
      http(201, JSON.stringify({ sid: SID.replace('S', 'M') })),
      SID.replace('S', 'M'),
      '201',
    ],
    ['with a 200 that names it', http(200, JSON.stringify({ sid: SID, status: 'queued' })), SID, '200 queued'],
    ['with something else for an id', http(201, '{"sid":"42","status":"queued"}'), null, '201 queued'],
    ['with something that is no JSON', http(201, HTML), null, '201'],
    ['with JSON that is no object', http(201, 'null'), null, '201'],
    ['without a body', http(201, ''), null, '201'],
    ['with far more than an answer', http(201, 'x'.repeat(200_000)), null, '201'],
  ])('%s is sent', async (_how, reply, providerMessageId, raw) => {
    const server = await standIn(reply);
    const outcome = await sender({ apiUrl: server.url }).send(MESSAGE, never());
    expect(outcome).toEqual({
      kind: 'sent',
      providerMessageId,
      raw,
      sms: { encoding: 'GSM-7', segments: 1 },
    });
    expect(server.requests).toHaveLength(1);
  });

  it('is sent even when the rest of the answer is cut off', async () => {
    const server = await standIn({ text: longer(CREATED), cut: true });
    const outcome = await sender({ apiUrl: server.url }).send(MESSAGE, never());
    expect(outcome).toMatchObject({ kind: 'sent', providerMessageId: null });
  });

  it('carries what it is billed by', async () => {
    const server = await standIn(CREATED);
    const outcome = await sender({ apiUrl: server.url }).send({ ...MESSAGE, body: '😀'.repeat(36) }, never());
    expect(outcome).toMatchObject({ kind: 'sent', sms: { encoding: 'UCS-2', segments: 2 } });
  });
});

describe('a server that answers anything', () => {
  const status = fc.constantFrom(200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 429, 500, 502, 503, 504, 599);
  const code = fc.constantFrom(undefined, 20003, 20429, 20500, 20503, 21211, 21610, 30001, 21610.5, 'x', null);
  const answer = fc.record({
    status,
    code,
    named: fc.boolean(),
    kept: fc.option(fc.nat(300), { nil: null }),
    cut: fc.boolean(),
  });

  it('is never told to have refused what it did not refuse, nor to have taken what it did not, and is asked once', async () => {
    let reply: Reply = SILENCE;
    const server = await standIn(() => reply);
    const twilio = sender({ apiUrl: server.url, timeouts: { answer: 40 } });
    const attempt = fc.asyncProperty(answer, async (said) => {
      const whole = http(said.status, JSON.stringify({ code: said.code, sid: said.named ? SID : undefined }));
      const text = said.kept === null ? whole : whole.slice(0, said.kept);
      reply = said.cut ? { text, cut: true } : { text };
      const before = server.requests.length;
      const { kind } = await twilio.send(MESSAGE, never());
      expect(server.requests.length - before).toBe(1);
      if (kind === 'sent') expect(said.status === 201 || (said.named && said.status < 300)).toBe(true);
      if (kind === 'retry' || kind === 'rejected') {
        expect(text).toBe(whole);
        expect((said.status >= 400 && said.status < 500) || (said.status === 503 && said.code === 20503)).toBe(true);
      }
    });
    await fc.assert(attempt, { numRuns: 200 });
  });
});
