import { randomUUID } from 'node:crypto';
import { open as openDirectory } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import { open, type Database, type RootDatabase } from 'lmdb';

import { MAX_VERSION } from './append-checks.ts';
import type { Position, RecordedEvent } from './event-log.ts';
import { decodeEvent, namesIn, stampVersion, streamKey, versionOf, type Encoded } from './lmdb-codec.ts';
import { commitError } from '../../lmdb.ts';

// Left out of lmdb's own declarations. `append` fills pages to the brim: at 1,500 bytes an event it halves the file.
declare module 'lmdb' {
  interface Database<V, K extends Key> {
    put(id: K, value: V, options: PutOptions): Promise<boolean>;
  }
}

/** One event on its way into the tables; `sequence` counts all events of the log from 1. */
export interface Row extends Encoded {
  readonly sequence: number;
  readonly position: Position;
  readonly stream: string;
  readonly version: number;
}

export interface Entry {
  readonly sequence: number;
  readonly stream: string;
  readonly type: string;
  /** Of its record. */
  readonly bytes: number;
  /** Decoded at the first call, if not before. Shared by all who read it: nobody changes it. */
  readonly event: () => RecordedEvent;
}

function entryOf(sequence: number, record: Buffer): Entry {
  let event: RecordedEvent | undefined;
  return {
    ...namesIn(record),
    sequence,
    bytes: record.length,
    event: () => (event ??= decodeEvent(record, sequence)),
  };
}

/** The embedded log as it lies on disk. Reads are synchronous and see exactly what is durable. */
export interface LogTables {
  readonly id: string;
  /** Sequence of the last event, 0 when empty. */
  readonly head: () => number;
  /** Version of a stream, 0 when there is none; found more quickly when it is the one that is expected. */
  readonly version: (stream: string, expected?: number) => number;
  readonly entryAt: (stream: string, version: number) => Entry | undefined;
  readonly readStream: (stream: string, after: number) => readonly Entry[];
  /** At most `limit` events after `after`. Holds a read transaction: to be used up or left within one turn of the event loop. */
  readonly scan: (after: number, limit: number) => Iterable<Entry>;
  /** Writes all rows or none, if `head` still is the end of the log; resolves once they are on the disk. One at a time. */
  readonly commit: (head: number, rows: readonly Row[]) => Promise<void>;
  readonly close: () => Promise<void>;
}

interface Databases {
  readonly root: RootDatabase<unknown, string>;
  /** Sequence to record. */
  readonly events: Database<Buffer, number>;
  /** Stream and version to sequence. */
  readonly streams: Database<number, Buffer>;
  /** 'head', whose version is the sequence of the last event; 'id'. */
  readonly meta: Database<string, string>;
}

export async function openTables(path: string): Promise<LogTables> {
  const databases = openDatabases(path);
  try {
    const id = prepare(databases.meta);
    refuseSecondProcess(databases.root, path);
    await syncDirectories(path);
    return { id, ...readingFrom(databases), ...writingTo(databases) };
  } catch (error) {
    await databases.root.close();
    throw error;
  }
}

/*
 * No eventTurnBatching: it makes a promise that nobody can reach, and when a commit fails (disk full) its rejection ends
 * the process.
 *
 * No overlappingSync: then a commit is fdatasync, then the meta page (O_DSYNC), and only then visible and answered (strace).
 * With it, a commit is visible before it is durable, and subscribers could act on what a power cut takes back.
 *
 * No mapSize: the map starts small and doubles when full, also in the middle of a transaction. A generous fixed size takes
 * address space for each open log: with 1 TiB each, lmdb 3.5.6 crashes (SIGSEGV) before the hundredth in one process.
 */
function openDatabases(path: string): Databases {
  const root = open<unknown, string>({
    path,
    noSubdir: false,
    overlappingSync: false,
    eventTurnBatching: false,
    maxDbs: 3,
  });
  return {
    root,
    events: root.openDB<Buffer, number>({ name: 'events', encoding: 'binary' }),
    streams: root.openDB<number, Buffer>({ name: 'streams', keyEncoding: 'binary' }),
    meta: root.openDB<string, string>({ name: 'meta', useVersions: true }),
  };
}

