import type { Range } from './keys.ts';
import type { Key } from './state.ts';

/** One key and what it is to hold. */
export interface Entry {
  /** Of the key, as `textOf` gives it. */
  readonly text: string;
  readonly key: Key;
  /** Undefined: nothing, whatever lies below. */
  readonly value: unknown;
  /** Of the value, about. */
  readonly bytes: number;
}

export interface Size {
  readonly keys: number;
  /** Of all values, about. */
  readonly bytes: number;
}

/** Changes to a state in memory, the last one of each key, in the order of the keys. */
export interface Overlay {
  readonly set: (entry: Entry) => void;
  /** Undefined: whatever lies below. */
  readonly get: (text: string) => Entry | undefined;
  readonly between: (range: Range) => Iterable<Entry>;
  readonly all: () => Iterable<Entry>;
  readonly size: () => Size;
}

/** Entries by their texts, cut into pieces so that few have to make room for a new one. */
type Chunks = Entry[][];
const CHUNK = 256;

export function openOverlay(): Overlay {
  const entries = new Map<string, { -readonly [Name in keyof Entry]: Entry[Name] }>();
  let sum = 0;
  const chunks: Chunks = [];
  return {
    set: ({ text, key, value, bytes }) => {
      const found = entries.get(text);
      sum += bytes - (found?.bytes ?? 0);
      if (found) {
        found.value = value;
        found.bytes = bytes;
      } else {
        const entry = { text, key, value, bytes };
        entries.set(text, entry);
        insert(chunks, entry);
      }
    },
    get: (text) => entries.get(text),
    between: (range) => between(chunks, range),
    all: () => entries.values(),
    size: () => ({ keys: entries.size, bytes: sum }),
  };
}

function insert(chunks: Chunks, entry: Entry): void {
  const at = chunkFor(chunks, entry.text);
  const chunk = chunks[at];
  if (chunk === undefined) {
    chunks.push([entry]);
    return;
  }
  chunk.splice(firstFrom(chunk, entry.text), 0, entry);
  if (chunk.length > CHUNK) chunks.splice(at + 1, 0, chunk.splice(CHUNK / 2));
}

function* between(chunks: Chunks, { start, end }: Range): Generator<Entry> {
  let at = chunkFor(chunks, start);
  let index = firstFrom(chunks[at] ?? [], start);
  for (; at < chunks.length; at += 1, index = 0) {
    const chunk = chunks[at] ?? [];
    for (; index < chunk.length; index += 1) {
      const entry = chunk[index];
      if (entry === undefined || entry.text >= end) return;
      yield entry;
    }
  }
}

/** The last chunk that begins at the text or before it, else the first. */
function chunkFor(chunks: Chunks, text: string): number {
  const after = search(chunks.length, (index) => (chunks[index]?.[0]?.text ?? '') > text);
  return Math.max(after - 1, 0);
}

/** Where in a chunk the texts are that are not before this one. */
function firstFrom(chunk: readonly Entry[], text: string): number {
  return search(chunk.length, (index) => (chunk[index]?.text ?? '') >= text);
}

/** The first index for which it is so, and for all after it; `length` when for none. */
function search(length: number, isSo: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isSo(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

type InOrder<T> = Iterable<T & Pick<Entry, 'text'>>;

/** The entries of both in the order of their keys; of a key that both have, what lies above. */
export function* merged<Above, Below>(above: InOrder<Above>, below: InOrder<Below>): Generator<Above | Below> {
  const rest = below[Symbol.iterator]();
  try {
    let next = rest.next();
    for (const entry of above) {
      for (; next.done !== true && next.value.text < entry.text; next = rest.next()) yield next.value;
      if (next.done !== true && next.value.text === entry.text) next = rest.next();
      yield entry;
    }
    for (; next.done !== true; next = rest.next()) yield next.value;
  } finally {
    // Who has seen enough may leave something open down there.
    rest.return?.();
  }
}
