import { setImmediate as nextTurn } from 'node:timers/promises';

import { batchesOf } from './batches.ts';
import { LogClosed, type EventBatch, type EventFilter, type Position, type RecordedEvent } from './event-log.ts';
import { compileFilter, toPosition, toSequence } from './lmdb-codec.ts';
import type { Entry, LogTables } from './lmdb-tables.ts';

/** What a subscription needs to know of its log. */
export interface Feed {
  readonly tables: Pick<LogTables, 'scan'>;
  /** Sequence of the last durable event. */
  readonly head: () => number;
  readonly closed: () => boolean;
  /** Wakes those who wait for the head to move or the log to close. */
  readonly waiting: Set<() => void>;
}

const MAX_BATCH_EVENTS = 500;
const MAX_BATCH_BYTES = 1024 * 1024;
/** Events examined until a batch, empty or not, moves the checkpoint. */
const MAX_BATCH_EXAMINED = 5_000;
/** Bounds of the work between two turns of the event loop. */
const MAX_CHUNK_EVENTS = 1_000;
const MAX_CHUNK_BYTES = 1024 * 1024;

/** Where a subscription stands. `examined` and `events` belong to the batch that is being filled. */
interface Cursor {
  sequence: number;
  events: RecordedEvent[];
  bytes: number;
  examined: number;
  /** False until the first batch: that one comes even when there is nothing to examine, and says `live`. */
  begun: boolean;
}

export function subscribe(
  feed: Feed,
  after: Position,
  filter: EventFilter,
  signal: AbortSignal,
): AsyncIterable<EventBatch> {
  return { [Symbol.asyncIterator]: () => iterate(feed, after, compileFilter(filter), signal) };
}

function iterate(
  feed: Feed,
  after: Position,
  matches: (entry: Entry) => boolean,
  signal: AbortSignal,
): AsyncIterator<EventBatch, undefined> {
  const refused = feed.closed();
  let cursor: Cursor | undefined;
  let release = (): void => undefined;
  let ended = false;
  const over = (): boolean => ended || signal.aborted || feed.closed();

  const wait = async (): Promise<void> => {
    await new Promise<void>((resolve) => {
      release = resolve;
      feed.waiting.add(resolve);
      signal.addEventListener('abort', release);
    });
    feed.waiting.delete(release);
    signal.removeEventListener('abort', release);
  };

  const step = async (): Promise<IteratorResult<EventBatch, undefined>> => {
    if (refused && !ended) throw new LogClosed();
    while (!over()) {
      cursor ??= begin(toSequence(after, feed.head()));
      scanChunk(feed, cursor, matches);
      const batch = takeBatch(cursor, feed.head());
      if (batch) return { done: false, value: batch };
      await (cursor.sequence < feed.head() ? nextTurn() : wait());
    }
    return { done: true, value: undefined };
  };

  return batchesOf(step, () => {
    ended = true;
    release();
  });
}

function begin(sequence: number): Cursor {
  return { sequence, events: [], bytes: 0, examined: 0, begun: false };
}

/** Moves the cursor over the next events, decoding only those that match. */
function scanChunk({ tables, head }: Feed, cursor: Cursor, matches: (entry: Entry) => boolean): void {
  const end = head();
  let bytes = 0;
  if (cursor.sequence >= end) return;
  for (const entry of tables.scan(cursor.sequence, Math.min(MAX_CHUNK_EVENTS, end - cursor.sequence))) {
    cursor.sequence = entry.sequence;
    cursor.examined += 1;
    bytes += entry.bytes;
    if (matches(entry)) {
      cursor.events.push(entry.event());
      cursor.bytes += entry.bytes;
    }
    if (bytes >= MAX_CHUNK_BYTES || isFull(cursor)) return;
  }
}

function isFull({ events, bytes, examined }: Cursor): boolean {
  return events.length >= MAX_BATCH_EVENTS || bytes >= MAX_BATCH_BYTES || examined >= MAX_BATCH_EXAMINED;
}

/** The batch that is ready: full, or as much as there is. */
function takeBatch(cursor: Cursor, head: number): EventBatch | undefined {
  const live = cursor.sequence >= head;
  const news = cursor.examined > 0 || !cursor.begun;
  if (!isFull(cursor) && !(live && news)) return undefined;
  const batch = { events: cursor.events, position: toPosition(cursor.sequence), live };
  Object.assign(cursor, begin(cursor.sequence), { begun: true });
  return batch;
}
