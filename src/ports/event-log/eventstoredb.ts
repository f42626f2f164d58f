import { randomUUID } from 'node:crypto';

import type messages from '@eventstore/db-client/generated/streams_pb.js';

import type { EventStoreDBServer } from '../../config.ts';
import { start, type Started } from '../../lifecycle.ts';
import { checkAppend, checkKeep, checkName, checkVersion, encodeBodies } from './append-checks.ts';
import {
  LogClosed,
  START,
  WrongExpectedVersion,
  type Appended,
  type EventLog,
  type NewEvent,
  type Position,
  type RecordedEvent,
} from './event-log.ts';
import { openAppender, type Append, type Appender } from './eventstoredb-append.ts';
import {
  checkForServer,
  decodeEvent,
  encodeProposed,
  eventIn,
  idOf,
  isWhole,
  objectIn,
  OWN_STREAM,
  positionOf,
  readForward,
  readHead,
  readLast,
  versionOf,
  type WireEvent,
} from './eventstoredb-codec.ts';
import {
  EventStoreDBError,
  openConnection,
  persistently,
  withCall,
  type Connection,
  type Limits,
} from './eventstoredb-connection.ts';
import { openDoor, type Door } from './eventstoredb-gate.ts';
import { subscribe, type Feed, type SubscriptionLimits } from './eventstoredb-subscribe.ts';

export interface EventStoreDbOptions {
  readonly server: EventStoreDBServer;
  /** Told of faults that were mended without anyone's noticing. */
  readonly onTrouble?: (error: unknown) => void;
  /** Told once, with the first failure, when the server is waited for at the start. */
  readonly onWaiting?: (error: unknown) => void;
  readonly limits?: Partial<EventStoreDbLimits>;
}

export interface EventStoreDbLimits extends Limits, SubscriptionLimits {
  /** How long a server that does not answer is waited for when the log is opened; milliseconds. */
  readonly startMs: number;
  /** How long a read or an append waits behind others before its first attempt; milliseconds. */
  readonly waitMs: number;
}

const LIMITS: EventStoreDbLimits = {
  attemptMs: 2_000,
  totalMs: 4_500,
  idleMs: 250,
  stallMs: 10_000,
  giveUpMs: 15_000,
  startMs: 20_000,
  waitMs: 10_000,
};

/**
 * Reads of streams under way at once. A bulk request asks for a thousand: all at once, they are slow together, are all cut
 * off, and all come again. And Kestrel has 100 calls on a connection; others wait in the client, while their time runs.
 */
const READS_AT_ONCE = 64;

/** Appends under way at once, for the same reason. */
const APPENDS_AT_ONCE = 256;

/** How long an append is under way at most: waiting, attempts, a look for what became of them, and a second for our own delays. */
export const LONGEST_APPEND_MS = LIMITS.waitMs + 2 * LIMITS.totalMs + 1_000;

/**
 * The event log in an EventStoreDB (23.10 or newer) or KurrentDB, which is wire-compatible.
 *
 * - An answered append is on the disks of a majority of the nodes. Appends share one call and many are under way at once.
 * - Everything is read from the leader, so that it is never behind an answer.
 * - Nothing waits for ever: an attempt at an append or a read is cut off and made again with the same ids, over a new
 *   connection where the old one is dead or leads to a node that leads no more.
 * - A subscription that ends, breaks or brings nothing is opened again where it stood, without the reader's noticing.
 * - Others may write to the same server: what is not ours is passed over. The server must let us read `$all`.
 */
export async function openEventStoreDb(options: EventStoreDbOptions): Promise<Started<EventLog>> {
  const { server, onTrouble, onWaiting, limits } = options;
  return start(async (scope) => {
    const within = { ...LIMITS, ...limits };
    const connection = scope.use(await openConnection(server, within.attemptMs / 2));
    const appender = scope.use(started(openAppender(connection)));
    const access: Access = { connection, appender, limits: within };
    const patient = { ...access, limits: { ...within, totalMs: within.startMs } };
    const id = await identify({ ...patient, onRetry: once(onWaiting ?? (() => undefined)) });
    const log = createLog(access, id, onTrouble ?? (() => undefined));
    return scope.use({ value: log, stop: () => log.close() });
  });
}

function started(appender: Appender): Started<Appender> {
  return {
    value: appender,
    stop: () => {
      appender.close();
      return Promise.resolve();
    },
  };
}

interface Access {
  readonly connection: Connection;
  readonly appender: Appender;
  readonly limits: EventStoreDbLimits;
  /** Told of every attempt at a read that is made again, with the failure of the one before. */
  readonly onRetry?: (error: unknown) => void;
  /** Goes around each attempt. */
  readonly watched?: <A>(attempt: Promise<A>) => Promise<A>;
}

