import { open as openEnvironment, type Database, type RootDatabase } from 'lmdb';

import { backupScript, runBackup } from './lmdb-backup-process.ts';
import type { Started } from '../../lifecycle.ts';
import type { Change, Key, State, StateStore } from './state.ts';
import { commitError } from '../../lmdb.ts';

/** Projections in one environment. LMDB reserves a slot for each. */
const MAX_STATES = 64;
const DEFAULT_LIMIT = 1_000;
/** Encoded; LMDB's own limit with pages of 4 KiB is 1,978. */
const MAX_KEY_BYTES = 1_900;

type Table = Database<Buffer, Buffer>;

/**
 * The states of projections in one LMDB environment in the directory `path`, made when it is not there.
 *
 * A commit is answered when it is on the disk, which is more than the port asks for: with lmdb 3.5 `overlappingSync`
 * answers no sooner (measured: 0.33 against 0.39 ms), and what skips the flush (`noSync`) can tear the environment in a
 * power cut. Commits that arrive while one is being flushed gather and share the next flush.
 *
 * `script` is what the process of a backup runs; the one beside this file unless told otherwise.
 */
export async function openLmdbState(path: string, script = backupScript()): Promise<Started<StateStore>> {
  // eventTurnBatching makes a promise that nobody can reach: when a commit fails, its rejection ends the process.
  const root = openEnvironment<unknown, string>({
    path,
    noSubdir: false,
    overlappingSync: false,
    eventTurnBatching: false,
    maxDbs: MAX_STATES,
  });
  const store = createStore(root, { path, script });
  return Promise.resolve({ value: store, stop: () => store.close() });
}

interface Files {
  readonly path: string;
  readonly script: string;
}

function createStore(root: RootDatabase<unknown, string>, { path, script }: Files): StateStore {
  const states = new Map<string, State>();
  let closing: Promise<void> | undefined;
  const refuseClosed = (): void => {
    if (closing) throw new Error('the state store is closed');
  };
  return {
    open: (name) => {
      refuseClosed();
      const state = states.get(name) ?? createState(openTable(root, name), refuseClosed);
      states.set(name, state);
      return state;
    },
    names: () => {
      refuseClosed();
      return [...root.getKeys()];
    },
    remove: async (name) => {
      refuseClosed();
      if (states.has(name)) throw new Error(`the state ${name} is in use`);
      await settled(openTable(root, name).drop());
    },
    backup: async ({ scratch, file, key }, signal) => {
      refuseClosed();
      const order = { path, scratch, file, key: encodeKey(key).toString('base64') };
      try {
        return await runBackup(script, order, signal);
      } finally {
        // A process that was killed leaves its place as a reader behind, and what it read would be kept for ever.
        if (!closing) root.readerCheck();
      }
    },
    close: () => (closing ??= root.close()),
  };
}

function openTable(root: RootDatabase<unknown, string>, name: string): Table {
  if (name === '') throw new RangeError('a state needs a name');
  return root.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
}

function createState(table: Table, refuseClosed: () => void): State {
  return {
    get: (key) => {
      refuseClosed();
      const value = table.get(encodeKey(key));
      return value && decodeValue(value);
    },
    list: (prefix, options = {}) => {
      refuseClosed();
      const range = { ...rangeOf(prefix, options), limit: options.limit ?? DEFAULT_LIMIT };
      return [...table.getRange(range)].map(({ key, value }) => [decodeKey(key), decodeValue(value)]);
    },
    count: (prefix, options = {}) => {
      refuseClosed();
      return table.getKeysCount(rangeOf(prefix, options));
    },
    commit: async (changes) => {
      refuseClosed();
      const writes = changes.map(encodeChange);
      if (writes.length > 0) await write(table, writes);
    },
    clear: async () => {
      refuseClosed();
      await settled(table.clearAsync());
    },
  };
}

interface Write {
  readonly key: Buffer;
  /** Undefined deletes. */
  readonly value: Buffer | undefined;
}

/** Everything that can be wrong with a change must come out here: an exception inside a batch would commit half of it. */
function encodeChange(change: Change): Write {
  if ('del' in change) return { key: encodeKey(change.del), value: undefined };
  const json = toJson(change.value);
  if (json === undefined) throw new TypeError(`the value of key ${JSON.stringify(change.put)} is not JSON`);
  return { key: encodeKey(change.put), value: Buffer.from(json) };
}

