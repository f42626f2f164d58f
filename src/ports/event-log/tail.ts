import { checkName, checkVersion } from './append-checks.ts';
import type { EventBatch, EventFilter, EventLog, Position, RecordedEvent } from './event-log.ts';
import { compileFilter } from './tail-events.ts';
import { openTail, type Tail, type TailLimits } from './tail-follow.ts';

const LIMITS: TailLimits = { catchUpMs: 500, pauseMs: 1_000 };

/**
 * `log`, of which this process keeps the newest events in memory, fed by one subscription for everybody. Nothing it promises
 * changes:
 *
 * - A subscription is one to `log` until it has reached the end, and again when its reader has fallen behind what is kept.
 * - A read is answered from memory when that knows the whole stream and has got to where the log ended after the read was asked
 *   for, so that it shows every append that was answered before. That end is asked for once for all who wait (the read index of
 *   Raft: Ongaro, 2014, 6.4). Where memory does not get there in time, `log` is read.
 *
 * The subscription is opened with the first that somebody asks for: a process that follows nothing pays nothing.
 */
export function withTail(log: EventLog, limits: Partial<TailLimits> = {}): EventLog {
  const tail = openTail(log, { ...LIMITS, ...limits });
  return {
    ...log,
    read: (stream, after) => read(log, tail, stream, after),
    subscribe: (after, filter, signal) => {
      tail.start();
      return { [Symbol.asyncIterator]: () => iterate({ log, tail, filter, signal }, after) };
    },
    close: async () => {
      tail.stop();
      await log.close();
    },
  };
}

async function read(log: EventLog, tail: Tail, stream: string, after = 0): Promise<readonly RecordedEvent[]> {
  checkName('stream', stream);
  checkVersion(after);
  const isKnown = tail.followed()?.streams.get(stream) !== undefined;
  const known = isKnown ? (await tail.caughtUp())?.streams.get(stream) : undefined;
  if (known !== undefined) return known.slice(after);
  const streams = tail.followed()?.streams;
  if (streams === undefined || after > 0 || isBookkeeping(stream)) return log.read(stream, after);
  return streams.load(stream, () => log.read(stream));
}

/** A log may forget their oldest events. */
function isBookkeeping(stream: string): boolean {
  return stream.startsWith('lease-') || stream.startsWith('ingest-');
}

interface Asked {
  readonly log: EventLog;
  readonly tail: Tail;
  readonly filter: EventFilter;
  readonly signal: AbortSignal;
}

/** Where a reader stands, and how it is fed. */
interface Reader {
  position: Position;
  live: boolean;
  /** A subscription of its own; null while it is fed from memory. */
  own: AsyncIterator<EventBatch> | null;
}

/** By hand, because `return()` of an async generator waits for the `next()` under way. */
function iterate({ log, tail, filter, signal }: Asked, after: Position): AsyncIterator<EventBatch, undefined> {
  const matches = compileFilter(filter);
  const ending = new AbortController();
  const subscribe = (from: Position): AsyncIterator<EventBatch> =>
    log.subscribe(from, filter, ending.signal)[Symbol.asyncIterator]();
  const reader: Reader = { position: after, live: false, own: subscribe(after) };
  const end = (): void => {
    signal.removeEventListener('abort', end);
    ending.abort();
  };
  if (signal.aborted) end();
  else signal.addEventListener('abort', end);

  const fromOwn = async (own: AsyncIterator<EventBatch>): Promise<EventBatch | null> => {
    const answer = await own.next();
    if (answer.done === true) return null;
    const { position, live } = answer.value;
    if (live && tail.followed()?.events.covers(position) === true) {
      reader.own = null;
      void own.return?.();
    }
    return answer.value;
  };
  const fromTail = async (): Promise<EventBatch | null> => {
    while (!ending.signal.aborted && !tail.isStopped()) {
      const events = tail.followed()?.events;
      if (events?.covers(reader.position) !== true) return fromOwn((reader.own = subscribe(reader.position)));
      const batch = events.after(reader.position, matches);
      if (batch.position > reader.position || (batch.live && !reader.live)) return batch;
      await tail.changed({ signal: ending.signal });
    }
    return null;
  };
  const step = async (): Promise<IteratorResult<EventBatch, undefined>> => {
    const batch = await (reader.own ? fromOwn(reader.own) : fromTail());
    if (batch === null) return { done: true, value: undefined };
    reader.position = batch.position;
    reader.live = batch.live;
    return { done: false, value: batch };
  };

  let last: Promise<unknown> = Promise.resolve();
  return {
    next: () => {
      const result = last.then(step);
      last = result.catch(end);
      return result;
    },
    return: () => {
      end();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}
