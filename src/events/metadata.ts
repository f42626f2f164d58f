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

/**
 * Made whole at once: to spread an object and then to add fields to the copy takes half a microsecond a field, and every event
 * of a notification has some.
 */
export function metadata(origin: Origin, now: number, about: About = {}): Metadata {
  const { tenant, correlationId, causationId, traceparent } = origin;
  const occurredAt = new Date(now).toISOString();
  const rest = traceparent === undefined ? about : { traceparent, ...about };
  return { schemaVersion: SCHEMA_VERSION, tenant, occurredAt, correlationId, causationId, ...rest };
}

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
