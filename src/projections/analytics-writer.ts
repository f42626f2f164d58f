import {
  addEvent,
  emptyBatch,
  EVENTS,
  insertOf,
  planOf,
  readAgain,
  type Batch,
  type Rowless,
} from './analytics-batch.ts';
import { isWhole } from './analytics-check.ts';
import type { Faults } from './analytics-faults.ts';
import { PROJECTION_VERSION } from './analytics-rows.ts';
import { linkedTo, unlessStopped, withDeadline, withinMs } from './signals.ts';
import type { Status } from './analytics-status.ts';
import { watchStore } from './analytics-watch.ts';
import type { AnalyticsOptions, IngestLimits } from './analytics.ts';
import type { AnalyticsBatchPlanned, IngestEvent } from '../events/ingest.ts';
import { foldIngest } from '../events/ingest.ts';
import { metadata } from '../events/metadata.ts';
import { streamOf } from '../ids.ts';
import type { Analytics } from '../ports/analytics/analytics.ts';
import type { EventBatch, NewEvent, Position } from '../ports/event-log/event-log.ts';
import { START } from '../ports/event-log/event-log.ts';

export interface Writer extends AnalyticsOptions {
  readonly limits: IngestLimits;
  readonly status: Status;
  readonly faults: Faults;
  readonly rowless: Rowless;
  readonly stopping: AbortSignal;
}

/** From a beginning to the next failure. */
export interface Writing {
  readonly store: string;
  /** Rows planned for it so far. */
  total: number;
  /** Version of the stream of plans with our last one. Whoever else appends there ends our writing. */
  version: number;
  /** Gathered and not yet planned. */
  batch: Batch;
  /** Whether the end of the log was reached. */
  live: boolean;
  /** On the monotonic clock; milliseconds. */
  flushedAt: number;
}

/** Finds out from what is recorded where to go on, after the batch that was planned last is whole. */
export async function begin(writer: Writer): Promise<Writing> {
  const { analytics, log, status, stopping } = writer;
  // Tables that are made anew would give zeros for figures.
  status.uncertain();
  const store = await unlessStopped(stopping, analytics.migrate(log.id));
  // Asked before the plan is read: what another writer inserts meanwhile has its plan in the log by then.
  const used = await unlessStopped(stopping, holdsRows(analytics));
  const newest = await unlessStopped(stopping, log.last(streamOf.ingest));
  const plan = foldIngest(newest);
  const found = { store, used, plan, version: newest?.version ?? 0 };
  if (plan?.store !== store || plan.projection !== PROJECTION_VERSION) return startOver(writer, found);
  // Before the batch is whole: the watermark stands for those before it, and they are there.
  status.certain(store);
  if (!(await complete(writer, plan))) return startOver(writer, { ...found, used: true });
  return { ...FRESH, store, total: plan.total, version: found.version, batch: emptyBatch(plan.to as Position) };
}

const FRESH = { live: false, flushedAt: -Infinity };

interface Found {
  readonly store: string;
  /** Whether it holds rows, or may. */
  readonly used: boolean;
  readonly plan: AnalyticsBatchPlanned | null;
  readonly version: number;
}

/** Rows of another version or of another log, not all of them, or none. */
async function startOver(writer: Writer, found: Found): Promise<Writing> {
  const { analytics, log, logger, status, stopping } = writer;
  const { store, plan } = found;
  const begun = (empty: string, version: number): Writing => {
    status.certain(empty);
    return { ...FRESH, store: empty, total: 0, version, batch: emptyBatch(START) };
  };
  const fill = { reason: reasonOf(found), expected: plan?.total ?? null };
  if (!found.used) {
    status.startedOver(fill);
    return begun(store, found.version);
  }
  // Another writer's next batch would pass for rows that ought not to be there, and its rows would be lost.
  const fence = ingestEvent(writer, 'AnalyticsStartedOver', { store, projection: PROJECTION_VERSION });
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
} as const;

function reasonOf({ store, plan }: Found): string {
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

/** Goes on until something fails, the store is gone, or it is to stop. */
export async function follow(writer: Writer, writing: Writing): Promise<never> {
  const watch = watchStore(writer.analytics, writing.store, writer.limits);
  const { signal, release } = linkedTo(writer.stopping, watch.lost);
  try {
    for (;;) {
      signal.throwIfAborted();
      await followWhileBusy(writer, writing, signal);
    }
  } finally {
    release();
    watch.stop();
  }
}

/** Until the subscription brings nothing for a long while. */
async function followWhileBusy(writer: Writer, writing: Writing, until: AbortSignal): Promise<void> {
  const { signal, abort, release } = linkedTo(until);
  const batches = writer.log.subscribe(writing.batch.to, EVENTS, signal)[Symbol.asyncIterator]();
  try {
    let next = batches.next();
    for (;;) {
      const found = await withinMs(patience(writer, writing), next, signal);
      if (signal.aborted || (found === null && !isWaiting(writing))) return;
      if (found === null) {
        await flush(writer, writing);
        continue;
      }
      if (found.done === true) throw new Error('the subscription ended');
      await take(writer, writing, found.value);
      next = batches.next();
    }
  } finally {
    abort();
    release();
    await batches.return?.();
  }
}

/** Gathers, and inserts whenever a batch is full or its time has come. Nothing more is read meanwhile. */
async function take(writer: Writer, writing: Writing, { events, position, live }: EventBatch): Promise<void> {
  if (events[0]) writer.status.waiting(Date.parse(events[0].metadata.occurredAt));
  for (const event of events) {
    addEvent(writing.batch, event, writer.rowless);
    if (writing.batch.rows.length >= writer.limits.rows) await flush(writer, writing);
  }
  writing.batch.to = position;
  writing.live ||= live;
  if (writing.batch.rows.length === 0) passed(writer, writing);
  else if (writing.live && patience(writer, writing) <= 0) await flush(writer, writing);
}

/** Records what is going to be inserted, inserts it, and begins the next batch behind it. */
async function flush(writer: Writer, writing: Writing): Promise<void> {
  const { analytics, log, stopping } = writer;
  const { batch, store, version } = writing;
  const plan = planOf(batch, store, writing.total);
  const planned = log.append(streamOf.ingest, [ingestEvent(writer, 'AnalyticsBatchPlanned', plan)], version);
  writing.version = (await unlessStopped(stopping, planned)).version;
  writing.total = plan.total;
  await unlessStopped(stopping, analytics.insert(insertOf(batch, plan)));
  writing.flushedAt = performance.now();
  passed(writer, writing);
}

/** Everything up to the end of the batch is in ClickHouse. */
function passed({ status, faults }: Writer, writing: Writing): void {
  const { batch, live } = writing;
  writing.batch = emptyBatch(batch.to);
  status.committed(batch, live);
  faults.over();
}

function ingestEvent<T extends IngestEvent['type']>(
  { ids, now }: Writer,
  type: T,
  data: Extract<IngestEvent, { readonly type: T }>['data'],
): NewEvent {
  const [id, correlationId] = [ids.random(), ids.random()];
  const origin = { tenant: '', correlationId, causationId: correlationId };
  return { id, type, data, metadata: metadata(origin, now()) };
}

/** Whether there is something that goes to ClickHouse even when nothing more comes. */
function isWaiting({ batch, live }: Writing): boolean {
  return live && batch.rows.length > 0;
}

/** How long to wait for more, in milliseconds. */
function patience({ limits }: Writer, writing: Writing): number {
  return isWaiting(writing) ? writing.flushedAt + limits.flushMs - performance.now() : limits.idleMs;
}
