import { randomBytes } from 'node:crypto';
import type { ApiError } from './twilio-numbers.ts';

/** A message as asked for. */
export interface SandboxMessage {
  readonly sid: string;
  readonly accountSid: string;
  readonly to: string;
  readonly from: string | null;
  readonly service: string | null;
  readonly body: string;
  readonly callback: string | null;
  readonly createdAt: Date;
}

const LONGEST_TEXT = 1_600;
const LONGEST_VALIDITY = 36_000;

/** The form of a request to create a message, checked as Twilio checks it. */
export function readMessage(
  form: URLSearchParams,
  { accountSid, now }: { readonly accountSid: string; readonly now: Date },
): SandboxMessage | { readonly error: ApiError } {
  const fault = CHECKS.map((check) => check(form)).find((each) => each !== null);
  if (fault) return { error: { status: 400, code: fault[0], message: fault[1] } };
  return {
    sid: `SM${randomBytes(16).toString('hex')}`,
    accountSid,
    to: text(form, 'To'),
    from: form.get('From'),
    service: form.get('MessagingServiceSid'),
    body: text(form, 'Body'),
    callback: form.get('StatusCallback'),
    createdAt: now,
  };
}

type Check = (form: URLSearchParams) => readonly [code: number, message: string] | null;

function text(form: URLSearchParams, name: string): string {
  return form.get(name) ?? '';
}

const CHECKS: readonly Check[] = [
  (form) => (text(form, 'To') === '' ? [21604, "A 'To' phone number is required."] : null),
  (form) =>
    form.has('From') || form.has('MessagingServiceSid')
      ? null
      : [21603, "A 'From' or 'MessagingServiceSid' parameter is required to send a message"],
  (form) => (text(form, 'Body').trim() === '' ? [21602, 'Message body is required.'] : null),
  (form) =>
    text(form, 'Body').length > LONGEST_TEXT
      ? [21617, 'The concatenated message body exceeds the 1600 character limit.']
      : null,
  (form) =>
    /^\+[1-9]\d{6,14}$/.test(text(form, 'To'))
      ? null
      : [21211, `The 'To' number ${text(form, 'To')} is not a valid phone number.`],
  (form) => (form.has('From') ? fromFault(text(form, 'From')) : null),
  (form) =>
    /^(?:MG[\da-f]{32})?$/i.test(text(form, 'MessagingServiceSid'))
      ? null
      : [21701, 'The Messaging Service does not exist'],
  (form) =>
    !form.has('StatusCallback') || isUrl(text(form, 'StatusCallback'))
      ? null
      : [21609, `The StatusCallback URL ${text(form, 'StatusCallback')} is not a valid URL.`],
  (form) =>
    !form.has('ValidityPeriod') || isValidity(text(form, 'ValidityPeriod'))
      ? null
      : [21624, `ValidityPeriod must be between 1 and ${String(LONGEST_VALIDITY)}`],
];

/** Numbers to send from, as with Twilio's test credentials (https://www.twilio.com/docs/iam/test-credentials). */
function fromFault(from: string): ReturnType<Check> {
  switch (from) {
    case '+15005550006':
      return null;
    case '+15005550001':
      return [21212, `The 'From' number ${from} is not a valid phone number, shortcode, or alphanumeric sender ID.`];
    case '+15005550008':
      return [21611, 'SMS queue is full.'];
    default:
      return [
        21606,
        `The From phone number ${from} is not a valid, SMS-capable inbound phone number or short code for your account.`,
      ];
  }
}

function isUrl(url: string): boolean {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
}

function isValidity(seconds: string): boolean {
  return /^\d{1,5}$/.test(seconds) && Number(seconds) >= 1 && Number(seconds) <= LONGEST_VALIDITY;
}

/** The resource as a fresh one is answered (https://www.twilio.com/docs/messaging/api/message-resource). */
export function resourceOf(message: SandboxMessage): Readonly<Record<string, unknown>> {
  const { accountSid, sid, createdAt } = message;
  const path = `/2010-04-01/Accounts/${accountSid}/Messages/${sid}`;
  // RFC 2822, as in Thu, 24 Aug 2023 05:01:45 +0000.
  const date = createdAt.toUTCString().replace('GMT', '+0000');
  return {
    account_sid: accountSid,
    api_version: '2010-04-01',
    body: message.body,
    date_created: date,
    date_sent: null,
    date_updated: date,
    direction: 'outbound-api',
    error_code: null,
    error_message: null,
    from: message.from,
    messaging_service_sid: message.service,
    num_media: '0',
    num_segments: message.service === null ? String(cut(message.body).segments) : '0',
    price: null,
    price_unit: null,
    sid,
    status: message.service === null ? 'queued' : 'accepted',
    subresource_uris: { media: `${path}/Media.json` },
    to: message.to,
    uri: `${path}.json`,
  };
}

/** What every receipt of the message says of it. */
export function callbackFields(message: SandboxMessage): Readonly<Record<string, string>> {
  const { sid, to, from, service, accountSid } = message;
  return {
    SmsSid: sid,
    MessageSid: sid,
    AccountSid: accountSid,
    To: to,
    ...(from !== null && { From: from }),
    ...(service !== null && { MessagingServiceSid: service }),
    ApiVersion: '2010-04-01',
  };
}

/** 3GPP TS 23.038 §6.2.1, the extension table at the end. */
const GSM_7 = /^[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà\f^{}\\[~\]|€]*$/;
/** The escape before each is written as a carriage return, which no message has. */
const EXTENDED = /[\f^{}\\[~\]|€]/g;

/** As the network would cut it: septets with their escapes, or UTF-16, and nothing that belongs together torn apart. */
export function cut(body: string): { readonly encoding: 'GSM-7' | 'UCS-2'; readonly segments: number } {
  if (GSM_7.test(body)) {
    const septets = body.replace(EXTENDED, '\r$&');
    return { encoding: 'GSM-7', segments: septets.length <= 160 ? 1 : pieces(septets, 153, /\r$/) };
  }
  return { encoding: 'UCS-2', segments: body.length <= 70 ? 1 : pieces(body, 67, /[\ud800-\udbff]$/) };
}

function pieces(units: string, room: number, torn: RegExp): number {
  let count = 0;
  for (let at = 0; at < units.length; count++) {
    const isLast = at + room >= units.length;
    at += !isLast && torn.test(units.slice(at, at + room)) ? room - 1 : room;
  }
  return count;
}
