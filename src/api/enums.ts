import { registerEnumType } from 'type-graphql';
import type { CancelOutcome } from '../commands/commands.ts';
import { SCOPES } from '../events/clients.ts';
import { CHANNELS, LANES } from '../events/event.ts';
import { DELIVERY_STATUSES } from '../events/delivery.ts';
import { NOTIFICATION_STATUSES } from '../events/notification.ts';
import { PLATFORMS } from '../events/notifications.ts';
import { FUNNEL_DIMENSIONS, FUNNEL_STAGES, FUNNEL_UNITS } from '../projections/funnel-input.ts';

/** The domain's own words as a GraphQL enum: a new word appears in the schema by itself. */
function enumOf<T extends string>(values: readonly T[]): Readonly<Record<T, T>> {
  return Object.fromEntries(values.map((value) => [value, value])) as Record<T, T>;
}

export const ChannelEnum = enumOf(CHANNELS);
export const PlatformEnum = enumOf(PLATFORMS);
export const LaneEnum = enumOf(LANES);
export const ScopeEnum = enumOf(SCOPES);
export const NotificationStatusEnum = enumOf(NOTIFICATION_STATUSES);
export const DeliveryStatusEnum = enumOf(DELIVERY_STATUSES);
export const FunnelStageEnum = enumOf(FUNNEL_STAGES);
export const FunnelUnitEnum = enumOf(FUNNEL_UNITS);
export const FunnelDimensionEnum = enumOf(FUNNEL_DIMENSIONS);
export const CancelOutcomeEnum = enumOf<CancelOutcome>(['CANCELLED', 'TOO_LATE', 'IN_DOUBT']);

registerEnumType(ChannelEnum, {
  name: 'Channel',
  valuesConfig: {
    PUSH: { description: 'To a device, by its push token.' },
    SMS: { description: 'To the phone number of the user.' },
    EMAIL: { description: 'To the e-mail address of the user.' },
  },
});

registerEnumType(PlatformEnum, { name: 'Platform' });

registerEnumType(LaneEnum, {
  name: 'Lane',
  description: 'A transactional delivery never waits behind a bulk one.',
});

registerEnumType(ScopeEnum, {
  name: 'Scope',
  description: 'What a client may do.',
  valuesConfig: {
    SEND: { description: 'Users, devices, preferences, templates, requests, cancel, conversions.' },
    READ: { description: 'Queries by id, lists, deliveryUpdated.' },
    ANALYTICS: { description: 'Funnels.' },
    OPERATE: { description: 'Queues and the sandbox.' },
    ADMIN: { description: 'Clients.' },
  },
});

registerEnumType(NotificationStatusEnum, {
  name: 'NotificationStatus',
  valuesConfig: {
    REQUESTED: { description: 'Accepted and durable; not routed yet.' },
    SCHEDULED: { description: 'Waits for its deliverAt.' },
    ROUTED: { description: 'Decided for every channel; some delivery has not ended yet.' },
    COMPLETED: { description: 'Every delivery has ended, whichever way.' },
    CANCELLED: { description: 'Cancelled before anything was sent.' },
    EXPIRED: { description: 'Every delivery ran past its deadline.' },
  },
});

registerEnumType(DeliveryStatusEnum, {
  name: 'DeliveryStatus',
  valuesConfig: {
    QUEUED: { description: 'Decided; no attempt yet.' },
    SENDING: { description: 'An attempt is under way, or nobody knows yet how it ended.' },
    RETRYING: { description: 'An attempt failed for now; the next one is due.' },
    SENT: { description: 'Accepted by the provider.' },
    DELIVERED: { description: 'A receipt said that it arrived.' },
    REJECTED: { description: 'Refused by the provider for good.' },
    BOUNCED: { description: 'Accepted, and returned later.' },
    SUPPRESSED: { description: 'Decided not to send; the reason says why.' },
    DEFERRED: { description: 'Decided to send later; the reason says why.' },
    EXPIRED: { description: 'Not sent before its deadline.' },
    CANCELLED: { description: 'Not sent, because it was cancelled.' },
    DEAD_LETTERED: { description: 'Every attempt failed; set aside for a person.' },
    HELD: { description: 'In doubt and not tried again; a person decides.' },
  },
});

registerEnumType(CancelOutcomeEnum, {
  name: 'CancelOutcome',
  valuesConfig: {
    CANCELLED: { description: 'Nothing was or will be sent.' },
    TOO_LATE: { description: 'It was sent.' },
    IN_DOUBT: { description: 'It may have been sent, and will not be tried again.' },
  },
});

registerEnumType(FunnelStageEnum, {
  name: 'FunnelStage',
  valuesConfig: {
    REQUESTED: { description: 'Somebody asked for the notification.' },
    QUEUED: { description: 'Decided to send.' },
    SENT: { description: 'Accepted by the provider.' },
    DELIVERED: { description: 'A receipt said that it arrived.' },
    OPENED: { description: 'Seen by the recipient.' },
    CLICKED: { description: 'A link in it was followed.' },
    CONVERTED: { description: 'A conversion was put down to it.' },
  },
});

registerEnumType(FunnelUnitEnum, {
  name: 'FunnelUnit',
  description: 'What is counted; notifications and users once, by the furthest that any of their deliveries got.',
});

registerEnumType(FunnelDimensionEnum, {
  name: 'FunnelDimension',
  valuesConfig: {
    CHANNEL: { description: 'Of the delivery; a notification as a whole has none and is left out.' },
    PROVIDER: { description: 'Who was tried, whether or not it accepted. Left out as for CHANNEL.' },
    PLATFORM: { description: 'Of the device; null for e-mail and text messages. Left out as for CHANNEL.' },
    DAY: { description: 'Of the request, in the time zone asked for.' },
    HOUR: { description: 'Of the request, in the time zone asked for.' },
  },
});