const unwatched = <A>(attempt: Promise<A>): Promise<A> => attempt;

function once(tell: (error: unknown) => void): (error: unknown) => void {
  let isTold = false;
  return (error) => {
    if (!isTold) tell(error);
    isTold = true;
  };
}

function createLog(access: Access, id: string, onTrouble: (error: unknown) => void): EventLog {
  const underWay = new Set<Promise<unknown>>();
  const endings = new Set<() => void>();
  let closed = false;
  const whileOpen = async <T>(work: () => Promise<T>): Promise<T> => {
    if (closed) throw new LogClosed();
    const working = work();
    underWay.add(working);
    return working.finally(() => underWay.delete(working));
  };
  const overdueMs = access.limits.attemptMs / 2;
  const reads = openDoor({ most: READS_AT_ONCE, what: 'a read', overdueMs });
  const appends = openDoor({ most: APPENDS_AT_ONCE, what: 'an append', overdueMs });
  const reading = (stream: string, request: messages.ReadReq): Promise<readonly WireEvent[]> =>
    whileOpen(() => {
      if (waitsForNobody(stream)) return readEvents(access, request);
      return reads.pass(access.limits.waitMs, (watched) => readEvents({ ...access, watched }, request));
    });
  const head = (): Promise<Position> => readHeadOf(access);
  const recentHead = atMostEvery(access.limits.idleMs, head);
  const feed: Feed = { ...access, head, recentHead, closed: () => closed, endings, onTrouble };
  const close = async (): Promise<void> => {
    closed = true;
    for (const end of [...endings]) end();
    // Those that have not begun: nothing of them was sent.
    for (const door of [reads, appends]) door.close(new LogClosed());
    await Promise.allSettled(underWay);
    access.appender.close();
  };
  let closing: Promise<void> | undefined;

  return {
    id,
    append: (stream, events, expectedVersion) =>
      whileOpen(async () => {
        checkAppend(stream, events, expectedVersion);
        checkForServer(stream, events);
        return appendThrough(appends, access, { stream, events, expectedVersion });
      }),
    read: async (stream, after = 0) => {
      checkName('stream', stream);
      checkVersion(after);
      return (await reading(stream, readForward(stream, after))).map(ofOurs);
    },
    last: async (stream) => {
      checkName('stream', stream);
      const [newest] = await reading(stream, readLast(stream));
      return newest ? ofOurs(newest) : null;
    },
    keepNewest: (stream, count) =>
      whileOpen(async () => {
        checkKeep(stream, count);
        await keepNewest(access, stream, count);
      }),
    subscribe: (after, filter, signal) => subscribe(feed, after, filter, signal),
    head: () => whileOpen(head),
    close: () => (closing ??= close()),
  };
}

/** Nothing goes on without a lease, and each process asks for one at a time. */
function waitsForNobody(stream: string): boolean {
  return stream.startsWith('lease-');
}

interface Asked {
  readonly stream: string;
  readonly events: readonly NewEvent[];
  readonly expectedVersion: number;
}

function appendThrough(door: Door, access: Access, { stream, events, expectedVersion }: Asked): Promise<Appended> {
  const wanted = { stream, events: encodeBodies(events).map(encodeProposed), expectedVersion };
  if (waitsForNobody(stream)) return append(access, wanted, events);
  return door.pass(access.limits.waitMs, (watched) => append({ ...access, watched }, wanted, events));
}

async function append(access: Access, wanted: Append, events: readonly NewEvent[]): Promise<Appended> {
  const { stream, expectedVersion } = wanted;
  const { appender, limits, watched = unwatched } = access;
  const answer = await persistently(limits, (deadline) => watched(appender.attempt(wanted, deadline)));
  const version = expectedVersion + events.length;
  if (answer.kind === 'appended' && answer.position !== null) return { version, position: answer.position };
  // The server takes a retry for what it is. To be sure of it where it forgets, and where it does not say the position.
  const mayBeThere = answer.kind === 'appended' || answer.actual >= version;
  const position = mayBeThere ? await positionOfRetry(access, wanted, events) : null;
  if (position !== null) return { version, position };
  if (answer.kind === 'conflict') throw new WrongExpectedVersion(stream, expectedVersion, answer.actual);
  throw new EventStoreDBError('EventStoreDB took an append, but does not show it', true);
}

/**
 * Says it in the stream's metadata, which are a stream themselves. At the version that was read, so that nothing is lost that others
 * say there. What is there already stays, whoever said it: a restart adds nothing to the log.
 */
