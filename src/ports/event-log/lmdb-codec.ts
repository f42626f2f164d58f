import type { Metadata } from '../../events/event.ts';
import type { Texts } from './append-checks.ts';
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

/** An event that is going to be appended: what it is made of, and how it will lie in the log but for its version. */
export interface Encoded {
  readonly texts: Texts;
  readonly record: Buffer;
}

export function encodeEvent(stream: string, texts: Texts): Encoded {
  const { type, id } = texts.event;
  const streamBytes = Buffer.byteLength(stream);
  const typeBytes = Buffer.byteLength(type);
  const idBytes = Buffer.byteLength(id);
  const bodyBytes = streamBytes + typeBytes + idBytes + texts.dataBytes + texts.metadataBytes;
  const record = Buffer.allocUnsafe(BODY_AT + bodyBytes);
  record[0] = FORMAT;
  stampVersion(record, 0);
  record.writeUInt16BE(streamBytes, LENGTHS_AT);
  record.writeUInt16BE(typeBytes, LENGTHS_AT + 2);
  record.writeUInt16BE(idBytes, LENGTHS_AT + 4);
  record.writeUInt32BE(texts.dataBytes, DATA_LENGTH_AT);
  // In one go: a call costs more than the bytes it writes.
  record.write(stream + type + id + texts.data + texts.metadata, BODY_AT);
  return { texts, record };
}

export function stampVersion(record: Buffer, version: number): void {
  record.writeUInt32BE(version, VERSION_AT);
}

/** What filters ask for. */
export function namesIn(record: Buffer): { readonly stream: string; readonly type: string } {
  const streamEnd = BODY_AT + record.readUInt16BE(LENGTHS_AT);
  const typeEnd = streamEnd + record.readUInt16BE(LENGTHS_AT + 2);
  return { stream: record.toString('utf8', BODY_AT, streamEnd), type: record.toString('utf8', streamEnd, typeEnd) };
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
    data: fromJson(record.toString('utf8', idEnd, dataEnd)),
    metadata: fromJson(record.toString('utf8', dataEnd, record.length)) as Metadata,
    stream: record.toString('utf8', BODY_AT, streamEnd),
    version: record.readUInt32BE(VERSION_AT),
    position: toPosition(sequence),
  };
}

/** As `decodeEvent` has it, from the texts that it was made of. */
export function decodeTexts(
  { event: { id, type }, data, metadata }: Texts,
  { stream, version, position }: Pick<RecordedEvent, 'stream' | 'version' | 'position'>,
): RecordedEvent {
  return { id, type, data: fromJson(data), metadata: fromJson(metadata) as Metadata, stream, version, position };
}

export function compileFilter({
  streamPrefixes: prefixes,
  types,
}: EventFilter): (event: { readonly stream: string; readonly type: string }) => boolean {
  const wanted = types && new Set(types);
  return ({ stream, type }) =>
    (!wanted || wanted.has(type)) && (!prefixes || prefixes.some((prefix) => stream.startsWith(prefix)));
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
  const end = Buffer.byteLength(stream);
  const key = Buffer.allocUnsafe(end + 5);
  key.write(stream);
  key[end] = 0;
  key.writeUInt32BE(version, end + 1);
  return key;
}

export function versionOf(key: Uint8Array): number {
  return Buffer.from(key).readUInt32BE(key.length - 4);
}

function fromJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return value;
}
