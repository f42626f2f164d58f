import { GraphQLFloat as Float, GraphQLID as ID } from 'graphql';
import { Field, InputType, ObjectType } from 'type-graphql';
import type { ConversionTold, RecordConversion } from '../commands/commands.ts';
import { DeliveryType, toDelivery } from './notifications.types.ts';
import type { Plain } from './plain.ts';
import { CursorScalar, DateTimeScalar } from './scalars.ts';

@InputType('RecordConversionInput', {
  description:
    'Without deliveryId it goes to the delivery clicked last, else opened last, else sent last: of what had happened by occurredAt, else of all.',
})
export class RecordConversionInput {
  @Field(() => String, {
    nullable: true,
    description:
      'Of the notification. Same key, same input: nothing new is recorded. Same key, other input: IDEMPOTENCY_CONFLICT.',
  })
  readonly idempotencyKey?: string | null;
  @Field(() => ID)
  readonly notificationId!: string;
  @Field(() => ID, { nullable: true })
  readonly deliveryId?: string | null;
  @Field(() => String)
  readonly name!: string;
  @Field(() => Float, { nullable: true })
  readonly value?: number | null;
  @Field(() => String, { nullable: true })
  readonly currency?: string | null;
  @Field(() => DateTimeScalar, {
    nullable: true,
    description:
      'When it happened. Left out: now. It counts as of the sending of its delivery, or the request, at the earliest: clocks differ.',
  })
  readonly occurredAt?: Date | null;
}

@ObjectType('RecordConversionPayload', { simpleResolvers: true })
export class RecordConversionPayload {
  @Field(() => DeliveryType, { nullable: true, description: 'Null when nothing of the notification was sent.' })
  readonly delivery!: DeliveryType | null;
  @Field(() => CursorScalar, { description: 'Of the update that records it.' })
  readonly cursor!: string;
  @Field(() => Boolean, {
    description:
      'True: the key was used before, and nothing new was recorded. The cursor is the first one; the delivery is as it is now.',
  })
  readonly replayed!: boolean;
}

/** Null counts as left out. `asSent`: the same input before defaults. */
export function toRecordConversion(input: RecordConversionInput, asSent: unknown): RecordConversion {
  return {
    idempotencyKey: input.idempotencyKey ?? null,
    notificationId: input.notificationId,
    deliveryId: input.deliveryId ?? null,
    name: input.name,
    value: input.value ?? null,
    currency: input.currency ?? null,
    occurredAt: input.occurredAt ?? null,
    asSent,
  };
}

export function toConversionPayload({ delivery, cursor, replayed }: ConversionTold): Plain<RecordConversionPayload> {
  return { delivery: delivery && toDelivery(delivery.notificationId, delivery.state), cursor, replayed };
}
