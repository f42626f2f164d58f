import { EXPIRED, NO_PLACE, OUT_OF_TIME, STOPPED } from './limit.ts';
import type { Outcome } from './outcome.ts';
import { type Answer, NOT_HTTP, type Stage } from './push-fcm-http.ts';
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
} from './verdict.ts';

/** What the fault of an answer lies in, where FCM's error code alone does not tell. */
export type Fault =
  /** The token as such: no message will ever reach the device by it. */
  | 'token'
  /** The token and the app or the credentials do not belong together. */
  | 'mismatch'
  | 'size';

/** A failed attempt. Nothing personal is in it, and no text that the vendor could put something into. */
export interface Failure {
  readonly stage: Stage;
  /** Of an attempt without an answer: Node's or the SDK's error code, or one of ours, below or in limit.ts. */
  readonly code: string | null;
  /** Of the answer: HTTP status, FCM's error code, Google's canonical code, and what the fault lies in. */
  readonly status: number | null;
  readonly fcm: string | null;
  readonly canonical: string | null;
  readonly fault: Fault | null;
}

/** No access token: refused by Google, busy, or not reached in time. */
export const TOKEN_REFUSED = 'TOKEN_REFUSED';
export const TOKEN_BUSY = 'TOKEN_BUSY';
export const TOKEN_UNREACHABLE = 'TOKEN_UNREACHABLE';

export interface Rule extends Ruling {
  readonly stage: Stage;
  /** Any of them; absent: any at all. So with the next ones: each that is there must hold. */
  readonly codes?: readonly string[];
  readonly status?: RegExp;
  /** FCM's error code, or Google's canonical code where FCM gave none of its own. */
  readonly error?: string;
  readonly fault?: Fault;
}

const DEAD = { kind: 'rejected', reason: 'DEVICE_UNREGISTERED' } as const;

const CODES = 'https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode';
const ERRORS = 'https://firebase.google.com/docs/cloud-messaging/error-codes';
const SCALE = 'https://firebase.google.com/docs/cloud-messaging/scale-fcm';
const APNS = 'https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns';
const GOOGLE = 'https://cloud.google.com/apis/design/errors';
const TOKENS = 'https://developers.google.com/identity/protocols/oauth2/service-account';
/** Google admits to 503s for messages that were delivered. */
const DELIVERED_503 = 'https://github.com/firebase/firebase-admin-node/issues/1248';
/** Google's list of what is safe to repeat no longer has INTERNAL. */
const UNSAFE_500 = 'https://github.com/firebase/firebase-admin-java/pull/576';

