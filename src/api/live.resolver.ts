import type { SubscribeResolverData } from 'type-graphql';
import { Arg, Resolver, Root, Subscription } from 'type-graphql';
import { DomainError } from '../errors.ts';
import type { DeliveryUpdate } from '../projections/live-updates.ts';
import { SlowSubscriber } from '../projections/live-updates.ts';
import type { ApiContext } from './context.ts';
import { DeliveryFilterType, DeliveryUpdateType, toDeliveryFilter, toDeliveryUpdate } from './live.types.ts';
import type { Plain } from './plain.ts';
import { CursorScalar } from './scalars.ts';
import { through } from './streams.ts';

@Resolver()
export class LiveResolver {
  @Subscription(() => DeliveryUpdateType, {
    description:
      'Everything after the cursor, then live: no gap, no repeat. Without a cursor: from now. ' +
      'Who reads too slowly is dropped: the connection is closed with 4410, `slow; resume after <cursor>`.',
    subscribe: followDeliveries,
  })
  deliveryUpdated(
    @Root() update: DeliveryUpdate,
    @Arg('filter', () => DeliveryFilterType, { nullable: true }) _filter: DeliveryFilterType | null | undefined,
    @Arg('after', () => CursorScalar, { nullable: true }) _after: string | null | undefined,
  ): Plain<DeliveryUpdateType> {
    return toDeliveryUpdate(update);
  }
}

interface DeliveryArguments {
  readonly filter?: DeliveryFilterType | null;
  readonly after?: string | null;
}

async function followDeliveries({
  args,
  context,
}: SubscribeResolverData<unknown, DeliveryArguments, ApiContext>): Promise<AsyncIterable<DeliveryUpdate>> {
  const { deliveryUpdates, caller, dropSlow } = context;
  const request = { tenant: caller.tenant, filter: toDeliveryFilter(args.filter), after: args.after ?? null };
  const updates = await blamingCursor(() =>
    deliveryUpdates.follow({ ...request, ...(dropSlow && { onSlow: dropSlow }) }),
  );
  return through(updates, (next) => droppingSlow(() => blamingCursor(next), dropSlow));
}

/** Refusals of the cursor name its argument. */
async function blamingCursor<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof DomainError && isAboutCursor(error) ? error.within('after') : error;
  }
}

function isAboutCursor({ code, field }: DomainError): boolean {
  return field === null && (code === 'INVALID_CURSOR' || code === 'CURSOR_TOO_OLD');
}

async function droppingSlow<T>(run: () => Promise<T>, dropSlow: ApiContext['dropSlow']): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof SlowSubscriber) dropSlow?.(error.cursor);
    throw error;
  }
}
