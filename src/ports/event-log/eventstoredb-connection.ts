import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { EventStoreDBClient } from '@eventstore/db-client';
import { StreamsClient } from '@eventstore/db-client/generated/streams_grpc_pb.js';

import type { EventStoreDBServer } from '../../config.ts';
import type { Started } from '../../lifecycle.ts';
import { LogUnavailable } from './event-log.ts';

export interface Limits {
  /** Of one attempt, in milliseconds. */
  readonly attemptMs: number;
  /** Of all attempts at one thing together, in milliseconds. */
  readonly totalMs: number;
}

/** The server did not do what it was asked. Never holds credentials. */
export class EventStoreDBError extends LogUnavailable {
  override readonly name = 'EventStoreDBError';
  constructor(
    what: string,
    /** Whether it may work when tried again; what was asked may have been done all the same. */
    readonly transient: boolean,
  ) {
    super(what);
  }
}

type CallArguments = ReturnType<Vendor['argumentsOfCall']>;

/** One way to the leader, kept up by the vendor's client; whoever calls says what went wrong. */
export interface Connection {
  /** The stub on the channel that is current now; another object once that was given up. */
  readonly streams: () => Promise<StreamsClient>;
  /** For a call that ends at `deadline`, by this machine's clock; without one it may last for ever. */
  readonly argumentsOf: (deadline?: number) => CallArguments;
  /** Tells the vendor's client of an error of a call made on `streams`; it then leaves a node that is gone or not the leader. */
  readonly failed: (streams: StreamsClient, error: unknown) => void;
  /** The server said something on `streams`. */
  readonly heard: (streams: StreamsClient) => void;
  /**
   * A call that was made at `since`, on the monotonic clock, has not had its answer in time. The way to the server is given up,
   * for everybody, only if nothing at all comes over it any more: a server that is slow is not a server that is gone. Or if
   * `isMute`, when the call never brought anything: a node that does not know that it leads no more answers reads.
   */
  readonly overdue: (streams: StreamsClient, since: number, isMute?: boolean) => void;
  /** Whether nothing has come for too long to somebody who waits since `since` and heard something last at `heardAt`. */
  readonly isSilent: (heardAt: number, since: number) => boolean;
}

/**
 * The channel of a way that never brought a word is given up no more often; milliseconds. The vendor's library keeps the
 * socket of a peer that accepts connections and says nothing (grpc-js 1.14.7).
 */
const NEVER_HEARD_MS = 10_000;

/** gRPC status codes. */
const OK = 0;
const CANCELLED = 1;
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const ABORTED = 10;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const TRANSIENT: ReadonlySet<number> = new Set([CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, ABORTED, INTERNAL, UNAVAILABLE]);

/**
 * The vendor's client finds the leader, keeps the channel and reconnects; only subclasses reach those. Its own appends,
 * reads and subscriptions are not used: they hang, mix up promises of other calls, or end the process (decision 0020).
 */
class Vendor extends EventStoreDBClient {
  async currentStreams(): Promise<StreamsClient> {
    return this.execute(StreamsClient, 'streams', (streams) => Promise.resolve(streams));
  }

  argumentsOfCall(deadline: number | undefined) {
    return this.callArguments({ requiresLeader: true }, { deadline: deadline ?? Infinity });
  }

  async report(streams: StreamsClient, error: Error): Promise<void> {
    await this.handleError(streams, error);
  }

  async closeChannel(): Promise<void> {
    (await this.getChannel()).close();
  }
}

/** `quietMs`: nothing for so long, while an answer is waited for, is silence. */
export async function openConnection(server: EventStoreDBServer, quietMs: number): Promise<Started<Connection>> {
  const vendor = await createVendor(server);
  let closed = false;
  let gaveUpAt = -Infinity;
  const heardAt = new WeakMap<StreamsClient, number>();
  const isSilent = (heard: number, since: number): boolean => performance.now() - Math.max(heard, since) > quietMs;
  const failed = (streams: StreamsClient, error: Error): void => {
    // It throws over errors that have not the shape it expects; a rejection that nobody takes ends the process.
    vendor.report(streams, error).catch(() => undefined);
  };
  const value: Connection = {
    streams: async () => {
      // The vendor's client would open another channel, which nobody closes.
      if (closed) throw new EventStoreDBError('EventStoreDB: the connection is closed', false);
      return vendor.currentStreams();
    },
    argumentsOf: (deadline) => vendor.argumentsOfCall(deadline),
    failed: (streams, error) => failed(streams, forVendor(error)),
    heard: (streams) => void heardAt.set(streams, performance.now()),
    overdue: (streams, since, isMute = false) => {
      const heard = heardAt.get(streams) ?? -Infinity;
      if (!isSilent(isMute ? -Infinity : heard, since)) return;
      if (heard === -Infinity && performance.now() - gaveUpAt < NEVER_HEARD_MS) return;
      gaveUpAt = performance.now();
      failed(streams, noAnswer());
    },
    isSilent,
  };
  // Its own dispose() leaves the connection open. There may be none, and none to be had.
  const stop = async (): Promise<void> => {
    closed = true;
    await within(CLOSE_MS, vendor.closeChannel()).catch(() => undefined);
  };
  return { value, stop };
}

const CLOSE_MS = 1_000;

