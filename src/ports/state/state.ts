/** Keys are ordered element by element: numbers before strings, numbers by value, strings by UTF-8 bytes. */
export type Key = readonly (string | number)[];

export type Change = { readonly put: Key; readonly value: unknown } | { readonly del: Key };

/** Entries that `list` gives unless told otherwise. */
export const DEFAULT_LIMIT = 1_000;

/** What narrows a prefix further: whole keys, in order. */
export interface Bounds {
  /** Inclusive. */
  readonly from?: Key;
  /** Exclusive. */
  readonly to?: Key;
}

/**
 * Local state of one projection. Rebuildable: it may be deleted at any time while the process is down, and is then
 * derived from the log again. A crash may set it back to an earlier commit, never to a torn one, which for a projection
 * means that it folds a little again; how far back, whoever opens the store says.
 *
 * A value is the state's from its commit on, and what is given out may be that very object: nobody changes either.
 */
export interface State {
  /** Values are JSON-like. Undefined when absent. */
  get(key: Key): unknown;
  /** Entries whose key starts with `prefix` (element-wise), in key order, a consistent snapshot; at most `limit` (default 1,000). */
  list(prefix: Key, options?: Bounds & { readonly limit?: number }): readonly (readonly [Key, unknown])[];
  /** How many entries `list` would give without a limit. */
  count(prefix: Key, options?: Bounds): number;
  /** All changes or none, applied in order; visible to `get` and `list` once it resolves. */
  commit(changes: readonly Change[]): Promise<void>;
  /** Removes every entry, all or none, after the commits before it; on the disk when it resolves. */
  clear(): Promise<void>;
}

/** A state as it lies on the disk, for what is above it: there most is hidden, and is not to be decoded for that. */
export interface KeptState extends State {
  /** Whether `get` would give something. */
  has(key: Key): boolean;
  /** What `list` would give without a limit, as far as it is asked for. To be gone through in one turn of the event loop. */
  entries(prefix: Key, options?: Bounds): Iterable<KeptEntry>;
}

/** Nothing but its key is read before `read` is called. */
export interface KeptEntry {
  /** Of the key, as `textOf` gives it. */
  readonly text: string;
  readonly read: () => readonly [Key, unknown];
}

/** One environment holds the states of several projections, each under its own name. */
export interface StateStore {
  open(name: string): State;
  /** Of all states that were ever opened here and not removed. */
  names(): readonly string[];
  /** Removes a state for good. @throws when it is open. */
  remove(name: string): Promise<void>;
  /** What was committed before is on the disk when it resolves. Rejects when that failed. */
  flush(): Promise<void>;
  /**
   * Writes a copy of all states, as they were at one moment and with all commits before the call, into a file; the store goes on being used meanwhile, and
   * another process does the work. An abort ends it at once and leaves what is half done.
   */
  backup(order: BackupOrder, signal: AbortSignal): Promise<Backup>;
  close(): Promise<void>;
}

export interface BackupOrder {
  /** A folder beside the states, for the while that it takes: made, or emptied. */
  readonly scratch: string;
  /** Where the copy goes. It is on the disk when the backup resolves; its folder entry need not be. */
  readonly file: string;
  /** What this key holds in each state of the copy is told. */
  readonly key: Key;
}

export interface Backup {
  readonly bytes: number;
  /** Of the file, in hexadecimal. */
  readonly sha256: string;
  /** By the name of the state; null where the key holds nothing. */
  readonly values: Readonly<Record<string, unknown>>;
}

export interface KeptStore extends StateStore {
  open(name: string): KeptState;
}

/** The file in a store's folder that `backup` makes a copy of: alone in a folder, it is a store again. */
export const STORE_FILE = 'data.mdb';
