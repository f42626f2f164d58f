import type { Readable } from 'node:stream';
import { createTransport, type SendMailOptions, type SMTPSentMessageInfo } from 'nodemailer';
import SMTPPool from 'nodemailer/lib/smtp-pool';
import { isEmailAddress } from '../events/address.ts';
import type { Started } from '../lifecycle.ts';
import { composeEmail, parseMailbox } from './email-smtp-message.ts';
import { type Failure, outcomeOf } from './email-smtp-outcome.ts';
import { trackInFlight } from './in-flight.ts';
import { EXPIRED, type Limit, openLimit, STOPPED } from './limit.ts';
import type { Message, Outcome, Sender } from './outcome.ts';
import { openPlaces, type Places, takePlace } from './places.ts';
import { readable } from './raw.ts';

export interface SmtpSenderOptions {
  /** `smtp://` (STARTTLS when offered; port 587) or `smtps://` (port 465), user and password percent-encoded. */
  readonly url: string;
  /** One mailbox, as in `Heliograph <no-reply@example.com>`. */
  readonly from: string;
  /** Connections open at most, fewer while the server refuses some; more messages than that wait for one. */
  readonly connections: number;
  readonly timeouts?: Partial<SmtpTimeouts>;
  /** Certificate authorities (PEM) to trust in place of the well-known ones. */
  readonly ca?: string;
  /** Told of every failed attempt, for logs; a failure holds nothing personal. */
  readonly onFailure?: (failure: Failure, message: Message) => void;
}

/** Milliseconds. */
export interface SmtpTimeouts {
  /** From the look-up of the name to the end of STARTTLS. Default 5,000. */
  readonly connect: number;
  /** From the open connection to the server's greeting. Default 5,000. */
  readonly greeting: number;
  /** Silence of the server on an open connection. Default 15,000. */
  readonly silence: number;
  /** One call of `send`, whatever happens: below the 18 seconds after which the worker cuts it off. Default 17,000. */
  readonly total: number;
}

const TIMEOUTS: SmtpTimeouts = { connect: 5_000, greeting: 5_000, silence: 15_000, total: 17_000 };
/** Renewed now and then, so that a long-lived process follows a name that moves to another address. */
const MESSAGES_PER_CONNECTION = 1_000;
/** Below the idle limit of common servers (RFC 5321 §4.5.3.2.7 asks for 5 minutes): we close, and not they. */
const IDLE_MS = 60_000;

/** @throws when `url` or `from` is unusable; the error names neither user nor password. */
export function openSmtpSender(options: SmtpSenderOptions): Started<Sender> {
  const from = parseMailbox(options.from);
  const server = parseServer(options.url);
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const pool = openPool(server, options, timeouts);
  const places = openPlaces(options.connections, () => performance.now());

  const deliver = async (message: Message, signal: AbortSignal): Promise<Outcome> => {
    if (!isEmailAddress(message.address)) {
      return { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: 'not sent: the address is not one plain address' };
    }
    const mail = composeEmail(message, from);
    const limit = openLimit(signal, timeouts.total);
    const result = await submitInPlace({ pool, places, message }, mail, limit).finally(limit.clear);
    if ('sent' in result) return sentOutcome(result.sent);
    options.onFailure?.(result.failure, message);
    return outcomeOf(result.failure, readable([], result.reply, server.secrets));
  };
  const { send, settled } = trackInFlight(deliver);
  const stop = async (): Promise<void> => {
    pool.close();
    places.close();
    await settled();
  };
  return { value: { provider: 'smtp', channel: 'EMAIL', send }, stop };
}

interface Server {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly auth: { readonly user: string; readonly pass: string } | null;
  /** What a server might echo and nobody may read. */
  readonly secrets: readonly string[];
}

function parseServer(text: string): Server {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.hostname === '' || !['smtp:', 'smtps:'].includes(url.protocol)) {
    throw new Error(
      'The SMTP server must be given as smtp://host or smtps://host, with user:password@ if it wants a login',
    );
  }
  const secure = url.protocol === 'smtps:';
  const [user, pass] = [url.username, url.password].map(decodeURIComponent);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? (secure ? 465 : 587) : Number(url.port);
  if (!user || pass === undefined) return { host, port, secure, auth: null, secrets: [] };
  const secrets = [pass, `\0${user}\0${pass}`].flatMap((secret) => [secret, Buffer.from(secret).toString('base64')]);
  return { host, port, secure, auth: { user, pass }, secrets: secrets.filter((secret) => secret !== '') };
}

