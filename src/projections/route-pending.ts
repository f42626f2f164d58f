import type { Changes } from './changes.ts';
import { decode } from '../events/codec.ts';
import type { Channel, NotificationContext } from '../events/event.ts';
import type { Device, UserEvent, UserState } from '../events/users.ts';
import { evolveUser } from '../events/users.ts';
import { streamOf } from '../ids.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';
import { textOf } from '../ports/state/keys.ts';
import type { State } from '../ports/state/state.ts';

/** A request that waits for its routing: all that the decision needs besides the user. */
export interface Pending {
  readonly context: NotificationContext;
  readonly tenant: string;
  readonly correlationId: string;
  readonly traceparent?: string;
  readonly eventId: string;
  /** Of the stream when it was folded: the routing is appended at exactly this version. */
  readonly version: number;
  readonly channels: readonly Channel[] | null;
  readonly expiresAt: string | null;
}

/** Transactional, bulk. */
const LANES = [0, 1] as const;

type PendingKey = readonly ['pending', lane: number, due: number, id: string];

export const ROUTE_TYPES = [
  'NotificationRequested',
  'NotificationRouted',
  'NotificationCancelled',
  'UserRegistered',
  'ContactChanged',
  'PreferenceSet',
  'DeviceRegistered',
  'DeviceRemoved',
  'DeviceDeactivated',
] as const;

/** What an event means for the requests that wait. */
export interface RouteFolded {
  readonly kind: 'opened' | 'settled';
  readonly notificationId: string;
}

/** Folds one event; answers the notification that waits for its routing from now on, or no longer. */
export function foldRoute(event: RecordedEvent, changes: Changes): RouteFolded | null {
  const decoded = decode(event);
  switch (decoded.type) {
    case 'NotificationRequested': {
      const pending = pendingOf(event, decoded.data);
      const due = decoded.data.deliverAt ?? pending.context.requestedAt;
      const key: PendingKey = ['pending', decoded.data.lane === 'BULK' ? 1 : 0, Date.parse(due), pending.context.id];
      changes.put(key, pending);
      changes.put(['open', pending.context.id], key);
      return { kind: 'opened', notificationId: pending.context.id };
    }
    case 'NotificationRouted':
    case 'NotificationCancelled':
      return settle(event, changes);
    case 'UserRegistered':
    case 'ContactChanged':
    case 'PreferenceSet':
    case 'DeviceRegistered':
    case 'DeviceRemoved':
    case 'DeviceDeactivated':
      foldUser(event, decoded, changes);
      return null;
    default:
      return null;
  }
}

function pendingOf(
  { id, version, metadata: { notification, tenant, correlationId, traceparent } }: RecordedEvent,
  { channels, expiresAt }: { readonly channels: readonly Channel[] | null; readonly expiresAt: string | null },
): Pending {
  if (notification === undefined) throw new Error('a NotificationRequested without its notification');
  const traced = traceparent === undefined ? {} : { traceparent };
  return { context: notification, tenant, correlationId, eventId: id, version, channels, expiresAt, ...traced };
}

function settle({ metadata: { notification } }: RecordedEvent, changes: Changes): RouteFolded {
  if (notification === undefined) throw new Error('an event of a notification that does not say which');
  const key = changes.get(['open', notification.id]) as PendingKey | undefined;
  if (key !== undefined) {
    changes.del(key);
    changes.del(['open', notification.id]);
  }
  return { kind: 'settled', notificationId: notification.id };
}

function foldUser(event: RecordedEvent, decoded: UserEvent, changes: Changes): void {
  const before = stateOf(changes, event.stream);
  const after = evolveUser(before, decoded, event.metadata.tenant);
  if (after !== null) putUser(changes, event.stream, { before, after });
}

function stateOf(changes: Changes, stream: string): UserState | null {
  return (changes.get(['user', stream]) as UserState | undefined) ?? null;
}

/** Who has a device id or a push token: the stream of the user. */
type HolderKey = readonly [kind: 'device' | 'token', stream: string];

