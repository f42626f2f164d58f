import { setImmediate as nextTurn } from 'node:timers/promises';

import { WrongExpectedVersion, type Appended } from './event-log.ts';
import { idOf, stampVersion, toPosition } from './lmdb-codec.ts';
import type { LogTables, Row } from './lmdb-tables.ts';

/** One call of `append`, encoded and checked. */
export interface Append {
  readonly stream: string;
  readonly records: readonly Buffer[];
  readonly expectedVersion: number;
}

interface Waiting extends Append {
  readonly resolve: (answer: Appended) => void;
  readonly reject: (error: unknown) => void;
}

export interface Appender {
  readonly append: (append: Append) => Promise<Appended>;
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
  const queue: Waiting[] = [];
  let head = tables.head();
  let running: Promise<void> | undefined;

  const commitNext = async (): Promise<void> => {
    const group = takeGroup(queue);
    try {
      const plan = decideAll(tables, head, group);
      if (plan.rows.length > 0) await tables.commit(head, plan.rows);
      head += plan.rows.length;
      for (const answer of plan.answers) answer();
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
    append: (append) =>
      new Promise((resolve, reject) => {
        queue.push({ ...append, resolve, reject });
        running ??= run();
      }),
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

function takeGroup(queue: Waiting[]): readonly Waiting[] {
  let bytes = 0;
  let events = 0;
  const end = queue.findIndex(({ records }, index) => {
    bytes += records.reduce((sum, record) => sum + record.length, 0);
    events += records.length;
    return index > 0 && (bytes > MAX_COMMIT_BYTES || events > MAX_COMMIT_EVENTS);
  });
  return queue.splice(0, end === -1 ? queue.length : end);
}

interface Plan {
  readonly rows: readonly Row[];
  readonly answers: readonly (() => void)[];
}

/** Decides each append against the tables and what those before it in the group will have written. */
function decideAll(tables: LogTables, head: number, group: readonly Waiting[]): Plan {
  const staged = openStage(tables, head);
  const answers = group.map((append) => {
    const answer = decide(staged, append);
    return () => {
      if (answer instanceof WrongExpectedVersion) append.reject(answer);
      else append.resolve(answer);
    };
  });
  return { rows: staged.rows, answers };
}

function decide(stage: Stage, append: Append): Appended | WrongExpectedVersion {
  const { stream, records, expectedVersion } = append;
  const actual = stage.version(stream);
  const version = expectedVersion + records.length;
  if (actual === expectedVersion) for (const record of records) stage.add(stream, record);
  else if (!isRetry(stage, append, actual)) return new WrongExpectedVersion(stream, expectedVersion, actual);
  return { version, position: toPosition(stage.sequenceOf(stream, version)) };
}

/** The stream holds these very events at these very versions. */
function isRetry(stage: Stage, { stream, records, expectedVersion }: Append, actual: number): boolean {
  if (expectedVersion + records.length > actual) return false;
  return records.every((record, index) => stage.idAt(stream, expectedVersion + 1 + index) === idOf(record));
}

interface Stage {
  readonly rows: readonly Row[];
  readonly version: (stream: string) => number;
  readonly sequenceOf: (stream: string, version: number) => number;
  readonly idAt: (stream: string, version: number) => string;
  readonly add: (stream: string, record: Buffer) => void;
}

/** The tables as they will be once the rows added here are written. */
function openStage(tables: LogTables, head: number): Stage {
  const rows: Row[] = [];
  const streams = new Map<string, StagedStream>();
  const staged = (stream: string): StagedStream => {
    const known = streams.get(stream) ?? { base: tables.version(stream), rows: [] };
    streams.set(stream, known);
    return known;
  };
  return {
    rows,
    version: (stream) => staged(stream).base + staged(stream).rows.length,
    sequenceOf: (stream, version) => find(tables, staged(stream), stream, version).sequence,
    idAt: (stream, version) => idOf(find(tables, staged(stream), stream, version).record),
    add: (stream, record) => {
      const { base, rows: own } = staged(stream);
      const version = base + own.length + 1;
      stampVersion(record, version);
      const row = { sequence: head + rows.length + 1, stream, version, record };
      own.push(row);
      rows.push(row);
    },
  };
}

interface StagedStream {
  /** Its version in the tables. */
  readonly base: number;
  readonly rows: Row[];
}

function find(
  tables: LogTables,
  { base, rows }: StagedStream,
  stream: string,
  version: number,
): Pick<Row, 'sequence' | 'record'> {
  const row = rows[version - base - 1];
  if (row) return row;
  const sequence = tables.sequenceOf(stream, version);
  const record = sequence === undefined ? undefined : tables.record(sequence);
  if (sequence === undefined || !record) throw new Error(`stream ${stream} lacks its version ${String(version)}`);
  return { sequence, record };
}