/** One submission, as far as it came. */
interface Attempt {
  /** What the connection reads the message from; set when a connection stands and the envelope begins. */
  body?: Readable;
}

interface Pool {
  readonly send: (mail: SendMailOptions, attempt: Attempt, limit: Limit) => Promise<SMTPSentMessageInfo>;
  /** From now on no connection is opened beyond so many; those that are open stay. */
  readonly limit: (connections: number) => void;
  /** Messages sent so far; each leaves its connection to the next. */
  readonly served: () => number;
  /** Closes idle connections; busy ones finish their message, waiting messages fail. */
  readonly close: () => void;
  readonly isClosed: () => boolean;
}

function openPool(server: Server, options: SmtpSenderOptions, timeouts: SmtpTimeouts): Pool {
  const connections = new SMTPPool({
    maxConnections: options.connections,
    maxMessages: MESSAGES_PER_CONNECTION,
    // The pool repeats a message on its own when a connection closes; what may be repeated is decided here.
    maxRequeues: 0,
    idleTimeout: IDLE_MS,
    host: server.host,
    port: server.port,
    secure: server.secure,
    ...(server.auth === null ? {} : { auth: { ...server.auth } }),
    ...(options.ca === undefined ? {} : { tls: { ca: options.ca } }),
    connectionTimeout: timeouts.connect,
    greetingTimeout: timeouts.greeting,
    dnsTimeout: timeouts.connect,
    socketTimeout: timeouts.silence,
  });
  const transport = createTransport(connections, { disableFileAccess: true, disableUrlAccess: true });
  // The signal is the one object of ours that reaches the plugin: each submission has one of its own.
  const attempts = new WeakMap<AbortSignal, Attempt>();
  transport.use('stream', (mail, done) => {
    const attempt = mail.data.signal && attempts.get(mail.data.signal);
    // Called by the connection when it begins the envelope; the same stream is piped to the socket after the 354.
    mail.message.processFunc((body) => {
      if (attempt) attempt.body = body;
      return body;
    });
    done();
  });
  let closed = false;
  let served = 0;
  return {
    send: async (mail, attempt, limit) => {
      const signal = another(limit.signal);
      attempts.set(signal, attempt);
      const sent = await transport.sendMail({ ...mail, signal });
      served++;
      return sent;
    },
    served: () => served,
    limit: (maxConnections) => {
      // Read whenever a message comes in or a connection goes.
      connections.options.maxConnections = maxConnections;
    },
    close: () => {
      closed = true;
      transport.close();
    },
    isClosed: () => closed,
  };
}

/** Aborts together with the first, for as long as that one lives; `AbortSignal.any` of Node 20 outlives it when heard. */
function another(signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort();
  };
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return controller.signal;
}

type Result =
  | { readonly sent: SMTPSentMessageInfo }
  | {
      readonly failure: Failure;
      readonly reply: string;
      /** The server turned the connection away for now, before any message could be offered. */
      readonly turnedAway: boolean;
    };

interface Line {
  readonly pool: Pool;
  readonly places: Places;
  readonly message: Pick<Message, 'lane' | 'expiresAt'>;
}

/**
 * Submits the message when there is a place. A server that allows fewer connections than we open turns the rest away
 * with a 4yz greeting, at once; with other sends under way the message waits for one of their places. That is not
 * another attempt at the delivery: nothing of the message was offered.
 */
async function submitInPlace(line: Line, mail: SendMailOptions, limit: Limit): Promise<Result> {
  let lastReply: string | null = null;
  for (;;) {
    const code = await takePlace(line.places, line.message, limit);
    if (code !== null) return notOffered(code, lastReply);
    const { result, again } = await submitOnce(line, mail, limit);
    if (!again) return result;
    if ('reply' in result) lastReply = result.reply;
  }
}