/** The first rule that matches decides. */
export const RULES: readonly Rule[] = [
  { name: 'stopped before the request', stage: 'before', codes: [STOPPED], verdict: GIVEN_UP, sources: [] },
  { name: 'no free connection', stage: 'before', codes: [NO_PLACE], verdict: CROWDED, afterMs: 5_000, sources: [] },
  // Tried again at once, which ends the delivery: it has expired.
  { name: 'expired while waiting', stage: 'before', codes: [EXPIRED], verdict: CROWDED, sources: [] },
  // invalid_grant, invalid_client …: the key is revoked or wrong, or our clock is.
  {
    name: 'no access token: refused',
    stage: 'before',
    codes: [TOKEN_REFUSED],
    verdict: AUTH,
    sources: [rfc(6749, '5.2'), TOKENS],
  },
  { name: 'no access token: busy', stage: 'before', codes: [TOKEN_BUSY], verdict: BUSY, sources: [rfc(9110, '15.6')] },
  {
    name: 'no access token: not reached',
    stage: 'before',
    codes: [TOKEN_UNREACHABLE, OUT_OF_TIME],
    verdict: UNREACHABLE,
    sources: [SYSTEM_ERRORS],
  },

  { name: 'stopped while connecting', stage: 'connecting', codes: [STOPPED], verdict: GIVEN_UP, sources: [] },
  // No address, refused, reset, no route, TLS failed, too slow: without a connection nothing was written.
  { name: 'no connection', stage: 'connecting', verdict: UNREACHABLE, sources: [SYSTEM_ERRORS] },

  // A POST that got no answer may have been done. Given up, too slow, or no HTTP for an answer.
  {
    name: 'no answer',
    stage: 'written',
    codes: [STOPPED, OUT_OF_TIME, 'ETIMEDOUT', NOT_HTTP],
    verdict: NO_ANSWER,
    sources: [rfc(9110, '9.2.2')],
  },
  // Even on a connection kept from before that the server may have closed while it was idle: had it read the request,
  // it would look the same from here. Connections are closed after 30 idle seconds, long before the server does it.
  { name: 'connection lost', stage: 'written', verdict: LOST, sources: [rfc(9110, '9.2.2')] },

  // UNREGISTERED (404): unregistered from FCM, the token is no longer valid.
  { name: 'device unregistered', stage: 'answered', error: 'UNREGISTERED', verdict: DEAD, sources: [CODES] },
  // INVALID_ARGUMENT (400), "Invalid registration"; example 2 of the error codes and the field message.token say that it
  // is the token. APNs' 410 Unregistered or ExpiredToken, which FCM passes on so: the same for an iPhone.
  {
    name: 'token not valid',
    stage: 'answered',
    error: 'INVALID_ARGUMENT',
    fault: 'token',
    verdict: DEAD,
    sources: [CODES, ERRORS, APNS],
  },
  // APNs' BadDeviceToken (other environment), DeviceTokenNotForTopic (other app): see the next one.
  {
    name: 'token of another app or environment',
    stage: 'answered',
    error: 'INVALID_ARGUMENT',
    fault: 'mismatch',
    verdict: ADDRESS_REFUSED,
    sources: [APNS],
  },
  // SENDER_ID_MISMATCH (403): the token belongs to another project. It is not dead: with the credentials of the wrong
  // project, every device of everybody would be switched off, one message after the other.
  {
    name: 'token of another project',
    stage: 'answered',
    error: 'SENDER_ID_MISMATCH',
    verdict: ADDRESS_REFUSED,
    sources: [CODES],
  },
  // INVALID_ARGUMENT, "Message too big".
  {
    name: 'message too big',
    stage: 'answered',
    error: 'INVALID_ARGUMENT',
    fault: 'size',
    verdict: TOO_LONG,
    sources: [CODES, APNS],
  },
  { name: 'request too big', stage: 'answered', status: /^413$/, verdict: TOO_LONG, sources: [rfc(9110, '15.5.14')] },
  // INVALID_ARGUMENT: package name, data key, TTL, other parameters. A 400 is not to be tried again.
  {
    name: 'argument not valid',
    stage: 'answered',
    error: 'INVALID_ARGUMENT',
    verdict: REFUSED,
    sources: [CODES, SCALE],
  },
  // QUOTA_EXCEEDED (429): at least a minute at first; 60 seconds without a Retry-After.
  {
    name: 'quota exceeded',
    stage: 'answered',
    status: /^429$/,
    verdict: BUSY,
    afterMs: 60_000,
    sources: [CODES, SCALE],
  },
  // UNAVAILABLE (503): "retry the same request", after 10 seconds at least without a Retry-After. Where Google has sent it
  // the message was delivered all the same, so that it does not say that nothing was done: decision record 12.
  {
    name: 'unavailable',
    stage: 'answered',
    status: /^503$/,
    error: 'UNAVAILABLE',
    verdict: FAILED,
    afterMs: 10_000,
    sources: [CODES, SCALE, DELIVERED_503],
  },
  // THIRD_PARTY_AUTH_ERROR (401): the APNs certificate or Web Push key in the project's settings, not the message.
  {
    name: 'third-party credentials refused',
    stage: 'answered',
    error: 'THIRD_PARTY_AUTH_ERROR',
    verdict: AUTH,
    sources: [CODES],
  },
  // UNAUTHENTICATED (401), PERMISSION_DENIED (403): our access token, or what the account may do.
  { name: 'credentials refused', stage: 'answered', status: /^40[13]$/, verdict: AUTH, sources: [GOOGLE] },
  // NOT_FOUND without FCM's UNREGISTERED: there is no such project. No token may die of that.
  { name: 'project not found', stage: 'answered', status: /^404$/, verdict: AUTH, sources: [GOOGLE] },
  // 408: the request did not arrive as a whole.
  {
    name: 'request not complete',
    stage: 'answered',
    status: /^408$/,
    verdict: BUSY,
    sources: [rfc(9110, '15.5.9')],
  },
  // INTERNAL (500): "an error while trying to process the request. You could retry": it does not say that nothing was
  // done. Likewise 502 and 504, and every 503 that is not FCM's own: a front end does not know what became of the request.
  {
    name: 'failed while processing',
    stage: 'answered',
    status: /^5/,
    verdict: FAILED,
    sources: [CODES, UNSAFE_500],
  },
  // Accepted, by the status; but what was accepted, and by whom, is not to be understood.
  {
    name: 'success not understood',
    stage: 'answered',
    status: /^[12]/,
    verdict: FAILED,
    sources: [rfc(9110, '15.3')],
  },
  // Refused for sure. FCM does not answer so: a redirect or something in between does.
  {
    name: 'refused by something else',
    stage: 'answered',
    status: /^[34]/,
    verdict: UNREACHABLE,
    sources: [rfc(9110, '15.4'), rfc(9110, '15.5')],
  },
];

