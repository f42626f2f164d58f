import { Ctx, Query, Resolver } from 'type-graphql';
import type { ApiContext } from './context.ts';
import type { Plain } from './plain.ts';
import { QueueType } from './queues.types.ts';

@Resolver()
export class QueuesResolver {
  @Query(() => [QueueType])
  queues(@Ctx() { queues }: ApiContext): Promise<readonly Plain<QueueType>[]> {
    return queues();
  }
}
