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

/** Of users and their devices above all, who are looked at when a request comes and again before it is sent. */
const MAX_LOADED = 2_048;
/** Of requests above all, whose stream is looked for before it is begun: they must not take the place of the others. */
const MAX_ABSENT = 2_048;
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
  /** Those that were read from the log. */
  const loaded = openKept<Loaded>(MAX_LOADED);
  /** Those that were looked for and did not exist. */
  const absent = openKept<readonly RecordedEvent[]>(MAX_ABSENT);
  /** What has come of a stream since a read of it began, for each such read. */
  const loading = new Map<string, Set<RecordedEvent[]>>();

  const keep = (stream: string, events: RecordedEvent[]): void => {
    begun.delete(stream);
    absent.delete(stream);
    loaded.set(stream, { events, weight: weightOfAll(events) });
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
    get: (stream) => loaded.get(stream)?.events ?? absent.get(stream) ?? begun.get(stream),
    evict: (stream) => void begun.delete(stream),
    add: (event) => {
      for (const since of loading.get(event.stream) ?? []) since.push(event);
      absent.delete(event.stream);
      const found = loaded.peek(event.stream);
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
        if (!isWhole) return events;
        if (all.length === 0) absent.set(stream, all);
        // One that did not exist when it was read has begun since, and is kept as such.
        else if (events.length > 0 && !isLarge(all, weightOfAll(all))) keep(stream, all);
        return events;
      } finally {
        reads.delete(since);
        if (reads.size === 0) loading.delete(stream);
      }
    },
  };
}

interface Kept<T> {
  readonly get: (stream: string) => T | undefined;
  /** Without asking for it. */
  readonly peek: (stream: string) => T | undefined;
  readonly set: (stream: string, value: T) => void;
  readonly delete: (stream: string) => void;
}

/** As many as `most`; the one that nobody has asked for the longest goes first. */
function openKept<T>(most: number): Kept<T> {
  const kept = new Map<string, T>();
  const set = (stream: string, value: T): void => {
    kept.delete(stream);
    kept.set(stream, value);
    const [longestAgo] = kept.keys();
    if (kept.size > most && longestAgo !== undefined) kept.delete(longestAgo);
  };
  return {
    get: (stream) => {
      const value = kept.get(stream);
      if (value !== undefined) set(stream, value);
      return value;
    },
    peek: (stream) => kept.get(stream),
    set,
    delete: (stream) => void kept.delete(stream),
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
