// Of the library this alone: all of it would be loaded into the main thread.
import { validateRequest, validateRequestWithBody } from 'twilio/lib/webhooks/webhooks.js';
import type { BounceReason, ReceiptVerdict } from '../events/outcome.ts';
import { errorPage } from './sms-twilio-outcome.ts';

export interface TwilioAccount {
  readonly accountSid: string;
  readonly authToken: string;
}

/** A callback as it arrived. `url`: the exact public URL that the request was sent to, query included. */
export interface TwilioCallback {
  readonly url: string;
  /** The header X-Twilio-Signature. */
  readonly signature: string | undefined;
  readonly body: string;
}

export type TwilioReceipt =
  | {
      readonly kind: 'receipt';
      readonly providerMessageId: string;
      readonly verdict: ReceiptVerdict;
      /** Status and error code, as in `undelivered 30003`. */
      readonly raw: string;
    }
  /** Properly signed, but nothing that is recorded: to be answered with success. */
  | { readonly kind: 'ignored' }
  /** No signature or a wrong one, another account's, not about a message at all, or not in a form that Twilio uses. */
  | { readonly kind: 'forged' };

/**
 * Behind the address for receipts: up to five retries within Twilio's fifteen seconds, on every failure (connection,
 * time-out, 4xx, 5xx), where the default is one, on failed connections only
 * (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
 */
export const CONNECTION_OVERRIDES = '#rc=5&rp=all';

const MESSAGE_SID = /^(?:SM|MM)[\da-f]{32}$/i;
/** Twilio sends about fifteen; every one more makes a signature dearer to check, and anybody may ask for that. */
const MOST_FIELDS = 100;

export function readTwilioReceipt(account: TwilioAccount, callback: TwilioCallback): TwilioReceipt {
  const form = new URLSearchParams(callback.body);
  const sid = form.get('MessageSid') ?? '';
  if (form.get('AccountSid') !== account.accountSid || !MESSAGE_SID.test(sid)) return { kind: 'forged' };
  if (form.size > MOST_FIELDS || callback.body.startsWith('?') || mayHideFields(form)) return { kind: 'forged' };
  if (!isSignedByTwilio(account.authToken, callback)) return { kind: 'forged' };
  const status = form.get('MessageStatus') ?? '';
  const error = errorCodeOf(form.get('ErrorCode'));
  const verdict = verdictOf(status, error);
  if (verdict === null) return { kind: 'ignored' };
  return {
    kind: 'receipt',
    providerMessageId: sid,
    verdict,
    raw: error === null ? status : `${status} ${String(error)}`,
  };
}

/**
 * Whether the request carries the signature that Twilio makes with this token over its URL and its form, or over its URL
 * alone when that names the hash of the body (`bodySHA256`). Compared in constant time. With and without a port it is the
 * same URL. So it is with our fragment: as far as is known Twilio does not sign it, but its pages do not rule it out.
 */
export function isSignedByTwilio(authToken: string, { url, signature, body }: TwilioCallback): boolean {
  if (signature === undefined || !URL.canParse(url)) return false;
  if (new URL(url).searchParams.has('bodySHA256')) {
    return validateRequestWithBody(authToken, signature, url, body);
  }
  const fields = new URLSearchParams(body);
  if (fields.size > MOST_FIELDS) return false;
  const form = Object.fromEntries(valuesOf(fields));
  return [url, url + CONNECTION_OVERRIDES].some((each) => validateRequest(authToken, signature, each, form));
}

/** Repeated fields as lists, as the library wants them. */
function valuesOf(fields: URLSearchParams): ReadonlyMap<string, string | string[]> {
  const values = new Map<string, string | string[]>();
  for (const [name, value] of fields) {
    const before = values.get(name);
    if (before === undefined) values.set(name, value);
    else if (typeof before === 'string') values.set(name, [before, value]);
    else before.push(value);
  }
  return values;
}

/** The fields that a verdict is made of, as they begin in the signed text. */
const TELLING = [
  { name: 'ErrorCode', begins: /ErrorCode(?=\d)/g },
  { name: 'MessageStatus', begins: /MessageStatus(?=[a-z_])/g },
] as const;

/**
 * The signature is over names and values without anything between them, so that a signed request can be cut into other
 * fields at will. Whether a field that matters could have been cut away so, or be cut short.
 */
