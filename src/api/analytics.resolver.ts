import type { SubscribeResolverData } from 'type-graphql';
import { Arg, Ctx, Query, Resolver, Root, Subscription } from 'type-graphql';
import type { FunnelFigures } from '../projections/funnel-figures.ts';
import { FunnelInputType, toFunnelInput } from './analytics.inputs.ts';
import { FunnelType } from './analytics.types.ts';
import type { ApiContext } from './context.ts';
import { within } from './context.ts';
import type { Plain } from './plain.ts';
import { through } from './streams.ts';

@Resolver()
export class AnalyticsResolver {
  @Query(() => FunnelType, {
    description: 'How many of a cohort reached each stage, how many of them got lost between two, and how fast.',
  })
  funnel(
    @Arg('input', () => FunnelInputType) input: FunnelInputType,
    @Ctx() { funnels, caller }: ApiContext,
  ): Promise<Plain<FunnelType>> {
    return within('input', () => funnels.read(caller.tenant, toFunnelInput(input)));
  }

  @Subscription(() => FunnelType, {
    description: 'The figures now, then again whenever they changed, at most once a second.',
    subscribe: followFunnel,
  })
  funnelUpdated(
    @Root() figures: FunnelFigures,
    @Arg('input', () => FunnelInputType) _input: FunnelInputType,
  ): Plain<FunnelType> {
    return figures;
  }
}

type Asked = SubscribeResolverData<unknown, { readonly input: FunnelInputType }, ApiContext>;

function followFunnel({ args, context }: Asked): Promise<AsyncIterable<FunnelFigures>> {
  const { funnelUpdates, caller } = context;
  return within('input', () => {
    const figures = funnelUpdates.follow(caller.tenant, toFunnelInput(args.input));
    return Promise.resolve(through(figures, (next) => within('input', next)));
  });
}
