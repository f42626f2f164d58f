import { emptyBatch, insertOf, planOf, readAgain } from './analytics-batch.ts';
import { isWhole } from './analytics-check.ts';
import { PROJECTION_VERSION } from './analytics-rows.ts';
import type { Writer, Writing } from './analytics-writer.ts';
import { unlessStopped, withDeadline } from './signals.ts';
import type { AnalyticsBatchPlanned } from '../events/ingest.ts';
import { bookkeepingEvent } from '../events/bookkeeping.ts';
import { foldIngest } from '../events/ingest.ts';
import { streamOf } from '../ids.ts';
import type { Analytics } from '../ports/analytics/analytics.ts';
import { START, type Position } from '../ports/event-log/event-log.ts';

/** Finds out from what is recorded where to go on, after the batch that was planned last is whole; `afresh`: at the start of the log. */
export async function begin(writer: Writer, afresh = false): Promise<Writing> {
  const { analytics, log, status, stopping } = writer;
  // Tables that are made anew would give zeros for figures.
  status.uncertain();
  const store = await unlessStopped(stopping, analytics.migrate(log.id));
  // Asked before the plan is read: what another writer inserts meanwhile has its plan in the log by then.
  const used = await unlessStopped(stopping, holdsRows(analytics));
  const newest = await unlessStopped(stopping, log.last(streamOf.ingest));
  const plan = foldIngest(newest);
  const found = { store, used, plan, version: newest?.version ?? 0, afresh };
  if (afresh || plan?.store !== store || plan.projection !== PROJECTION_VERSION) return startOver(writer, found);
  // Before the batch is whole: the watermark stands for those before it, and they are there.
  status.certain(store);
  if (!(await complete(writer, plan))) return startOver(writer, { ...found, used: true });
  return { ...FRESH, store, plan, total: plan.total, version: found.version, batch: emptyBatch(plan.to as Position) };
}

const FRESH = { announced: false, live: false, flushedAt: -Infinity };

interface Found {
  readonly store: string;
  /** Whether it holds rows, or may. */
  readonly used: boolean;
  readonly plan: AnalyticsBatchPlanned | null;
  readonly version: number;
  /** Somebody wants it so. */
  readonly afresh: boolean;
}

/** Rows of another version or of another log, not all of them, or none. */
async function startOver(writer: Writer, found: Found): Promise<Writing> {
  const { analytics, log, logger, status, stopping } = writer;
  const { store, plan } = found;
  const begun = (empty: string, version: number): Writing => {
    status.certain(empty);
    const batch = emptyBatch(START);
    return { ...FRESH, store: empty, plan: planOf(batch, empty, 0), total: 0, version, batch };
  };
  const fill = { reason: reasonOf(found), expected: plan?.total ?? null };
  if (!found.used) {
    status.startedOver(fill);
    return begun(store, found.version);
  }
  // Another writer's next batch would pass for rows that ought not to be there, and its rows would be lost.
  const fence = bookkeepingEvent(writer, 'AnalyticsStartedOver', { store, projection: PROJECTION_VERSION });
  const { version } = await unlessStopped(stopping, log.append(streamOf.ingest, [fence], found.version));
  const about = { projection: 'analytics', store, from: plan?.from, to: plan?.to };
  if (fill.reason === REASONS.broken) {
    logger.error(about, 'ClickHouse lost or repeated rows of a batch; filling it again');
  }
  status.startedOver(fill);
  return begun(await unlessStopped(stopping, analytics.reset(log.id)), version);
}

const REASONS = {
  none: 'no batch is on record',
  store: 'the tables are others than those written last',
  projection: 'the rows were made by another version',
  broken: 'rows of the last batch are missing or there twice',
  asked: 'a rebuild was asked for',
} as const;

function reasonOf({ store, plan, afresh }: Found): string {
  if (afresh) return REASONS.asked;
  if (plan === null) return REASONS.none;
  if (plan.store !== store) return REASONS.store;
  return plan.projection === PROJECTION_VERSION ? REASONS.broken : REASONS.projection;
}

async function holdsRows(analytics: Analytics): Promise<boolean> {
  const tables = ['delivery_events', 'deliveries', 'activity_hourly'];
  const any = tables.map((table) => `EXISTS (SELECT 1 FROM ${table})`).join(' OR ');
  const [row] = await analytics.query(`SELECT ${any} AS used`);
  return Number(row?.['used']) !== 0;
}

/** Inserts the batch once more, of which nobody knows how much was inserted. False when even that has not made it whole. */
async function complete(writer: Writer, plan: AnalyticsBatchPlanned): Promise<boolean> {
  const { analytics, limits, now, status, stopping } = writer;
  const batch = await withDeadline(limits.idleMs, stopping, (signal) => readAgain(writer, plan, signal));
  if (batch.rows.length > 0) await unlessStopped(stopping, analytics.insert(insertOf(batch, plan)));
  if (!(await unlessStopped(stopping, isWhole(analytics, batch, plan, now())))) {
    return false;
  }
  status.committed(batch, false);
  return true;
}
