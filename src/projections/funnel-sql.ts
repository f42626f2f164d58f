import { FUNNEL_STAGES, type FunnelDimension, type FunnelInput, type FunnelStage } from './funnel-input.ts';
import type { QueryParams } from '../ports/analytics/analytics.ts';

/** A funnel that falls into more groups is refused. */
export const MAX_GROUPS = 10_000;

export interface FunnelQuery {
  readonly sql: string;
  readonly params: QueryParams;
}

/**
 * The SELECT of a checked funnel. Its text is made of our own words only; what the caller wrote goes into parameters.
 * Rows: `d<n>` for dimension n (an hour is `d<n>`, its beginning in seconds since the epoch, and `d<n>_offset`, what the
 * clock was ahead of UTC in seconds), `count<k>` for stage k and `median<k>` in milliseconds, or null. One more than the
 * groups allowed at most.
 */
export function funnelQuery(tenant: string, input: FunnelInput): FunnelQuery {
  const columns = input.groupBy.flatMap((dimension, index) => dimensionColumns(dimension, `d${String(index)}`));
  const names = columns.map(({ name }) => name);
  const selected = [...names, ...countColumns(input)];
  const byValue = names.length === 0 ? '' : `GROUP BY ${names.join(', ')} ORDER BY ${names.join(', ')}`;
  return {
    sql: `SELECT ${selected.join(', ')} FROM (${unitsQuery(input, columns)}) ${byValue} LIMIT ${String(MAX_GROUPS + 1)}`,
    params: paramsOf(tenant, input),
  };
}

interface Column {
  readonly name: string;
  readonly expression: string;
}

const DIMENSION_COLUMNS = {
  CHANNEL: 'channel',
  PROVIDER: 'provider',
  TEMPLATE: 'template',
  CAMPAIGN: 'campaign',
  CATEGORY: 'category',
  PLATFORM: 'platform',
  DAY: 'toDate(requested_at, {timeZone:String})',
} as const satisfies Record<Exclude<FunnelDimension, 'HOUR'>, string>;

/** Not by toStartOfHour(), which begins an hour anew where the clock was changed within it. */
const HOUR_BEGAN = `toUnixTimestamp(requested_at) - ${onClock('Minute')} * 60 - ${onClock('Second')}`;

/** Not by timeZoneOffset(), which is a day off in places that have changed sides of the date line: ClickHouse#115281. */
const OFFSET = `toInt64(toUInt16(${DIMENSION_COLUMNS.DAY})) * 86400 + ${onClock('Hour')} * 3600 - (${HOUR_BEGAN})`;

function onClock(part: 'Hour' | 'Minute' | 'Second'): string {
  return `toInt64(to${part}(requested_at, {timeZone:String}))`;
}

function dimensionColumns(dimension: FunnelDimension, name: string): readonly Column[] {
  if (dimension !== 'HOUR') return [{ name, expression: DIMENSION_COLUMNS[dimension] }];
  return [
    { name, expression: HOUR_BEGAN },
    { name: `${name}_offset`, expression: OFFSET },
  ];
}

/** Over units: `first` tells whether one reached the first stage, `gap<k>` how long it took from the stage before. */
function countColumns({ stages, windowSeconds }: FunnelInput): readonly string[] {
  const { never } = gapType(windowSeconds);
  const later = stages.slice(1).flatMap((_, index) => {
    const k = String(index + 1);
    const reached = `gap${k} != ${never}`;
    return [`countIf(${reached}) AS count${k}`, `quantileExactInclusiveIf(0.5)(gap${k}, ${reached}) AS median${k}`];
  });
  return ['countIf(first) AS count0', ...later];
}

/** One row a unit and combination of values; for deliveries one a row of the table, which needs no grouping. */
function unitsQuery(input: FunnelInput, columns: readonly Column[]): string {
  const key = unitKey(input, columns);
  const whole = ([aggregate, expression]: Figure): string =>
    key.length === 0 ? expression : `${aggregate}(${expression})`;
  const figures = figuresOf(input).map(({ name, figure }) => `${whole(figure)} AS ${name}`);
  const dimensions = columns.map(({ name, expression }) =>
    key.length === 0 || key.includes(name) ? `${expression} AS ${name}` : `any(${expression}) AS ${name}`,
  );
  return [
    `WITH ${TIMES.map(([name, expression]) => `${expression} AS ${name}`).join(', ')}`,
    `SELECT ${[...dimensions, ...figures].join(', ')}`,
    `FROM deliveries FINAL ${earlyConditions(input)} WHERE ${conditions(input).join(' AND ')}`,
    key.length === 0 ? '' : `GROUP BY ${key.join(', ')}`,
  ].join(' ');
}

/**
 * What a unit is told by, and what it is counted under when it counts more than once. The rows of a notification lie
 * together: named by all that the table is ordered by, it is done before the next one is read, in a third of the memory.
 */
function unitKey({ unit, groupBy }: FunnelInput, columns: readonly Column[]): readonly string[] {
  const names = columns.map(({ name }) => name);
  if (unit === 'DELIVERY') return [];
  if (unit === 'USER') return [...names, 'user_id'];
  return splitsNotifications(groupBy) ? [...names, 'notification_id'] : ['tenant', 'requested_at', 'notification_id'];
}

/** By what its deliveries do not have in common, and what it has not as a whole. */
function splitsNotifications(groupBy: readonly FunnelDimension[]): boolean {
  return groupBy.some((dimension) => dimension === 'CHANNEL' || dimension === 'PROVIDER' || dimension === 'PLATFORM');
}

