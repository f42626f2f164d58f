import { addEvent, emptyBatch, EVENTS, insertOf, planOf, type Batch, type Rowless } from './analytics-batch.ts';
import type { Faults } from './analytics-faults.ts';
import type { Status } from './analytics-status.ts';
import { watchStore } from './analytics-watch.ts';
import type { AnalyticsOptions, IngestLimits } from './analytics.ts';
import { linkedTo, unlessStopped } from './signals.ts';
import type { AnalyticsBatchPlanned } from '../events/ingest.ts';
import { bookkeepingEvent } from '../events/bookkeeping.ts';
import { streamOf } from '../ids.ts';
import type { EventBatch } from '../ports/event-log/event-log.ts';
import { withinMs } from '../within.ts';

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
  /** What was planned last; nothing of no rows where nothing was. */
  plan: AnalyticsBatchPlanned;
  /** Whether others were told that the end of the log was reached. */
  announced: boolean;
  /** Whether the end of the log was reached. */
  live: boolean;
  /** On the monotonic clock; milliseconds. */
  flushedAt: number;
}

/** Goes on until something fails, the store is gone, or it is to stop. */
export async function follow(writer: Writer, writing: Writing): Promise<never> {
  keepFewPlans(writer);
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

/** Only the newest plan is ever looked at; the others are for people who look back. */
const KEPT_PLANS = 100;

/** Waits for nothing: a stream that keeps growing does no harm. */
function keepFewPlans({ log, logger, stopping }: Writer): void {
  unlessStopped(stopping, log.keepNewest(streamOf.ingest, KEPT_PLANS)).catch((err: unknown) => {
    if (!stopping.aborted) logger.warn({ projection: 'analytics', err }, 'the event log keeps every plan of a batch');
  });
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
  if (writing.batch.rows.length === 0) await passed(writer, writing);
  else if (writing.live && patience(writer, writing) <= 0) await flush(writer, writing);
}

/** Records what is going to be inserted, inserts it, and begins the next batch behind it. */
async function flush(writer: Writer, writing: Writing): Promise<void> {
  const { analytics, log, stopping } = writer;
  const { batch, store, version } = writing;
  const plan = planOf(batch, store, writing.total);
  const planned = log.append(streamOf.ingest, [bookkeepingEvent(writer, 'AnalyticsBatchPlanned', plan)], version);
  writing.version = (await unlessStopped(stopping, planned)).version;
  // After a long pause of this process another one may have inserted it long ago.
  if (writer.lease?.heldSince() === null) throw new Error('the lease was lost');
  writing.total = plan.total;
  writing.plan = plan;
  await unlessStopped(stopping, analytics.insert(insertOf(batch, plan)));
  writing.flushedAt = performance.now();
  await passed(writer, writing);
}

/** Everything up to the end of the batch is in ClickHouse. */
async function passed(writer: Writer, writing: Writing): Promise<void> {
  const { batch, live } = writing;
  writing.batch = emptyBatch(batch.to);
  writer.status.committed(batch, live);
  writer.faults.over();
  if (live && (batch.rows.length > 0 || !writing.announced)) await announce(writer, writing, batch.tenants);
}

/** More than so many tenants are not named one by one. */
const MOST_TENANTS = 1_000;

async function announce(writer: Writer, writing: Writing, tenants: ReadonlySet<string>): Promise<void> {
  const { log, status, stopping } = writer;
  const at = status.watermark()?.at;
  if (writer.announces !== true || at === undefined) return;
  const named = tenants.size > MOST_TENANTS ? null : [...tenants];
  const inserted = bookkeepingEvent(writer, 'AnalyticsBatchInserted', { ...writing.plan, at, tenants: named });
  writing.version = (await unlessStopped(stopping, log.append(streamOf.ingest, [inserted], writing.version))).version;
  writing.announced = true;
}

/** Whether there is something that goes to ClickHouse even when nothing more comes. */
function isWaiting({ batch, live }: Writing): boolean {
  return live && batch.rows.length > 0;
}

/** How long to wait for more, in milliseconds. */
function patience({ limits }: Writer, writing: Writing): number {
  return isWaiting(writing) ? writing.flushedAt + limits.flushMs - performance.now() : limits.idleMs;
}