/** Uses up a place taken before. `again`: turned away, though the server takes connections of ours. */
async function submitOnce(
  { pool, places }: Line,
  mail: SendMailOptions,
  limit: Limit,
): Promise<{ readonly result: Result; readonly again: boolean }> {
  try {
    // A connection that resets itself after a refused recipient counts with the server, but holds no place.
    pool.limit(places.cap());
    const served = pool.served();
    const result = await submit(pool, mail, limit);
    const again = 'failure' in result && result.turnedAway && (places.refused() || pool.served() > served);
    return { result, again };
  } finally {
    places.free();
  }
}

function notOffered(code: string, lastReply: string | null): Result {
  const failure = { stage: 'envelope', code, command: null, reply: null } as const;
  const why = code === EXPIRED ? 'not offered: expired' : 'not offered: no connection was free';
  return { failure, reply: lastReply ?? why, turnedAway: false };
}

/**
 * Submits the message, and once more over another connection when the first was lost in the envelope: a server closes
 * a pooled connection whenever it likes, and the pool only notices when it writes to it. That is not a second attempt
 * at the delivery. Not one byte of the message's data was read for the lost connection, so it can never have been
 * accepted there, whatever became of the commands; without data a cut transaction is void (RFC 5321 §4.1.1.10).
 */
async function submit(pool: Pool, mail: SendMailOptions, limit: Limit): Promise<Result> {
  const first: Attempt = {};
  try {
    return { sent: await pool.send(mail, first, limit) };
  } catch (error) {
    if (!wasLostInEnvelope(error, first) || limit.reached() !== null || pool.isClosed()) {
      return failed(error, first, pool, limit);
    }
  }
  const second: Attempt = {};
  try {
    return { sent: await pool.send(mail, second, limit) };
  } catch (error) {
    return failed(error, second, pool, limit);
  }
}

/** A time-out is not repeated: the time is gone, and the next connection would hardly be better. */
function wasLostInEnvelope(error: unknown, attempt: Attempt): boolean {
  const { code } = detailsOf(error);
  return (
    attempt.body !== undefined && stageOf(attempt) === 'envelope' && (code === 'ECONNECTION' || code === 'ESOCKET')
  );
}

/**
 * `readableDidRead` turns true when the first byte of the message is read off for the socket, which the connection does
 * only after the 354. Until then the server holds no data, and a closed connection destroys the stream unread.
 */
function stageOf(attempt: Attempt): Failure['stage'] {
  return attempt.body?.readableDidRead === true ? 'data' : 'envelope';
}

function failed(error: unknown, attempt: Attempt, pool: Pool, limit: Limit): Result {
  const details = detailsOf(error);
  const neverBegun = pool.isClosed() && attempt.body === undefined;
  const code = limit.reached() ?? (neverBegun ? STOPPED : details.code);
  return {
    failure: { stage: stageOf(attempt), code, command: details.command, reply: details.reply },
    reply: details.text,
    turnedAway: attempt.body === undefined && details.command === 'CONN' && isTransient(details.reply),
  };
}

/** RFC 5321 §4.2.1. */
function isTransient(reply: number | null): boolean {
  return reply !== null && reply >= 400 && reply < 500;
}

interface ErrorDetails {
  readonly code: string | null;
  readonly command: string | null;
  readonly reply: number | null;
  readonly text: string;
}

function detailsOf(error: unknown): ErrorDetails {
  if (!(error instanceof Error)) return { code: null, command: null, reply: null, text: String(error) };
  const read = (name: string): unknown => Reflect.get(error, name);
  const [code, command, reply, response] = [read('code'), read('command'), read('responseCode'), read('response')];
  return {
    code: typeof code === 'string' ? code : null,
    command: typeof command === 'string' ? command : null,
    reply: typeof reply === 'number' ? reply : null,
    text: typeof response === 'string' ? response : error.message,
  };
}

function sentOutcome(info: SMTPSentMessageInfo): Outcome {
  // Outlook and SES give the message another id; receipts and bounces name that one.
  const providerMessageId = info.serverMessageId ?? info.messageId;
  return { kind: 'sent', providerMessageId, raw: readable([], info.response, []) };
}
