import type { Changes } from './changes.ts';
import { pagesOf, type PagesOf } from './pages.ts';
import { decode } from '../events/codec.ts';
import type { Lane } from '../events/event.ts';
import type { Decision } from '../events/notifications.ts';
import type { NotificationType, QueueName } from '../ports/broker/broker.ts';
import { queueFor } from '../ports/broker/broker.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';
import type { Key, State } from '../ports/state/state.ts';

/**
 * The open deliveries, by due time and by whether their next job was published:
 * `delivery/<id>` holds the entry, and exactly one of `due/<queue>/<due>/<id>` (to be published) and
 * `fed/<session>/<queue>/<fedAt>/<id>` (published, not claimed yet) points to it.
 */
export interface Entry {
  readonly tenant: string;
  readonly notificationId: string;
  readonly deliveryId: string;
  readonly queue: QueueName;
  /** The attempt that the next job asks for. */
  readonly attempt: number;
  readonly due: number;
  readonly expires: number | null;
  /** When and in which session of the broker the job was published; null while it is not. */
  readonly fedAt: number | null;
  readonly session: string | null;
  /** How often it was published again on suspicion. */
  readonly refeeds: number;
  readonly traceparent?: string;
}

export const DISPATCH_TYPES = [
  'NotificationRouted',
  'DeliveryAttempted',
  'DeliverySent',
  'DeliveryDelivered',
  'DeliveryBounced',
  'DeliveryRetryScheduled',
  'DeliveryOutcomeUnknown',
  'DeliveryHeld',
  'DeliveryRejected',
  'DeliveryExpired',
  'DeliveryCancelled',
  'DeliverySuppressed',
  'DeliveryDeadLettered',
] as const;

/**
 * Folds one event into the index: a routing opens deliveries, an attempt or a failure sets the next due time, an ending
 * closes. Answers what is to be published from now on.
 */
export function foldDispatch(event: RecordedEvent, changes: Changes): readonly Entry[] {
  const decoded = decode(event);
  switch (decoded.type) {
    case 'NotificationRouted':
      return decoded.data.decisions.flatMap((decision) => open(event, decision, decoded.data.expiresAt, changes));
    case 'DeliveryAttempted':
      return schedule(decoded.data, decoded.data.claimUntil, changes);
    case 'DeliveryRetryScheduled':
      return schedule(decoded.data, decoded.data.retryAt, changes);
    case 'DeliveryOutcomeUnknown':
      return decoded.data.retryAt === null ? [] : schedule(decoded.data, decoded.data.retryAt, changes);
    case 'DeliverySent':
    case 'DeliveryDelivered':
    case 'DeliveryBounced':
      revive(changes, decoded.data.deliveryId);
      forget(changes, decoded.data.deliveryId);
      return [];
    case 'DeliveryHeld':
    case 'DeliveryRejected':
    case 'DeliveryExpired':
    case 'DeliveryCancelled':
    case 'DeliverySuppressed':
      forget(changes, decoded.data.deliveryId);
      return [];
    case 'DeliveryDeadLettered':
      bury(changes, decoded.data.deliveryId);
      forget(changes, decoded.data.deliveryId);
      return [];
    default:
      return [];
  }
}

function open(
  { metadata }: RecordedEvent,
  decision: Decision,
  expiresAt: string | null,
  changes: Changes,
): readonly Entry[] {
  const { notification, tenant, occurredAt, traceparent } = metadata;
  if (notification === undefined) throw new Error('a routing that does not say of which notification');
  if (decision.outcome !== 'QUEUE') return [];
  const entry: Entry = {
    tenant,
    notificationId: notification.id,
    deliveryId: decision.deliveryId,
    queue: queueOf(decision, notification.lane),
    attempt: 1,
    due: Date.parse(occurredAt),
    expires: expiresAt === null ? null : Date.parse(expiresAt),
    fedAt: null,
    session: null,
    refeeds: 0,
    ...(traceparent !== undefined && { traceparent }),
  };
  put(changes, entry);
  return [entry];
}

/** The attempt after this one is due then. Nothing when the delivery has ended in the meantime. */
function schedule(
  { deliveryId, attempt }: { readonly deliveryId: string; readonly attempt: number },
  due: string,
  changes: Changes,
): readonly Entry[] {
  const entry = read(changes, deliveryId);
  if (entry === null || attempt + 1 < entry.attempt) return [];
  const next = { ...entry, attempt: attempt + 1, due: Date.parse(due), fedAt: null, session: null, refeeds: 0 };
  drop(changes, entry);
  put(changes, next);
  return [next];
}