function mayHideFields(form: URLSearchParams): boolean {
  const plain =
    /^\d{4}-\d\d-\d\d$/.test(form.get('ApiVersion') ?? '2010-04-01') &&
    /^[a-z_]+$/.test(form.get('MessageStatus') ?? '') &&
    /^\d*$/.test(form.get('ErrorCode') ?? '');
  if (!plain) return true;
  const text = signedText(form);
  return TELLING.some(({ name, begins }) => [...text.matchAll(begins)].length > (form.has(name) ? 1 : 0));
}

/** Without the URL. */
function signedText(form: URLSearchParams): string {
  const fields = [...valuesOf(form)].map(([name, value]) => [name, [...new Set([value].flat())].sort()] as const);
  return fields
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([name, values]) => values.map((value) => name + value))
    .join('');
}

function errorCodeOf(text: string | null): number | null {
  return text !== null && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : null;
}

/** Null: says nothing of a delivery. */
function verdictOf(status: string, error: number | null): ReceiptVerdict | null {
  const matches = ({ statuses, errors }: ReceiptRule): boolean =>
    statuses.includes(status) && (errors === undefined || (error !== null && errors.includes(error)));
  return RECEIPT_RULES.find(matches)?.verdict ?? null;
}

export interface ReceiptRule {
  readonly name: string;
  readonly statuses: readonly string[];
  /** Any of Twilio's error codes; absent: whether or not there is one. */
  readonly errors?: readonly number[];
  readonly verdict: ReceiptVerdict;
  /** Where it is written, as URLs. */
  readonly sources: readonly string[];
}

const STATUSES = 'https://www.twilio.com/docs/messaging/api/message-resource#message-status-values';

/** A message that did not arrive, and whose receipt says why: in short what is said at the page of each error code. */
function bounce(name: string, reason: BounceReason, errors: readonly number[]): ReceiptRule {
  const statuses = ['undelivered', 'failed', 'canceled'];
  return { name, statuses, errors, verdict: { kind: 'bounced', reason }, sources: errors.map(errorPage) };
}

/** The first rule that matches decides; a status that none knows says nothing of a delivery. */
export const RECEIPT_RULES: readonly ReceiptRule[] = [
  {
    name: 'on its way',
    statuses: ['accepted', 'scheduled', 'queued', 'sending', 'sent'],
    verdict: { kind: 'accepted' },
    sources: [STATUSES],
  },
  { name: 'delivered', statuses: ['delivered', 'read'], verdict: { kind: 'delivered' }, sources: [STATUSES] },
  // 30003 switched off or out of range, 30005 number unknown or given up, 30006 a landline or a carrier out of reach, 30011
  // no MMS there; 21211, 21214, 21217, 21612, 21614 and 21635 as in an answer, but found out later (Messaging Services).
  bounce(
    'recipient unreachable',
    'RECIPIENT_UNREACHABLE',
    [30003, 30005, 30006, 30011, 21211, 21214, 21217, 21612, 21614, 21635],
  ),
  // 30004 the recipient blocks such messages, 21610 or has answered STOP.
  bounce('recipient refused', 'RECIPIENT_REFUSED', [30004, 21610]),
  // 30007 filtered by Twilio or a carrier, 30018 and 30024 a sender that the carrier wants registered, 30032 a toll-free
  // number that is not verified, 30033 a campaign suspended, 30034 and 30035 a number without one, 30450 held to be SMS
  // pumping fraud.
  bounce('filtered', 'MESSAGE_FILTERED', [30007, 30018, 30024, 30032, 30033, 30034, 30035, 30450]),
  // 30008 an error that the carrier did not explain, 30017 congestion, 30019 too big for the carrier, 30022, 30023 and 30027
  // more than the carrier takes from us, 30410 the carrier did not answer in time.
  bounce('carrier failed', 'CARRIER_FAILED', [30008, 30017, 30019, 30022, 30023, 30027, 30410]),
  // 30001 queue overflow, 30002 account suspended, 30010 costs more than allowed, 30036 not sent within its validity period,
  // 30500 internal error.
  bounce('Twilio failed', 'PROVIDER_FAILED', [30001, 30002, 30010, 30036, 30500]),
  {
    name: 'undelivered, unexplained',
    statuses: ['undelivered'],
    verdict: { kind: 'bounced', reason: 'CARRIER_FAILED' },
    sources: [STATUSES],
  },
  {
    name: 'failed, unexplained',
    statuses: ['failed', 'canceled'],
    verdict: { kind: 'bounced', reason: 'PROVIDER_FAILED' },
    sources: [STATUSES],
  },
];
