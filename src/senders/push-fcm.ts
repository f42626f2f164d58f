import { randomUUID } from 'node:crypto';
import { cert, type Credential, deleteApp, initializeApp } from 'firebase-admin/app';
import { getMessaging, type Messaging, type TokenMessage } from 'firebase-admin/messaging';
import type { Started } from '../lifecycle.ts';
import { trackInFlight } from './in-flight.ts';
import { EXPIRED, type Limit, openLimit } from './limit.ts';
import type { Message, Outcome, Sender } from './outcome.ts';
import { openPlaces, type Places, takePlace } from './places.ts';
import { type Exchange, type FcmHttp, openFcmHttp } from './push-fcm-http.ts';
import { composePush } from './push-fcm-message.ts';
import {
  type Failure,
  outcomeOf,
  readAnswer,
  TOKEN_BUSY,
  TOKEN_REFUSED,
  TOKEN_UNREACHABLE,
} from './push-fcm-outcome.ts';
import { personal, readable } from './raw.ts';
import { retryAfterMs } from './retry-after.ts';

export interface FcmSenderOptions {
  /** The second form has no key to sign with: for `loopback` only. */
  readonly account: ServiceAccount | { readonly projectId: string; readonly accessToken: string };
  /** Plain HTTP to this machine in place of https://fcm.googleapis.com. */
  readonly loopback?: { readonly host: string; readonly port: number };
  /** Connections open at most, each for one message at a time; more messages than that wait for one. */
  readonly connections: number;
  readonly timeouts?: Partial<FcmTimeouts>;
  /** Told of every failed attempt, for logs; a failure holds nothing personal. */
  readonly onFailure?: (failure: Failure, message: Message) => void;
}

/** As in the key file of a service account of the Firebase project. */
export interface ServiceAccount {
  readonly projectId: string;
  readonly clientEmail: string;
  /** PEM. */
  readonly privateKey: string;
}

/** Milliseconds. */
export interface FcmTimeouts {
  /** From the look-up of the name to the end of the TLS handshake. Default 5,000. */
  readonly connect: number;
  /** From then on to the end of the answer. Default 14,000: FCM asks for ten at least, and the SDK gives up after 15. */
  readonly answer: number;
  /** One call of `send`, whatever happens: below the 18 seconds after which the worker cuts it off. Default 17,000. */
  readonly total: number;
}

const TIMEOUTS: FcmTimeouts = { connect: 5_000, answer: 14_000, total: 17_000 };
/** For an access token; without an end of its own, one that hangs would hang every send to come. Milliseconds. */
const TOKEN_MS = 10_000;
/** Google's access tokens are far longer; a stand-in's may be an ordinary word. */
const SHORTEST_TOKEN = 20;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/;

/**
 * Sends push notifications to iOS, Android and web through Firebase Cloud Messaging, one request each.
 * @throws when the account or the address is unusable; the error does not show the key.
 */
export function openFcmSender(options: FcmSenderOptions): Started<Sender> {
  checkDestination(options);
  const { connections, account } = options;
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const tokens = openTokens(account);
  const http = openFcmHttp({
    connections,
    phases: timeouts,
    ...(options.loopback === undefined ? {} : { loopback: options.loopback }),
  });
  const app = initializeApp(
    { projectId: account.projectId, credential: tokens.credential, httpAgent: http.agent },
    `heliograph-${randomUUID()}`,
  );
  const line = { messaging: getMessaging(app), http, places: openPlaces(connections, () => performance.now()) };

  const deliver = async (message: Message, signal: AbortSignal): Promise<Outcome> => {
    const composed = compose(message);
    if ('kind' in composed) return composed;
    const limit = openLimit(signal, timeouts.total);
    const exchange = await sendInPlace(line, { message, composed }, limit).finally(limit.clear);
    return outcomeFor(tokens.explain(exchange), { message, composed }, options.onFailure);
  };
  const { send, settled } = trackInFlight(deliver);
  const stop = async (): Promise<void> => {
    line.places.close();
    await settled();
    http.close();
    await deleteApp(app);
  };
  return { value: { provider: 'fcm', channel: 'PUSH', send }, stop };
}

/** An access token goes nowhere but to this machine, and what is meant for this machine never gets a real one. */
function checkDestination({ account, loopback }: FcmSenderOptions): void {
  if ('accessToken' in account !== (loopback !== undefined)) {
    throw new Error('FCM takes a service account, and a stand-in on this machine takes an access token');
  }
  if (loopback !== undefined && !LOOPBACK.test(loopback.host))
    throw new Error('not on this machine: no stand-in for FCM');
}

