import { GraphQLID as ID, GraphQLInt as Int } from 'graphql';
import { Field, ObjectType } from 'type-graphql';
import type { CancelOutcome } from '../commands/commands.ts';
import type { Channel, Lane } from '../events/event.ts';
import type { DeliveryState, DeliveryStatus } from '../events/delivery.ts';
import type { NotificationStatus } from '../events/notification.ts';
import type { Platform } from '../events/notifications.ts';
import { tokenHint } from '../events/users.ts';
import {
  CancelOutcomeEnum,
  ChannelEnum,
  DeliveryStatusEnum,
  LaneEnum,
  NotificationStatusEnum,
  PlatformEnum,
} from './enums.ts';
import type { Plain } from './plain.ts';
import { CursorScalar, DateTimeScalar, JsonScalar } from './scalars.ts';

@ObjectType('Delivery', { description: 'One notification on one channel to one address.', simpleResolvers: true })
export class DeliveryType {
  @Field(() => ID)
  readonly id!: string;
  @Field(() => ID)
  readonly notificationId!: string;
  @Field(() => ChannelEnum)
  readonly channel!: Channel;
  @Field(() => PlatformEnum, { nullable: true, description: 'Of the device, for PUSH.' })
  readonly platform!: Platform | null;
  @Field(() => String, {
    nullable: true,
    description: 'For PUSH the last six characters of the token. Null once its user has been erased.',
  })
  readonly address!: string | null;
  @Field(() => DeliveryStatusEnum)
  readonly status!: DeliveryStatus;
  @Field(() => String, { nullable: true, description: 'Stable code where suppressed, deferred, rejected, held …' })
  readonly reason!: string | null;
  @Field(() => String, { nullable: true, description: 'Who accepted it.' })
  readonly provider!: string | null;
  @Field(() => String, { nullable: true, description: "The provider's own id of the message." })
  readonly providerMessageId!: string | null;
  @Field(() => Int, { description: 'How often the provider was called, or was about to be.' })
  readonly attempts!: number;
  @Field(() => Boolean, {
    description:
      'An attempt may have reached the provider without our knowing; a further attempt may have made a duplicate.',
  })
  readonly inDoubt!: boolean;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When the provider accepted it.' })
  readonly sentAt!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When a receipt said that it arrived.' })
  readonly deliveredAt!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When it was opened first.' })
  readonly openedAt!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When a link in it was followed first.' })
  readonly clickedAt!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When the first conversion put down to it happened.' })
  readonly convertedAt!: string | null;
}

export function toDelivery(notificationId: string, delivery: DeliveryState): Plain<DeliveryType> {
  const { id, channel, platform, address, status, reason, provider, providerMessageId } = delivery;
  const { attempts, inDoubt, sentAt, deliveredAt, openedAt, clickedAt, convertedAt } = delivery;
  return {
    id,
    notificationId,
    channel,
    platform,
    address: channel === 'PUSH' && address !== null ? tokenHint(address) : address,
    status,
    reason,
    provider,
    providerMessageId,
    attempts,
    inDoubt,
    sentAt,
    deliveredAt,
    openedAt,
    clickedAt,
    convertedAt,
  };
}

@ObjectType('TimelineEntry', { description: 'One thing that happened.', simpleResolvers: true })
export class TimelineEntryType {
  @Field(() => CursorScalar)
  readonly cursor!: string;
  @Field(() => String, { description: 'Type of the event, for example DeliverySent.' })
  readonly type!: string;
  @Field(() => DateTimeScalar)
  readonly occurredAt!: string;
  @Field(() => ID, { nullable: true, description: 'Null where it is about the whole notification.' })
  readonly deliveryId!: string | null;
  @Field(() => JsonScalar, { nullable: true, description: 'What the event says, without content and template data.' })
  readonly detail!: unknown;
}

@ObjectType('Notification', {
  description: 'One request for one recipient, and everything that became of it.',
  simpleResolvers: true,
})
export class NotificationType {
  @Field(() => ID)
  readonly id!: string;
  @Field(() => ID)
  readonly userId!: string;
  @Field(() => NotificationStatusEnum)
  readonly status!: NotificationStatus;
  @Field(() => String)
  readonly category!: string;
  @Field(() => LaneEnum)
  readonly lane!: Lane;
  @Field(() => String, { nullable: true })
  readonly campaign!: string | null;
  @Field(() => DateTimeScalar)
  readonly requestedAt!: string;
  @Field(() => DateTimeScalar, { nullable: true, description: 'Null: at once.' })
  readonly deliverAt!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'Null: never.' })
  readonly expiresAt!: string | null;
  @Field(() => [DeliveryType], { description: 'Empty until it is routed.' })
  readonly deliveries!: readonly DeliveryType[];
  @Field(() => [TimelineEntryType], { description: 'Everything that happened to it, in log order.' })
  readonly timeline!: readonly TimelineEntryType[];
}

@ObjectType('RequestNotificationPayload', { simpleResolvers: true })
export class RequestNotificationPayload {
  @Field(() => NotificationType)
  readonly notification!: NotificationType;
  @Field(() => CursorScalar, { description: 'Of the last update that the answer includes.' })
  readonly cursor!: string;
  @Field(() => Boolean, { description: 'True: the key was used before, this is the first answer again.' })
  readonly replayed!: boolean;
}

@ObjectType('RequestError', { simpleResolvers: true })
export class RequestError {
  @Field(() => String, { description: 'As extensions.code elsewhere.' })
  readonly code!: string;
  @Field(() => String)
  readonly message!: string;
  @Field(() => String, { nullable: true, description: 'As extensions.field elsewhere, for example inputs[3].userId.' })
  readonly field!: string | null;
}

@ObjectType('RequestNotificationResult', { description: 'Either a notification or an error.', simpleResolvers: true })
export class RequestNotificationResult {
  @Field(() => NotificationType, { nullable: true })
  readonly notification!: NotificationType | null;
  @Field(() => CursorScalar, { nullable: true })
  readonly cursor!: string | null;
  @Field(() => Boolean, { nullable: true })
  readonly replayed!: boolean | null;
  @Field(() => RequestError, { nullable: true })
  readonly error!: RequestError | null;
}

@ObjectType('CancelResult', { simpleResolvers: true })
export class CancelResult {
  @Field(() => DeliveryType)
  readonly delivery!: DeliveryType;
  @Field(() => CancelOutcomeEnum)
  readonly outcome!: CancelOutcome;
}

@ObjectType('CancelNotificationPayload', {
  description: 'cancelled: nothing was or will be sent.',
  simpleResolvers: true,
})
export class CancelNotificationPayload {
  @Field(() => Boolean)
  readonly cancelled!: boolean;
  @Field(() => [CancelResult])
  readonly deliveries!: readonly CancelResult[];
  @Field(() => NotificationType)
  readonly notification!: NotificationType;
}
