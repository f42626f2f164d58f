import type { Config } from './config.ts';
import type { Cursors, Ids } from './ids.ts';
import type { Scope } from './lifecycle.ts';
import type { Log } from './log.ts';
import type { Sources } from './metrics-gauges.ts';
import type { Analytics } from './ports/analytics/analytics.ts';
import { AnalyticsError } from './ports/analytics/analytics.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import type { Ingest } from './projections/analytics.ts';
import { followIngest } from './projections/analytics-follower.ts';
import { startAnalytics } from './projections/analytics.ts';
import type { Funnels, FunnelUpdates } from './projections/funnel-figures.ts';
import { createFunnels } from './projections/funnel.ts';
import { openFunnelUpdates } from './projections/funnel-refresh.ts';
import type { DeliveryUpdates } from './projections/live-updates.ts';
import type { Lease } from './projections/lease.ts';
import { startLive } from './projections/live.ts';

export interface ReadModelOptions {
  readonly config: Config;
  readonly log: EventLog;
  /** Null: this machine has none. */
  readonly analytics: Analytics | null;
  readonly cursors: Cursors;
  readonly ids: Ids;
  readonly now: () => number;
  readonly logger: Log;
}

export interface WriterOptions extends Pick<ReadModelOptions, 'log' | 'analytics' | 'ids' | 'now' | 'logger'> {
  readonly lease: Lease;
  /** Whether other processes read what this one writes. */
  readonly announces: boolean;
}

/** What analysts and dashboards are answered from. */
export interface ReadModels {
  readonly funnels: Funnels;
  readonly funnelUpdates: FunnelUpdates;
  readonly deliveryUpdates: DeliveryUpdates;
  /** For metrics. */
  readonly figures: Pick<Sources, 'ingestLagMs' | 'live' | 'funnelReaders'>;
}

/** Starts the writer of ClickHouse; nothing of it stands between a request and its delivery. */
export function startWriter(scope: Scope, { analytics, ...options }: WriterOptions): Ingest {
  return analytics === null ? NEVER : scope.use(startAnalytics({ ...options, analytics }));
}

/**
 * Starts everything that reads ClickHouse.
 * @param written How far the writer in this process is; null: another process writes, or may.
 */
export async function startReadModels(
  scope: Scope,
  options: ReadModelOptions,
  written: Ingest | null,
): Promise<ReadModels> {
  const { config, log, cursors, now, logger } = options;
  const analytics = options.analytics ?? ABSENT;
  const ingest = written ?? scope.use(await followIngest({ log, analytics, logger }));
  const funnels = createFunnels({ analytics, ingest, cursors, now });
  const funnelUpdates = scope.use(openFunnelUpdates({ funnels, ingest, now, logger }));
  const { resumeWindowMs } = config;
  const live = await startLive({ log, analytics, ingest, cursors, now, logger, resumeWindowMs });
  const deliveryUpdates = scope.use(live);
  const funnelReaders = (): number => funnelUpdates.load().readers;
  const figures = { ingestLagMs: ingest.lagMs, live: deliveryUpdates.status, funnelReaders };
  return { funnels, funnelUpdates, deliveryUpdates, figures };
}

const absent = (): Promise<never> =>
  Promise.reject(new AnalyticsError('unavailable', 'this platform has no embedded ClickHouse'));

const ABSENT: Analytics = {
  migrate: absent,
  insert: absent,
  query: absent,
  reset: absent,
  close: () => Promise.resolve(),
};

const NEVER: Ingest = {
  watermark: () => null,
  lagMs: () => null,
  progress: () => 'this platform has no embedded ClickHouse',
  onCommitted: () => () => undefined,
};
