import type { RecordedEvent } from './event-log.ts';
import { weightOf } from './tail-events.ts';

/** Whole streams, kept up with the newest events: those that began among them, and those that were asked for lately. */
export interface TailStreams {
  /** All events of the stream that have come, none if there is no such stream; undefined unless all of them are known. */
  readonly get: (stream: string) => readonly RecordedEvent[] | undefined;
  /** In the order of the log, each once or again. */
  readonly add: (event: RecordedEvent) => void;
  /** One of its events is kept no longer elsewhere: unless it was read lately, it is not kept here either. */
  readonly evict: (stream: string) => void;
  /**
   * Remembers the whole stream as `read` finds it, together with what comes meanwhile: what was read may be older than what has
   * come, and what has come older than what was read. Answers what was read.
   */
  readonly load: (stream: string, read: () => Promise<readonly RecordedEvent[]>) => Promise<readonly RecordedEvent[]>;
}

/** Of users above all, who are looked at when a request comes and again before it is sent. */
const MAX_LOADED = 2_048;
/** A longer or heavier one is read anew each time. */
const MAX_LOADED_EVENTS = 50;
const MAX_LOADED_WEIGHT = 16 * 1024;

export function openTailStreams(): TailStreams {
  const known = new Map<string, RecordedEvent[]>();
  /** Of those that were read from the log, the one that nobody has asked for the longest first. */
  const loaded = new Set<string>();
  /** What has come of a stream since a read of it began, for each such read. */
  const loading = new Map<string, Set<RecordedEvent[]>>();
  const forget = (stream: string): void => {
    known.delete(stream);
    loaded.delete(stream);
  };
  const keep = (stream: string, events: RecordedEvent[]): void => {
    known.set(stream, events);
    loaded.add(stream);
    const [longestAgo] = loaded;
    if (loaded.size > MAX_LOADED && longestAgo !== undefined) forget(longestAgo);
  };
  return {
    get: (stream) => {
      if (loaded.delete(stream)) loaded.add(stream);
      return known.get(stream);
    },
    evict: (stream) => {
      if (!loaded.has(stream)) known.delete(stream);
    },
    add: (event) => {
      for (const since of loading.get(event.stream) ?? []) since.push(event);
      const events = known.get(event.stream);
      if (events === undefined) {
        if (event.version === 1) known.set(event.stream, [event]);
      } else if (!extend(events, event)) forget(event.stream);
    },
    load: async (stream, read) => {
      const since: RecordedEvent[] = [];
      const reads = loading.get(stream) ?? new Set();
      loading.set(stream, reads.add(since));
      try {
        const events = await read();
        const all = [...events];
        if (isSmall(events) && since.every((event) => extend(all, event))) keep(stream, all);
        return events;
      } finally {
        reads.delete(since);
        if (reads.size === 0) loading.delete(stream);
      }
    },
  };
}

/** False when something is missing between the two. */
function extend(events: RecordedEvent[], event: RecordedEvent): boolean {
  const next = (events.at(-1)?.version ?? 0) + 1;
  if (event.version === next) events.push(event);
  return event.version <= next;
}

/** And has its beginning. */
function isSmall(events: readonly RecordedEvent[]): boolean {
  const [first] = events;
  if (events.length > MAX_LOADED_EVENTS || (first !== undefined && first.version !== 1)) return false;
  return events.reduce((sum, event) => sum + weightOf(event), 0) <= MAX_LOADED_WEIGHT;
}
