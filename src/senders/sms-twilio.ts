import twilio from 'twilio';
import type { MessageListInstanceCreateOptions } from 'twilio/lib/rest/api/v2010/account/message.js';
import type { Started } from '../lifecycle.ts';
import { trackInFlight } from './in-flight.ts';
import { type Limit, openLimit } from './limit.ts';
import type { Message, Outcome, Sender } from './outcome.ts';
import { openPlaces, takePlace } from './places.ts';
import { readable } from './raw.ts';
import { retryAfterMs } from './retry-after.ts';
import { smsParts, smsText } from './sms-text.ts';
import { type Exchange, type HttpClient, type HttpRequest, openHttpClient } from './sms-twilio-http.ts';
import { type Failure, NOT_BUILT, outcomeOf } from './sms-twilio-outcome.ts';
import { CONNECTION_OVERRIDES } from './sms-twilio-receipt.ts';

export interface TwilioSenderOptions {
  readonly accountSid: string;
  readonly authToken: string;
  /** Exactly one of these two. */
  readonly from: string | null;
  readonly messagingServiceSid: string | null;
  /** Where Twilio is to send receipts of this attempt; null: nowhere. */
  readonly statusCallback: (attempt: {
    readonly notificationId: string;
    readonly deliveryId: string;
    readonly attempt: number;
  }) => string | null;
  /** Default https://api.twilio.com; `http://` only on loopback. */
  readonly apiUrl?: string;
  /** Connections open, and so requests under way, at most; more messages than that wait for one. */
  readonly connections: number;
  readonly timeouts?: Partial<TwilioTimeouts>;
  /** Told of every failed attempt, for logs; a failure holds nothing personal. */
  readonly onFailure?: (failure: Failure, message: Message) => void;
}

/** Milliseconds. */
export interface TwilioTimeouts {
  /** From the look-up of the name to the end of the TLS handshake. Default 5,000. */
  readonly connect: number;
  /** From there to a complete answer. Default 15,000. */
  readonly answer: number;
  /** One call of `send`, whatever happens: below the 18 seconds after which the worker cuts it off. Default 17,000. */
  readonly total: number;
}

const TIMEOUTS: TwilioTimeouts = { connect: 5_000, answer: 15_000, total: 17_000 };
/** In UTF-16 units, so that an emoji counts as two: https://www.twilio.com/docs/api/errors/21617 */
const LONGEST_TEXT = 1_600;
/** Seconds: https://www.twilio.com/docs/api/errors/21624 */
const LONGEST_VALIDITY = 36_000;
/** A phone number, and nothing that would choose another channel of Twilio's, such as `whatsapp:` or a client's name. */
const PHONE_NUMBER = /^\+[1-9]\d{1,14}$/;

/** @throws when a setting is unusable; the error names no secret. */
export function openTwilioSender(options: TwilioSenderOptions): Started<Sender> {
  checkSettings(options);
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const origin = parseOrigin(options.apiUrl ?? 'https://api.twilio.com');
  const { connections } = options;
  const client = openHttpClient({ origin, connections, connectMs: timeouts.connect, answerMs: timeouts.answer });
  const places = openPlaces(connections, () => performance.now());
  const offer = openOffer(options, client);

  const deliver = async (message: Message, signal: AbortSignal): Promise<Outcome> => {
    const text = smsText(message);
    const refusal = refusalOf(message, text);
    if (refusal) return refusal;
    const limit = openLimit(signal, timeouts.total);
    const offered: Offered = { message, text, limit, options };
    try {
      const code = await takePlace(places, message, limit);
      if (code !== null) return failed(offered, { ...UNSENT, code });
      const exchange = await offer(message, text, limit.signal).finally(places.free);
      return concluded(exchange, offered);
    } finally {
      limit.clear();
    }
  };
  const { send, settled } = trackInFlight(deliver);
  const stop = async (): Promise<void> => {
    places.close();
    await settled();
    client.close();
  };
  return { value: { provider: 'twilio', channel: 'SMS', send }, stop };
}

