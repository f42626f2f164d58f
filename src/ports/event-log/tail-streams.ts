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
/** A longer or heavier one, or one that has become so, is read anew each time. */
const MAX_LOADED_EVENTS = 50;
const MAX_LOADED_WEIGHT = 16 * 1024;

interface Loaded {
  readonly events: RecordedEvent[];
  weight: number;
}

export function openTailStreams(): TailStreams {
  /** Those that began among the newest events and were not read since. */
  const begun = new Map<string, RecordedEvent[]>();
  /** Those that were read from the log; the one that nobody has asked for the longest first. */
  const loaded = new Map<string, Loaded>();
  /** What has come of a stream since a read of it began, for each such read. */
  const loading = new Map<string, Set<RecordedEvent[]>>();

  const keep = (stream: string, events: RecordedEvent[]): void => {
    begun.delete(stream);
    loaded.delete(stream);
    loaded.set(stream, { events, weight: weightOfAll(events) });
    const [longestAgo] = loaded.keys();
    if (loaded.size > MAX_LOADED && longestAgo !== undefined) loaded.delete(longestAgo);
  };
  const addToLoaded = (event: RecordedEvent, found: Loaded): void => {
    const before = found.events.length;
    const isWhole = extend(found.events, event);
    if (found.events.length > before) found.weight += weightOf(event);
    if (!isWhole || isLarge(found.events, found.weight)) loaded.delete(event.stream);
  };
  const addToBegun = (event: RecordedEvent): void => {
    const events = begun.get(event.stream);
    if (events === undefined && event.version === 1) begun.set(event.stream, [event]);
    if (events !== undefined && !extend(events, event)) begun.delete(event.stream);
  };
  return {
    get: (stream) => {
      const found = loaded.get(stream);
      if (found === undefined) return begun.get(stream);
      loaded.delete(stream);
      loaded.set(stream, found);
      return found.events;
    },
    evict: (stream) => void begun.delete(stream),
    add: (event) => {
      for (const since of loading.get(event.stream) ?? []) since.push(event);
      const found = loaded.get(event.stream);
      if (found === undefined) addToBegun(event);
      else addToLoaded(event, found);
    },
    load: async (stream, read) => {
      const since: RecordedEvent[] = [];
      const reads = loading.get(stream) ?? new Set();
      loading.set(stream, reads.add(since));
      try {
        const events = await read();
        const all = [...events];
        const hasBeginning = all.length === 0 || all[0]?.version === 1;
        const isWhole = hasBeginning && since.every((event) => extend(all, event));
        if (isWhole && !isLarge(all, weightOfAll(all))) keep(stream, all);
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

function isLarge(events: readonly RecordedEvent[], weight: number): boolean {
  return events.length > MAX_LOADED_EVENTS || weight > MAX_LOADED_WEIGHT;
}

function weightOfAll(events: readonly RecordedEvent[]): number {
  return events.reduce((sum, event) => sum + weightOf(event), 0);
}
