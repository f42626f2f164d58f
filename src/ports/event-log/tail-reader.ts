import { batchesOf } from './batches.ts';
import type { EventBatch, EventFilter, EventLog, Position } from './event-log.ts';
import { compileFilter } from './tail-events.ts';
import type { Tail } from './tail-follow.ts';

export interface Asked {
  readonly log: EventLog;
  readonly tail: Tail;
  readonly filter: EventFilter;
  readonly signal: AbortSignal;
}

export function iterate(asked: Asked, after: Position): AsyncIterator<EventBatch, undefined> {
  const { signal } = asked;
  const ending = new AbortController();
  const next = openReader({ ...asked, signal: ending.signal }, after);
  const end = (): void => {
    signal.removeEventListener('abort', end);
    ending.abort();
  };
  if (signal.aborted) end();
  else signal.addEventListener('abort', end);

  const step = async (): Promise<IteratorResult<EventBatch, undefined>> => {
    const batch = await next();
    return batch ? { done: false, value: batch } : { done: true, value: undefined };
  };
  return batchesOf(step, end);
}

/** Where a reader stands, and how it is fed. */
interface Reader {
  position: Position;
  live: boolean;
  /** A subscription of its own; null while it is fed from memory. */
  own: AsyncIterator<EventBatch> | null;
}

/** Answers the next batch, and null once `signal` has aborted or the log closes. */
function openReader({ log, tail, filter, signal }: Asked, after: Position): () => Promise<EventBatch | null> {
  const matches = compileFilter(filter);
  const subscribe = (from: Position): AsyncIterator<EventBatch> =>
    log.subscribe(from, filter, signal)[Symbol.asyncIterator]();
  const reader: Reader = { position: after, live: false, own: subscribe(after) };
  let moving: Promise<void> | undefined;
  const moved = (): Promise<void> => (moving ??= tail.changed({ signal }).then(() => void (moving = undefined)));

  const isThere = (): boolean => {
    const events = tail.followed()?.events;
    return events?.covers(reader.position) === true && events.end() >= reader.position;
  };
  const giveBack = (): void => {
    void reader.own?.return?.();
    reader.own = null;
  };
  /** Null when it may go on from memory: what came from the log meanwhile is left, memory has it too. */
  const fromLog = async (batches: AsyncIterator<EventBatch>): Promise<IteratorResult<EventBatch> | null> => {
    const next = batches.next().finally(() => {
      waiting.delete(next);
    });
    const waiting = new Set([next]);
    while (reader.live && waiting.has(next)) {
      if (isThere()) {
        next.catch(() => undefined);
        return null;
      }
      await Promise.race([next, moved()]);
    }
    return next;
  };
  const fromMemory = (): EventBatch | 'nothing new' | 'fallen behind' => {
    const events = tail.followed()?.events;
    if (events?.covers(reader.position) !== true) return 'fallen behind';
    const batch = events.after(reader.position, matches);
    return batch.position > reader.position || (batch.live && !reader.live) ? batch : 'nothing new';
  };
  const nextBatch = async (): Promise<EventBatch | null> => {
    while (!signal.aborted) {
      if (reader.own) {
        const answer = await fromLog(reader.own);
        if (answer !== null) return answer.done === true ? null : answer.value;
        giveBack();
      }
      if (tail.isStopped()) return null;
      const found = fromMemory();
      if (typeof found === 'object') return found;
      if (found === 'nothing new') await moved();
      else Object.assign(reader, { own: subscribe(reader.position), live: false });
    }
    return null;
  };
  return async () => {
    const batch = await nextBatch();
    if (batch !== null) Object.assign(reader, { position: batch.position, live: batch.live });
    if (reader.live && isThere()) giveBack();
    return batch;
  };
}
