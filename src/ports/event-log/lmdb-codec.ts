import type { Metadata } from '../../events/event.ts';
import type { Encoded } from './append-checks.ts';
import { START, type EventFilter, type Position, type RecordedEvent } from './event-log.ts';

/*
 * How an event lies in the embedded log. Version, stream, type and id come first, so that filters and retries are
 * decided without parsing JSON:
 *
 *   0 format (1) · 1 version (4) · 5 lengths of stream, type, id (2 each) · 11 length of data (4) · 15 stream, type, id, data, metadata
 */
const FORMAT = 1;
const VERSION_AT = 1;
const LENGTHS_AT = 5;
const DATA_LENGTH_AT = 11;
const BODY_AT = 15;

/** An event of `stream`, still without its version. */
export function encodeEvent(stream: string, { event, data, metadata }: Encoded): Buffer {
  const names = [stream, event.type, event.id].map((name) => Buffer.from(name));
  const head = Buffer.alloc(BODY_AT);
  head.writeUInt8(FORMAT);
  names.forEach((name, index) => head.writeUInt16BE(name.length, LENGTHS_AT + 2 * index));
  head.writeUInt32BE(data.length, DATA_LENGTH_AT);
  return Buffer.concat([head, ...names, data, metadata]);
}

export function stampVersion(record: Buffer, version: number): void {
  record.writeUInt32BE(version, VERSION_AT);
}

export function idOf(record: Buffer): string {
  const start = BODY_AT + record.readUInt16BE(LENGTHS_AT) + record.readUInt16BE(LENGTHS_AT + 2);
  return record.toString('utf8', start, start + record.readUInt16BE(LENGTHS_AT + 4));
}

export function decodeEvent(record: Buffer, sequence: number): RecordedEvent {
  if (record[0] !== FORMAT) throw new Error(`event ${String(sequence)} has the unknown format ${String(record[0])}`);
  const streamEnd = BODY_AT + record.readUInt16BE(LENGTHS_AT);
  const typeEnd = streamEnd + record.readUInt16BE(LENGTHS_AT + 2);
  const idEnd = typeEnd + record.readUInt16BE(LENGTHS_AT + 4);
  const dataEnd = idEnd + record.readUInt32BE(DATA_LENGTH_AT);
  return {
    id: record.toString('utf8', typeEnd, idEnd),
    type: record.toString('utf8', streamEnd, typeEnd),
    data: fromJson(record, idEnd, dataEnd),
    metadata: fromJson(record, dataEnd, record.length) as Metadata,
    stream: record.toString('utf8', BODY_AT, streamEnd),
    version: record.readUInt32BE(VERSION_AT),
    position: toPosition(sequence),
  };
}

/** Tells from the bytes alone whether a record matches. */
export function compileFilter({ streamPrefixes, types }: EventFilter): (record: Buffer) => boolean {
  const prefixes = streamPrefixes?.map((prefix) => Buffer.from(prefix));
  const wanted = types && new Set(types);
  return (record) => {
    const streamEnd = BODY_AT + record.readUInt16BE(LENGTHS_AT);
    if (prefixes && !prefixes.some((prefix) => startsWith(record, prefix, streamEnd))) return false;
    const typeEnd = streamEnd + record.readUInt16BE(LENGTHS_AT + 2);
    return !wanted || wanted.has(record.toString('utf8', streamEnd, typeEnd));
  };
}

function startsWith(record: Buffer, prefix: Buffer, streamEnd: number): boolean {
  const end = BODY_AT + prefix.length;
  return end <= streamEnd && record.compare(prefix, 0, prefix.length, BODY_AT, end) === 0;
}

const POSITION_DIGITS = 16;

/** The n-th event of the log, counted from 1. Sixteen digits hold every safe integer. */
export function toPosition(sequence: number): Position {
  return sequence === 0 ? START : (String(sequence).padStart(POSITION_DIGITS, '0') as Position);
}

/** Throws RangeError unless `position` names START or one of the events 1 to `head`. */
export function toSequence(position: Position, head: number): number {
  if (position === START) return 0;
  const sequence = /^\d{16}$/.test(position) ? Number(position) : 0;
  if (sequence < 1) throw new RangeError(`'${position}' is not a position of this log`);
  if (sequence > head) throw new RangeError(`position ${position} lies beyond the end of the log, ${String(head)}`);
  return sequence;
}

/** Index key of one version of a stream. A name holds no NUL, so no stream's keys lie between those of another. */
export function streamKey(stream: string, version: number): Buffer {
  const key = Buffer.alloc(Buffer.byteLength(stream) + 5);
  key.write(stream);
  key.writeUInt32BE(version, key.length - 4);
  return key;
}

export function versionOf(key: Uint8Array): number {
  return Buffer.from(key).readUInt32BE(key.length - 4);
}

function fromJson(record: Buffer, start: number, end: number): unknown {
  const value: unknown = JSON.parse(record.toString('utf8', start, end));
  return value;
}