/** A failure that no rule foresees, such as a message that the SDK does not take. */
export const UNFORESEEN: Record<'before' | 'after', Rule> = {
  before: { name: 'unforeseen before the request', stage: 'before', verdict: OUR_FAULT, sources: [] },
  after: { name: 'unforeseen after the request', stage: 'answered', verdict: NO_ANSWER, sources: [] },
};

export function ruleFor(failure: Failure): Rule {
  return RULES.find((rule) => matches(rule, failure)) ?? UNFORESEEN[failure.stage === 'before' ? 'before' : 'after'];
}

/** @param retryAfterMs The pause that the vendor asked for. */
export function outcomeOf(failure: Failure, raw: string | null, retryAfterMs: number | null): Outcome {
  return outcomeBy(ruleFor(failure), raw, retryAfterMs);
}

function matches(rule: Rule, failure: Failure): boolean {
  const { codes, status, error, fault } = rule;
  return (
    rule.stage === failure.stage &&
    (codes === undefined || (failure.code !== null && codes.includes(failure.code))) &&
    (status === undefined || (failure.status !== null && status.test(String(failure.status)))) &&
    (error === undefined || error === (failure.fcm ?? failure.canonical)) &&
    (fault === undefined || fault === failure.fault)
  );
}

/** What an answer says. */
export interface Reading extends Pick<Failure, 'status' | 'fcm' | 'canonical' | 'fault'> {
  /** The message's own name, where it was accepted. */
  readonly name: string | null;
  readonly text: string;
}

/** Reads `{ name }`, or Google's `{ error: { code, message, status, details } }`, and takes anything else as text. */
export function readAnswer({ status, body }: Answer): Reading {
  const json = parse(body);
  const error = field(json, 'error');
  const details = listOf(field(error, 'details'));
  const name = textOf(field(json, 'name'));
  const message = textOf(field(error, 'message'));
  const isSuccess = status >= 200 && status < 300;
  return {
    status,
    fcm: codeOf(field(detail(details, 'google.firebase.fcm.v1.FcmError'), 'errorCode')),
    canonical: codeOf(field(error, 'status')),
    fault: faultOf(message ?? '', details),
    name: isSuccess && name !== '' ? name : null,
    text: message ?? name ?? plain(body),
  };
}

const NOT_A_TOKEN = 'The registration token is not a valid FCM registration token';
const TOO_BIG = /\btoo (?:big|large|long)\b/i;

function faultOf(message: string, details: readonly unknown[]): Fault | null {
  const violations = listOf(field(detail(details, 'google.rpc.BadRequest'), 'fieldViolations'));
  const isToken = violations.some((violation) => field(violation, 'field') === 'message.token');
  if (isToken || message.startsWith(NOT_A_TOKEN)) return 'token';
  const fault = APNS_FAULTS[textOf(field(detail(details, 'google.firebase.fcm.v1.ApnsError'), 'reason')) ?? ''];
  return fault ?? (TOO_BIG.test(message) ? 'size' : null);
}

/** Reasons of APNs. */
const APNS_FAULTS: Readonly<Record<string, Fault>> = {
  Unregistered: 'token',
  ExpiredToken: 'token',
  BadDeviceToken: 'mismatch',
  DeviceTokenNotForTopic: 'mismatch',
  PayloadTooLarge: 'size',
};

const LARGEST_PAGE = 4_096;

/** What a page of a front end says, as text. */
function plain(body: string): string {
  return body
    .slice(0, LARGEST_PAGE)
    .replace(/<style.*?<\/style>|<[^>]*>/gis, ' ')
    .trim();
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : null;
}

function detail(details: readonly unknown[], type: string): unknown {
  return details.find((each) => field(each, '@type') === `type.googleapis.com/${type}`);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** Google's codes are names; anything else has no place among them. */
function codeOf(value: unknown): string | null {
  return typeof value === 'string' && /^[A-Z][A-Z0-9_]{0,63}$/.test(value) ? value : null;
}