async function createVendor({ discovery, hosts, credentials, ...rest }: EventStoreDBServer): Promise<Vendor> {
  const { tls, tuning, connectionName } = rest;
  const [first] = hosts;
  if (!first) throw new RangeError('EventStoreDB has no host');
  const settings = { ...tuning, connectionName };
  const channel = tls ? await readCertificates(tls) : { insecure: true };
  const login = tls ? (credentials ?? undefined) : undefined;
  if (discovery === 'dns') return new Vendor({ discover: first, ...settings }, channel, login);
  if (discovery === 'seeds') return new Vendor({ endpoints: [...hosts], ...settings }, channel, login);
  return new Vendor({ endpoint: first, ...settings }, channel, login);
}

async function readCertificates({ caFile, userCertFile, userKeyFile }: NonNullable<EventStoreDBServer['tls']>) {
  return {
    insecure: false,
    ...(caFile !== undefined && { rootCertificate: await readFile(caFile) }),
    ...(userCertFile !== undefined && { userCertFile: await readFile(userCertFile) }),
    ...(userKeyFile !== undefined && { userKeyFile: await readFile(userKeyFile) }),
  };
}

function forVendor(error: unknown): Error {
  return error instanceof Error && codeOf(error) !== null ? error : noAnswer();
}

/** The vendor's client reconnects on UNAVAILABLE. */
function noAnswer(): Error {
  return Object.assign(new Error('no answer'), { code: UNAVAILABLE, details: 'no answer' });
}

/** Ended by our own clock, or found wrong by us: it says nothing of the way to the server. */
function isOwnVerdict(error: unknown): boolean {
  return error instanceof EventStoreDBError || codeOf(error) === DEADLINE_EXCEEDED;
}

function codeOf(error: unknown): number | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : null;
}

/** What may be shown of an error of a call. */
export function toLogError(error: unknown): Error {
  if (error instanceof EventStoreDBError || error instanceof RangeError) return error;
  const code = codeOf(error);
  const text = error instanceof Error ? error.message : String(error);
  return new EventStoreDBError(
    `EventStoreDB: ${text}`,
    code === null || TRANSIENT.has(code) || isNotLeader(text, error),
  );
}

/** The server says so in a trailer, whatever the code. */
function isNotLeader(text: string, error: unknown): boolean {
  if (/leader info/i.test(text)) return true;
  const trailers = error instanceof Error && 'metadata' in error ? error.metadata : null;
  const get = trailers !== null && typeof trailers === 'object' && 'get' in trailers ? trailers.get : null;
  if (typeof get !== 'function') return false;
  const found: unknown = Reflect.apply(get, trailers, ['exception']);
  return Array.isArray(found) && found.includes('not-leader');
}

export function isOk(status: { readonly code: number }): boolean {
  return status.code === OK;
}

/** What a call that can be cut off looks like; its errors are events even after nobody reads it any more. */
interface Call {
  readonly cancel: () => void;
  readonly on: (event: 'error', listener: () => void) => unknown;
}

/** Runs `use` on a call and ends the call afterwards, however that went. `use` says when the server has said something. */
export async function withCall<C extends Call, T>(
  connection: Connection,
  begin: (streams: StreamsClient) => C,
  use: (call: C, heard: () => void) => Promise<T>,
): Promise<T> {
  const streams = await connection.streams();
  const begunAt = performance.now();
  const heard = (): void => connection.heard(streams);
  let call: C | undefined;
  try {
    call = begin(streams);
    // An error that comes when nobody listens any more ends the process.
    call.on('error', () => undefined);
    const result = await use(call, heard);
    heard();
    return result;
  } catch (error) {
    // After a pause of this process the answer may be there, and not read yet.
    if (isOwnVerdict(error)) setImmediate(() => connection.overdue(streams, begunAt));
    else connection.failed(streams, error);
    throw toLogError(error);
  } finally {
    call?.cancel();
  }
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 500;
/** Timers run by a coarser clock. */
const CLOCK_STEP_MS = 5;

/**
 * Makes attempts until one succeeds, fails for good, or the time is up; each is cut off after `attemptMs`. The last error
 * is thrown, unless it only says that a last attempt had next to no time left: then the one before, which says why.
 * `over` ends it early.
 */
export async function persistently<T>(
  { attemptMs, totalMs }: Limits,
  attempt: (deadline: number) => Promise<T>,
  over: () => boolean = () => false,
): Promise<T> {
  const end = performance.now() + totalMs;
  let before: Error | null = null;
  for (let tries = 0; ; tries++) {
    const ms = Math.min(attemptMs, Math.max(end - performance.now(), 1));
    try {
      return await within(ms, attempt(Date.now() + ms));
    } catch (error) {
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** tries, MAX_PAUSE_MS);
      if (!(error instanceof EventStoreDBError) || !error.transient || over()) throw error;
      const isCutShort = ms < attemptMs && performance.now() >= end - CLOCK_STEP_MS;
      if (!isCutShort || before === null) before = error;
      if (performance.now() + pause >= end) throw before;
      await delay(pause);
    }
  }
}

/** Promise.race also takes charge of a rejection that comes after the limit. */
async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new EventStoreDBError(`EventStoreDB: no answer within ${String(Math.round(ms))} ms`, true));
    }, ms);
  });
  try {
    return await Promise.race([answer, limit]);
  } catch (error) {
    throw toLogError(error);
  } finally {
    clearTimeout(timer);
  }
}