/**
 * Whoever registered a device id or a token last, in log order, has it from that event on: the former holder loses it
 * here at once. The removal in the former holder's own stream comes later, or never if that command crashed, and nothing
 * may go to the former holder meanwhile.
 */
function putUser(
  changes: Changes,
  stream: string,
  { before, after }: { readonly before: UserState | null; readonly after: UserState },
): void {
  changes.put(['user', stream], after);
  if (before?.devices === after.devices) return;
  const had = holderKeys(before);
  const has = holderKeys(after);
  for (const [name, key] of had) if (!has.has(name)) changes.del(key);
  for (const [name, key] of has) {
    if (had.has(name)) continue;
    takeFrom(changes, changes.get(key) as string | undefined, name);
    changes.put(key, stream);
  }
}

function takeFrom(changes: Changes, former: string | undefined, name: string): void {
  const before = former === undefined ? null : stateOf(changes, former);
  if (former === undefined || before === null) return;
  const devices = before.devices.filter(
    (device) => !keysOf(before.tenant, device).some(([, stream]) => stream === name),
  );
  putUser(changes, former, { before, after: { ...before, devices } });
}

/** By the name of their stream. */
function holderKeys(user: UserState | null): ReadonlyMap<string, HolderKey> {
  const keys = user?.devices.flatMap((device) => keysOf(user.tenant, device)) ?? [];
  return new Map(keys.map((key) => [key[1], key]));
}

function keysOf(tenant: string, { id, token }: Device): readonly HolderKey[] {
  return [
    ['device', streamOf.device(tenant, id)],
    ['token', streamOf.token(tenant, token)],
  ];
}

/** Requests whose time has come, each once. */
export interface DuePending {
  /** Transactional ones first, then by time; at most `limit`, none of those that `isTaken`. They are not looked for again. */
  readonly take: (now: number, limit: number, isTaken: (id: string) => boolean) => readonly Pending[];
  /** Looks for it again: it has come into the state, or nothing came of its taking. */
  readonly back: (id: string) => void;
}

/** Goes on in each lane where its last look ended: what was taken stays in the state until its routing comes back. */
export function openDuePending(state: State): DuePending {
  const from = new Map<number, PendingKey>();
  function* after(lane: number, now: number, size: number): Generator<Pending> {
    for (let found = size; found === size;) {
      const start = from.get(lane);
      const page = state.list(['pending', lane], {
        ...(start && { from: start }),
        to: ['pending', lane, now + 1],
        limit: size,
      });
      for (const [key, pending] of page) {
        from.set(lane, key as PendingKey);
        yield pending as Pending;
      }
      found = page.length;
    }
  }
  return {
    take: (now, limit, isTaken) => {
      const taken: Pending[] = [];
      for (const lane of LANES) {
        if (taken.length === limit) break;
        // One more: what ended the last look is found once more.
        for (const pending of after(lane, now, limit + 1)) {
          if (!isTaken(pending.context.id)) taken.push(pending);
          if (taken.length === limit) break;
        }
      }
      return taken;
    },
    back: (id) => {
      if (from.size === 0) return;
      const key = state.get(['open', id]) as PendingKey | undefined;
      if (key === undefined) return;
      const reached = from.get(key[1]);
      if (reached !== undefined && isBefore(key, reached)) from.set(key[1], key);
    },
  };
}

function isBefore(a: PendingKey, b: PendingKey): boolean {
  return textOf(a) < textOf(b);
}

/** The user as of everything folded so far. */
export function userOf(state: State, tenant: string, userId: string): UserState | null {
  return (state.get(['user', streamOf.user(tenant, userId)]) as UserState | undefined) ?? null;
}

/** When the earliest request that is still to come is due; null when there is none. */
export function nextPending(state: State, now: number): number | null {
  const next = LANES.flatMap((lane) => state.list(['pending', lane], { from: ['pending', lane, now + 1], limit: 1 }));
  const dues = next.map(([key]) => key[2]).filter((due) => typeof due === 'number');
  return dues.length === 0 ? null : Math.min(...dues);
}
