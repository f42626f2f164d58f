import { decodeTexts } from './lmdb-codec.ts';
import type { Entry, LogTables, Row } from './lmdb-tables.ts';

/** What is kept at most. Encoded; decoded, it takes about four times as much. */
const MAX_EVENTS = 16_384;
const MAX_BYTES = 16 * 1024 * 1024;
/** Streams that began earlier and were read lately: of users above all, who are looked at when a request comes and again before it is sent. */
const MAX_READ_STREAMS = 2_048;
/** A longer or larger one is read anew each time. */
const MAX_READ_EVENTS = 50;
const MAX_READ_BYTES = 16 * 1024;

/**
 * `tables`, with the newest events in memory, each decoded once for all who read it: every subscriber at the end of the log,
 * and whoever reads a stream that began or was read lately. Only what a commit has made durable is kept.
 */
export function rememberRecent(tables: LogTables): LogTables {
  const recent = openRecent();
  return {
    ...tables,
    version: (stream, expected) => recent.stream(stream)?.length ?? tables.version(stream, expected),
    entryAt: (stream, version) => {
      const entries = recent.stream(stream);
      return entries ? entries[version - 1] : tables.entryAt(stream, version);
    },
    readStream: (stream, after) => {
      const kept = recent.stream(stream);
      if (kept) return kept.slice(after);
      const read = tables.readStream(stream, after);
      if (after === 0) recent.keep(stream, read);
      return read;
    },
    scan: (after, limit) => recent.scan(after, limit) ?? tables.scan(after, limit),
    commit: async (head, rows) => {
      try {
        await tables.commit(head, rows);
      } catch (error) {
        // Nobody knows whether it took place: what lies on disk decides.
        recent.forgetAll();
        throw error;
      }
      recent.add(head, rows);
    },
  };
}

interface Recent {
  /** All of the stream's events; undefined unless all of them are kept. */
  readonly stream: (stream: string) => readonly Entry[] | undefined;
  /** Undefined when the first of them is not kept. */
  readonly scan: (after: number, limit: number) => readonly Entry[] | undefined;
  readonly add: (head: number, rows: readonly Row[]) => void;
  /** These are all of the stream's events. */
  readonly keep: (stream: string, entries: readonly Entry[]) => void;
  readonly forgetAll: () => void;
}

/** Decoded at once, while its texts are at hand: whoever follows the log asks for it in a moment. */
function entryOf(row: Row): Entry {
  const { sequence, stream, record, texts } = row;
  const event = decodeTexts(texts, row);
  return { sequence, stream, type: event.type, bytes: record.length, event: () => event };
}

function openRecent(): Recent {
  const streams = openStreams();
  /** One sequence after the other, oldest first, from `start` on; what lies before is forgotten and taken out now and then. */
  let kept: Entry[] = [];
  let start = 0;
  let bytes = 0;

  const indexOf = (sequence: number): number => sequence - (kept[start]?.sequence ?? sequence + 1) + start;
  const forgetAll = (): void => {
    kept = [];
    [start, bytes] = [0, 0];
    streams.forgetAll();
  };
  const forgetOldest = (): void => {
    const oldest = kept[start];
    if (oldest === undefined) return;
    start += 1;
    bytes -= oldest.bytes;
    streams.forget(oldest.stream);
  };
  return {
    stream: streams.get,
    keep: streams.keep,
    forgetAll,
    scan: (after, limit) => {
      const oldest = kept[start];
      if (oldest === undefined || after + 1 < oldest.sequence) return undefined;
      const from = indexOf(after + 1);
      return kept.slice(from, from + limit);
    },
    add: (head, rows) => {
      if (kept.at(-1)?.sequence !== head) forgetAll();
      for (const row of rows) {
        const entry = entryOf(row);
        kept.push(entry);
        bytes += entry.bytes;
        streams.add(row.version, entry);
      }
      while (kept.length - start > MAX_EVENTS || bytes > MAX_BYTES) forgetOldest();
      if (start <= kept.length / 2) return;
      kept = kept.slice(start);
      start = 0;
    },
  };
}

interface Streams extends Pick<Recent, 'keep' | 'forgetAll'> {
  readonly get: Recent['stream'];
  readonly add: (version: number, entry: Entry) => void;
  readonly forget: (stream: string) => void;
}

/** Whole ones: those that began here, and those that were read lately. */
function openStreams(): Streams {
  const streams = new Map<string, Entry[]>();
  /** Of those that were read, the longest ago first. */
  const read = new Set<string>();
  const forget = (stream: string): void => {
    if (streams.delete(stream)) read.delete(stream);
  };
  return {
    get: (stream) => streams.get(stream),
    forget,
    forgetAll: () => {
      streams.clear();
      read.clear();
    },
    add: (version, entry) => {
      const { stream } = entry;
      const entries = streams.get(stream);
      if (entries === undefined) {
        if (version === 1) streams.set(stream, [entry]);
        return;
      }
      // What is read between the commit and here has it already.
      if (entries.length === version - 1) entries.push(entry);
      else if (entries.length < version) forget(stream);
    },
    keep: (stream, entries) => {
      if (entries.length === 0 || entries.length > MAX_READ_EVENTS) return;
      if (entries.reduce((sum, { bytes }) => sum + bytes, 0) > MAX_READ_BYTES) return;
      streams.set(stream, [...entries]);
      read.add(stream);
      const [longestAgo] = read;
      if (read.size > MAX_READ_STREAMS && longestAgo !== undefined) forget(longestAgo);
    },
  };
}
