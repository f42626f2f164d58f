import type { Changes } from './changes.ts';
import { ALWAYS_HELD, type Lease } from './lease.ts';
import { decideRouting } from './route-decision.ts';
import { foldRoute, nextPending, openDuePending, ROUTE_TYPES, userOf } from './route-pending.ts';
import type { DuePending, Pending, RouteFolded } from './route-pending.ts';
import type { ProjectionStatus } from './run.ts';
import { runProjection } from './run.ts';
import { wakeAt } from './wake.ts';
import type { Channel, Metadata } from '../events/event.ts';
import { metadata } from '../events/metadata.ts';
import type { Decision } from '../events/notifications.ts';
import type { Ids } from '../ids.ts';
import { streamOf } from '../ids.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventLog, NewEvent, RecordedEvent } from '../ports/event-log/event-log.ts';
import { WrongExpectedVersion } from '../ports/event-log/event-log.ts';
import { exclusive } from '../ports/state/exclusive.ts';
import type { State } from '../ports/state/state.ts';

export interface RouteOptions {
  readonly log: EventLog;
  readonly state: State;
  readonly logger: Log;
  readonly ids: Ids;
  readonly now: () => number;
  /** Channels that there is a provider for. */
  readonly channels: readonly Channel[];
  /** Default: no other process decides. */
  readonly lease?: Lease;
}

/** Routings under way at once: enough to fill a group commit. While all are, none is looked for; whatever ends one wakes up. */
const WINDOW = 256;
const RETRY_MS = 1_000;

/**
 * Decides what becomes of each request, once: who gets it, on which channel, and why not. The single writer of
 * NotificationRouted. It knows everything that the log said before the request, because it folds users and requests
 * from one subscription in log order, and it decides only once it has seen the end of the log. A request with a time of
 * delivery is decided on then, with what is known then. Transactional requests go first.
 * While another process holds the lease it only folds, so that it can go on at once when that one is gone.
 *
 * The append at the version that was folded makes a second routing impossible; what a crash interrupts is found in the
 * pending set again, or routed in the log.
 */
export function startRoute(options: RouteOptions): Started<() => ProjectionStatus> {
  const { lease = ALWAYS_HELD } = options;
  const inFlight = new Set<string>();
  const due = openDuePending(options.state);
  /** Not committed yet: until then the state shows what is settled as pending, and what is opened not at all. */
  const folded: RouteFolded[] = [];
  const tasks = new Set<Promise<void>>();
  const reportFault = faultReporter(options);
  const wake = wakeAt(() => {
    if (projection.value().mayAct && inFlight.size < WINDOW) wake.at(decideDue());
  }, options.now);
  const projection = runProjection(
    {
      name: 'route',
      filter: { types: ROUTE_TYPES },
      state: options.state,
      fold: (event, changes) => void folded.push(...foldedBy(event, changes)),
      committed: (live) => {
        for (const each of folded.splice(0)) noted(each, inFlight, due);
        if (live) wake.now();
      },
    },
    { log: options.log, logger: options.logger, exclusive: exclusive(), lease },
  );

  function decideDue(): number | null {
    const now = options.now();
    for (const pending of due.take(now, WINDOW - inFlight.size, (id) => inFlight.has(id))) {
      inFlight.add(pending.context.id);
      const task = routeOne(pending).finally(() => tasks.delete(task));
      tasks.add(task);
    }
    return nextPending(options.state, now);
  }

  /** Stays in flight until the subscription brings the routing back; after a fault it is free to be tried again. */
  async function routeOne(pending: Pending): Promise<void> {
    const { context, version } = pending;
    try {
      await options.log.append(streamOf.notification(context.id), routing(options, pending), version);
    } catch (error) {
      if (error instanceof WrongExpectedVersion) return;
      reportFault(pending, error);
      inFlight.delete(context.id);
      due.back(context.id);
      wake.at(options.now() + RETRY_MS);
    }
  }

  const stopListening = lease.onChange(wake.now);
  return {
    value: projection.value,
    stop: async () => {
      stopListening();
      wake.stop();
      await projection.stop();
      await Promise.all(tasks);
    },
  };
}

function noted({ kind, notificationId }: RouteFolded, inFlight: Set<string>, due: DuePending): void {
  if (kind === 'settled') inFlight.delete(notificationId);
  else due.back(notificationId);
}

function foldedBy(event: RecordedEvent, changes: Changes): readonly RouteFolded[] {
  const folded = foldRoute(event, changes);
  return folded === null ? [] : [folded];
}

/** A log that takes nothing refuses every routing: one line a second tells it. */
function faultReporter({ logger, now }: RouteOptions): (pending: Pending, err: unknown) => void {
  let reportedAt = -Infinity;
  return ({ context, correlationId: requestId }, err) => {
    if (now() - reportedAt < RETRY_MS) return;
    reportedAt = now();
    logger.error({ notification: context.id, requestId, err }, 'a routing could not be recorded; trying again');
  };
}

/** What is recorded for one request: its decisions, and at once the expiry of what came too late. */
function routing({ state, ids, now, channels: available }: RouteOptions, pending: Pending): readonly NewEvent[] {
  const { context, tenant, correlationId, traceparent, eventId, channels, expiresAt } = pending;
  const user = userOf(state, tenant, context.userId);
  const input = { notificationId: context.id, channels, category: context.category, available };
  const decisions = decideRouting(input, user);
  const at = now();
  const origin = { tenant, correlationId, causationId: eventId, traceparent };
  const stamp = metadata(origin, at, { notification: context });
  const routed: NewEvent = {
    id: ids.random(),
    type: 'NotificationRouted',
    data: { decisions, policyVersion: 0, expiresAt },
    metadata: stamp,
  };
  return expiresAt !== null && Date.parse(expiresAt) <= at
    ? [routed, ...expired(decisions, expiresAt, ids, { ...stamp, causationId: routed.id })]
    : [routed];
}

function expired(decisions: readonly Decision[], expiresAt: string, ids: Ids, stamp: Metadata): readonly NewEvent[] {
  return decisions
    .filter(({ outcome }) => outcome === 'QUEUE')
    .map(({ deliveryId, channel }) => ({
      id: ids.random(),
      type: 'DeliveryExpired',
      data: { deliveryId, expiresAt },
      metadata: { ...stamp, delivery: { id: deliveryId, channel, provider: null } },
    }));
}
