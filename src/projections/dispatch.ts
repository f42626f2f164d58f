import type { Changes } from './changes.ts';
import { changesTo } from './changes.ts';
import type { Entry } from './dispatch-index.ts';
import { dueEntries, fedBefore, fedInOtherSessions, foldDispatch, markFed, moveToDue, nextDue } from './dispatch-index.ts';
import type { ProjectionStatus } from './run.ts';
import { exclusive, runProjection } from './run.ts';
import { wakeAt } from './wake.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Broker, Job, QueueName } from '../ports/broker/broker.ts';
import { QueueFull, QUEUES } from '../ports/broker/broker.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';
import type { State } from '../ports/state/state.ts';

export interface DispatchOptions {
  readonly log: EventLog;
  readonly state: State;
  readonly broker: Broker;
  readonly logger: Log;
  readonly now: () => number;
  /** How long a published job may lie unclaimed before it is suspected lost; milliseconds. */
  readonly graceMs?: number;
  /** How often suspects are looked for; milliseconds. */
  readonly refeedEveryMs?: number;
}

const TYPES = [
  'NotificationRouted',
  'DeliveryAttempted',
  'DeliverySent',
  'DeliveryRetryScheduled',
  'DeliveryOutcomeUnknown',
  'DeliveryHeld',
  'DeliveryRejected',
  'DeliveryExpired',
  'DeliveryCancelled',
  'DeliveryDeadLettered',
] as const;

/** Jobs published together, confirms awaited together. */
const WINDOW = 256;
/** Suspects fed again in one look at a queue. */
const REFEED_BATCH = 500;
/** The same delivery is fed again on suspicion at most this often. */
const REFEED_PAUSE_MS = 3_600_000;
const RETRY_MS = 250;

/**
 * Feeds the queues from the record. An index of every open delivery by due time is folded from the log; whatever is due
 * and not published yet is published, confirmed, and then marked. A crash in between publishes again, which claims make
 * harmless. First attempts, retries, claims that ran out and jobs that a broker lost all go this one way.
 *
 * A delivery that was published and never claimed is fed again only when its queue is empty, or the oldest job there is
 * younger: an emptied broker heals, a slow backlog is not fed into itself.
 */
export async function startDispatch(options: DispatchOptions): Promise<Started<() => ProjectionStatus>> {
  const { state, broker, logger, now } = options;
  await reclaim(options);
  const alone = exclusive();
  const feeding = new Map<QueueName, Promise<void>>();
  let live = false;
  let stopped = false;

  const wake = wakeAt(() => {
    if (!live) return;
    for (const queue of QUEUES) if (!feeding.has(queue)) startFeeding(queue);
  }, now);
  const projection = runProjection(
    {
      name: 'dispatch',
      filter: { types: TYPES },
      state,
      fold: foldDispatch,
      committed: (isLive) => {
        live = isLive;
        if (isLive) wake.now();
      },
    },
    { log: options.log, logger, exclusive: alone },
  );
  const refeed = setInterval(() => void alone(() => refeedSuspects(options)).then(wake.now, reportRefeed), options.refeedEveryMs ?? 5_000);

  function startFeeding(queue: QueueName): void {
    const task = feed(queue).catch((error: unknown) => {
      logger.error({ queue, err: error }, 'a queue could not be fed; trying again');
      wake.at(now() + RETRY_MS);
    });
    feeding.set(
      queue,
      task.finally(() => feeding.delete(queue)),
    );
  }

  /** Publishes what is due until nothing is, then sees to it that it is woken for the next one. */
  async function feed(queue: QueueName): Promise<void> {
    for (;;) {
      const due = dueEntries(state, queue, now(), WINDOW);
      if (due.length === 0 || stopped) break;
      const { published, full } = await publish(broker, due, now());
      await alone(() => markPublished(options, published));
      if (full) return wake.at(now() + RETRY_MS);
    }
    wake.at(nextDue(state, queue, now()));
  }

  function reportRefeed(error: unknown): void {
    logger.error({ err: error }, 'looking for lost jobs failed; trying again');
  }

  return {
    value: projection.value,
    stop: async () => {
      stopped = true;
      clearInterval(refeed);
      wake.stop();
      await projection.stop();
      await Promise.all(feeding.values());
      await alone(() => Promise.resolve());
    },
  };
}

interface Published {
  readonly published: readonly Entry[];
  readonly full: boolean;
}

/** Publishes all and waits for all confirms. A full queue is no fault: the rest stays in the index. */
async function publish(broker: Broker, due: readonly Entry[], now: number): Promise<Published> {
  const results = await Promise.allSettled(due.map((entry) => broker.publish(entry.queue, jobOf(entry, now))));
  const published = due.filter((_, index) => results[index]?.status === 'fulfilled');
  const faults = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason as unknown);
  const fault = faults.find((each) => !(each instanceof QueueFull));
  if (fault !== undefined && published.length === 0) throw fault;
  return { published, full: faults.length > 0 };
}

function jobOf({ tenant, notificationId, deliveryId, attempt, due, expires }: Entry, now: number): Job {
  return { tenant, notificationId, deliveryId, attempt, due: Math.min(due, now), expires };
}

async function markPublished({ state, broker, now }: DispatchOptions, published: readonly Entry[]): Promise<void> {
  const changes = changesTo(state);
  for (const entry of published) markFed(changes, entry, broker.session, now());
  await state.commit(changes.list());
}

/** What was published in an earlier session of the broker is gone with it: all of it is to be published again. */
async function reclaim({ state, broker }: DispatchOptions): Promise<void> {
  for (;;) {
    const lost = fedInOtherSessions(state, broker.session, REFEED_BATCH);
    if (lost.length === 0) return;
    const changes = changesTo(state);
    for (const entry of lost) moveToDue(changes, entry);
    await state.commit(changes.list());
  }
}

async function refeedSuspects({ state, broker, now, graceMs = 15_000 }: DispatchOptions): Promise<void> {
  const changes: Changes = changesTo(state);
  for (const queue of QUEUES) {
    const suspects = fedBefore(state, { session: broker.session, queue, before: now() - graceMs }, REFEED_BATCH);
    if (suspects.length === 0) continue;
    const { depth, retrying, oldestSeconds } = await broker.depth(queue);
    const oldest = oldestSeconds === null ? now() : now() - oldestSeconds * 1_000;
    const isEmpty = depth === 0 && retrying === 0;
    for (const entry of suspects) {
      const older = oldestSeconds !== null && (entry.fedAt ?? 0) < oldest;
      const rested = entry.refeeds === 0 || now() - (entry.fedAt ?? 0) >= REFEED_PAUSE_MS;
      if ((isEmpty || older) && rested) moveToDue(changes, { ...entry, refeeds: entry.refeeds + 1 });
    }
  }
  await state.commit(changes.list());
}

