import { GraphQLInt as Int } from 'graphql';
import { Field, InputType } from 'type-graphql';
import type { Channel } from '../events/event.ts';
import type { FunnelDimension, FunnelInput, FunnelStage, FunnelUnit } from '../projections/funnel-input.ts';
import { ChannelEnum, FunnelDimensionEnum, FunnelStageEnum, FunnelUnitEnum } from './enums.ts';
import { DateTimeScalar } from './scalars.ts';

const DEFAULT_WINDOW_SECONDS = 604_800;
const DEFAULT_UNIT: FunnelUnit = 'DELIVERY';
const DEFAULT_TIME_ZONE = 'UTC';

@InputType('FunnelInput')
export class FunnelInputType {
  @Field(() => [FunnelStageEnum], { description: 'In order, at least two, none twice.' })
  readonly stages!: readonly FunnelStage[];
  @Field(() => DateTimeScalar, { description: 'Cohort: notifications requested in [from, to).' })
  readonly from!: Date;
  @Field(() => DateTimeScalar)
  readonly to!: Date;
  @Field(() => Int, {
    nullable: true,
    defaultValue: DEFAULT_WINDOW_SECONDS,
    description: 'The whole funnel must complete within this.',
  })
  readonly windowSeconds?: number | null;
  @Field(() => [ChannelEnum], { nullable: true })
  readonly channels?: readonly Channel[] | null;
  @Field(() => String, { nullable: true })
  readonly campaign?: string | null;
  @Field(() => String, { nullable: true })
  readonly category?: string | null;
  @Field(() => FunnelUnitEnum, { nullable: true, defaultValue: DEFAULT_UNIT })
  readonly unit?: FunnelUnit | null;
  @Field(() => [FunnelDimensionEnum], { nullable: true })
  readonly groupBy?: readonly FunnelDimension[] | null;
  @Field(() => String, { nullable: true, defaultValue: DEFAULT_TIME_ZONE, description: 'For DAY and HOUR.' })
  readonly timeZone?: string | null;
}

/** Null counts as left out. */
export function toFunnelInput(input: FunnelInputType): FunnelInput {
  return {
    stages: input.stages,
    from: input.from,
    to: input.to,
    windowSeconds: input.windowSeconds ?? DEFAULT_WINDOW_SECONDS,
    channels: input.channels ?? null,
    campaign: input.campaign ?? null,
    category: input.category ?? null,
    unit: input.unit ?? DEFAULT_UNIT,
    groupBy: input.groupBy ?? [],
    timeZone: input.timeZone ?? DEFAULT_TIME_ZONE,
  };
}