function checkSettings({ accountSid, authToken, from, messagingServiceSid, connections }: TwilioSenderOptions): void {
  if (!/^AC[\da-f]{32}$/.test(accountSid))
    throw new Error('The Twilio account must be AC and 32 hexadecimal digits, in lower case');
  if (authToken === '') throw new Error('The Twilio auth token is missing');
  if ((from === null) === (messagingServiceSid === null)) {
    throw new Error('Messages through Twilio are sent from a number or by a Messaging Service: one of the two');
  }
  if (connections < 1) throw new Error('Twilio cannot be reached over fewer than one connection');
}

/** The account's token is sent with every request: in the clear only to this machine. */
function parseOrigin(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isLoopback = url !== null && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback))) {
    throw new Error('The address of the Twilio API must be https://host, or http://127.0.0.1:port');
  }
  return url;
}

function refusalOf({ address }: Message, text: string): Outcome | null {
  if (!PHONE_NUMBER.test(address)) {
    return { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: 'not sent: the address is not a phone number' };
  }
  if (text === '') return { kind: 'rejected', reason: 'MESSAGE_REFUSED', raw: 'not sent: there is nothing to read' };
  if (text.length <= LONGEST_TEXT) return null;
  const raw = `not sent: ${String(text.length)} characters, and Twilio takes ${String(LONGEST_TEXT)}`;
  return { kind: 'rejected', reason: 'MESSAGE_TOO_LONG', raw };
}

function paramsOf(message: Message, text: string, options: TwilioSenderOptions): MessageListInstanceCreateOptions {
  const { notificationId, deliveryId, attempt, expiresAt } = message;
  const callback = options.statusCallback({ notificationId, deliveryId, attempt });
  const validity = expiresAt === null ? null : validityOf(expiresAt);
  return {
    to: message.address,
    body: text,
    ...(options.from !== null && { from: options.from }),
    ...(options.messagingServiceSid !== null && { messagingServiceSid: options.messagingServiceSid }),
    ...(callback !== null && { statusCallback: callback.includes('#') ? callback : callback + CONNECTION_OVERRIDES }),
    ...(validity !== null && { validityPeriod: validity }),
  };
}

/** Seconds that the message may wait in Twilio's queue; null: as long as it ever may. */
function validityOf(expiresAt: string): number | null {
  const seconds = Math.max(1, Math.floor((Date.parse(expiresAt) - Date.now()) / 1_000));
  return seconds < LONGEST_VALIDITY ? seconds : null;
}

/** What the library asks its HTTP client for. */
interface LibraryRequest {
  readonly uri: string;
  readonly username?: string;
  readonly password?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly data?: object;
}

interface Offer {
  readonly signal: AbortSignal;
  exchange: Promise<Exchange> | null;
}

/**
 * Creates a message through the library, with one HTTP request that is made here and not by the library's own client:
 * that one tells neither how far a request had come nor what stood in the head of the answer, and it follows variables of
 * the environment for proxies and certificates. Null: it failed before there was a request.
 */
function openOffer(
  options: TwilioSenderOptions,
  client: HttpClient,
): (message: Message, text: string, signal: AbortSignal) => Promise<Exchange | null> {
  // The library asks its HTTP client before `create` returns, and gets one request for one message.
  let next: Offer | null = null;
  const request = async (asked: LibraryRequest): Promise<{ statusCode: number; body: string }> => {
    const offer = next;
    if (offer?.exchange !== null) throw new Error('a request that no message asked for');
    offer.exchange = client.post(httpRequest(asked), offer.signal);
    const exchange = await offer.exchange;
    if (exchange.kind === 'failed') throw new Error('the request failed');
    return { statusCode: exchange.status, body: exchange.body };
  };
  // Given a `ca`, the library reads no file that the environment names.
  const httpClient = Object.assign(new twilio.RequestClient({ ca: '' }), { request });
  const { messages } = new twilio.Twilio(options.accountSid, options.authToken, { httpClient, autoRetry: false });
  const create = async (message: Message, text: string): Promise<unknown> =>
    messages.create(paramsOf(message, text, options));
  return async (message, text, signal) => {
    const offer: Offer = { signal, exchange: null };
    next = offer;
    // The exchange tells what came of it: the library takes any success for Twilio's, and knows no half of an answer.
    const created = create(message, text);
    next = null;
    await created.catch(() => undefined);
    return offer.exchange === null ? null : offer.exchange.catch(() => null);
  };
}

