import type { Channel, Metadata } from './event.ts';
import type {
  CancelReason,
  Decision,
  DecisionReason,
  DeliveryEvent,
  DeliveryRetryScheduled,
  DeliverySent,
  NotificationEvent,
  NotificationRequested,
  Platform,
} from './notifications.ts';
import type { RejectReason, RetryReason, UnknownReason } from './outcome.ts';
import { isOurs } from './outcome.ts';

export const DELIVERY_STATUSES = [
  'QUEUED',
  'SENDING',
  'RETRYING',
  'SENT',
  'DELIVERED',
  'REJECTED',
  'BOUNCED',
  'SUPPRESSED',
  'DEFERRED',
  'EXPIRED',
  'CANCELLED',
  'DEAD_LETTERED',
  'HELD',
] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

export const NOTIFICATION_STATUSES = ['REQUESTED', 'SCHEDULED', 'ROUTED', 'COMPLETED', 'CANCELLED', 'EXPIRED'] as const;
export type NotificationStatus = (typeof NOTIFICATION_STATUSES)[number];

export type DeliveryReason =
  DecisionReason | RetryReason | RejectReason | UnknownReason | Exclude<CancelReason, 'REQUESTED'>;

/** A notification as its stream tells it. */
export interface NotificationState {
  readonly id: string;
  readonly tenant: string;
  readonly request: NotificationRequested;
  readonly requestedAt: string;
  readonly correlationId: string;
  /** The event that everything so far led to; the cause of the next one. */
  readonly lastEventId: string;
  readonly routed: boolean;
  readonly cancelled: boolean;
  /** In the order of the routing. */
  readonly deliveries: readonly DeliveryState[];
}

export interface DeliveryState {
  readonly id: string;
  readonly channel: Channel;
  readonly platform: Platform | null;
  readonly address: string | null;
  readonly status: DeliveryStatus;
  /** Why it stands where it stands; null where the status says it all. */
  readonly reason: DeliveryReason | null;
  readonly provider: string | null;
  readonly providerMessageId: string | null;
  /** Claims so far. */
  readonly attempts: number;
  /** Attempts that failed or are in doubt, and so used up a place of the retry schedule; those that we cut short do not count. */
  readonly failures: number;
  /** While an attempt runs: until when the claim holds. */
  readonly claimUntil: string | null;
  /** When the next attempt is due, where one was scheduled. */
  readonly retryAt: string | null;
  /** Some attempt may have reached the provider without our knowing. */
  readonly inDoubt: boolean;
  readonly sentAt: string | null;
  /** Attempts that the provider accepted; a second one is a duplicate that reached the user. */
  readonly accepted: readonly number[];
}

/** What the fold needs to know of an event besides what it says. */
export interface Envelope {
  readonly id: string;
  readonly metadata: Metadata;
}

export function evolveNotification(
  state: NotificationState | null,
  event: NotificationEvent,
  envelope: Envelope,
): NotificationState | null {
  if (event.type === 'NotificationRequested') return requested(event.data, envelope);
  if (state === null) return null;
  const next = { ...state, lastEventId: envelope.id };
  switch (event.type) {
    case 'NotificationRouted':
      return { ...next, routed: true, deliveries: event.data.decisions.map(decided) };
    case 'NotificationCancelled':
      return { ...next, cancelled: true };
    default:
      return { ...next, deliveries: next.deliveries.map((each) => evolveIfMeant(each, event, envelope.metadata)) };
  }
}

function requested(request: NotificationRequested, { id, metadata }: Envelope): NotificationState | null {
  if (metadata.notification === undefined) return null;
  return {
    id: metadata.notification.id,
    tenant: metadata.tenant,
    request,
    requestedAt: metadata.notification.requestedAt,
    correlationId: metadata.correlationId,
    lastEventId: id,
    routed: false,
    cancelled: false,
    deliveries: [],
  };
}

function decided(decision: Decision): DeliveryState {
  const queued = decision.outcome === 'QUEUE';
  return {
    id: decision.deliveryId,
    channel: decision.channel,
    platform: decision.platform,
    address: decision.address,
    status: queued ? 'QUEUED' : 'SUPPRESSED',
    reason: queued ? null : decision.reason,
    provider: null,
    providerMessageId: null,
    attempts: 0,
    failures: 0,
    claimUntil: null,
    retryAt: null,
    inDoubt: false,
    sentAt: null,
    accepted: [],
  };
}

