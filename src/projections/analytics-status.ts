import type { Batch } from './analytics-batch.ts';
import type { Ingest, IngestLimits, Tenants, Watermark } from './analytics.ts';
import type { Log } from '../log.ts';

/** What is known of how far ClickHouse is, and who wants to know. */
export interface Status extends Ingest {
  /** From here on ClickHouse may hold another store; there is no watermark until it is known which. */
  readonly uncertain: () => void;
  /** It is this store. The watermark is what it was, if that was of the same. */
  readonly certain: (store: string) => void;
  /** Whatever was in ClickHouse is not there any more. */
  readonly startedOver: (fill: Fill) => void;
  /** An update recorded then is not in ClickHouse; milliseconds since the epoch. */
  readonly waiting: (since: number) => void;
  /** The batch is in ClickHouse, and everything before it. `live`: so is all that the log held at some time since the start. */
  readonly committed: (batch: Batch, live: boolean) => void;
}

/** All rows are made again from the log. */
export interface Fill {
  /** Why, for people. */
  readonly reason: string;
  /** About how many there will be; null where nobody knows. */
  readonly expected: number | null;
}

interface Clock {
  readonly logger: Log;
  readonly now: () => number;
}

/** How far it is while it catches up. */
interface Catching {
  rows: number;
  /** When the last update inserted since the start was recorded; milliseconds since the epoch. */
  at: number | null;
  readonly expected: number | null;
  /** On the monotonic clock; milliseconds. */
  readonly since: number;
  /** Whether people were told that it catches up, and are told when it has. */
  announced: boolean;
}

function catchingUp(expected: number | null, announced: boolean): Catching {
  return { rows: 0, at: null, expected, since: performance.now(), announced };
}

export function openStatus({ logger, now }: Clock, { progressMs }: Pick<IngestLimits, 'progressMs'>): Status {
  const listeners = openListeners(logger);
  let catching = catchingUp(null, false);
  let watermark: Watermark | null = null;
  let store: string | null = null;
  let isCertain = true;
  let loggedAt = performance.now();
  /** What was recorded before is in ClickHouse; null: so is all there is. */
  let behindSince: number | null = now();

  const logProgress = (): void => {
    if (performance.now() - loggedAt < progressMs || catching.at === null) return;
    loggedAt = performance.now();
    catching.announced = true;
    const { rows, at } = catching;
    const fields = { projection: 'analytics', rows, upTo: timeOf(at), ...percentOf(catching) };
    logger.info(fields, 'analytics is catching up');
  };
  const logEnd = (): void => {
    if (!catching.announced) return;
    catching.announced = false;
    const seconds = Math.round((performance.now() - catching.since) / 100) / 10;
    logger.info({ projection: 'analytics', rows: catching.rows, seconds }, 'analytics has caught up');
  };

  return {
    watermark: () => (isCertain ? watermark : null),
    lagMs: () => (behindSince === null ? 0 : Math.max(0, now() - behindSince)),
    progress: () => (catching.at === null ? 'nothing has been read yet' : sentence(catching)),
    onCommitted: listeners.add,
    uncertain: () => {
      isCertain = false;
      behindSince ??= now();
    },
    waiting: (since) => {
      behindSince ??= since;
    },
    certain: (present) => {
      if (present !== store) watermark = null;
      store = present;
      isCertain = true;
    },
    startedOver: ({ reason, expected }) => {
      watermark = null;
      catching = catchingUp(expected, true);
      loggedAt = performance.now();
      logger.info({ projection: 'analytics', reason }, 'analytics is filled from the log');
    },
    committed: ({ rows, tenants, to, at }, live) => {
      catching.rows += rows.length;
      catching.at = latest(catching.at, at);
      behindSince = live ? null : (catching.at ?? behindSince);
      if (live) watermark = { position: to, at: catching.at ?? now() };
      if (live) logEnd();
      else logProgress();
      if (rows.length > 0) listeners.tell(tenants);
    },
  };
}

export interface Listeners {
  readonly add: Ingest['onCommitted'];
  readonly tell: (tenants: Tenants) => void;
}

export function openListeners(logger: Log): Listeners {
  const listeners = new Set<(tenants: Tenants) => void>();
  return {
    add: (listener) => {
      // One that listens twice is told twice.
      const own = (tenants: Tenants): void => listener(tenants);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    tell: (tenants) => {
      for (const listener of [...listeners]) {
        try {
          listener(tenants);
        } catch (err) {
          logger.error({ projection: 'analytics', err }, 'a listener of analytics failed');
        }
      }
    },
  };
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}

/** By the number of rows there were before, where that is known. */
function percentOf({ rows, expected }: Catching): { readonly percent?: number } {
  if (expected === null || expected <= 0) return {};
  return { percent: Math.min(99, Math.floor((100 * rows) / expected)) };
}

function sentence(catching: Catching): string {
  const { rows, at } = catching;
  const { percent } = percentOf(catching);
  const share = percent === undefined ? '' : ` (${String(percent)} %)`;
  return `${String(rows)} updates read, up to ${timeOf(at ?? 0)}${share}`;
}

function timeOf(at: number): string {
  return new Date(at).toISOString();
}
