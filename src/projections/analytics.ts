import { setTimeout as delay } from 'node:timers/promises';
import { rowlessReports } from './analytics-batch.ts';
import { openFaults } from './analytics-faults.ts';
import { openStatus } from './analytics-status.ts';
import { begin } from './analytics-begin.ts';
import { follow, type Writer } from './analytics-writer.ts';
import { untilHeld, whileHeld } from './held.ts';
import { ALWAYS_HELD, type Lease } from './lease.ts';
import type { Ids } from '../ids.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Analytics } from '../ports/analytics/analytics.ts';
import type { EventLog, Position } from '../ports/event-log/event-log.ts';

/** Up to where ClickHouse holds everything. */
export interface Watermark {
  readonly position: Position;
  /** When the last update up to there was recorded; milliseconds since the epoch. */
  readonly at: number;
}

/** Whose updates a batch holds; there may be too many to list them. */
export type Tenants = Pick<ReadonlySet<string>, 'has'>;

/** Whoever writes ClickHouse, as seen by whoever reads it. */
export interface Ingest {
  /**
   * Null until it has caught up once since the start, figures would be of some past then; and while it is open whether the
   * tables are still the same.
   */
  readonly watermark: () => Watermark | null;
  /**
   * How long ago the oldest update was recorded that is not in ClickHouse, in milliseconds: 0 when all are, null
   * where there is no ClickHouse. While it is open what ClickHouse holds, the time since then counts.
   */
  readonly lagMs: () => number | null;
  /** For people, while there is no watermark: how far it is. */
  readonly progress: () => string;
  /** Told after each batch that is in ClickHouse whose updates it holds. Answers how to stop listening. */
  readonly onCommitted: (listener: (tenants: Tenants) => void) => () => void;
}

export interface AnalyticsOptions {
  readonly log: EventLog;
  readonly analytics: Analytics;
  readonly logger: Log;
  readonly ids: Pick<Ids, 'random'>;
  readonly now: () => number;
  readonly limits?: Partial<IngestLimits>;
  /** Default: no other process writes. */
  readonly lease?: Lease;
  /** Whether other processes are told, through the log, how far it is. */
  readonly announces?: boolean;
  /** Begins by emptying the tables, whatever is in them. */
  readonly afresh?: boolean;
}

/** Times in milliseconds. */
export interface IngestLimits {
  /** A batch is full with so many rows; the last event's go in whole. */
  readonly rows: number;
  /** From one batch to the next, once the end of the log has been reached. */
  readonly flushMs: number;
  /** After a failure, doubling from the first to the last. */
  readonly pauseMs: readonly [number, number];
  /** After something that does not get better by itself: rows that ClickHouse refuses, another process that writes. */
  readonly longPauseMs: number;
  /** At least so long between two reports of failures of one kind. */
  readonly reportMs: number;
  readonly progressMs: number;
  /** A subscription that brings nothing for so long is opened anew: it may have died without a word. */
  readonly idleMs: number;
  /** From one look whether the store is still there to the next. */
  readonly watchMs: number;
}

const LIMITS: IngestLimits = {
  rows: 20_000,
  flushMs: 1_000,
  pauseMs: [100, 5_000],
  longPauseMs: 10_000,
  reportMs: 60_000,
  progressMs: 5_000,
  idleMs: 30_000,
  watchMs: 1_000,
};

/**
 * Writes every update of the log into ClickHouse, each once in effect, whatever ends or fails at whichever moment. What
 * is to be inserted is recorded first, in a stream that only one writer at a time can append to; whoever starts, and
 * whoever met a failure, begins by inserting the batch that was recorded last once more, which changes nothing where
 * it was whole. Never gives up and never fails: while ClickHouse or the log gives no answer, it falls behind.
 *
 * In a store that holds nothing of this log, or rows made by another version, everything is made again from the log. So it
 * is in one that was removed or replaced meanwhile, which is noticed within seconds.
 * Stopping does not wait for ClickHouse. While another process holds the lease it does nothing.
 */
export function startAnalytics(options: AnalyticsOptions): Started<Ingest> {
  const stopping = new AbortController();
  const limits = { ...LIMITS, ...options.limits };
  const status = openStatus(options, limits);
  const faults = openFaults(options.logger, limits);
  const rowless = rowlessReports(options.logger);
  const ended = ingest({ ...options, limits, status, faults, rowless, stopping: stopping.signal });
  const { watermark, lagMs, progress, onCommitted } = status;
  return {
    value: { watermark, lagMs, progress, onCommitted },
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

async function ingest(writer: Writer): Promise<void> {
  const { lease = ALWAYS_HELD } = writer;
  let afresh = writer.afresh ?? false;
  while (!isStopping(writer)) {
    await untilHeld(lease, writer.stopping);
    const held = whileHeld(lease, writer.stopping);
    const holding = { ...writer, stopping: held.signal };
    try {
      const writing = await begin(holding, afresh);
      afresh = false;
      await follow(holding, writing);
    } catch (error) {
      if (isStopping(writer)) return;
      if (isStopping(holding)) continue;
      await delay(writer.faults.met(error), undefined, { signal: writer.stopping }).catch(() => undefined);
    } finally {
      held.release();
    }
  }
}

function isStopping({ stopping }: Writer): boolean {
  return stopping.aborted;
}
