import type { DeliveryState, DeliveryStatus } from './delivery.ts';
import { decidedDelivery, evolveDelivery, hasEnded } from './delivery.ts';
import type { Metadata } from './event.ts';
import type { DeliveryEvent, NotificationEvent, NotificationRequested } from './notifications.ts';

export const NOTIFICATION_STATUSES = ['REQUESTED', 'SCHEDULED', 'ROUTED', 'COMPLETED', 'CANCELLED', 'EXPIRED'] as const;
export type NotificationStatus = (typeof NOTIFICATION_STATUSES)[number];

/** A notification as its stream tells it. */
export interface NotificationState {
  readonly id: string;
  readonly tenant: string;
  readonly request: NotificationRequested;
  readonly requestedAt: string;
  readonly correlationId: string;
  readonly traceparent?: string;
  /** The event that everything so far led to; the cause of the next one. */
  readonly lastEventId: string;
  readonly routed: boolean;
  readonly cancelled: boolean;
  /** In the order of the routing. */
  readonly deliveries: readonly DeliveryState[];
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
      return { ...next, routed: true, deliveries: event.data.decisions.map(decidedDelivery) };
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
    ...(metadata.traceparent !== undefined && { traceparent: metadata.traceparent }),
    lastEventId: id,
    routed: false,
    cancelled: false,
    deliveries: [],
  };
}

function evolveIfMeant(delivery: DeliveryState, event: DeliveryEvent, metadata: Metadata): DeliveryState {
  return event.data.deliveryId === delivery.id ? evolveDelivery(delivery, event, metadata) : delivery;
}

/** SCHEDULED until its time has come, REQUESTED until it is routed, then ROUTED until every delivery has ended. */
export function statusOf(state: NotificationState): NotificationStatus {
  const { deliveries } = state;
  const all = (status: DeliveryStatus): boolean => deliveries.every((each) => each.status === status);
  if (!state.routed) return unroutedStatus(state);
  if (!deliveries.every(hasEnded)) return 'ROUTED';
  // Both say that nothing was sent.
  if (deliveries.some(({ inDoubt }) => inDoubt)) return 'COMPLETED';
  if (state.cancelled && all('CANCELLED')) return 'CANCELLED';
  return deliveries.length > 0 && all('EXPIRED') ? 'EXPIRED' : 'COMPLETED';
}

function unroutedStatus({ cancelled, request }: NotificationState): NotificationStatus {
  if (cancelled) return 'CANCELLED';
  return request.deliverAt === null ? 'REQUESTED' : 'SCHEDULED';
}
