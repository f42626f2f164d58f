import { GraphQLID as ID } from 'graphql';
import { Field, InputType, ObjectType } from 'type-graphql';
import type { Channel } from '../events/event.ts';
import type { DeliveryFilter, DeliveryUpdate } from '../projections/live-updates.ts';
import { ChannelEnum } from './enums.ts';
import { DeliveryType, toDelivery } from './notifications.types.ts';
import type { Plain } from './plain.ts';
import { CursorScalar, DateTimeScalar } from './scalars.ts';

@InputType('DeliveryFilter', { description: 'All that is given must match.' })
export class DeliveryFilterType {
  @Field(() => ID, { nullable: true })
  readonly notificationId?: string | null;
  @Field(() => ID, { nullable: true })
  readonly userId?: string | null;
  @Field(() => String, { nullable: true })
  readonly campaign?: string | null;
  @Field(() => [ChannelEnum], { nullable: true })
  readonly channels?: readonly Channel[] | null;
}

@ObjectType('DeliveryUpdate', { description: 'delivery is the state as of this update.', simpleResolvers: true })
export class DeliveryUpdateType {
  @Field(() => CursorScalar, { description: 'Resume after this one.' })
  readonly cursor!: string;
  @Field(() => ID)
  readonly notificationId!: string;
  @Field(() => DeliveryType)
  readonly delivery!: DeliveryType;
  @Field(() => String, { description: 'Type of the event, for example DeliverySent.' })
  readonly type!: string;
  @Field(() => DateTimeScalar)
  readonly occurredAt!: string;
}

/** Null counts as left out. */
export function toDeliveryFilter(filter: DeliveryFilterType | null | undefined): DeliveryFilter {
  return {
    notificationId: filter?.notificationId ?? null,
    userId: filter?.userId ?? null,
    campaign: filter?.campaign ?? null,
    channels: filter?.channels ?? null,
  };
}

export function toDeliveryUpdate(update: DeliveryUpdate): Plain<DeliveryUpdateType> {
  const { cursor, notificationId, delivery, type, occurredAt } = update;
  return { cursor, notificationId, delivery: toDelivery(notificationId, delivery), type, occurredAt };
}