function prepare(meta: Databases['meta']): string {
  const known = meta.get('id');
  if (known !== undefined) return known;
  return meta.transactionSync(() => {
    const id = randomUUID();
    meta.putSync('head', '', { version: 0 });
    meta.putSync('id', id, { version: 0 });
    return id;
  });
}

/** A courtesy: what keeps the log whole is that every commit is conditional on its head. */
function refuseSecondProcess(root: Databases['root'], path: string): void {
  root.readerCheck();
  const readers = [...root.readerList().matchAll(/^\s*(\d+) /gm)].map(([, pid]) => Number(pid));
  const other = readers.find((pid) => pid !== process.pid);
  if (other !== undefined) throw new Error(`the event log ${path} is already open in process ${String(other)}`);
}

/** LMDB syncs its file, not the directory entries that lead to it. */
async function syncDirectories(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  for (const directory of [resolve(path), dirname(resolve(path))]) {
    const handle = await openDirectory(directory, 'r');
    await handle.sync().finally(() => handle.close());
  }
}

function readingFrom({ events, streams, meta }: Databases): Omit<LogTables, 'id' | 'commit' | 'close'> {
  return {
    head: () => meta.getEntry('head')?.version ?? 0,
    version: (stream, expected) => (expected === 0 && isNew(streams, stream) ? 0 : lastVersion(streams, stream)),
    entryAt: (stream, version) => {
      const sequence = streams.get(streamKey(stream, version));
      return sequence === undefined ? undefined : readEntry(events, stream, sequence);
    },
    readStream: (stream, after) => readStream(streams, events, stream, after),
    scan: (after, limit) => events.getRange({ start: after + 1, limit }).map(({ key, value }) => entryOf(key, value)),
  };
}

function isNew(streams: Databases['streams'], stream: string): boolean {
  return streams.get(streamKey(stream, 1)) === undefined;
}

function lastVersion(streams: Databases['streams'], stream: string): number {
  const range = { start: streamKey(stream, MAX_VERSION), end: streamKey(stream, 0), reverse: true, limit: 1 };
  for (const key of streams.getKeys(range)) return versionOf(key);
  return 0;
}

function readStream(
  streams: Databases['streams'],
  events: Databases['events'],
  stream: string,
  after: number,
): readonly Entry[] {
  // What is asked for most is a stream that is about to begin: one look-up takes a third of the time of an empty range.
  if (after === 0 && isNew(streams, stream)) return [];
  const range = { start: streamKey(stream, after + 1), end: streamKey(stream, MAX_VERSION), inclusiveEnd: true };
  const sequences = [...streams.getRange(range)].map(({ value }) => value);
  return sequences.map((sequence) => readEntry(events, stream, sequence));
}

function readEntry(events: Databases['events'], stream: string, sequence: number): Entry {
  const record = events.get(sequence);
  if (!record) throw new Error(`the index of stream ${stream} names the missing event ${String(sequence)}`);
  return entryOf(sequence, record);
}

function writingTo({ root, events, streams, meta }: Databases): Pick<LogTables, 'commit' | 'close'> {
  return {
    commit: async (head, rows) => {
      const puts: Promise<boolean>[] = [];
      const held = meta.ifVersion('head', head, () => {
        for (const { sequence, stream, version, record } of rows) {
          stampVersion(record, version);
          puts.push(events.put(sequence, record, { append: true }));
          // Of what is not conditional nothing is heard but through `held`.
          void streams.put(streamKey(stream, version), sequence);
        }
        void meta.put('head', '', head + rows.length);
      });
      await committed(held, puts).finally(() => {
        root.resetReadTxn();
      });
    },
    close: () => root.close(),
  };
}

async function committed(held: Promise<boolean>, puts: readonly Promise<boolean>[]): Promise<void> {
  const [stillHead, ...written] = await Promise.all([held, ...puts]).catch(async (error: unknown) => {
    throw new Error('the commit failed', { cause: await commitError(error) });
  });
  if (!stillHead) throw new Error('the head of the event log has moved: another process has written to it');
  if (written.includes(false)) throw new Error('the event log is damaged: it holds an event beyond its head');
}
