import { EventTooLarge, MAX_APPEND_BYTES, MAX_EVENT_BYTES, type NewEvent } from './event-log.ts';

/** In UTF-16 code units; keeps index keys of the embedded log below LMDB's limit of 1,978 bytes. */
const MAX_NAME_LENGTH = 200;
const MAX_EVENTS = 1_000;
/** Versions lie in the index of the embedded log as 32 bits. */
export const MAX_VERSION = 0xffff_ffff;

/** Throws RangeError on a misuse of `append`. */
export function checkAppend(stream: string, events: readonly NewEvent[], expectedVersion: number): void {
  checkName('stream', stream);
  checkVersion(expectedVersion);
  if (events.length < 1 || events.length > MAX_EVENTS) {
    throw new RangeError(`an append takes 1 to ${String(MAX_EVENTS)} events, not ${String(events.length)}`);
  }
}

export function checkVersion(version: number): void {
  if (!Number.isInteger(version) || version < 0 || version > MAX_VERSION) {
    throw new RangeError(`${String(version)} is not a version`);
  }
}

/** A lone surrogate would be replaced on its way through UTF-8, and two names would become one. */
export function checkName(what: string, name: string): void {
  const valid = name.length >= 1 && name.length <= MAX_NAME_LENGTH && !name.includes('\0') && name.isWellFormed();
  if (!valid) throw new RangeError(`${what} '${name}' is empty, too long, or holds NUL or half a character`);
}

/** What was said of notifications and users is never forgotten. */
const BOOKKEEPING = /^(lease|ingest)-/;

/** Throws RangeError on a misuse of `keepNewest`. */
export function checkKeep(stream: string, count: number): void {
  checkName('stream', stream);
  if (!BOOKKEEPING.test(stream)) throw new RangeError(`stream '${stream}' is not bookkeeping: all of it is kept`);
  if (!Number.isSafeInteger(count) || count < 1) throw new RangeError(`${String(count)} is not a number of events`);
}

/** An event, and what it says as JSON. */
export interface Texts {
  readonly event: NewEvent;
  readonly data: string;
  readonly metadata: string;
  /** Of data and metadata, in UTF-8. */
  readonly dataBytes: number;
  readonly metadataBytes: number;
}

/** Throws RangeError or EventTooLarge. */
export function toTexts(events: readonly NewEvent[]): readonly Texts[] {
  const texts = events.map(textsOf);
  const size = texts.reduce(
    (sum, { event, dataBytes, metadataBytes }) => sum + dataBytes + metadataBytes + 2 * event.type.length,
    0,
  );
  if (size > MAX_APPEND_BYTES) {
    throw new RangeError(`an append of ${String(size)} bytes is over the limit of ${String(MAX_APPEND_BYTES)}`);
  }
  return texts;
}

function textsOf(event: NewEvent): Texts {
  checkName('type', event.type);
  checkName('id', event.id);
  const data = toJson(event.data);
  const metadata = toJson(event.metadata);
  const dataBytes = Buffer.byteLength(data);
  const metadataBytes = Buffer.byteLength(metadata);
  const size = dataBytes + metadataBytes;
  if (size > MAX_EVENT_BYTES) throw new EventTooLarge(event.type, size);
  return { event, data, metadata, dataBytes, metadataBytes };
}

function toJson(value: unknown): string {
  return JSON.stringify(value ?? null);
}

/** An event, and the bytes of what it says as JSON. */
export interface Encoded {
  readonly event: NewEvent;
  readonly data: Buffer;
  readonly metadata: Buffer;
}

/** Throws RangeError or EventTooLarge. */
export function encodeBodies(events: readonly NewEvent[]): readonly Encoded[] {
  return toTexts(events).map(({ event, data, metadata }) => ({
    event,
    data: Buffer.from(data),
    metadata: Buffer.from(metadata),
  }));
}