async function keepNewest(access: Access, stream: string, count: number): Promise<void> {
  const metastream = `${METASTREAM_PREFIX}${stream}`;
  for (let tries = 1; ; tries++) {
    const [newest] = await readEvents(access, readLast(metastream));
    const known = newest ? objectIn(newest) : {};
    if (MAX_COUNT in known) return;
    const event = {
      id: randomUUID(),
      type: METADATA_TYPE,
      data: { ...known, [MAX_COUNT]: count },
      metadata: OWN_METADATA,
    };
    const expectedVersion = newest ? versionOf(newest) : 0;
    const wanted = { stream: metastream, events: encodeBodies([event]).map(encodeProposed), expectedVersion };
    const answer = await persistently(access.limits, (deadline) => access.appender.attempt(wanted, deadline));
    if (answer.kind === 'appended') return;
    if (tries === KEEP_TRIES) throw new WrongExpectedVersion(metastream, expectedVersion, answer.actual);
  }
}

/** Others who say something of the same stream at the same time are few. */
const KEEP_TRIES = 3;
const METASTREAM_PREFIX = '$$';
const METADATA_TYPE = '$metadata';
const MAX_COUNT = '$maxCount';

/** Where the last of these events lies when the stream holds these very events at these very versions. */
async function positionOfRetry(access: Access, wanted: Append, events: readonly NewEvent[]): Promise<Position | null> {
  const found = await readEvents(access, readForward(wanted.stream, wanted.expectedVersion, events.length));
  const isRetry = events.every(({ id }, index) => found[index] && idOf(found[index]) === id);
  const last = found[events.length - 1];
  return isRetry && last ? positionOf(last) : null;
}

/** Tries again when the server ends the call early, as if all were well. */
function readEvents(access: Access, request: messages.ReadReq): Promise<readonly WireEvent[]> {
  const { connection, limits, onRetry, watched = unwatched } = access;
  let tries = 0;
  let failure: unknown;
  return persistently(limits, async (deadline) => {
    if (tries > 0) onRetry?.(failure);
    tries += 1;
    try {
      return await watched(readOnce(connection, request, deadline));
    } catch (error) {
      failure = error;
      throw error;
    }
  });
}

function readOnce(connection: Connection, request: messages.ReadReq, deadline: number): Promise<readonly WireEvent[]> {
  return withCall(
    connection,
    (streams) => streams.read(request, ...connection.argumentsOf(deadline)),
    async (call, heard) => {
      const answers: messages.ReadResp[] = [];
      for await (const answer of call) {
        heard();
        answers.push(answer as messages.ReadResp);
      }
      if (isWhole(request, answers)) return answers.flatMap((answer) => eventIn(answer) ?? []);
      throw new EventStoreDBError('EventStoreDB ended a read before its end', true);
    },
  );
}

function ofOurs(event: WireEvent): RecordedEvent {
  const decoded = decodeEvent(event);
  if (decoded) return decoded;
  throw new Error('a stream of ours holds an event that we did not write, or the server does not tell its position');
}

async function readHeadOf(access: Access): Promise<Position> {
  const [newest] = await readEvents(access, readHead());
  return (newest && positionOf(newest)) ?? START;
}

/** One answer for all who ask within `ms` of the question. */
function atMostEvery<T>(ms: number, ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let askedAt = -Infinity;
  return () => {
    if (answer && performance.now() - askedAt < ms) return answer;
    askedAt = performance.now();
    const asked = ask();
    asked.catch(() => {
      if (answer === asked) answer = undefined;
    });
    answer = asked;
    return asked;
  };
}

/** The id of the log lies in the log, written by whoever came first. */
async function identify(access: Access): Promise<string> {
  const found = await ownId(access);
  if (found !== null) return found;
  const event = { id: randomUUID(), type: 'LogNamed', data: {}, metadata: OWN_METADATA };
  const wanted = { stream: OWN_STREAM, events: encodeBodies([event]).map(encodeProposed), expectedVersion: 0 };
  await persistently(access.limits, (deadline) => access.appender.attempt(wanted, deadline));
  const named = await ownId(access);
  if (named !== null) return named;
  throw new EventStoreDBError(
    `EventStoreDB: the stream ${OWN_STREAM} was removed; it holds the identity of the log`,
    false,
  );
}

const OWN_METADATA = { schemaVersion: 1, tenant: '', occurredAt: '', correlationId: '', causationId: '' };

async function ownId(access: Access): Promise<string | null> {
  const [first] = await readEvents(access, readForward(OWN_STREAM, 0, 1));
  return first ? idOf(first) : null;
}
