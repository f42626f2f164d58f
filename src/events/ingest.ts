import { decode } from './codec.ts';
import type { DomainEvent, Metadata } from './event.ts';

/** Bookkeeping of those of whom one acts at a time, each kind in a stream of its own. */
export type IngestEvent =
  | DomainEvent<'AnalyticsBatchPlanned', AnalyticsBatchPlanned>
  | DomainEvent<'AnalyticsBatchInserted', AnalyticsBatchInserted>
  | DomainEvent<'AnalyticsStartedOver', AnalyticsStartedOver>
  | DomainEvent<'QueuesCounted', QueuesCounted>;

/**
 * Recorded before any row of the batch is inserted: the newest one is the only batch that may be in ClickHouse in part
 * only, and everything before it is there whole.
 */
export interface AnalyticsBatchPlanned {
  /** The store that it goes to, by its id. */
  readonly store: string;
  /** Version of what is made of an event. */
  readonly projection: number;
  /** The batch holds the updates of all events of notifications after `from`, up to and including `to`. */
  readonly from: string;
  readonly to: string;
  readonly rows: number;
  /** Rows of all batches that were planned for the store, this one included: what its counters have to add up to. */
  readonly total: number;
}

/**
 * Recorded after a batch was inserted at the end of the log, for processes that read ClickHouse and do not write it. It
 * repeats the plan: to whoever writes, it says no more than that one did.
 */
export interface AnalyticsBatchInserted extends AnalyticsBatchPlanned {
  /** When the last update up to there was recorded; milliseconds since the epoch. */
  readonly at: number;
  /** Whose updates the batch holds; null: too many to name. */
  readonly tenants: readonly string[] | null;
}

/**
 * Recorded before the store is emptied: whoever else writes it loses its next append, and inserts nothing into what is
 * being emptied. Of what ClickHouse holds nothing is certain any more, until the next batch is planned.
 */
export interface AnalyticsStartedOver {
  /** The store that is emptied, by the id that it had. */
  readonly store: string;
  /** Version of what is made of an event from here on. */
  readonly projection: number;
}

/** Recorded now and then by whoever feeds the queues, for processes that do not: it alone knows what is still to be published. */
export interface QueuesCounted {
  readonly queues: readonly {
    readonly name: string;
    readonly depth: number;
    readonly retrying: number;
    readonly dead: number;
    /** Since when the oldest job that is ready has been due; milliseconds since the epoch. */
    readonly oldestAt: number | null;
  }[];
}

interface Newest {
  readonly type: string;
  readonly data: unknown;
  readonly metadata: Metadata;
}

/** Null when nothing was planned yet, or nothing since it started over. `newest` is the last event of the stream. */
export function foldIngest(newest: Newest | null): AnalyticsBatchPlanned | null {
  const event = newest && decode(newest);
  return event?.type === 'AnalyticsBatchPlanned' || event?.type === 'AnalyticsBatchInserted' ? event.data : null;
}
