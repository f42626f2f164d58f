import type { Outcome } from './outcome.ts';
import {
  ADDRESS_REFUSED,
  AUTH,
  BUSY,
  CROWDED,
  FAILED,
  GIVEN_UP,
  LOST,
  NO_ANSWER,
  OUR_FAULT,
  outcomeBy,
  REFUSED,
  rfc,
  type Ruling,
  SYSTEM_ERRORS,
  TOO_LONG,
  UNREACHABLE,
  type Verdict,
} from './verdict.ts';

/**
 * How far an attempt had come when it failed. `unsent`: no connection had come about, so nothing of the request was
 * written. `sent`: it may have arrived, and there is no complete answer. `answered`: there is.
 */
export type Stage = 'unsent' | 'sent' | 'answered';

/** A failed attempt; it holds nothing personal. */
export interface Failure {
  readonly stage: Stage;
  /** The system's or the HTTP parser's error code, one of those below or of limit.ts; null when there is an answer. */
  readonly code: string | null;
  /** HTTP status, also of an answer that was cut short; null without one. */
  readonly status: number | null;
  /** Twilio's error code; null when the answer has none, and so may come from somebody else on the way. */
  readonly error: number | null;
}

/** No connection, encryption included, in the time allowed for it. */
export const NO_CONNECTION = 'NO_CONNECTION';
/** No complete answer in the time allowed for it. */
export const SILENT = 'SILENT';
/** The library failed before it made a request. */
export const NOT_BUILT = 'NOT_BUILT';

export interface Rule extends Ruling {
  readonly stage: Stage;
  /** A pattern for the code; a rule with one does not match a failure without a code. */
  readonly code?: RegExp;
  /** A pattern for the HTTP status; likewise. */
  readonly status?: RegExp;
  /** Any of Twilio's error codes; `any`: Twilio gave one at all. */
  readonly errors?: readonly number[] | 'any';
}

/** What each error code means is at its own page; what is said there is repeated here in short. */
export function errorPage(error: number): string {
  return `https://www.twilio.com/docs/api/errors/${String(error)}`;
}

/** Answers by their status (2xx, 4xx, 5xx), and the form of an error. */
const ANSWERS = 'https://www.twilio.com/docs/usage/twilios-response';

/** An answer with status 4xx and one of these error codes. */
function refusal(name: string, verdict: Verdict, errors: readonly number[]): Rule {
  return { name, stage: 'answered', status: /^4/, errors, verdict, sources: errors.map(errorPage) };
}

/** An answer that is none of the Messages resource: a redirect, or a success that names no message and is no 201. */
const NOT_UNDERSTOOD: Rule = { name: 'answer not understood', stage: 'answered', verdict: FAILED, sources: [ANSWERS] };

