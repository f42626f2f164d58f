import type { EventBatch, EventFilter, Position, RecordedEvent } from './event-log.ts';

/** The newest events of the log, one after the other without a gap. */
export interface TailEvents {
  /** Of the newest. */
  readonly end: () => Position;
  /** Whether the newest was the end of the log when it came. */
  readonly live: () => boolean;
  /** Whether nothing that comes after `position` is missing here. */
  readonly covers: (position: Position) => boolean;
  /** Events that have come after all that is here. */
  readonly add: (batch: EventBatch) => void;
  /** What comes after `position` and matches: a batch at most. At the end it is empty, and its position the same. */
  readonly after: (position: Position, matches: (event: RecordedEvent) => boolean) => EventBatch;
}

/** What is kept at most; a decoded event takes about four times its weight. */
const MAX_EVENTS = 16_384;
const MAX_WEIGHT = 16 * 1024 * 1024;
const MAX_BATCH_EVENTS = 500;
const MAX_BATCH_WEIGHT = 1024 * 1024;
/** Events examined until a batch, empty or not, moves the position. */
const MAX_BATCH_EXAMINED = 5_000;

/** What came together. */
interface Chunk extends Pick<EventBatch, 'events' | 'position'> {
  readonly weight: number;
}

export interface TailOptions {
  /** Everything that comes after it will be added. */
  readonly from: Position;
  /** Events that are kept at most. */
  readonly events?: number;
  /** Told of each event that is kept no longer. */
  readonly forgotten: (event: RecordedEvent) => void;
}

export function openTailEvents({ from, events: most = MAX_EVENTS, forgotten }: TailOptions): TailEvents {
  const chunks = openChunks(most, (oldest) => {
    begin = oldest.position;
    for (const event of oldest.events) forgotten(event);
  });
  let begin = from;
  let end = from;
  let live = false;
  return {
    end: () => end,
    live: () => live,
    covers: (position) => position >= begin,
    add: (batch) => {
      live = batch.live;
      end = batch.position;
      if (batch.events.length > 0) chunks.add(batch);
    },
    after: (position, matches) => {
      const events: RecordedEvent[] = [];
      let [weight, examined] = [0, 0];
      for (const chunk of chunks.after(position)) {
        for (const event of chunk.events) if (event.position > position && matches(event)) events.push(event);
        weight += chunk.weight;
        examined += chunk.events.length;
        if (events.length >= MAX_BATCH_EVENTS || weight >= MAX_BATCH_WEIGHT || examined >= MAX_BATCH_EXAMINED)
          return { events, position: chunk.position, live: live && chunk.position >= end };
      }
      return { events, position: position > end ? position : end, live };
    },
  };
}

interface Chunks {
  readonly add: (batch: EventBatch) => void;
  /** Those that end after `position`, oldest first. */
  readonly after: (position: Position) => Iterable<Chunk>;
}

function openChunks(most: number, forgotten: (oldest: Chunk) => void): Chunks {
  /** Oldest first, from `start` on; what lies before is forgotten, and taken out now and then. */
  let chunks: Chunk[] = [];
  let start = 0;
  let count = 0;
  let weight = 0;

  const forgetOldest = (): void => {
    const oldest = chunks[start];
    if (oldest === undefined) return;
    start += 1;
    count -= oldest.events.length;
    weight -= oldest.weight;
    forgotten(oldest);
  };
  return {
    add: ({ events, position }) => {
      const chunk = { events, position, weight: events.reduce((sum, event) => sum + weightOf(event), 0) };
      chunks.push(chunk);
      count += events.length;
      weight += chunk.weight;
      while (count > most || weight > MAX_WEIGHT) forgetOldest();
      if (start <= chunks.length / 2) return;
      chunks = chunks.slice(start);
      start = 0;
    },
    after: function* (position) {
      let [low, high] = [start, chunks.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((chunks[middle]?.position ?? '') > position) high = middle;
        else low = middle + 1;
      }
      for (let chunk = chunks[low]; chunk; chunk = chunks[++low]) yield chunk;
    },
  };
}

/** About its bytes in JSON. */
export function weightOf(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return NUMBER_WEIGHT;
  let weight = 0;
  for (const key in value) weight += key.length + weightOf((value as Readonly<Record<string, unknown>>)[key]);
  return weight;
}

const NUMBER_WEIGHT = 8;

/** Tells exactly what a subscription delivers. */
export function compileFilter({ streamPrefixes, types }: EventFilter): (event: RecordedEvent) => boolean {
  const wanted = types && new Set(types);
  return ({ stream, type }) =>
    (!wanted || wanted.has(type)) && (!streamPrefixes || streamPrefixes.some((prefix) => stream.startsWith(prefix)));
}
