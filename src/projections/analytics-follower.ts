import { openListeners } from './analytics-status.ts';
import { watchStore, type Watch } from './analytics-watch.ts';
import type { Ingest, Tenants } from './analytics.ts';
import { followLog } from './follow.ts';
import { decode } from '../events/codec.ts';
import type { AnalyticsBatchInserted } from '../events/ingest.ts';
import { streamOf } from '../ids.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Analytics } from '../ports/analytics/analytics.ts';
import type { EventLog, Position, RecordedEvent } from '../ports/event-log/event-log.ts';

export interface FollowerOptions {
  readonly log: EventLog;
  readonly analytics: Analytics;
  readonly logger: Log;
  /** From one look whether the store is still there to the next; milliseconds, default 1,000. */
  readonly watchMs?: number;
}

const TOLD = { types: ['AnalyticsBatchInserted', 'AnalyticsStartedOver'] };
const EVERYBODY: Tenants = { has: () => true };

/**
 * How far ClickHouse is, for a process that reads it while another writes: that one records it in the log. What it says is
 * believed for as long as the store that it speaks of is there.
 */
export async function followIngest(options: FollowerOptions): Promise<Started<Ingest>> {
  const { log, logger } = options;
  // Before what was recorded last is read: what comes in between comes twice, and nothing is missed.
  let position: Position = await log.head();
  const newest = await log.last(streamOf.ingest);
  const listeners = openListeners(logger);
  const belief = openBelief(options);
  if (newest) take(newest, belief);
  const { stop } = followLog({
    name: 'analytics-follower',
    log,
    logger,
    filter: TOLD,
    position: () => position,
    handle: (batch) => {
      for (const event of batch.events) {
        const tenants = take(event, belief);
        if (tenants !== null) listeners.tell(tenants);
      }
      ({ position } = batch);
    },
  });
  const value: Ingest = {
    watermark: () => {
      const believed = belief.inserted();
      return believed && { position: believed.to as Position, at: believed.at };
    },
    // Only who writes knows what is still to be written.
    lagMs: () => null,
    progress: belief.why,
    onCommitted: listeners.add,
  };
  return {
    value,
    stop: async () => {
      await stop();
      belief.end();
    },
  };
}

/** Answers whose figures are others now; null when nobody's are. */
function take(event: RecordedEvent, belief: Belief): Tenants | null {
  const decoded = decode(event);
  if (decoded.type !== 'AnalyticsBatchInserted') {
    if (decoded.type === 'AnalyticsStartedOver') belief.end();
    return null;
  }
  belief.begin(decoded.data);
  return decoded.data.tenants === null ? EVERYBODY : new Set(decoded.data.tenants);
}

interface Belief {
  /** Why nothing is believed, for people. */
  readonly why: () => string;
  readonly inserted: () => AnalyticsBatchInserted | null;
  readonly begin: (inserted: AnalyticsBatchInserted) => void;
  readonly end: () => void;
}

function openBelief({ analytics, watchMs = 1_000 }: FollowerOptions): Belief {
  let inserted: AnalyticsBatchInserted | null = null;
  let watch: Watch | null = null;
  const end = (): void => {
    watch?.stop();
    watch = null;
    inserted = null;
  };
  return {
    inserted: () => (watch?.lost.aborted === true ? null : inserted),
    why: () =>
      watch?.lost.aborted === true
        ? 'the process that writes ClickHouse writes another one than this process reads, or its tables are gone'
        : 'the process that writes ClickHouse has not told of the end of the log yet',
    begin: (told) => {
      if (inserted?.store !== told.store || watch?.lost.aborted === true) {
        end();
        watch = watchStore(analytics, told.store, { watchMs });
      }
      inserted = told;
    },
    end,
  };
}