function compose(message: Message): TokenMessage | Outcome {
  if (message.address === '') return { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: 'not sent: no token' };
  const raw = 'not sent: ids and link alone are larger than FCM allows';
  return composePush(message, Date.now()) ?? { kind: 'rejected', reason: 'MESSAGE_TOO_LONG', raw };
}

interface Line {
  readonly messaging: Messaging;
  readonly http: FcmHttp;
  readonly places: Places;
}

async function sendInPlace(
  { messaging, http, places }: Line,
  { message, composed }: Offered,
  limit: Limit,
): Promise<Exchange> {
  const code = await takePlace(places, message, limit);
  if (code !== null) {
    const text = code === EXPIRED ? 'not offered' : 'no connection was free';
    return { stage: 'before', code, text, answer: null, authorization: null };
  }
  try {
    return await http.exchange(() => messaging.send(composed), limit);
  } finally {
    places.free();
  }
}

interface Offered {
  readonly message: Message;
  /** As it was offered: its words may be shorter. */
  readonly composed: TokenMessage;
}

/** What FCM said decides, not the error that the SDK makes of it: that one takes an unknown project for a dead token. */
function outcomeFor(exchange: Exchange, offered: Offered, onFailure: FcmSenderOptions['onFailure']): Outcome {
  const { stage, code, answer } = exchange;
  const { message } = offered;
  const secrets = secretsOf(exchange, offered);
  if (answer === null) {
    const failure = { stage, code, status: null, fcm: null, canonical: null, fault: null };
    onFailure?.(failure, message);
    return outcomeOf(failure, readable([code], exchange.text, secrets), null);
  }
  const { name, text, ...said } = readAnswer(answer);
  const raw = readable([said.status, said.fcm ?? said.canonical], text, secrets);
  if (name !== null) return { kind: 'sent', providerMessageId: name, raw };
  const failure = { stage, code, ...said };
  onFailure?.(failure, message);
  return outcomeOf(failure, raw, retryAfterMs(answer.retryAfter, Date.now()));
}

/** What FCM may repeat: the push token, our access token, and what the message says. */
function secretsOf({ authorization }: Exchange, { message, composed }: Offered): readonly string[] {
  const { address, title, body, url } = message;
  const tokens = authorization?.split(' ').filter((word) => word.length >= SHORTEST_TOKEN) ?? [];
  const { notification } = composed;
  return [address, ...tokens, ...personal([title, body, url, notification?.title, notification?.body])];
}

interface Tokens {
  readonly credential: Credential;
  /** The SDK has one error for every way not to get an access token: names the last one in its place. */
  readonly explain: (exchange: Exchange) => Exchange;
}

function openTokens(account: FcmSenderOptions['account']): Tokens {
  const fetch = tokenSource(account);
  let last: Pick<Exchange, 'code' | 'text'> = { code: TOKEN_UNREACHABLE, text: null };
  const getAccessToken: Credential['getAccessToken'] = async () => {
    try {
      return await within(fetch(), TOKEN_MS);
    } catch (error) {
      last = tokenFailure(error);
      throw new Error('no access token', { cause: error });
    }
  };
  return {
    credential: { getAccessToken },
    explain: (exchange) => (exchange.code === 'app/invalid-credential' ? { ...exchange, ...last } : exchange),
  };
}

function tokenSource(account: FcmSenderOptions['account']): Credential['getAccessToken'] {
  if ('accessToken' in account) {
    return () => Promise.resolve({ access_token: account.accessToken, expires_in: 3600 });
  }
  const credential = cert({ ...account });
  return () => credential.getAccessToken();
}

/** The errors of the library may hold the signed request: of them only the status and the code go on. */
function tokenFailure(error: unknown): Pick<Exchange, 'code' | 'text'> {
  const response = read(error, 'response');
  const status = read(response, 'status');
  const name = read(read(response, 'data'), 'error');
  const said = [status, name].filter((word) => typeof word === 'number' || isName(word)).join(' ');
  if (typeof status !== 'number') {
    const code = read(error, 'code');
    return { code: TOKEN_UNREACHABLE, text: isName(code) ? code : null };
  }
  return { code: status >= 500 || status === 429 || status === 408 ? TOKEN_BUSY : TOKEN_REFUSED, text: said };
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^\w{1,64}$/.test(value);
}

function read(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(Object.assign(new Error('too late'), { code: 'ETIMEDOUT' }));
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
