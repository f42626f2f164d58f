import { checkName, checkVersion } from './append-checks.ts';
import type { EventLog, RecordedEvent } from './event-log.ts';
import { openTail, type Tail, type TailLimits } from './tail-follow.ts';
import { iterate } from './tail-reader.ts';

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
  const known = await whatIsKnown(tail, stream);
  if (known !== null) return known.slice(after);
  const streams = tail.followed()?.streams;
  if (streams === undefined || after > 0 || isBookkeeping(stream)) return log.read(stream, after);
  return streams.load(stream, () => log.read(stream));
}

/** The stream as it was when the log was asked for its end. Null when that is not known. */
async function whatIsKnown(tail: Tail, stream: string): Promise<readonly RecordedEvent[] | null> {
  if (tail.isLate() || tail.followed()?.streams.get(stream) === undefined) return null;
  const caughtUp = await tail.caughtUp();
  const events = caughtUp?.streams.get(stream);
  if (caughtUp === null || events === undefined) return null;
  const last = events.findLastIndex(({ position }) => position <= caughtUp.end);
  return events.slice(0, last + 1);
}

/** A log may forget their oldest events. */
function isBookkeeping(stream: string): boolean {
  return stream.startsWith('lease-') || stream.startsWith('ingest-');
}
