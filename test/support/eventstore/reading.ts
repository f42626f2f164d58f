import { DELETED, type EventStoreLog, type LogRecord } from './log.ts';

/** Commit and prepare position. All records have both equal; checkpoints do not. */
export interface Place {
  readonly commit: number;
  readonly prepare: number;
}

/** Before the first record. */
export const HEAD: Place = { commit: -1, prepare: -1 };

export function comparePlaces(a: Place, b: Place): number {
  return a.commit - b.commit || a.prepare - b.prepare;
}

export function placeOf({ position }: LogRecord): Place {
  return { commit: position, prepare: position };
}

export type Filter = (record: LogRecord) => boolean;

/** What a reader of $all gets to see, before any filter of his own. */
export const VISIBLE: Filter = ({ stream }) => {
  if (!stream.startsWith('$')) return true;
  if (stream === '$epoch-information') return false;
  const ofSubscription = stream.startsWith('$persistentsubscription-$all::');
  return !(ofSubscription && (stream.endsWith('-checkpoint') || stream.endsWith('-parked')));
};

/** Index of the first record at or after `place`. */
export function indexFrom({ records }: EventStoreLog, place: Place): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const record = records[middle];
    if (record && comparePlaces(placeOf(record), place) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether a read may begin at `commit`: where a record begins, or where the log ends, or beyond. */
export function isBoundary(log: EventStoreLog, commit: number): boolean {
  if (commit < 0) return false;
  const index = indexFrom(log, { commit, prepare: 0 });
  const record = log.records[index];
  if (record) return record.position === commit || log.records[index - 1]?.end === commit;
  return true;
}

export interface Page {
  readonly events: readonly LogRecord[];
  /** Records looked at. */
  readonly considered: number;
  /** Where the next page begins. Its prepare position is 0: a record that is written there later comes after it. */
  readonly next: Place;
  readonly atEnd: boolean;
}

/** Reads $all forwards from `from` inclusive: at most `maxCount` matches among at most `window` records. */
export function readPage(
  log: EventStoreLog,
  from: Place,
  filter: Filter,
  { maxCount, window }: { readonly maxCount: number; readonly window: number },
): Page {
  const events: LogRecord[] = [];
  let considered = 0;
  let next = from;
  for (let index = indexFrom(log, from); events.length < maxCount && considered < window; index++) {
    const record = log.records[index];
    if (!record) return { events, considered, next, atEnd: true };
    considered++;
    if (VISIBLE(record) && filter(record)) events.push(record);
    next = { commit: record.end, prepare: 0 };
  }
  return { events, considered, next, atEnd: false };
}

/** Reads $all backwards: what ends at or before `from`, newest first. */
export function* readBackwards(log: EventStoreLog, from: Place, filter: Filter): Generator<LogRecord> {
  for (let index = indexFrom(log, from) - 1; index >= 0; index--) {
    const record = log.records[index];
    const before = record && comparePlaces({ commit: record.end, prepare: record.end }, from) <= 0;
    if (before && VISIBLE(record) && filter(record)) yield record;
  }
}

/** Reads $all forwards from `from` inclusive up to the end. */
export function* readForwards(log: EventStoreLog, from: Place, filter: Filter): Generator<LogRecord> {
  for (let index = indexFrom(log, from); ; index++) {
    const record = log.records[index];
    if (!record) return;
    if (VISIBLE(record) && filter(record)) yield record;
  }
}

export type StreamState = 'there' | 'no-stream' | 'deleted';

export function stateOf(log: EventStoreLog, stream: string): StreamState {
  const last = log.lastNumber(stream);
  if (last === DELETED) return 'deleted';
  return last < 0 || log.metadataOf(stream).truncateBefore === DELETED ? 'no-stream' : 'there';
}

/** The events of a stream from number `from` on, or backwards from it, less what its metadata hide. */
export function* readStream(
  log: EventStoreLog,
  stream: string,
  from: number,
  direction: 'forwards' | 'backwards' = 'forwards',
): Generator<LogRecord> {
  const events = log.eventsOf(stream);
  const { truncateBefore, maxCount, maxAgeMs } = log.metadataOf(stream);
  const first = Math.max(0, events.length - maxCount, truncateBefore);
  const youngEnough = ({ created }: LogRecord): boolean => created >= Date.now() - maxAgeMs;
  const step = direction === 'forwards' ? 1 : -1;
  const begin = direction === 'forwards' ? Math.max(from, first) : Math.min(from, events.length - 1);
  for (let number = begin; number >= first; number += step) {
    const record = events[number];
    if (!record) return;
    if (youngEnough(record)) yield record;
  }
}

/** The event that a link (`$>` with `number@stream`) points to. */
export function resolveLink(log: EventStoreLog, link: LogRecord): LogRecord | undefined {
  const [, number, stream] = /^(\d+)@(.+)$/s.exec(Buffer.from(link.data).toString()) ?? [];
  if (number === undefined || stream === undefined || stateOf(log, stream) === 'deleted') return undefined;
  return log.eventsOf(stream)[Number(number)];
}