/**
 * When each stage was first known to have happened, in milliseconds since the request. Receipts arrive late, so that a
 * later stage tells of those before it; of stages that a row does not have these times say nothing.
 */
const TIMES: readonly (readonly [string, string])[] = [
  ['at_REQUESTED', 'toUInt64(0)'],
  ['at_CLICKED', 'clicked_ms'],
  ['at_OPENED', 'least(opened_ms, at_CLICKED)'],
  ['at_DELIVERED', 'least(delivered_ms, at_OPENED)'],
  ['at_SENT', 'least(sent_ms, at_DELIVERED)'],
  ['at_QUEUED', 'least(queued_ms, at_SENT)'],
  ['at_CONVERTED', 'converted_ms'],
];

/** What makes one figure of many rows, and the figure of a row. */
type Figure = readonly [aggregate: 'max' | 'min', expression: string];

function figuresOf({ stages, windowSeconds }: FunnelInput): readonly { name: string; figure: Figure }[] {
  const { type, never } = gapType(windowSeconds);
  return stages.map((stage, index) => {
    const reached = reachedUpTo(stages.slice(0, index + 1));
    if (index === 0) return { name: 'first', figure: ['max', reached] };
    const gap = `${type}(${at(stage)} - ${at(stages[index - 1] ?? stage)})`;
    return { name: `gap${String(index)}`, figure: ['min', `if(${reached}, ${gap}, ${never})`] };
  });
}

const MAX_UINT32 = 2 ** 32 - 1;

/** No gap is longer than the window; in 32 bits, where it fits, they take half the memory. */
function gapType(windowSeconds: number): { readonly type: string; readonly never: string } {
  return windowSeconds * 1_000 < MAX_UINT32
    ? { type: 'toUInt32', never: `toUInt32(${String(MAX_UINT32)})` }
    : { type: 'toUInt64', never: 'toUInt64(18446744073709551615)' };
}

function at(stage: FunnelStage): string {
  return `at_${stage}`;
}

function bit(stage: FunnelStage): number {
  return FUNNEL_STAGES.indexOf(stage);
}

/**
 * Whether a row has all of these stages, one not before the other, and the last within the window of the first. Where
 * a stage is missing, times and their sum mean nothing (the sum may have gone over 64 bits), and the mask alone decides.
 */
function reachedUpTo(stages: readonly FunnelStage[]): string {
  const mask = String(stages.reduce((all, stage) => all + 2 ** bit(stage), 0));
  const [first = 'REQUESTED', last = first] = [stages[0], stages.at(-1)];
  const inOrder = stages.slice(1).flatMap((stage, index) => {
    const before = stages[index] ?? stage;
    return isAlwaysInOrder(before, stage) ? [] : [`${at(stage)} >= ${at(before)}`];
  });
  const within = stages.length > 1 ? [`${at(last)} <= ${at(first)} + {windowMs:UInt64}`] : [];
  return [`bitAnd(steps, ${mask}) = ${mask}`, ...inOrder, ...within].join(' AND ');
}

/** By the way in which the times above are made: each but that of a conversion is the least of its own and all later ones. */
function isAlwaysInOrder(before: FunnelStage, stage: FunnelStage): boolean {
  return before === 'REQUESTED' || (stage !== 'CONVERTED' && bit(before) < bit(stage));
}

/**
 * Looked at before FINAL puts the rows of a delivery together, so that the rest of most rows is never read: only what is
 * the same in all of them may stand here, as what is told with every event of a notification is.
 */
function earlyConditions({ campaign, category }: FunnelInput): string {
  const conditions = [
    ...(campaign === null ? [] : ['campaign = {campaign:String}']),
    ...(category === null ? [] : ['category = {category:String}']),
  ];
  return conditions.length === 0 ? '' : `PREWHERE ${conditions.join(' AND ')}`;
}

function conditions({ unit, channels, groupBy }: FunnelInput): readonly string[] {
  const isSplitUp = unit !== 'DELIVERY' && splitsNotifications(groupBy);
  const cohort = ['tenant = {tenant:String}', `requested_at >= {from:${TIME}}`, `requested_at < {to:${TIME}}`];
  return [
    ...cohort,
    // Every delivery has a channel; a notification as a whole has none, and is no delivery.
    ...(unit === 'DELIVERY' ? [`channel != ''`] : []),
    // Notifications as a whole would make a group that holds them all; only a conversion put down to none belongs there.
    ...(isSplitUp ? [`(channel != '' OR bitTest(steps, ${String(bit('CONVERTED'))}))`] : []),
    ...(channels === null ? [] : ['channel IN {channels:Array(String)}']),
  ];
}

const TIME = "DateTime64(3, 'UTC')";

function paramsOf(tenant: string, input: FunnelInput): QueryParams {
  const { from, to, windowSeconds, channels, campaign, category, timeZone } = input;
  return {
    tenant,
    from: timeText(from),
    to: timeText(to),
    windowMs: windowSeconds * 1_000,
    timeZone,
    ...(channels === null ? {} : { channels }),
    ...(campaign === null ? {} : { campaign }),
    ...(category === null ? {} : { category }),
  };
}

/** A `Date` as a parameter would lose its milliseconds. */
function timeText(time: Date): string {
  return time.toISOString().slice(0, -1).replace('T', ' ');
}
