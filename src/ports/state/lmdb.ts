import { open as openEnvironment, type Database, type RootDatabase } from 'lmdb';

import { backupScript, runBackup } from './lmdb-backup-process.ts';
import type { Started } from '../../lifecycle.ts';
import { exclusive, type Exclusive } from './exclusive.ts';
import { decodeKey, encodeKey, rangeOf, type Range } from './keys.ts';
import { DEFAULT_LIMIT, type Change, type KeptEntry, type KeptState, type KeptStore } from './state.ts';
import { mapInSlices } from './slices.ts';
import { commitError } from '../../lmdb.ts';

/** Projections in one environment. LMDB reserves a slot for each. */
const MAX_STATES = 64;

type Table = Database<Buffer, Buffer>;

/**
 * The states of projections in one LMDB environment in the directory `path`, made when it is not there.
 *
 * A commit is answered when it is on the disk, so a crash sets nothing back: with lmdb 3.5 `overlappingSync`
 * answers no sooner (measured: 0.33 against 0.39 ms), and what skips the flush (`noSync`) can tear the environment in a
 * power cut. Commits that arrive while one is being flushed gather and share the next flush.
 *
 * `script` is what the process of a backup runs; the one beside this file unless told otherwise.
 */
export async function openLmdbState(path: string, script = backupScript()): Promise<Started<KeptStore>> {
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

function createStore(root: RootDatabase<unknown, string>, { path, script }: Files): KeptStore {
  const states = new Map<string, { readonly state: KeptState; readonly inTurn: Exclusive }>();
  let closing: Promise<void> | undefined;
  const refuseClosed = (): void => {
    if (closing) throw new Error('the state store is closed');
  };
  async function close(): Promise<void> {
    // What is still encoded is to be written.
    await Promise.all(Array.from(states.values(), ({ inTurn }) => inTurn(() => Promise.resolve())));
    await root.close();
  }
  return {
    open: (name) => {
      refuseClosed();
      const inTurn = exclusive();
      const found = states.get(name) ?? { state: createState(openTable(root, name), inTurn, refuseClosed), inTurn };
      states.set(name, found);
      return found.state;
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
    flush: () => Promise.resolve(),
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
    close: () => (closing ??= close()),
  };
}

function openTable(root: RootDatabase<unknown, string>, name: string): Table {
  if (name === '') throw new RangeError('a state needs a name');
  return root.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
}

/** @param inTurn To encode much takes several turns of the event loop, and what is committed next comes after that. */
function createState(table: Table, inTurn: Exclusive, refuseClosed: () => void): KeptState {
  return {
    get: (key) => {
      refuseClosed();
      const value = table.get(encodeKey(key));
      return value && decodeValue(value);
    },
    has: (key) => {
      refuseClosed();
      return table.doesExist(encodeKey(key));
    },
    entries: (prefix, options = {}) => {
      refuseClosed();
      return entriesOf(table, rangeOf(prefix, options));
    },
    list: (prefix, options = {}) => {
      refuseClosed();
      const limit = options.limit ?? DEFAULT_LIMIT;
      return [...table.getRange({ ...bytesOf(rangeOf(prefix, options)), limit })].map(({ key, value }) => [
        decodeKey(key),
        decodeValue(value),
      ]);
    },
    count: (prefix, options = {}) => {
      refuseClosed();
      return table.getKeysCount(bytesOf(rangeOf(prefix, options)));
    },
    commit: async (changes) => {
      refuseClosed();
      const begun = await inTurn(async () => {
        const writes = await mapInSlices(changes, encodeChange);
        return { committed: writes.length > 0 && write(table, writes) };
      });
      if (begun.committed) await settled(begun.committed);
    },
    clear: async () => {
      refuseClosed();
      const begun = await inTurn(() => Promise.resolve({ cleared: table.clearAsync() }));
      await settled(begun.cleared);
    },
  };
}

function* entriesOf(table: Table, range: Range): Generator<KeptEntry> {
  for (const key of table.getKeys(bytesOf(range))) {
    yield {
      text: key.toString('latin1'),
      read: () => {
        const value = table.get(key);
        return [decodeKey(key), value && decodeValue(value)];
      },
    };
  }
}

function bytesOf({ start, end }: Range): { readonly start: Buffer; readonly end: Buffer } {
  return { start: Buffer.from(start, 'latin1'), end: Buffer.from(end, 'latin1') };
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

function write(table: Table, writes: readonly Write[]): Promise<unknown> {
  return table.batch(() => {
    for (const { key, value } of writes) {
      if (value) void table.put(key, value);
      else void table.remove(key);
    }
  });
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
