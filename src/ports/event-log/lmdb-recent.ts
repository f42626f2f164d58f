import { entryOf, type Entry, type LogTables, type Row } from './lmdb-tables.ts';

/** What is kept at most. Encoded; decoded, it takes about four times as much. */
const MAX_EVENTS = 16_384;
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * `tables`, with the newest events in memory, each decoded once for all who read it: every subscriber at the end of the log,
 * and whoever reads a stream that began lately. Only what a commit has made durable is kept.
 */
export function rememberRecent(tables: LogTables): LogTables {
  const recent = openRecent();
  return {
    ...tables,
    version: (stream) => recent.stream(stream)?.length ?? tables.version(stream),
    sequenceOf: (stream, version) => {
      const entries = recent.stream(stream);
      return entries ? entries[version - 1]?.sequence : tables.sequenceOf(stream, version);
    },
    record: (sequence) => recent.entry(sequence)?.record ?? tables.record(sequence),
    readStream: (stream, after) => recent.stream(stream)?.slice(after) ?? tables.readStream(stream, after),
    scan: (after, limit) => recent.scan(after, limit) ?? tables.scan(after, limit),
    commit: async (head, rows) => {
      await tables.commit(head, rows);
      recent.add(head, rows);
    },
  };
}

interface Recent {
  /** All of the stream's events; undefined unless all of them are kept. */
  readonly stream: (stream: string) => readonly Entry[] | undefined;
  readonly entry: (sequence: number) => Entry | undefined;
  /** Undefined when the first of them is not kept. */
  readonly scan: (after: number, limit: number) => readonly Entry[] | undefined;
  readonly add: (head: number, rows: readonly Row[]) => void;
}

interface Kept extends Entry {
  readonly stream: string;
}

function openRecent(): Recent {
  /** Oldest first, one sequence after the other, from `start` on; what lies before is forgotten and taken out now and then. */
  let kept: Kept[] = [];
  let start = 0;
  let bytes = 0;
  let streams = new Map<string, Kept[]>();

  const indexOf = (sequence: number): number => sequence - (kept[start]?.sequence ?? sequence + 1) + start;
  const forgetAll = (): void => {
    kept = [];
    streams = new Map();
    [start, bytes] = [0, 0];
  };
  const forgetOldest = (): void => {
    const oldest = kept[start];
    if (oldest === undefined) return;
    start += 1;
    bytes -= oldest.record.length;
    streams.delete(oldest.stream);
  };
  const addOne = ({ sequence, stream, version, record }: Row): void => {
    const entry: Kept = { ...entryOf(sequence, record), stream };
    kept.push(entry);
    bytes += record.length;
    const entries = streams.get(stream);
    if (entries) entries.push(entry);
    else if (version === 1) streams.set(stream, [entry]);
  };
  return {
    stream: (stream) => streams.get(stream),
    entry: (sequence) => (sequence < (kept[start]?.sequence ?? Infinity) ? undefined : kept[indexOf(sequence)]),
    scan: (after, limit) => {
      const oldest = kept[start];
      if (oldest === undefined || after + 1 < oldest.sequence) return undefined;
      const from = indexOf(after + 1);
      return kept.slice(from, from + limit);
    },
    add: (head, rows) => {
      // After a commit of which nobody knows, what lies between is not known either.
      if (kept.at(-1)?.sequence !== head) forgetAll();
      for (const row of rows) addOne(row);
      while (kept.length - start > MAX_EVENTS || bytes > MAX_BYTES) forgetOldest();
      if (start <= MAX_EVENTS) return;
      kept = kept.slice(start);
      start = 0;
    },
  };
}
