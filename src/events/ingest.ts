import { decode } from './codec.ts';
import type { DomainEvent, Metadata } from './event.ts';

/** What happens to the one stream of whoever writes ClickHouse. */
export type IngestEvent =
  | DomainEvent<'AnalyticsBatchPlanned', AnalyticsBatchPlanned>
  | DomainEvent<'AnalyticsStartedOver', AnalyticsStartedOver>;

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
 * Recorded before the store is emptied: whoever else writes it loses its next append, and inserts nothing into what is
 * being emptied. Of what ClickHouse holds nothing is certain any more, until the next batch is planned.
 */
export interface AnalyticsStartedOver {
  /** The store that is emptied, by the id that it had. */
  readonly store: string;
  /** Version of what is made of an event from here on. */
  readonly projection: number;
}

interface Newest {
  readonly type: string;
  readonly data: unknown;
  readonly metadata: Metadata;
}

/** Null when nothing was planned yet, or nothing since it started over. `newest` is the last event of the stream. */
export function foldIngest(newest: Newest | null): AnalyticsBatchPlanned | null {
  const event = newest && decode(newest);
  return event?.type === 'AnalyticsBatchPlanned' ? event.data : null;
}
