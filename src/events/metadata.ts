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

/** What an event is about. */
export type About = Pick<Metadata, 'notification' | 'delivery'>;

export function metadata(origin: Origin, now: number, { notification, delivery }: About = {}): Metadata {
  const { tenant, correlationId, causationId, traceparent } = origin;
  const occurredAt = new Date(now).toISOString();
  // Each field by itself, as every event has this: a copy with one field more takes ten times as long.
  const made: Writable<Metadata> = { schemaVersion: SCHEMA_VERSION, tenant, occurredAt, correlationId, causationId };
  if (traceparent !== undefined) made.traceparent = traceparent;
  if (notification !== undefined) made.notification = notification;
  if (delivery !== undefined) made.delivery = delivery;
  return made;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** For an event that follows from what is already in the notification's stream. */
export function notificationMetadata(state: NotificationState, now: number): Metadata {
  return metadata(originOf(state), now, { notification: contextOf(state) });
}

export function deliveryMetadata(
  state: NotificationState,
  delivery: Pick<DeliveryState, 'id' | 'channel'>,
  provider: string | null,
  now: number,
): Metadata {
  const context: DeliveryContext = { id: delivery.id, channel: delivery.channel, provider };
  return metadata(originOf(state), now, { notification: contextOf(state), delivery: context });
}

function originOf({ tenant, correlationId, lastEventId, traceparent }: NotificationState): Origin {
  return { tenant, correlationId, causationId: lastEventId, traceparent };
}

function contextOf({ id, request, requestedAt }: NotificationState): NotificationContext {
  const { userId, category, lane, campaign, template } = request;
  return { id, userId, requestedAt, category, lane, campaign, template };
}
