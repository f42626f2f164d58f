import { setImmediate as nextTurn } from 'node:timers/promises';

import { WrongExpectedVersion, type Appended, type RecordedEvent } from './event-log.ts';
import { toPosition, type Encoded } from './lmdb-codec.ts';
import type { LogTables, Row } from './lmdb-tables.ts';

/** One call of `append`, encoded and checked, and how it is answered. */
export interface Append {
  readonly stream: string;
  readonly events: readonly Encoded[];
  readonly expectedVersion: number;
  readonly resolve: (answer: Appended) => void;
  readonly reject: (error: unknown) => void;
}

export interface Appender {
  readonly append: (append: Append) => void;
  /** Sequence of the last durable event. */
  readonly head: () => number;
  /** Resolves when nothing is under way. */
  readonly idle: () => Promise<void>;
}

/** Bounds of one commit, so that its memory and the work between two turns of the event loop stay small. A larger append goes alone. */
const MAX_COMMIT_BYTES = 4 * 1024 * 1024;
const MAX_COMMIT_EVENTS = 2_000;

/**
 * Group commit: what arrives while a commit is under way goes into the next one, in order of arrival. Nothing is
 * answered, not even a conflict, before the commit it was decided in is durable, for until then nothing of it is true.
 */
export function openAppender(tables: LogTables, onCommit: () => void): Appender {
  const queue: Append[] = [];
  let head = tables.head();
  let running: Promise<void> | undefined;

  const commitNext = async (): Promise<void> => {
    const group = takeGroup(queue);
    try {
      const { rows, decided } = decideAll(tables, head, group);
      if (rows.length > 0) await tables.commit(head, rows);
      head += rows.length;
      decided.forEach(answerTo);
    } catch (error) {
      head = rereadHead(tables, head);
      for (const { reject } of group) reject(error);
    }
    onCommit();
  };

  const run = async (): Promise<void> => {
    while (queue.length > 0) {
      await nextTurn(); // gathers what this turn of the event loop still brings
      await commitNext();
    }
    running = undefined;
  };

  return {
    append: (append) => {
      queue.push(append);
      running ??= run();
    },
    head: () => head,
    idle: async () => running,
  };
}

/** After a failed commit nothing is known; what lies on disk decides. */
function rereadHead(tables: LogTables, head: number): number {
  try {
    return tables.head();
  } catch {
    return head;
  }
}

function takeGroup(queue: Append[]): readonly Append[] {
  let bytes = 0;
  let count = 0;
  const end = queue.findIndex(({ events }, index) => {
    for (const { record } of events) bytes += record.length;
    count += events.length;
    return index > 0 && (bytes > MAX_COMMIT_BYTES || count > MAX_COMMIT_EVENTS);
  });
  return queue.splice(0, end === -1 ? queue.length : end);
}

interface Decided {
  readonly append: Append;
  readonly answer: Appended | WrongExpectedVersion;
}

/** Decides each append against the tables and what those before it in the group will have written. */
function decideAll(
  tables: LogTables,
  head: number,
  group: readonly Append[],
): { readonly rows: readonly Row[]; readonly decided: readonly Decided[] } {
  const stage: Stage = { tables, head, rows: [], streams: new Map() };
  const decided = group.map((append) => ({ append, answer: decide(stage, append) }));
  return { rows: stage.rows, decided };
}

function answerTo({ append, answer }: Decided): void {
  if (answer instanceof WrongExpectedVersion) append.reject(answer);
  else append.resolve(answer);
}

/** The tables as they will be once the rows added here are written. */
interface Stage {
  readonly tables: LogTables;
  /** Of the tables. */
  readonly head: number;
  readonly rows: Row[];
  readonly streams: Map<string, StagedStream>;
}

interface StagedStream {
  readonly name: string;
  /** Its version in the tables. */
  readonly base: number;
  readonly rows: Row[];
}

function decide(stage: Stage, append: Append): Decided['answer'] {
  const { events, expectedVersion } = append;
  const stream = stagedStream(stage, append);
  const actual = stream.base + stream.rows.length;
  if (actual === expectedVersion) for (const event of events) add(stage, stream, event);
  else if (!isRetry(stage, stream, append)) return new WrongExpectedVersion(stream.name, expectedVersion, actual);
  const version = expectedVersion + events.length;
  return { version, position: find(stage, stream, version).position };
}

function stagedStream({ tables, streams }: Stage, { stream: name, expectedVersion }: Append): StagedStream {
  const known = streams.get(name);
  if (known) return known;
  const stream = { name, base: tables.version(name, expectedVersion), rows: [] };
  streams.set(name, stream);
  return stream;
}

/** The stream holds these very events at these very versions. */
function isRetry(stage: Stage, stream: StagedStream, { events, expectedVersion }: Append): boolean {
  if (expectedVersion + events.length > stream.base + stream.rows.length) return false;
  return events.every(({ texts }, index) => {
    const { id } = find(stage, stream, expectedVersion + 1 + index);
    return id === texts.event.id;
  });
}

function add({ head, rows }: Stage, stream: StagedStream, { texts, record }: Encoded): void {
  const sequence = head + rows.length + 1;
  const version = stream.base + stream.rows.length + 1;
  const row = { sequence, position: toPosition(sequence), stream: stream.name, version, texts, record };
  stream.rows.push(row);
  rows.push(row);
}

function find(
  { tables }: Stage,
  { name, base, rows }: StagedStream,
  version: number,
): Pick<RecordedEvent, 'id' | 'position'> {
  const row = rows[version - base - 1];
  if (row) return { id: row.texts.event.id, position: row.position };
  const entry = tables.entryAt(name, version);
  if (!entry) throw new Error(`stream ${name} lacks its version ${String(version)}`);
  return entry.event();
}
