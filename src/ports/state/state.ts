/** Keys are ordered element by element: numbers before strings, numbers by value, strings by UTF-8 bytes. */
export type Key = readonly (string | number)[];

export type Change = { readonly put: Key; readonly value: unknown } | { readonly del: Key };

/**
 * Local state of one projection. Rebuildable: it may be deleted at any time while the process is down, and is then
 * derived from the log again. A crash of the process loses no commit that was acknowledged; a power cut may set it
 * back to an earlier commit, never to a torn one, which for a projection means that it folds a little again.
 */
export interface State {
  /** Values are JSON-like. Undefined when absent. */
  get(key: Key): unknown;
  /** Entries whose key starts with `prefix` (element-wise), in key order, a consistent snapshot; `from` (inclusive) and `to` (exclusive), whole keys both, narrow it further, `limit` caps it (default 1,000). */
  list(
    prefix: Key,
    options?: { readonly from?: Key; readonly to?: Key; readonly limit?: number },
  ): readonly (readonly [Key, unknown])[];
  /** How many entries `list` would give without a limit. */
  count(prefix: Key, options?: { readonly from?: Key; readonly to?: Key }): number;
  /** All changes or none, applied in order; visible to `get` and `list` once it resolves. */
  commit(changes: readonly Change[]): Promise<void>;
}

/** One environment holds the states of several projections, each under its own name. */
export interface StateStore {
  open(name: string): State;
  close(): Promise<void>;
}
