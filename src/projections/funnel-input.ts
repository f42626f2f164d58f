import { DomainError } from '../errors.ts';
import type { Channel } from '../events/event.ts';

/** In the order in which they usually happen. Bit n of `steps` in the tables is the n-th of them. */
export const FUNNEL_STAGES = ['REQUESTED', 'QUEUED', 'SENT', 'DELIVERED', 'OPENED', 'CLICKED', 'CONVERTED'] as const;
export type FunnelStage = (typeof FUNNEL_STAGES)[number];

export const FUNNEL_UNITS = ['DELIVERY', 'NOTIFICATION', 'USER'] as const;
export type FunnelUnit = (typeof FUNNEL_UNITS)[number];

export const FUNNEL_DIMENSIONS = [
  'CHANNEL',
  'PROVIDER',
  'TEMPLATE',
  'CAMPAIGN',
  'CATEGORY',
  'PLATFORM',
  'DAY',
  'HOUR',
] as const;
export type FunnelDimension = (typeof FUNNEL_DIMENSIONS)[number];

/** What an analyst asks, defaults filled in. */
export interface FunnelInput {
  /** At least two, none twice; in any order, and counted in this one. */
  readonly stages: readonly FunnelStage[];
  /** The cohort: notifications requested in [from, to). */
  readonly from: Date;
  readonly to: Date;
  /** From the first stage to the last, inclusive. */
  readonly windowSeconds: number;
  /** Null: all. */
  readonly channels: readonly Channel[] | null;
  readonly campaign: string | null;
  readonly category: string | null;
  readonly unit: FunnelUnit;
  readonly groupBy: readonly FunnelDimension[];
  /** Of the IANA database; for DAY and HOUR. */
  readonly timeZone: string;
}

/** What may be asked. Deliveries are kept for 13 months, and a cohort may end in the future. */
export const FUNNEL_LIMITS = {
  windowDays: 366,
  cohortDays: 732,
  ageDays: 390,
  dimensions: 4,
  characters: 255,
} as const;

const DAY_SECONDS = 86_400;

/** Exclusive, in milliseconds since the epoch: the end of the times that the tables hold. */
const END_OF_TIME = 2 ** 32 * 1_000;

/**
 * The same funnel in its one spelling: channels sorted, the time zone by its canonical name, and UTC where nothing
 * depends on it. Two inputs with the same answer for the same reasons become equal.
 * @throws DomainError INVALID_FUNNEL, its field relative to the input.
 */
export function checkFunnel(input: FunnelInput): FunnelInput {
  checkStages(input.stages);
  checkCohort(input);
  checkWindow(input.windowSeconds);
  checkFilters(input);
  checkDimensions(input.groupBy);
  const timeZone = canonicalTimeZone(input.timeZone);
  const { channels, groupBy } = input;
  return {
    stages: [...input.stages],
    from: new Date(input.from),
    to: new Date(input.to),
    windowSeconds: input.windowSeconds,
    channels: channels === null ? null : channels.toSorted(),
    campaign: input.campaign,
    category: input.category,
    unit: input.unit,
    groupBy: [...groupBy],
    timeZone: groupBy.includes('DAY') || groupBy.includes('HOUR') ? timeZone : 'UTC',
  };
}

/** Equal for equal funnels of one tenant, as `checkFunnel` gives them, and for no others. */
export function funnelKey(tenant: string, input: FunnelInput): string {
  const { stages, from, to, windowSeconds, channels, campaign, category, unit, groupBy, timeZone } = input;
  const cohort = [from.getTime(), to.getTime(), channels, campaign, category];
  return JSON.stringify([tenant, stages, windowSeconds, ...cohort, unit, groupBy, timeZone]);
}

function refuse(condition: boolean, field: keyof FunnelInput, message: string): void {
  if (condition) throw new DomainError('INVALID_FUNNEL', message, field);
}

function hasTwice(values: readonly string[]): boolean {
  return new Set(values).size < values.length;
}

function checkStages(stages: readonly FunnelStage[]): void {
  refuse(stages.length < 2, 'stages', 'a funnel has at least two stages');
  refuse(hasTwice(stages), 'stages', 'a stage is listed twice');
}

function checkCohort({ from, to }: FunnelInput): void {
  refuse(!isStorable(from.getTime()), 'from', 'from is no time between 1970 and 2106');
  refuse(!isStorable(to.getTime()), 'to', 'to is no time between 1970 and 2106');
  refuse(from >= to, 'from', 'from is not before to');
  const days = (to.getTime() - from.getTime()) / (DAY_SECONDS * 1_000);
  const { cohortDays } = FUNNEL_LIMITS;
  refuse(days > cohortDays, 'to', `the cohort is longer than ${String(cohortDays)} days`);
}

function isStorable(time: number): boolean {
  return time >= 0 && time < END_OF_TIME;
}

function checkWindow(seconds: number): void {
  const { windowDays } = FUNNEL_LIMITS;
  refuse(!Number.isInteger(seconds), 'windowSeconds', 'the window is a whole number of seconds');
  refuse(seconds < 1, 'windowSeconds', 'the window is shorter than a second');
  const isTooLong = seconds > windowDays * DAY_SECONDS;
  refuse(isTooLong, 'windowSeconds', `the window is longer than ${String(windowDays)} days`);
}

function checkFilters({ channels, campaign, category }: FunnelInput): void {
  refuse(channels?.length === 0, 'channels', 'channels is empty; leave it out for every channel');
  refuse(channels !== null && hasTwice(channels), 'channels', 'a channel is listed twice');
  checkText(campaign, 'campaign');
  checkText(category, 'category');
}

function checkText(text: string | null, field: 'campaign' | 'category'): void {
  if (text === null) return;
  refuse(text === '', field, `${field} is empty; leave it out for every one`);
  const { characters } = FUNNEL_LIMITS;
  refuse(text.length > characters, field, `${field} is over ${String(characters)} characters`);
  // What could not be recorded cannot be asked for either.
  refuse(/[\p{Cc}\p{Surrogate}]/u.test(text), field, `${field} holds a control character`);
}

function checkDimensions(groupBy: readonly FunnelDimension[]): void {
  const { dimensions } = FUNNEL_LIMITS;
  refuse(groupBy.length > dimensions, 'groupBy', `a funnel falls apart by at most ${String(dimensions)} dimensions`);
  refuse(hasTwice(groupBy), 'groupBy', 'a dimension is listed twice');
}

/**
 * Node takes names in any case and newer ones take bare offsets; ClickHouse takes names of the IANA database in their own
 * spelling, and some files that are no zones. What both mean the same by is a name in Node's canonical spelling.
 */
function canonicalTimeZone(name: string): string {
  const canonical = /^[A-Za-z]/.test(name) ? resolveTimeZone(name) : null;
  if (canonical === null) throw new DomainError('INVALID_FUNNEL', 'there is no such time zone', 'timeZone');
  return canonical;
}

function resolveTimeZone(name: string): string | null {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return null;
  }
}