function httpRequest({ uri, username = '', password = '', headers = {}, data = {} }: LibraryRequest): HttpRequest {
  const form = Object.entries(data).map(([name, value]) => [name, String(value)]);
  const { pathname, search } = new URL(uri);
  return {
    path: pathname + search,
    headers: { ...headers, Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` },
    body: new URLSearchParams(form).toString(),
  };
}

/** An attempt under way. */
interface Offered {
  readonly message: Message;
  readonly text: string;
  readonly limit: Limit;
  readonly options: TwilioSenderOptions;
}

const UNSENT = { stage: 'unsent', code: null, status: null, error: null } as const;
const CREATED = 201;

function concluded(exchange: Exchange | null, offered: Offered): Outcome {
  if (exchange === null) return failed(offered, { ...UNSENT, code: NOT_BUILT });
  // The status line alone says that the message was created; what it is called, its receipts will tell.
  if (exchange.kind === 'failed' && exchange.status === CREATED) return sent(offered, null, '201, and no more');
  if (exchange.kind === 'failed') {
    const { stage, status } = exchange;
    return failed(offered, { stage, status, code: exchange.code ?? offered.limit.reached(), error: null });
  }
  const { status } = exchange;
  const { sid, state, error, explanation } = readBody(exchange.body);
  const raw = readable([status, error, state], explanation, secretsOf(offered));
  if (status === CREATED || (status >= 200 && status < 300 && sid !== null)) return sent(offered, sid, raw);
  const failure: Failure = { stage: 'answered', code: null, status, error };
  return failed(offered, failure, { raw, retryAfterMs: retryAfterMs(exchange.retryAfter, Date.now()) });
}

function sent({ text }: Offered, providerMessageId: string | null, raw: string | null): Outcome {
  return { kind: 'sent', providerMessageId, raw, sms: smsParts(text) };
}

interface Answer {
  readonly raw: string | null;
  readonly retryAfterMs: number | null;
}

function failed({ message, options }: Offered, failure: Failure, answer?: Answer): Outcome {
  options.onFailure?.(failure, message);
  const raw = answer?.raw ?? readable([failure.code, failure.status], null, []);
  return outcomeOf(failure, raw, answer?.retryAfterMs ?? null);
}

interface AnswerBody {
  readonly sid: string | null;
  /** Of the message, as in `queued`. */
  readonly state: string | null;
  readonly error: number | null;
  readonly explanation: string | null;
}

/** A message (https://www.twilio.com/docs/messaging/api/message-resource) or an error (…/docs/usage/twilios-response). */
function readBody(body: string): AnswerBody {
  const { sid, status, code, message } = readJson(body);
  return {
    sid: typeof sid === 'string' && /^(?:SM|MM)[\da-f]{32}$/i.test(sid) ? sid : null,
    state: typeof status === 'string' ? status : null,
    error: typeof code === 'number' && Number.isInteger(code) ? code : null,
    explanation: typeof message === 'string' ? message : null,
  };
}

interface Json {
  readonly sid?: unknown;
  readonly status?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
}

function readJson(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** What Twilio may repeat: our token, the message, the recipient, the address of the receipts. */
function secretsOf({ message, text, options }: Offered): readonly (string | RegExp)[] {
  const { address } = message;
  return [options.authToken, text, address, address.slice(1), /https?:\/\/\S+/g];
}
