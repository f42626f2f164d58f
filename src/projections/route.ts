import type { Changes } from './changes.ts';
import { decideRouting } from './route-decision.ts';
import type { ProjectionStatus } from './run.ts';
import { exclusive, runProjection } from './run.ts';
import { wakeAt } from './wake.ts';
import { decode } from '../events/codec.ts';
import type { Channel, Metadata, NotificationContext } from '../events/event.ts';
import { metadata } from '../events/metadata.ts';
import type { Decision } from '../events/notifications.ts';
import type { UserEvent, UserState } from '../events/users.ts';
import { evolveUser } from '../events/users.ts';
import type { Ids } from '../ids.ts';
import { streamOf } from '../ids.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventLog, NewEvent, RecordedEvent } from '../ports/event-log/event-log.ts';
import { WrongExpectedVersion } from '../ports/event-log/event-log.ts';
import type { State } from '../ports/state/state.ts';

export interface RouteOptions {
  readonly log: EventLog;
  readonly state: State;
  readonly logger: Log;
  readonly ids: Ids;
  readonly now: () => number;
}

/** A request that waits for its routing: all that the decision needs besides the user. */
interface Pending {
  readonly context: NotificationContext;
  readonly tenant: string;
  readonly correlationId: string;
  readonly eventId: string;
  /** Of the stream when it was folded: the routing is appended at exactly this version. */
  readonly version: number;
  readonly channels: readonly Channel[] | null;
  readonly expiresAt: string | null;
}

type PendingKey = readonly ['pending', lane: number, due: number, id: string];

/** Routings under way at once: enough to fill a group commit. */
const WINDOW = 256;
const RETRY_MS = 1_000;

const TYPES = [
  'NotificationRequested',
  'NotificationRouted',
  'NotificationCancelled',
  'UserRegistered',
  'ContactChanged',
  'PreferenceSet',
] as const;

/**
 * Decides what becomes of each request, once: who gets it, on which channel, and why not. The single writer of
 * NotificationRouted. It knows everything that the log said before the request, because it folds users and requests
 * from one subscription in log order, and it decides only once it has seen the end of the log. A request with a time of
 * delivery is decided on then, with what is known then. Transactional requests go first.
 *
 * The append at the version that was folded makes a second routing impossible; what a crash interrupts is found in the
 * pending set again, or routed in the log.
 */
export function startRoute(options: RouteOptions): Started<() => ProjectionStatus> {
  const inFlight = new Set<string>();
  /** Folded, but not committed: the state still shows them as pending, so they stay in flight until it does not. */
  const settled: string[] = [];
  const tasks = new Set<Promise<void>>();
  const wake = wakeAt(() => {
    wake.at(decideDue());
  }, options.now);
  const projection = runProjection(
    {
      name: 'route',
      filter: { types: TYPES },
      state: options.state,
      fold: (event, changes) => {
        const id = fold(event, changes);
        if (id !== null) settled.push(id);
      },
      committed: (live) => {
        for (const id of settled.splice(0)) inFlight.delete(id);
        if (live) wake.now();
      },
    },
    { log: options.log, logger: options.logger, exclusive: exclusive() },
  );

  function decideDue(): number | null {
    const now = options.now();
    const due = [0, 1].flatMap((lane) => dueIn(lane, now)).filter(([, { context }]) => !inFlight.has(context.id));
    for (const [, pending] of due.slice(0, WINDOW - inFlight.size)) {
      inFlight.add(pending.context.id);
      const task = routeOne(pending).finally(() => tasks.delete(task));
      tasks.add(task);
    }
    return nextDue(options.state, now);
  }

  function dueIn(lane: number, now: number): readonly (readonly [PendingKey, Pending])[] {
    const range = { to: ['pending', lane, now + 1], limit: inFlight.size + WINDOW } as const;
    return options.state.list(['pending', lane], range) as readonly (readonly [PendingKey, Pending])[];
  }

  /** Stays in flight until the subscription brings the routing back; after a fault it is free to be tried again. */
  async function routeOne(pending: Pending): Promise<void> {
    const { context, version } = pending;
    try {
      await options.log.append(streamOf.notification(context.id), routing(options, pending), version);
    } catch (error) {
      if (error instanceof WrongExpectedVersion) return;
      options.logger.error({ notification: context.id, err: error }, 'a routing could not be recorded; trying again');
      inFlight.delete(context.id);
      wake.at(options.now() + RETRY_MS);
    }
  }

  return {
    value: projection.value,
    stop: async () => {
      wake.stop();
      await projection.stop();
      await Promise.all(tasks);
    },
  };
}

/** Folds one event; answers the notification whose routing is settled by it. */
function fold(event: RecordedEvent, changes: Changes): string | null {
  const decoded = decode(event);
  switch (decoded.type) {
    case 'NotificationRequested': {
      const pending = pendingOf(event, decoded.data);
      const due = decoded.data.deliverAt ?? pending.context.requestedAt;
      const key: PendingKey = ['pending', decoded.data.lane === 'BULK' ? 1 : 0, Date.parse(due), pending.context.id];
      changes.put(key, pending);
      changes.put(['open', pending.context.id], key);
      return null;
    }
    case 'NotificationRouted':
    case 'NotificationCancelled':
      return settle(event, changes);
    case 'UserRegistered':
    case 'ContactChanged':
    case 'PreferenceSet':
      foldUser(event, decoded, changes);
      return null;
    default:
      return null;
  }
}

function pendingOf(
  { id, version, metadata: { notification, tenant, correlationId } }: RecordedEvent,
  { channels, expiresAt }: { readonly channels: readonly Channel[] | null; readonly expiresAt: string | null },
): Pending {
  if (notification === undefined) throw new Error('a NotificationRequested without its notification');
  return { context: notification, tenant, correlationId, eventId: id, version, channels, expiresAt };
}

function settle({ metadata: { notification } }: RecordedEvent, changes: Changes): string | null {
  if (notification === undefined) throw new Error('an event of a notification that does not say which');
  const key = changes.get(['open', notification.id]) as PendingKey | undefined;
  if (key !== undefined) {
    changes.del(key);
    changes.del(['open', notification.id]);
  }
  return notification.id;
}

function foldUser(event: RecordedEvent, decoded: UserEvent, changes: Changes): void {
  const key = ['user', event.stream] as const;
  const before = (changes.get(key) as UserState | undefined) ?? null;
  const after = evolveUser(before, decoded, event.metadata.tenant);
  if (after !== null) changes.put(key, after);
}

/** What is recorded for one request: its decisions, and at once the expiry of what came too late. */
function routing({ state, ids, now }: RouteOptions, pending: Pending): readonly NewEvent[] {
  const { context, tenant, correlationId, eventId, channels, expiresAt } = pending;
  const user = state.get(['user', streamOf.user(tenant, context.userId)]) as UserState | undefined;
  const decisions = decideRouting({ notificationId: context.id, channels, category: context.category }, user ?? null);
  const at = now();
  const origin = { tenant, correlationId, causationId: eventId };
  const stamp: Metadata = { ...metadata(origin, at), notification: context };
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

/** When the earliest request that is still to come is due; null when there is none. */
function nextDue(state: State, now: number): number | null {
  const next = [0, 1].flatMap((lane) => state.list(['pending', lane], { from: ['pending', lane, now + 1], limit: 1 }));
  const dues = next.map(([key]) => key[2]).filter((due) => typeof due === 'number');
  return dues.length === 0 ? null : Math.min(...dues);
}
