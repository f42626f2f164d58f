/** What one cell holds. 64-bit integers as text; times as `YYYY-MM-DD hh:mm:ss.mmm`, UTC; UUIDs as text. */
export type Cell = string | number | boolean | null;

/** Rows of one table that are inserted together. */
export interface InsertBatch {
  readonly table: string;
  readonly columns: readonly string[];
  /** Cells in the order of `columns`; 1 to 1,000,000 rows, so that it stays one block. */
  readonly rows: readonly (readonly Cell[])[];
  /**
   * Names this batch for good. The same token with the same rows is inserted once, however often it is sent; the same
   * token with other rows inserts nothing. Remembered for the last 10,000 batches of a table.
   */
  readonly token: string;
}

/** Values for `{name:Type}` in a query; arrays for `Array(String)` and the like. */
export type QueryParams = Readonly<Record<string, string | number | readonly string[]>>;

export type ResultRow = Readonly<Record<string, unknown>>;

/**
 * The column store that analysts ask, ClickHouse by its HTTP interface. Derived from the log: it may be dropped while the
 * service is stopped and is filled again then; dropped under a running one, that is noticed within seconds and it is filled
 * again as well. Everything here rejects with `AnalyticsError` and nothing else.
 */
export interface Analytics {
  /**
   * Brings the tables to what `schema/analytics` says and answers the id of this store: drawn when the tables were made,
   * so that one that was dropped and made again is another one. May be repeated.
   *
   * `log`: the id of the event log that fills it. Where others may have the same tables, on a server, they are those of the
   * log that was named first; for any other it is `refused` as `foreign`, and nothing changes.
   */
  migrate(log?: string): Promise<string>;

  /**
   * Inserts a batch into the table and everything derived from it, or only part of that when it fails: the same batch
   * again completes it, as long as no more than 9,999 others came between.
   *
   * With one exception: ClickHouse notes a token, for each table and partition, before the rows are in place. Killed in
   * between it takes the repetition for a duplicate of rows that it does not have (ClickHouse 25 and 26; a cluster notes
   * both at once). So whoever repeats a batch looks afterwards whether it is all there.
   */
  insert(batch: InsertBatch): Promise<void>;

  /** The rows of a SELECT, under the limits of time and memory of one query. Integers up to 2^53 are exact. */
  query(sql: string, params?: QueryParams): Promise<readonly ResultRow[]>;

  /** Removes all rows and draws a new id, which it answers. `log` as with `migrate`. */
  reset(log?: string): Promise<string>;

  /** Waits for what is under way. Everything afterwards rejects. */
  close(): Promise<void>;
}

/**
 * `unavailable`: no answer, or it has no room now; may be asked again, and what was asked may have been done.
 * `too-heavy`: a query went over its limit of time or memory. `refused`: a mistake in what was asked.
 */
export type AnalyticsErrorKind = 'unavailable' | 'too-heavy' | 'refused';

/**
 * Refusals that are no mistake in the words. `missing`: there is no such table or database. `denied`: the user is not let in,
 * or not allowed to. `foreign`: the tables belong to another event log.
 */
export type Refusal = 'missing' | 'denied' | 'foreign';

export class AnalyticsError extends Error {
  override readonly name = 'AnalyticsError';
  /** Null where it is none of these. */
  readonly refusal: Refusal | null;
  constructor(
    readonly kind: AnalyticsErrorKind,
    message: string,
    options: { readonly cause?: unknown; readonly refusal?: Refusal | null } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.refusal = options.refusal ?? null;
  }
}