function bury(changes: Changes, deliveryId: string): void {
  const entry = read(changes, deliveryId);
  if (entry === null) return;
  changes.put(['dead', entry.queue, deliveryId], true);
  changes.put(['grave', deliveryId], entry.queue);
}

/** A receipt tells that the provider had accepted it after all. */
function revive(changes: Changes, deliveryId: string): void {
  const queue = changes.get(['grave', deliveryId]);
  if (typeof queue !== 'string') return;
  changes.del(['dead', queue, deliveryId]);
  changes.del(['grave', deliveryId]);
}

/** Deliveries that stand as dead letters. */
export function deadEntries(state: State, queue: QueueName): number {
  return state.count(['dead', queue]);
}

function forget(changes: Changes, deliveryId: string): void {
  const entry = read(changes, deliveryId);
  if (entry !== null) drop(changes, entry);
}

/** Marks a published job, unless the delivery has moved on since it was listed. */
export function markFed(changes: Changes, listed: Entry, session: string, fedAt: number): void {
  const entry = read(changes, listed.deliveryId);
  if (entry?.attempt !== listed.attempt || entry.due !== listed.due || entry.fedAt !== null) return;
  drop(changes, entry);
  put(changes, { ...entry, fedAt, session });
}

/** Back among those to be published. */
export function moveToDue(changes: Changes, entry: Entry): void {
  drop(changes, entry);
  put(changes, { ...entry, fedAt: null, session: null });
}

/** What is due by `now` and not published, longest due first, in pages. */
export function dueEntries(state: State, queue: QueueName, now: number, size: number): Pages {
  return entryPages(state, { prefix: ['due', queue], to: ['due', queue, now + 1], size });
}

/** When the first entry that is still to come is due; null when there is none. */
export function nextDue(state: State, queue: QueueName, now: number): number | null {
  const [first] = state.list(['due', queue], { from: ['due', queue, now + 1], limit: 1 });
  const due = first?.[0][2];
  return typeof due === 'number' ? due : null;
}

/** Since when the delivery that is due longest has been due; null when there is none. */
export function oldestDue(state: State, queue: QueueName, session: string): number | null {
  const pointers = [...state.list(['due', queue], { limit: 1 }), ...state.list(['fed', session, queue], { limit: 1 })];
  const dues = entriesOf(state, pointers).map(({ due }) => due);
  return dues.length === 0 ? null : Math.min(...dues);
}

/** Published in this session of the broker before a time, longest ago first, in pages. */
export function fedBefore(
  state: State,
  { session, queue, before }: { readonly session: string; readonly queue: QueueName; readonly before: number },
  size: number,
): Pages {
  return entryPages(state, { prefix: ['fed', session, queue], to: ['fed', session, queue, before], size });
}

/** Published in any other session of the broker than this one, in pages. */
export async function* fedInOtherSessions(state: State, session: string, size: number): Pages {
  yield* entryPages(state, { prefix: ['fed'], to: ['fed', session], size });
  yield* entryPages(state, { prefix: ['fed'], from: ['fed', `${session} `], size });
}

type Pages = AsyncGenerator<readonly Entry[], void>;

async function* entryPages(state: State, of: PagesOf): Pages {
  for await (const pointers of pagesOf(state, of)) yield entriesOf(state, pointers);
}

function entriesOf(state: State, pointers: readonly (readonly [Key, unknown])[]): readonly Entry[] {
  return pointers
    .map(([, id]) => state.get(['delivery', String(id)]) as Entry | undefined)
    .filter((each) => each !== undefined);
}

function read(changes: Changes, deliveryId: string): Entry | null {
  return (changes.get(['delivery', deliveryId]) as Entry | undefined) ?? null;
}

function put(changes: Changes, entry: Entry): void {
  changes.put(['delivery', entry.deliveryId], entry);
  changes.put(pointerTo(entry), entry.deliveryId);
}

function drop(changes: Changes, entry: Entry): void {
  changes.del(['delivery', entry.deliveryId]);
  changes.del(pointerTo(entry));
}

function pointerTo({ queue, due, fedAt, session, deliveryId }: Entry): Key {
  return fedAt === null ? ['due', queue, due, deliveryId] : ['fed', session ?? '', queue, fedAt, deliveryId];
}

function queueOf({ channel, platform }: Decision, lane: Lane): QueueName {
  return queueFor(typeOf(channel, platform), lane);
}

function typeOf(channel: Decision['channel'], platform: Decision['platform']): NotificationType {
  switch (channel) {
    case 'EMAIL':
      return 'email';
    case 'SMS':
      return 'sms';
    case 'PUSH':
      return platform === 'IOS' ? 'push.ios' : platform === 'ANDROID' ? 'push.android' : 'push.web';
  }
}
