import { GraphQLFloat as Float } from 'graphql';
import { Field, ObjectType } from 'type-graphql';
import type { FunnelDimension, FunnelStage } from '../projections/funnel-input.ts';
import { FunnelDimensionEnum, FunnelStageEnum } from './enums.ts';
import { CursorScalar, LongScalar } from './scalars.ts';

@ObjectType('DimensionValue', { simpleResolvers: true })
export class DimensionValueType {
  @Field(() => FunnelDimensionEnum)
  readonly dimension!: FunnelDimension;
  @Field(() => String, { nullable: true, description: 'Null where the notification or its delivery has none.' })
  readonly value!: string | null;
}

@ObjectType('FunnelStageCount', { description: 'Rates are null where there is no denominator.', simpleResolvers: true })
export class FunnelStageCountType {
  @Field(() => FunnelStageEnum)
  readonly stage!: FunnelStage;
  @Field(() => LongScalar, { description: 'Units that reached this stage and all before it.' })
  readonly count!: number;
  @Field(() => Float, { nullable: true, description: 'Share of those at the stage before; null for the first one.' })
  readonly fromPrevious!: number | null;
  @Field(() => Float, { nullable: true, description: 'Share of those at the first stage.' })
  readonly fromFirst!: number | null;
  @Field(() => Float, { nullable: true, description: 'Null for the first stage, and where nobody reached it.' })
  readonly medianSecondsFromPrevious!: number | null;
}

@ObjectType('FunnelGroup', { simpleResolvers: true })
export class FunnelGroupType {
  @Field(() => String, { nullable: true, description: 'Names the group among the others; null without groupBy.' })
  readonly key!: string | null;
  @Field(() => [DimensionValueType], { description: 'In the order of groupBy.' })
  readonly dimensions!: readonly DimensionValueType[];
  @Field(() => [FunnelStageCountType], { description: 'In the order of the input.' })
  readonly stages!: readonly FunnelStageCountType[];
}

@ObjectType('Funnel', {
  description:
    'cursor: what the figures include. One group a value, no total row; without groupBy one group, key null.',
  simpleResolvers: true,
})
export class FunnelType {
  @Field(() => [FunnelGroupType])
  readonly groups!: readonly FunnelGroupType[];
  @Field(() => CursorScalar)
  readonly cursor!: string;
}
