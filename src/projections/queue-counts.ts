import { setTimeout as delay } from 'node:timers/promises';
import { decode } from '../events/codec.ts';
import { bookkeepingEvent } from '../events/bookkeeping.ts';
import type { QueuesCounted } from '../events/ingest.ts';
import { streamOf, type Ids } from '../ids.ts';
import type { Started } from '../lifecycle.ts';
import { openOutage, type Log } from '../log.ts';
import type { QueueDepth } from '../ports/broker/broker.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';

export interface QueueCount extends QueueDepth {
  readonly name: string;
}

export interface QueueCountsOptions {
  readonly log: EventLog;
  readonly logger: Log;
  readonly ids: Pick<Ids, 'random'>;
  readonly now: () => number;
  /** Whether this process feeds the queues. */
  readonly mayAct: () => boolean;
  readonly count: () => Promise<readonly QueueCount[]>;
  /** From one count to the next; milliseconds, default 5,000. */
  readonly everyMs?: number;
}

/** Figures that stay the same are recorded again after so long, as a sign of life; milliseconds. */
const REPEAT_MS = 15_000;
/** A count older than this is none. */
const VALID_MS = 60_000;
const KEPT = 10;

/** Records what waits for each queue, for processes that do not feed them. */
export function startQueueCounts(options: QueueCountsOptions): Started<void> {
  const stopping = new AbortController();
  const ended = countAgainAndAgain(options, stopping.signal);
  return {
    value: undefined,
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

async function countAgainAndAgain(options: QueueCountsOptions, signal: AbortSignal): Promise<void> {
  const { logger, mayAct, everyMs = 5_000 } = options;
  const outage = openOutage(logger, { failed: 'the queues could not be counted; trying again', isHarmless: true });
  let recorded: Recorded | null = null;
  while (!signal.aborted) {
    try {
      recorded = mayAct() ? await recordCount(options, recorded) : null;
      outage.over({});
    } catch (err) {
      recorded = null;
      outage.met({ err });
    }
    await delay(everyMs, undefined, { signal }).catch(() => undefined);
  }
}

interface Recorded {
  readonly version: number;
  readonly text: string;
  readonly at: number;
}

async function recordCount(options: QueueCountsOptions, before: Recorded | null): Promise<Recorded> {
  const { log, count, now } = options;
  const at = now();
  const counted = toRecord(await count(), at);
  const text = JSON.stringify(counted);
  if (before?.text === text && at - before.at < REPEAT_MS) return before;
  const version = before?.version ?? (await versionNow(log));
  const appended = await log.append(streamOf.queues, [bookkeepingEvent(options, 'QueuesCounted', counted)], version);
  return { version: appended.version, text, at };
}

async function versionNow(log: EventLog): Promise<number> {
  const newest = await log.last(streamOf.queues);
  // A server that does not let us say so keeps all of them, which harms nobody for a long time.
  await log.keepNewest(streamOf.queues, KEPT).catch(() => undefined);
  return newest?.version ?? 0;
}

function toRecord(counts: readonly QueueCount[], at: number): QueuesCounted {
  return {
    queues: counts.map(({ name, depth, retrying, dead, oldestSeconds }) => ({
      name,
      depth,
      retrying,
      dead,
      oldestAt: oldestSeconds === null ? null : Math.round(at - oldestSeconds * 1_000),
    })),
  };
}

/** What was counted last; null when that is too long ago, or never was. */
export async function recordedCounts(log: EventLog, now: number): Promise<readonly QueueCount[] | null> {
  const newest = await log.last(streamOf.queues);
  if (newest === null || now - Date.parse(newest.metadata.occurredAt) > VALID_MS) return null;
  const event = decode(newest);
  if (event.type !== 'QueuesCounted') return null;
  return event.data.queues.map(({ oldestAt, ...count }) => ({
    ...count,
    oldestSeconds: oldestAt === null ? null : Math.max(0, now - oldestAt) / 1_000,
  }));
}