function evolveIfMeant(delivery: DeliveryState, event: DeliveryEvent, metadata: Metadata): DeliveryState {
  return event.data.deliveryId === delivery.id ? evolveDelivery(delivery, event, metadata) : delivery;
}

/** Acceptance is a fact and wins over everything; any other ending stays; what a superseded attempt found out changes nothing. */
function evolveDelivery(delivery: DeliveryState, event: DeliveryEvent, metadata: Metadata): DeliveryState {
  if (event.type === 'DeliverySent') return sent(delivery, event.data, metadata.occurredAt);
  if (hasEnded(delivery)) return delivery;
  if ('attempt' in event.data && event.data.attempt < delivery.attempts) return delivery;
  const idle = { ...delivery, claimUntil: null, retryAt: null };
  switch (event.type) {
    case 'DeliveryAttempted': {
      const { attempt, claimUntil } = event.data;
      return { ...idle, status: 'SENDING', reason: null, attempts: attempt, claimUntil };
    }
    case 'DeliveryRetryScheduled':
      return { ...idle, ...retrying(delivery, event.data) };
    case 'DeliveryOutcomeUnknown': {
      const { reason, retryAt } = event.data;
      return { ...idle, status: 'SENDING', reason, retryAt, inDoubt: true, failures: delivery.failures + 1 };
    }
    case 'DeliveryHeld':
      return { ...idle, status: 'HELD', reason: event.data.reason };
    case 'DeliveryRejected':
      return { ...idle, status: 'REJECTED', reason: event.data.reason };
    case 'DeliveryExpired':
      return { ...idle, status: 'EXPIRED', reason: null };
    case 'DeliveryCancelled':
      return { ...idle, status: 'CANCELLED', reason: cancelReason(event.data.reason) };
    case 'DeliveryDeadLettered':
      return { ...idle, status: 'DEAD_LETTERED', reason: event.data.reason };
    default:
      return delivery;
  }
}

function sent(delivery: DeliveryState, data: DeliverySent, occurredAt: string): DeliveryState {
  const accepted = [...delivery.accepted, data.attempt];
  if (delivery.status === 'SENT') return { ...delivery, accepted };
  const { provider, providerMessageId } = data;
  const first = { accepted, provider, providerMessageId, sentAt: occurredAt };
  return { ...delivery, ...first, status: 'SENT', reason: null, claimUntil: null, retryAt: null };
}

function retrying({ failures }: DeliveryState, { reason, retryAt }: DeliveryRetryScheduled): Partial<DeliveryState> {
  return { status: 'RETRYING', reason, retryAt, failures: isOurs(reason) ? failures : failures + 1 };
}

function cancelReason(reason: CancelReason): DeliveryReason | null {
  return reason === 'REQUESTED' ? null : reason;
}

const ENDED: ReadonlySet<DeliveryStatus> = new Set([
  'SENT',
  'DELIVERED',
  'REJECTED',
  'BOUNCED',
  'SUPPRESSED',
  'EXPIRED',
  'CANCELLED',
  'DEAD_LETTERED',
]);

/** Whether nothing more is going to be sent for it by itself. A held delivery has not ended: a person decides. */
export function hasEnded(delivery: DeliveryState): boolean {
  return ENDED.has(delivery.status);
}

/** SCHEDULED until its time has come, REQUESTED until it is routed, then ROUTED until every delivery has ended. */
export function statusOf(state: NotificationState): NotificationStatus {
  const { deliveries } = state;
  const all = (status: DeliveryStatus): boolean => deliveries.every((each) => each.status === status);
  if (!state.routed) return unroutedStatus(state);
  if (!deliveries.every(hasEnded)) return 'ROUTED';
  if (state.cancelled && all('CANCELLED') && !deliveries.some(({ inDoubt }) => inDoubt)) return 'CANCELLED';
  if (deliveries.length > 0 && all('EXPIRED')) return 'EXPIRED';
  return 'COMPLETED';
}

function unroutedStatus({ cancelled, request }: NotificationState): NotificationStatus {
  if (cancelled) return 'CANCELLED';
  return request.deliverAt === null ? 'REQUESTED' : 'SCHEDULED';
}
