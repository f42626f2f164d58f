import { GraphQLFloat as Float } from 'graphql';
import { Field, ObjectType } from 'type-graphql';
import { LongScalar } from './scalars.ts';

@ObjectType('Queue', { description: 'OPERATE: queues are shared by all tenants.', simpleResolvers: true })
export class QueueType {
  @Field(() => String, { description: 'Notification type and lane, for example email.bulk.' })
  readonly name!: string;
  @Field(() => LongScalar, { description: 'Ready or in hand.' })
  readonly depth!: number;
  @Field(() => LongScalar, { description: 'Waiting for the end of a delay.' })
  readonly retrying!: number;
  @Field(() => LongScalar, { description: 'Set aside for a person.' })
  readonly dead!: number;
  @Field(() => Float, { nullable: true, description: 'Age of the oldest job that is ready; null when there is none.' })
  readonly oldestSeconds!: number | null;
}