/** The first rule that matches decides. `retry` and `rejected` only where Twilio certainly did not accept. */
export const RULES: readonly Rule[] = [
  { name: 'stopped before the request', stage: 'unsent', code: /^STOPPED$/, verdict: GIVEN_UP, sources: [] },
  // Also when one became free at the very end: the time for a new connection is far shorter than that for an attempt.
  {
    name: 'no free connection',
    stage: 'unsent',
    code: /^(?:NO_PLACE|OUT_OF_TIME)$/,
    verdict: CROWDED,
    afterMs: 5_000,
    sources: [],
  },
  // Tried again at once, which ends the delivery: it has expired.
  { name: 'expired while waiting', stage: 'unsent', code: /^EXPIRED$/, verdict: CROWDED, sources: [] },
  { name: 'request not built', stage: 'unsent', code: /^NOT_BUILT$/, verdict: OUR_FAULT, sources: [] },
  // No address, refused, reset, certificate not trusted, took too long: whatever it was, the request was not written.
  { name: 'no connection', stage: 'unsent', verdict: UNREACHABLE, sources: [SYSTEM_ERRORS] },

  // 21610: the recipient answered STOP to an earlier message of ours.
  refusal('recipient opted out', { kind: 'rejected', reason: 'RECIPIENT_OPTED_OUT' }, [21610]),
  // 21211, 21214 and 21217 not a valid number or not reachable, 21408 a region that our account may not send to,
  // 21604 none given, 21265 a short code, 21266 our own, 21608 not verified (trial accounts), 21612 not reachable from our
  // sender, 21614 not a mobile number, 21635 a landline.
  refusal(
    'recipient refused',
    ADDRESS_REFUSED,
    [21211, 21214, 21217, 21265, 21266, 21408, 21604, 21608, 21612, 21614, 21635],
  ),
  // 21617 and 21658 over 1,600 characters, 21605 over 160 at an endpoint of old.
  refusal('message too long', TOO_LONG, [21605, 21617, 21658]),
  // 21602 no body, 21618 and 21619 a body that cannot be sent.
  refusal('body refused', REFUSED, [21602, 21618, 21619]),
  // The From of our settings, so every message fails until somebody corrects it: 21212 invalid, 21601 and 21606 cannot send
  // messages, 21603 none given, 21616 ambiguous, 21657 invalid sender id, 21659 not Twilio's, 21660 and 21661 another
  // account's; 21701 to 21705 and 21709 a Messaging Service that does not exist or has no sender for this message.
  refusal(
    'our sender refused',
    AUTH,
    [21212, 21601, 21603, 21606, 21616, 21657, 21659, 21660, 21661, 21701, 21702, 21703, 21704, 21705, 21709],
  ),
  // 21609: the address for receipts is made of a setting of ours, too.
  refusal('our callback refused', AUTH, [21609]),
  // 20003 and 20006 wrong credentials or not allowed, 20005, 20010, 30002 and 90010 account suspended or closed, 20008 test
  // credentials, 20403 forbidden, 20404 no such account.
  refusal('our account refused', AUTH, [20003, 20005, 20006, 20008, 20010, 20403, 20404, 30002, 90010]),
  // 21611 and 30001: more is queued for our sender than it can send in hours.
  refusal('queue full', BUSY, [21611, 30001]),
  // 14107: more than fifteen messages in thirty seconds between the same two numbers.
  {
    ...refusal('too many to one recipient', { kind: 'retry', reason: 'RECIPIENT_BUSY' }, [14107]),
    afterMs: 30_000,
  },
  // "Requests that receive 429 responses aren't processed and are safe to retry after backing off."
  {
    name: 'too many requests',
    stage: 'answered',
    status: /^429$/,
    verdict: BUSY,
    afterMs: 1_000,
    sources: [errorPage(20429)],
  },
  { name: 'login refused', stage: 'answered', status: /^40[13]$/, verdict: AUTH, sources: [ANSWERS] },
  { name: 'message refused', stage: 'answered', status: /^4/, errors: 'any', verdict: REFUSED, sources: [ANSWERS] },
  // A refusal that is not in Twilio's words comes from somebody on the way to it, such as a proxy.
  { name: 'refused on the way', stage: 'answered', status: /^4/, verdict: UNREACHABLE, sources: [rfc(9110, '15.5')] },
  // 20503 "temporarily unavailable. Try again a few times with exponential back-off": it does not say that nothing was done,
  // as 20429 does, and 20500 warns of every server error to a POST: "If you get a 500 Server Error on these requests, and
  // you retry the request, it is possible for a customer to receive multiple messages." 502, 503 and 504 without an error
  // code are gateways that got no answer.
  {
    name: 'server error',
    stage: 'answered',
    status: /^5/,
    verdict: FAILED,
    sources: [errorPage(20500), errorPage(20503)],
  },
  NOT_UNDERSTOOD,

  // A POST that got no answer may have been done.
  {
    name: 'no answer',
    stage: 'sent',
    code: /^(?:STOPPED|OUT_OF_TIME|SILENT)$/,
    verdict: NO_ANSWER,
    sources: [rfc(9110, '9.2.2')],
  },
  // The HTTP parser's codes: something was said, but not HTTP.
  { name: 'no HTTP', stage: 'sent', code: /^HPE_/, verdict: NO_ANSWER, sources: [rfc(9110, '9.2.2')] },
  { name: 'connection lost', stage: 'sent', verdict: LOST, sources: [rfc(9110, '9.2.2')] },
];

export function ruleFor(failure: Failure): Rule {
  return RULES.find((rule) => matches(rule, failure)) ?? NOT_UNDERSTOOD;
}

/** @param retryAfterMs The pause that Twilio asked for; null: none. */
export function outcomeOf(failure: Failure, raw: string | null, retryAfterMs: number | null): Outcome {
  return outcomeBy(ruleFor(failure), raw, retryAfterMs);
}

function matches(rule: Rule, failure: Failure): boolean {
  return (
    rule.stage === failure.stage &&
    (rule.code === undefined || (failure.code !== null && rule.code.test(failure.code))) &&
    (rule.status === undefined || (failure.status !== null && rule.status.test(String(failure.status)))) &&
    (rule.errors === undefined || (failure.error !== null && names(rule.errors, failure.error)))
  );
}

function names(errors: readonly number[] | 'any', error: number): boolean {
  return errors === 'any' || errors.includes(error);
}
