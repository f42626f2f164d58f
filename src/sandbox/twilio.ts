import { timingSafeEqual } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Started } from '../lifecycle.ts';
import type { State } from '../ports/state/state.ts';
import { type FirstTime, openFirstTime } from './first-time.ts';
import { closeServer, KEEP_ALIVE_MS, listen, readBody } from './http.ts';
import type { Outbox } from './outbox.ts';
import { callbackFields, cut, readMessage, resourceOf, type SandboxMessage } from './twilio-message.ts';
import { type ApiError, numberOf, NUMBERS, receiptsOf, TOO_MANY, UNAUTHORIZED } from './twilio-numbers.ts';
import { openSandboxReceipts, type SandboxReceipts } from './twilio-receipts.ts';

/** Phone numbers that misbehave, exactly these; every other one gets its message at once. */
export const SANDBOX_NUMBERS: readonly { readonly name: string; readonly description: string }[] = NUMBERS;

/** The only account of the sandbox, which is no secret, and Twilio's own test number to send from. */
export const SANDBOX_TWILIO = {
  accountSid: 'AC5a17db0c5a17db0c5a17db0c5a17db0c',
  authToken: 'sandbox-auth-token-of-heliograph',
  from: '+15005550006',
} as const;

export interface SandboxTwilioOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** How long `slow` takes, in milliseconds; default 10,000. */
  readonly slowMs?: number;
  readonly now?: () => Date;
  /** Kept here: receipts that are still to be delivered. */
  readonly state: State;
  /**
   * Where a callback URL is really posted to: the signature is made over the URL given, the request goes to this
   * address over plain HTTP. It is trusted to name a listener of our own, whichever address of this machine that has;
   * without it requests go to the URL itself, and only on loopback. Null while the receiver is not up yet: try again.
   */
  readonly reach?: (url: string) => string | null;
}

/** With a receipt that is to come before the answer. */
const PATIENCE_MS = 5_000;
/** Before each receipt. */
const RECEIPT_PAUSE_MS = 20;

/** The Messages resource of Twilio's REST API, with every message taken into the outbox, on loopback only. */
export async function openSandboxTwilio(
  outbox: Outbox,
  options: SandboxTwilioOptions,
): Promise<Started<{ readonly url: string }>> {
  const { state, slowMs = 10_000, now = () => new Date(), reach, host = '127.0.0.1' } = options;
  const stopping = new AbortController();
  // Every message that is answered late listens.
  setMaxListeners(0, stopping.signal);
  const receipts = openSandboxReceipts({ state, authToken: SANDBOX_TWILIO.authToken, reach, now });
  const serving: Serving = {
    outbox,
    receipts: receipts.value,
    slowMs,
    now,
    isFirstTime: openFirstTime(),
    stopping: stopping.signal,
  };
  const underWay = new Set<Promise<void>>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    const served = serve(request, serving)
      // A client that went away, a stop, a full disk.
      .catch((): Answer => 'break')
      .then((answer) => {
        give(answer, response);
        underWay.delete(served);
      });
    underWay.add(served);
  });
  const port = await listen(server, host, options.port ?? 0).catch(async (error: unknown) => {
    await receipts.stop();
    throw error;
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await Promise.all([closeServer(server), receipts.stop()]);
    await Promise.all(underWay);
  };
  return { value: { url: `http://${host.includes(':') ? `[${host}]` : host}:${String(port)}` }, stop };
}

interface Serving {
  readonly outbox: Outbox;
  readonly receipts: SandboxReceipts;
  readonly slowMs: number;
  readonly now: () => Date;
  /** Of the messages that `flaky` turns away once. */
  readonly isFirstTime: FirstTime;
  readonly stopping: AbortSignal;
}

/** `silence`: none at all. `break`: the connection is broken instead. */
type Answer = ApiError | { readonly created: SandboxMessage } | 'silence' | 'break';

const { accountSid, authToken } = SANDBOX_TWILIO;
const MESSAGES = `/2010-04-01/Accounts/${accountSid}/Messages`;

async function serve(request: IncomingMessage, serving: Serving): Promise<Answer> {
  const body = await readBody(request);
  const path = (request.url ?? '').replace(/\?.*$/s, '');
  if (!isLogin(request.headers.authorization)) return UNAUTHORIZED;
  if (path !== `${MESSAGES}.json` || request.method !== 'POST') {
    return { status: 404, code: 20404, message: `The requested resource ${path} was not found` };
  }
  const message = readMessage(new URLSearchParams(body), { accountSid, now: serving.now() });
  return 'error' in message ? message.error : behave(message, serving);
}

function isLogin(header: string | undefined): boolean {
  const expected = Buffer.from(`Basic ${Buffer.from(`${accountSid}:${authToken}`).toString('base64')}`);
  const given = Buffer.from(header ?? '');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

async function behave(message: SandboxMessage, serving: Serving): Promise<Answer> {
  const { error, manner } = numberOf(message.to) ?? {};
  if (error) return error;
  if (manner === 'silent') return 'silence';
  if (manner === 'flaky' && serving.isFirstTime(identityOf(message))) return TOO_MANY;
  if (manner === 'slow') await delay(serving.slowMs, undefined, { signal: serving.stopping });
  const { first } = await deliver(message, serving);
  if (manner === 'early') await Promise.race([first, delay(PATIENCE_MS, undefined, { signal: serving.stopping })]);
  return manner === 'lost' ? 'break' : { created: message };
}

async function deliver(
  message: SandboxMessage,
  { outbox, receipts, slowMs }: Serving,
): Promise<{ readonly first: Promise<void> }> {
  const { sid, from, service, to, body, callback, createdAt } = message;
  const { encoding, segments } = cut(body);
  await outbox.add({
    channel: 'SMS',
    platform: null,
    address: to,
    title: null,
    text: body,
    html: null,
    headers: { From: from ?? service ?? '', MessageSid: sid, Segments: String(segments), Encoding: encoding },
    receivedAt: createdAt.toISOString(),
  });
  const steps = receiptsOf(to).map(({ status, errorCode = null, late }) => {
    return { status, errorCode, afterMs: late ? slowMs : RECEIPT_PAUSE_MS };
  });
  if (callback === null || steps.length === 0) return { first: Promise.resolve() };
  return receipts.keep({ url: callback, fields: callbackFields(message), steps });
}

/** Attempts at one delivery differ only in the end of their callbacks: behind it stand the attempt and a signature. */
const CALLBACK_END = 32;

function identityOf({ to, body, callback }: SandboxMessage): string {
  return JSON.stringify([to, body, callback?.replace(/#.*$/s, '').slice(0, -CALLBACK_END)]);
}

function give(answer: Answer, response: ServerResponse): void {
  if (answer === 'break') response.destroy();
  else if (answer !== 'silence') respond(answer, response);
}

function respond(answer: Exclude<Answer, string>, response: ServerResponse): void {
  response.setHeader('Content-Type', 'application/json;charset=utf-8');
  if ('created' in answer) {
    response.writeHead(201).end(JSON.stringify(resourceOf(answer.created)));
    return;
  }
  const { status, code, message } = answer;
  if (status === 401) response.setHeader('WWW-Authenticate', 'Basic realm="Twilio API"');
  if (status === 429) response.setHeader('Retry-After', '1');
  const more_info = `https://www.twilio.com/docs/errors/${String(code)}`;
  response.writeHead(status).end(JSON.stringify({ code, message, more_info, status }));
}
