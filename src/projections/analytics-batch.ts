import { COLUMNS, PROJECTION_VERSION, rowsOf, TABLE, type Row } from './analytics-rows.ts';
import type { AnalyticsBatchPlanned } from '../events/ingest.ts';
import { NOTIFICATION_PREFIX } from '../ids.ts';
import type { Log } from '../log.ts';
import type { InsertBatch } from '../ports/analytics/analytics.ts';
import type { EventFilter, EventLog, Position, RecordedEvent } from '../ports/event-log/event-log.ts';

/** The rows of all events of notifications after `from`, up to and including `to`, in the order of the log. */
export interface Batch {
  readonly from: Position;
  to: Position;
  readonly rows: Row[];
  readonly tenants: Set<string>;
  /** When its latest update was recorded, in milliseconds since the epoch; null while there is none. */
  at: number | null;
}

export const EVENTS: EventFilter = { streamPrefixes: [NOTIFICATION_PREFIX] };

export function emptyBatch(from: Position): Batch {
  return { from, to: from, rows: [], tenants: new Set(), at: null };
}

/** Told of an event that has no row that ClickHouse can hold. */
export type Rowless = (event: RecordedEvent, err: unknown) => void;

/** Reports each such event once, however often it is read. */
export function rowlessReports(logger: Log): Rowless {
  let last: Position | null = null;
  return ({ stream, type, position, metadata: { correlationId: requestId } }, err) => {
    // They come in the order of the log; what comes again comes from the beginning.
    if (last !== null && position <= last) return;
    last = position;
    const fields = { projection: 'analytics', stream, type, position, requestId, err };
    logger.error(fields, 'an event has no row that ClickHouse can hold');
  };
}

/** An event without rows that could be told to ClickHouse is passed. */
export function addEvent(batch: Batch, event: RecordedEvent, rowless: Rowless): void {
  batch.to = event.position;
  const rows = rowsOrNone(event, rowless);
  if (rows.length === 0) return;
  for (const row of rows) batch.rows.push(row);
  const { tenant, occurredAt } = event.metadata;
  const at = Date.parse(occurredAt);
  batch.tenants.add(tenant);
  batch.at = Math.max(batch.at ?? at, at);
}

function rowsOrNone(event: RecordedEvent, rowless: Rowless): readonly Row[] {
  try {
    return rowsOf(event);
  } catch (err) {
    rowless(event, err);
    return [];
  }
}

/** Exactly the batch that was planned, made again. Ends with an error when the signal aborts. */
export async function readAgain(
  { log, logger, rowless }: { readonly log: EventLog; readonly logger: Log; readonly rowless: Rowless },
  plan: AnalyticsBatchPlanned,
  signal: AbortSignal,
): Promise<Batch> {
  const to = plan.to as Position;
  const batch = emptyBatch(plan.from as Position);
  for await (const { events, position, live } of log.subscribe(batch.from, EVENTS, signal)) {
    for (const event of events) if (event.position <= to) addEvent(batch, event, rowless);
    batch.to = to;
    if (position >= to) return checked(batch, plan, logger);
    if (live) break;
  }
  throw new Error('the log did not give the events of the batch that was planned last');
}

/**
 * The log does not change, so this is about two versions of this service that make other rows of one event. The check
 * whether the batch is whole finds too many or too few of them and has everything filled again.
 */
function checked(batch: Batch, { rows, from, to }: AnalyticsBatchPlanned, logger: Log): Batch {
  if (batch.rows.length !== rows) {
    const fields = { projection: 'analytics', from, to, planned: rows, made: batch.rows.length };
    logger.error(fields, 'a batch has another number of rows than was planned');
  }
  return batch;
}

/** `before`: rows of the batches before it. */
export function planOf({ from, to, rows }: Batch, store: string, before: number): AnalyticsBatchPlanned {
  return { store, projection: PROJECTION_VERSION, from, to, rows: rows.length, total: before + rows.length };
}

/** The same plan always gives the same token, and no other plan has it. */
export function insertOf({ rows }: Batch, { store, projection, from, to }: AnalyticsBatchPlanned): InsertBatch {
  return { table: TABLE, columns: COLUMNS, rows, token: `${store}:${String(projection)}:${from}-${to}` };
}
