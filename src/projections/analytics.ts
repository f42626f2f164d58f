import { setTimeout as delay } from 'node:timers/promises';
import { rowlessReports } from './analytics-batch.ts';
import { openFaults } from './analytics-faults.ts';
import { openStatus } from './analytics-status.ts';
import { begin, follow, type Writer } from './analytics-writer.ts';
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
  readonly onCommitted: (listener: (tenants: ReadonlySet<string>) => void) => () => void;
}

export interface AnalyticsOptions {
  readonly log: EventLog;
  readonly analytics: Analytics;
  readonly logger: Log;
  readonly ids: Pick<Ids, 'random'>;
  readonly now: () => number;
  readonly limits?: Partial<IngestLimits>;
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
  flushMs: 500,
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
 * Stopping does not wait for ClickHouse.
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
  while (!isStopping(writer)) {
    try {
      await follow(writer, await begin(writer));
    } catch (error) {
      if (isStopping(writer)) return;
      await delay(writer.faults.met(error), undefined, { signal: writer.stopping }).catch(() => undefined);
    }
  }
}

function isStopping({ stopping }: Writer): boolean {
  return stopping.aborted;
}
