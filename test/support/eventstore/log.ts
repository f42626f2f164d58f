import { randomUUID } from 'node:crypto';

import { openCommittedEvents, type CommittedEvents } from './committed-events.ts';

/** Expected revisions that are not a number, as EventStoreDB counts them. */
export const NO_STREAM = -1;
export const ANY = -2;
export const STREAM_EXISTS = -4;

/** Event number of a tombstone, and `$tb` of a deleted stream: the largest signed 64 bit number, as a double has it. */
export const DELETED = 2 ** 63;

export interface ProposedEvent {
  readonly id: string;
  readonly type: string;
  readonly json: boolean;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
}

/** One event as it lies in the log. Its commit and prepare position are both `position`. */
export interface LogRecord extends ProposedEvent {
  readonly stream: string;
  /** From 0; `DELETED` for a tombstone. */
  readonly number: number;
  readonly position: number;
  /** Where the next record begins. */
  readonly end: number;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export type Outcome =
  | { readonly kind: 'committed'; readonly revision: number; readonly position: number }
  | { readonly kind: 'wrong-version'; readonly current: number }
  | { readonly kind: 'deleted' };

/** What `$$stream` says of a stream. */
export interface StreamMetadata {
  readonly truncateBefore: number;
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

/** What the server has on its disk, and the one cache of its memory that clients notice. Lives on when the server restarts. */
export interface EventStoreLog {
  /** Everything, system events too, in log order. */
  readonly records: readonly LogRecord[];
  /** Where the next record will begin. */
  readonly end: () => number;
  /** Of the last record, -1 when empty. */
  readonly lastPosition: () => number;
  /** Number of the stream's last event: `NO_STREAM` when there is none, `DELETED` after a tombstone. */
  readonly lastNumber: (stream: string) => number;
  readonly eventsOf: (stream: string) => readonly LogRecord[];
  readonly metadataOf: (stream: string) => StreamMetadata;
  readonly append: (stream: string, expected: number, events: readonly ProposedEvent[]) => Outcome;
  /** Soft delete, or a tombstone. */
  readonly remove: (stream: string, expected: number, forGood: boolean) => Outcome;
  /** Calls back for each record once it is committed, until the returned function is called. */
  readonly follow: (listener: (record: LogRecord) => void) => () => void;
  /** What a restart of the server forgets. */
  readonly forgetMemory: () => void;
}

interface State {
  readonly records: LogRecord[];
  readonly streams: Map<string, LogRecord[]>;
  readonly tombstones: Set<string>;
  readonly listeners: Set<(record: LogRecord) => void>;
  readonly committed: CommittedEvents;
  end: number;
}

/** A log as a server has it after its first start: some system events are there already. */
export function openEventStoreLog(): EventStoreLog {
  const state: State = {
    records: [],
    streams: new Map(),
    tombstones: new Set(),
    listeners: new Set(),
    committed: openCommittedEvents(),
    end: 0,
  };
  writeFirstEvents(state);
  return {
    records: state.records,
    end: () => state.end,
    lastPosition: () => state.records.at(-1)?.position ?? -1,
    lastNumber: (stream) => lastNumber(state, stream),
    eventsOf: (stream) => state.streams.get(stream) ?? [],
    metadataOf: (stream) => metadataOf(state, stream),
    append: (stream, expected, events) => append(state, stream, expected, events),
    remove: (stream, expected, forGood) => remove(state, stream, { expected, forGood }),
    follow: (listener) => {
      state.listeners.add(listener);
      return () => state.listeners.delete(listener);
    },
    forgetMemory: state.committed.clear,
  };
}

function append(state: State, stream: string, expected: number, events: readonly ProposedEvent[]): Outcome {
  const ids = events.map(({ id }) => id);
  const check = checkCommit(state, stream, expected, ids);
  if (check !== 'ok') return check;
  const current = lastNumber(state, stream);
  // Writing to a deleted stream brings it back from there on, and so does writing its metadata.
  const revived = isMetastream(stream) ? stream.slice(2) : stream;
  const truncateBefore = isSoftDeleted(state, revived) ? lastNumber(state, revived) + 1 : undefined;
  const written = events.map((event, index) => write(state, stream, current + 1 + index, event));
  if (truncateBefore !== undefined && written.length > 0) writeMetadata(state, revived, { $tb: truncateBefore });
  const last = written.at(-1);
  if (last) return { kind: 'committed', revision: last.number, position: last.position };
  return { kind: 'committed', revision: current, position: emptyWrite(state) };
}

function remove(
  state: State,
  stream: string,
  { expected, forGood }: { readonly expected: number; readonly forGood: boolean },
): Outcome {
  const check = checkCommit(state, stream, expected, [randomUUID()]);
  if (check !== 'ok') return check;
  if (forGood) {
    const tombstone = write(state, stream, DELETED, systemEvent('$streamDeleted', null));
    state.tombstones.add(stream);
    return { kind: 'committed', revision: DELETED, position: tombstone.position };
  }
  const exists = lastNumber(state, stream) >= 0 || lastNumber(state, metastreamOf(stream)) >= 0;
  if (!exists) return { kind: 'wrong-version', current: NO_STREAM };
  const { position, number } = writeMetadata(state, stream, { $tb: DELETED });
  return { kind: 'committed', revision: number, position };
}

/**
 * Decides whether an append goes ahead, was there already, or fails. An explicit revision is checked against the
 * events at those very numbers, for ever; `ANY` and `STREAM_EXISTS` only against what memory still holds.
 */
function checkCommit(state: State, stream: string, expected: number, ids: readonly string[]): Outcome | 'ok' {
  const current = lastNumber(state, stream);
  if (current === DELETED) return { kind: 'deleted' };
  if (expected === STREAM_EXISTS) {
    if (isSoftDeleted(state, stream)) return { kind: 'deleted' };
    const exists = current >= 0 || lastNumber(state, metastreamOf(stream)) >= 0;
    if (!exists) return { kind: 'wrong-version', current };
  }
  if (expected === ANY || expected === STREAM_EXISTS) return checkRemembered(state, stream, ids);
  if (expected === current) return 'ok';
  if (expected > current) return { kind: 'wrong-version', current };
  return checkNumbered(state, stream, { expected, ids, current });
}

function checkRemembered(state: State, stream: string, ids: readonly string[]): Outcome | 'ok' {
  let last = NO_STREAM;
  for (const [index, id] of ids.entries()) {
    const number = state.committed.numberOf(id, stream);
    if (number === undefined) {
      return index === 0 ? 'ok' : { kind: 'wrong-version', current: lastNumber(state, stream) };
    }
    last = number;
  }
  return ids.length === 0 ? 'ok' : alreadyCommitted(state, stream, last);
}

function checkNumbered(
  state: State,
  stream: string,
  { expected, ids, current }: { readonly expected: number; readonly ids: readonly string[]; readonly current: number },
): Outcome | 'ok' {
  const events = state.streams.get(stream) ?? [];
  const same = ids.findIndex((id, index) => events[expected + 1 + index]?.id !== id);
  if (same === -1 && ids.length > 0) return alreadyCommitted(state, stream, expected + ids.length);
  const recreated = same === 0 && expected === NO_STREAM && isSoftDeleted(state, stream);
  return recreated ? 'ok' : { kind: 'wrong-version', current };
}

function alreadyCommitted(state: State, stream: string, number: number): Outcome {
  const position = state.streams.get(stream)?.[number]?.position ?? -1;
  return { kind: 'committed', revision: number, position };
}

function write(state: State, stream: string, number: number, event: ProposedEvent): LogRecord {
  const position = state.end;
  const created = Date.now();
  const record = { ...event, stream, number, position, end: position + sizeOf(stream, event), created };
  state.end = record.end;
  state.records.push(record);
  if (number !== DELETED) eventsOf(state, stream).push(record);
  state.committed.remember(event.id, stream, number);
  for (const listener of state.listeners) listener(record);
  return record;
}

function eventsOf(state: State, stream: string): LogRecord[] {
  const known = state.streams.get(stream);
  if (known) return known;
  const events: LogRecord[] = [];
  state.streams.set(stream, events);
  return events;
}

/** An append without events leaves a record that nobody can read. */
function emptyWrite(state: State): number {
  const position = state.end;
  state.end += RECORD_OVERHEAD;
  return position;
}

const RECORD_OVERHEAD = 100;

/** Names count twice on the disk of the server too, roughly. */
function sizeOf(stream: string, { type, data, metadata }: ProposedEvent): number {
  return RECORD_OVERHEAD + stream.length + type.length + data.length + metadata.length;
}

function lastNumber(state: State, stream: string): number {
  if (state.tombstones.has(stream)) return DELETED;
  if (isMetastream(stream) && state.tombstones.has(stream.slice(2))) return DELETED;
  return (state.streams.get(stream)?.length ?? 0) - 1;
}

export function metastreamOf(stream: string): string {
  return `$$${stream}`;
}

function isMetastream(stream: string): boolean {
  return stream.startsWith('$$');
}

function isSoftDeleted(state: State, stream: string): boolean {
  return metadataOf(state, stream).truncateBefore === DELETED;
}

function metadataOf(state: State, stream: string): StreamMetadata {
  // Only the newest metadata count.
  if (isMetastream(stream)) return { truncateBefore: 0, maxCount: 1, maxAgeMs: Infinity };
  const raw = rawMetadata(state, stream);
  const number = (key: string): number | undefined => (typeof raw[key] === 'number' ? raw[key] : undefined);
  return {
    truncateBefore: number('$tb') ?? 0,
    maxCount: number('$maxCount') ?? Infinity,
    maxAgeMs: (number('$maxAge') ?? Infinity) * 1000,
  };
}

function rawMetadata(state: State, stream: string): Readonly<Record<string, unknown>> {
  const last = state.streams.get(metastreamOf(stream))?.at(-1);
  if (!last) return {};
  try {
    const parsed: unknown = JSON.parse(Buffer.from(last.data).toString());
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  } catch {
    return {};
  }
}

function writeMetadata(state: State, stream: string, change: Readonly<Record<string, unknown>>): LogRecord {
  const metastream = metastreamOf(stream);
  const whole = change['$tb'] === DELETED ? change : { ...rawMetadata(state, stream), ...change };
  return write(state, metastream, lastNumber(state, metastream) + 1, systemEvent('$metadata', whole));
}

function systemEvent(type: string, data: unknown): ProposedEvent {
  const bytes = data === null ? new Uint8Array() : Buffer.from(JSON.stringify(data));
  return { id: randomUUID(), type, json: data !== null, data: bytes, metadata: new Uint8Array() };
}

function writeFirstEvents(state: State): void {
  const first: readonly (readonly [string, string, unknown])[] = [
    ['$epoch-information', '$epoch-information', { epochNumber: 0 }],
    ['$$$stats-127.0.0.1:2113', '$metadata', { $maxAge: 86_400 }],
    ['$users', '$User', 'admin'],
    ['$user-admin', '$UserCreated', { loginName: 'admin', fullName: 'Event Store Administrator', groups: ['$admins'] }],
    ['$users', '$User', 'ops'],
    ['$user-ops', '$UserCreated', { loginName: 'ops', fullName: 'Event Store Operations', groups: ['$ops'] }],
    ['$stats-127.0.0.1:2113', '$statsCollected', { 'proc-id': 1 }],
  ];
  for (const [stream, type, data] of first) {
    write(state, stream, lastNumber(state, stream) + 1, systemEvent(type, data));
  }
}
