import type { Bounds, Key } from './state.ts';

/** Encoded; LMDB's own limit with pages of 4 KiB is 1,978. */
const MAX_KEY_BYTES = 1_900;

/*
 * Keys in bytes whose order is the order of the keys, the way FoundationDB's tuple layer does it. Not lmdb's own array
 * keys: ordered-binary 1.6 gives ['a'] back as 'a', mangles -0, and cuts strings of 64 and more characters at a NUL.
 *
 *   number: 1, then the 8 bytes of the double, big endian, positive with the sign bit set, negative with all bits flipped
 *   string: 2, then UTF-8 with each 0 written as 0 3, then 0
 *
 * What follows an element is the end, 1 or 2; so 3 ends the range of a prefix, and keeps a string with a NUL out of it.
 */
const NUMBER = 1;
const STRING = 2;
const NUL = 0;
const NUL_FOLLOWED = 3;
const ESCAPED_NUL = String.fromCharCode(NUL, NUL_FOLLOWED);
const [STRING_TAG, STRING_END] = [String.fromCharCode(STRING), String.fromCharCode(NUL)];
const [BEFORE_TAGS, AFTER_TAGS] = [String.fromCharCode(NUL), String.fromCharCode(NUL_FOLLOWED)];

/**
 * The bytes of a key as a string of as many characters, which the operators of strings put in the order of the keys.
 * @throws RangeError when it cannot be a key.
 */
export function textOf(key: Key): string {
  if (key.length === 0) throw new RangeError('a key has at least one element');
  let text = '';
  for (const element of key) text += typeof element === 'number' ? numberText(element) : stringText(element);
  if (text.length > MAX_KEY_BYTES) throw new RangeError(`a key of ${String(text.length)} bytes is too long`);
  return text;
}

export function encodeKey(key: Key): Buffer {
  return Buffer.from(textOf(key), 'latin1');
}

const double = Buffer.of(NUMBER, 0, 0, 0, 0, 0, 0, 0, 0);

function numberText(element: number): string {
  if (!Number.isFinite(element)) throw new RangeError(`${String(element)} cannot be part of a key`);
  double.writeDoubleBE(element + 0, 1); // + 0 makes -0 the same key as 0
  if (element < 0) flip(double);
  else double[1] = (double[1] ?? 0) | 0x80;
  return double.toString('latin1');
}

/** All bits of the number. */
function flip(bytes: Buffer): void {
  for (let byte = 1; byte < 9; byte += 1) bytes[byte] = ~(bytes[byte] ?? 0);
}

/** Characters that are their own byte. NUL is none of them. */
const PLAIN = /^[ -~]*$/;

function stringText(element: string): string {
  const bytes = PLAIN.test(element) ? element : bytesOf(element);
  return STRING_TAG + bytes + STRING_END;
}

function bytesOf(element: string): string {
  if (!element.isWellFormed()) throw new RangeError('half a character cannot be part of a key');
  return Buffer.from(element.replaceAll('\0', ESCAPED_NUL)).toString('latin1');
}

export function decodeKey(bytes: Buffer): Key {
  const key: (string | number)[] = [];
  for (let at = 0; at < bytes.length;) {
    const [element, end] = bytes[at] === NUMBER ? decodeNumber(bytes, at) : decodeString(bytes, at);
    key.push(element);
    at = end;
  }
  return key;
}

function decodeNumber(bytes: Buffer, at: number): readonly [number, number] {
  bytes.copy(double, 1, at + 1, at + 9);
  if ((double[1] ?? 0) < 0x80) flip(double);
  else double[1] = (double[1] ?? 0) & 0x7f;
  return [double.readDoubleBE(1), at + 9];
}

function decodeString(bytes: Buffer, at: number): readonly [string, number] {
  let end = bytes.indexOf(NUL, at);
  while (bytes[end + 1] === NUL_FOLLOWED) end = bytes.indexOf(NUL, end + 1);
  return [bytes.toString('utf8', at + 1, end).replaceAll(ESCAPED_NUL, '\0'), end + 1];
}

/** Which keys are asked for: those that start with a prefix, from one and up to, without, another. */
export interface Range {
  /** Inclusive. */
  readonly start: string;
  /** Exclusive. */
  readonly end: string;
}

export function rangeOf(prefix: Key, { from, to }: Bounds): Range {
  const common = prefix.length === 0 ? '' : textOf(prefix);
  // An empty key is none that LMDB could look for.
  const start = common === '' ? BEFORE_TAGS : common;
  const end = common + AFTER_TAGS;
  return { start: from ? later(start, textOf(from)) : start, end: to ? earlier(end, textOf(to)) : end };
}

function later(a: string, b: string): string {
  return a < b ? b : a;
}

function earlier(a: string, b: string): string {
  return a < b ? a : b;
}
