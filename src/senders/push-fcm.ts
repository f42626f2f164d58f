import type { TokenMessage } from 'firebase-admin/messaging';
import type { Started } from '../lifecycle.ts';
import { trackInFlight } from './in-flight.ts';
import { EXPIRED, type Limit, openLimit } from './limit.ts';
import type { Message, Outcome, Sender } from './outcome.ts';
import { openPlaces, type Places, takePlace } from './places.ts';
import { type Exchange, openFcmHttp } from './push-fcm-http.ts';
import { type Lines, openLines } from './push-fcm-lines.ts';
import { composePush } from './push-fcm-message.ts';
import { type Failure, outcomeOf, readAnswer } from './push-fcm-outcome.ts';
import { type FcmAccount, openTokens } from './push-fcm-token.ts';
import { personal, readable } from './raw.ts';
import { retryAfterMs } from './retry-after.ts';

export interface FcmSenderOptions {
  /** Without a key to sign with it is for `loopback` only. */
  readonly account: FcmAccount;
  /** Plain HTTP to this machine in place of https://fcm.googleapis.com. */
  readonly loopback?: { readonly host: string; readonly port: number };
  /** Connections open at most, each for one message at a time; more messages than that wait for one. */
  readonly connections: number;
  readonly timeouts?: Partial<FcmTimeouts>;
  /** Told of every failed attempt, for logs; a failure holds nothing personal. */
  readonly onFailure?: (failure: Failure, message: Message) => void;
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
  const lines = openLines({ http, connections, projectId: account.projectId, credential: tokens.credential });
  const places = openPlaces(connections, () => performance.now());

  const deliver = async (message: Message, signal: AbortSignal): Promise<Outcome> => {
    const composed = compose(message);
    if ('kind' in composed) return composed;
    const limit = openLimit(signal, timeouts.total);
    const exchange = await sendInPlace({ lines, places }, { message, composed }, limit).finally(limit.clear);
    return outcomeFor(tokens.explain(exchange), { message, composed }, options.onFailure);
  };
  const { send, settled } = trackInFlight(deliver);
  const stop = async (): Promise<void> => {
    places.close();
    await settled();
    http.close();
    await lines.close();
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

interface Ways {
  readonly lines: Lines;
  readonly places: Places;
}

async function sendInPlace({ lines, places }: Ways, { message, composed }: Offered, limit: Limit): Promise<Exchange> {
  const code = await takePlace(places, message, limit);
  if (code !== null) {
    const text = code === EXPIRED ? 'not offered' : 'no connection was free';
    return { stage: 'before', code, text, answer: null, authorization: null };
  }
  try {
    return await lines.send(composed, limit);
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
