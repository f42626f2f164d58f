import type { FunnelDimension, FunnelInput, FunnelStage } from './funnel-input.ts';

export interface FunnelFigures {
  /**
   * One a combination of values that occurs, ordered by the first dimension, then by the second, and so on: null first,
   * then by bytes, hours by when they began. Without dimensions exactly one, also where nothing was requested.
   */
  readonly groups: readonly FunnelGroup[];
  /** What the figures include. */
  readonly cursor: string;
}

export interface FunnelGroup {
  /**
   * Null without dimensions. With one its value, the empty text for null; with several their values, percent-encoded
   * and joined by slashes. No two groups have the same one.
   */
  readonly key: string | null;
  readonly dimensions: readonly FunnelDimensionValue[];
  readonly stages: readonly FunnelStageCount[];
}

export interface FunnelDimensionValue {
  readonly dimension: FunnelDimension;
  /**
   * Null where there is none: no campaign, template, platform, no provider yet, no channel for a notification as a whole.
   * A day is `YYYY-MM-DD`; an hour is its beginning on the clock of the place and that clock's offset,
   * `YYYY-MM-DDThh:00:00+05:30`, so that the hour that a clock shows twice is two.
   */
  readonly value: string | null;
}

export interface FunnelStageCount {
  readonly stage: FunnelStage;
  /** How many units reached it, and every one before it in time. */
  readonly count: number;
  /** Of those who reached the stage before. Null for the first stage, and where nobody did. */
  readonly fromPrevious: number | null;
  /** Of those who reached the first stage, so 1 for that itself. Null where nobody did. */
  readonly fromFirst: number | null;
  /**
   * From the stage before to this one, over the units that reached this one: for notifications and users that of their
   * delivery with the shortest. Interpolated between the middle two. Null for the first stage, and where nobody reached it.
   */
  readonly medianSecondsFromPrevious: number | null;
}

/** Funnels of one tenant, from ClickHouse. */
export interface Funnels {
  /** @throws DomainError INVALID_FUNNEL (its field relative to the input), TOO_MANY_GROUPS, FUNNEL_TOO_EXPENSIVE, ANALYTICS_UNAVAILABLE */
  readonly read: (tenant: string, input: FunnelInput) => Promise<FunnelFigures>;
}

export interface FunnelUpdates {
  /**
   * The figures now, then again whenever they changed, at most once a second; a reader that is slow gets the newest and
   * not all. `return()` settles a waiting `next()` at once.
   * @throws DomainError as `Funnels.read`, from the first `next()`; TOO_MANY_SUBSCRIPTIONS.
   */
  readonly follow: (tenant: string, input: FunnelInput) => AsyncIterableIterator<FunnelFigures>;
}