async function write(table: Table, writes: readonly Write[]): Promise<void> {
  const committed = table.batch(() => {
    for (const { key, value } of writes) {
      if (value) void table.put(key, value);
      else void table.remove(key);
    }
  });
  await settled(committed);
}

async function settled(committed: Promise<unknown>): Promise<void> {
  await committed.catch(async (error: unknown) => {
    throw new Error('the commit failed', { cause: await commitError(error) });
  });
}

/** Undefined for what JSON has no form for, which the declaration of JSON.stringify keeps quiet about. */
function toJson(value: unknown): string | undefined {
  return JSON.stringify(value);
}

function decodeValue(value: Buffer): unknown {
  const decoded: unknown = JSON.parse(value.toString());
  return decoded;
}

function rangeOf(
  prefix: Key,
  { from, to }: { readonly from?: Key; readonly to?: Key },
): { start: Buffer; end: Buffer } {
  const start = prefix.length === 0 ? Buffer.of(0) : encodeKey(prefix);
  const end = Buffer.concat([prefix.length === 0 ? Buffer.alloc(0) : start, Buffer.of(AFTER_TAGS)]);
  return {
    start: from ? later(start, encodeKey(from)) : start,
    end: to ? earlier(end, encodeKey(to)) : end,
  };
}

function later(a: Buffer, b: Buffer): Buffer {
  return a.compare(b) < 0 ? b : a;
}

function earlier(a: Buffer, b: Buffer): Buffer {
  return a.compare(b) < 0 ? a : b;
}

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
const AFTER_TAGS = 3;
const NUL = 0;
const ESCAPED_NUL = String.fromCharCode(NUL, AFTER_TAGS);

function encodeKey(key: Key): Buffer {
  if (key.length === 0) throw new RangeError('a key has at least one element');
  const escaped = key.map((element) => (typeof element === 'number' ? element : escape(element)));
  const size = escaped.reduce<number>((sum, element) => sum + sizeOf(element), 0);
  if (size > MAX_KEY_BYTES) throw new RangeError(`a key of ${String(size)} bytes is too long`);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const element of escaped) {
    at = typeof element === 'number' ? writeNumber(bytes, element, at) : writeString(bytes, element, at);
  }
  return bytes;
}

function sizeOf(element: string | number): number {
  return typeof element === 'number' ? 9 : Buffer.byteLength(element) + 2;
}

/** Answers where the next element goes. */
function writeNumber(bytes: Buffer, element: number, at: number): number {
  if (!Number.isFinite(element)) throw new RangeError(`${String(element)} cannot be part of a key`);
  bytes[at] = NUMBER;
  bytes.writeDoubleBE(element + 0, at + 1); // + 0 makes -0 the same key as 0
  if ((bytes[at + 1] ?? 0) < 0x80) bytes[at + 1] = (bytes[at + 1] ?? 0) | 0x80;
  else for (let byte = at + 1; byte < at + 9; byte += 1) bytes[byte] = ~(bytes[byte] ?? 0);
  return at + 9;
}

function writeString(bytes: Buffer, element: string, at: number): number {
  bytes[at] = STRING;
  const end = at + 1 + bytes.write(element, at + 1);
  bytes[end] = NUL;
  return end + 1;
}

function escape(element: string): string {
  if (!element.isWellFormed()) throw new RangeError('half a character cannot be part of a key');
  return element.includes('\0') ? element.replaceAll('\0', ESCAPED_NUL) : element;
}

const SIGN = -(2n ** 63n);

function decodeKey(bytes: Buffer): Key {
  const key: (string | number)[] = [];
  for (let at = 0; at < bytes.length;) {
    const [element, end] = bytes[at] === NUMBER ? decodeNumber(bytes, at) : decodeString(bytes, at);
    key.push(element);
    at = end;
  }
  return key;
}

function decodeNumber(bytes: Buffer, at: number): readonly [number, number] {
  const ordered = bytes.readBigInt64BE(at + 1);
  const double = Buffer.alloc(8);
  double.writeBigInt64BE(ordered < 0n ? ordered ^ SIGN : ~ordered);
  return [double.readDoubleBE(), at + 9];
}

function decodeString(bytes: Buffer, at: number): readonly [string, number] {
  let end = bytes.indexOf(NUL, at);
  while (bytes[end + 1] === AFTER_TAGS) end = bytes.indexOf(NUL, end + 1);
  return [bytes.toString('utf8', at + 1, end).replaceAll(ESCAPED_NUL, '\0'), end + 1];
}
