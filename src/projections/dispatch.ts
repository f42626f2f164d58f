import { openFeeder } from './dispatch-feed.ts';
import { DISPATCH_TYPES, foldDispatch, type Entry } from './dispatch-index.ts';
import { ALWAYS_HELD, type Lease } from './lease.ts';
import { reclaim, refeedSuspects } from './dispatch-refeed.ts';
import type { ProjectionStatus } from './run.ts';
import { runProjection } from './run.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Broker } from '../ports/broker/broker.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';
import { exclusive } from '../ports/state/exclusive.ts';
import type { State } from '../ports/state/state.ts';

export interface DispatchOptions {
  readonly log: EventLog;
  readonly state: State;
  readonly broker: Broker;
  readonly logger: Log;
  readonly now: () => number;
  /** Default: no other process publishes. */
  readonly lease?: Lease;
  /** Told of a publish that begins, of a request that is traced; what it answers is called when that ends. */
  readonly publishing?: (entry: Publishing) => (error?: unknown) => void;
  /** How long a published job may lie unclaimed before it is suspected lost; milliseconds, default 15,000. */
  readonly graceMs?: number;
  /** How often suspects are looked for; milliseconds, default 5,000. */
  readonly refeedEveryMs?: number;
}

export interface Publishing {
  readonly queue: string;
  readonly notificationId: string;
  readonly deliveryId: string;
  readonly traceparent: string;
}

/**
 * Feeds the queues from the record. An index of every open delivery by due time is folded from the log; whatever is due
 * and not published yet is published, confirmed, and then marked. A crash in between publishes again, which claims make
 * harmless. First attempts, retries, claims that ran out and jobs that a broker lost all go this one way.
 *
 * A delivery that was published and never claimed is fed again only when its queue is empty, or the oldest job there is
 * younger: an emptied broker heals, a slow backlog is not fed into itself.
 *
 * While another process holds the lease it only folds. What that one published is not known here: whoever takes over
 * publishes once more what is open and due, which claims make harmless.
 */
export async function startDispatch(options: DispatchOptions): Promise<Started<() => ProjectionStatus>> {
  const { log, state, logger, lease = ALWAYS_HELD, refeedEveryMs = 5_000 } = options;
  await reclaim(options);
  const alone = exclusive();
  /** Folded, but not committed. */
  const opened: Entry[] = [];
  const feeder = openFeeder({ ...options, alone, mayFeed: () => projection.value().mayAct });
  const projection = runProjection(
    {
      name: 'dispatch',
      filter: { types: DISPATCH_TYPES },
      state,
      fold: (event, changes) => void opened.push(...foldDispatch(event, changes)),
      committed: () => {
        feeder.added(opened.splice(0));
      },
    },
    { log, logger, exclusive: alone, lease },
  );
  const refeed = setInterval(() => {
    alone(async () => {
      // A broker that keeps its queues may lose them all the same, while we run.
      await reclaim(options);
      if (projection.value().mayAct) await refeedSuspects(options);
    })
      // However it ended: what was reclaimed before is due.
      .finally(feeder.wake)
      .catch((error: unknown) => {
        logger.error({ err: error }, 'looking for lost jobs failed; trying again');
      });
  }, refeedEveryMs);

  const stopListening = lease.onChange(feeder.wake);
  return {
    value: projection.value,
    stop: async () => {
      clearInterval(refeed);
      stopListening();
      await projection.stop();
      await feeder.stop();
      // A look for lost jobs may still be under way.
      await alone(() => Promise.resolve());
    },
  };
}
