import type { DeliveryContext, Metadata, NotificationContext } from './event.ts';
import { SCHEMA_VERSION } from './event.ts';
import type { DeliveryState } from './delivery.ts';
import type { NotificationState } from './notification.ts';

export interface Origin {
  readonly tenant: string;
  readonly correlationId: string;
  readonly causationId: string;
  readonly traceparent?: string | undefined;
}

export function metadata(origin: Origin, now: number): Metadata {
  const { tenant, correlationId, causationId, traceparent } = origin;
  const occurredAt = new Date(now).toISOString();
  const traced = traceparent === undefined ? {} : { traceparent };
  return { schemaVersion: SCHEMA_VERSION, tenant, occurredAt, correlationId, causationId, ...traced };
}

/** For an event that follows from what is already in the notification's stream. */
export function notificationMetadata(state: NotificationState, now: number): Metadata {
  const { tenant, correlationId, lastEventId, traceparent } = state;
  const origin = { tenant, correlationId, causationId: lastEventId, traceparent };
  return { ...metadata(origin, now), notification: contextOf(state) };
}

export function deliveryMetadata(
  state: NotificationState,
  delivery: Pick<DeliveryState, 'id' | 'channel'>,
  provider: string | null,
  now: number,
): Metadata {
  const context: DeliveryContext = { id: delivery.id, channel: delivery.channel, provider };
  return { ...notificationMetadata(state, now), delivery: context };
}

function contextOf({ id, request, requestedAt }: NotificationState): NotificationContext {
  const { userId, category, lane, campaign, template } = request;
  return { id, userId, requestedAt, category, lane, campaign, template };
}
