import { FUNNEL_STAGES, type FunnelStage } from './funnel-input.ts';
import { decode, type HeliographEvent } from '../events/codec.ts';
import type { NotificationContext } from '../events/event.ts';
import { updatesOf, type Update } from '../events/updates.ts';
import type { Cell } from '../ports/analytics/analytics.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';

/** Whoever changes what an event's rows are counts this up: all rows are made again then. */
export const PROJECTION_VERSION = 1;

export const TABLE = 'delivery_events';

/** Order of the cells. */
export const COLUMNS = [
  'tenant',
  'requested_at',
  'notification_id',
  'delivery_id',
  'user_id',
  'channel',
  'platform',
  'provider',
  'campaign',
  'category',
  'template',
  'template_version',
  'type',
  'reason',
  'steps',
  'occurred_at',
  'recorded_at',
  'conversion',
  'value',
  'currency',
  'version',
  'position',
  'update_index',
] as const;

export type Row = readonly Cell[];

/** Stands for the notification as a whole. */
export const NO_DELIVERY = '00000000-0000-0000-0000-000000000000';

/** Stages that an event of the type proves, apart from those of a routing. */
const PROVEN: ReadonlyMap<string, number> = new Map([
  ['NotificationRequested', bits('REQUESTED')],
  ['DeliverySent', bits('SENT')],
  ['DeliveryDelivered', bits('SENT', 'DELIVERED')],
  ['DeliveryBounced', bits('SENT')],
  ['DeliveryOpened', bits('OPENED')],
  ['DeliveryClicked', bits('CLICKED')],
  ['ConversionRecorded', bits('CONVERTED')],
]);

const SUPPRESSED = bits('REQUESTED');
const QUEUED = bits('REQUESTED', 'QUEUED');

/**
 * The rows of one event, one an update, from nothing but the event: the same event gives the same rows for ever. None
 * where it is not about a notification; an event of a type from a newer version has rows that prove no stage.
 * @throws RangeError or TypeError when ClickHouse could not hold what the event says.
 */
export function rowsOf(event: RecordedEvent): readonly Row[] {
  const { notification } = event.metadata;
  if (notification === undefined) return [];
  const today = decode(event);
  return updatesOf(today.data).map((update) => rowOf(event, notification, today, update));
}

function rowOf(
  event: RecordedEvent,
  { id, userId, requestedAt, campaign, category, template }: NotificationContext,
  { type, data }: HeliographEvent,
  { index, deliveryId, detail }: Update,
): Row {
  const { tenant, occurredAt } = event.metadata;
  const { channel, platform, provider, steps } = reachedBy(event, detail);
  const { name, value, currency } = type === 'ConversionRecorded' ? detail : NOT_CONVERTED;
  return [
    text(tenant),
    instant(requestedAt),
    uuid(id),
    uuid(deliveryId ?? NO_DELIVERY),
    text(userId),
    text(channel),
    text(platform),
    text(provider),
    text(campaign),
    text(category),
    text(template?.key),
    uint32(template?.version ?? 0),
    type,
    text(detail['reason']),
    steps,
    instant(type === 'ConversionRecorded' ? data.convertedAt : occurredAt),
    instant(occurredAt),
    text(name),
    typeof value === 'number' ? value : null,
    text(currency),
    event.version,
    event.position,
    index,
  ];
}

interface Conversion {
  readonly name?: unknown;
  readonly value?: unknown;
  readonly currency?: unknown;
}

const NOT_CONVERTED: Conversion = {};

interface Reached {
  readonly channel: unknown;
  readonly platform: unknown;
  readonly provider: unknown;
  readonly steps: number;
}

/** A routing tells of each delivery how it is reached, and only it knows the platform. */
function reachedBy({ type, metadata: { delivery } }: RecordedEvent, detail: Update['detail']): Reached {
  const { channel, platform, outcome } = detail;
  if (type === 'NotificationRouted') {
    return { channel, platform, provider: null, steps: outcome === 'QUEUE' ? QUEUED : SUPPRESSED };
  }
  return { channel: delivery?.channel, platform: null, provider: delivery?.provider, steps: PROVEN.get(type) ?? 0 };
}

function bits(...stages: readonly FunnelStage[]): number {
  return stages.reduce((all, stage) => all | (1 << FUNNEL_STAGES.indexOf(stage)), 0);
}

/** ClickHouse has no nulls here, and reads no JSON with half a character in it. */
function text(value: unknown): string {
  if (typeof value !== 'string') return '';
  return value.isWellFormed() ? value : value.toWellFormed();
}

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

function uuid(value: string): string {
  if (!UUID.test(value)) throw new TypeError('not a UUID');
  return value.toLowerCase();
}

const MAX_UINT32 = 0xffff_ffff;

function uint32(value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_UINT32) return value;
  throw new RangeError(`not an unsigned 32-bit number: ${String(value)}`);
}

const MONTH_MS = 31 * 24 * 3_600_000;

/**
 * Exclusive, in milliseconds: hours are kept in 32 bits of seconds, and so is when a row is to go, 13 months later at
 * most. Beyond that the count begins at 1970 again, and the row would go at once.
 */
export const END_OF_TIME = 2 ** 32 * 1_000 - 14 * MONTH_MS;

/** What happened at once has one time, and every row of a notification repeats that of the request. */
const known = new Map<string, string>();
const MOST_KNOWN = 4_096;

function instant(rfc3339: string): string {
  const before = known.get(rfc3339);
  if (before !== undefined) return before;
  const time = Date.parse(rfc3339);
  if (!(time >= 0 && time < END_OF_TIME)) throw new RangeError(`not a time that ClickHouse can hold: ${rfc3339}`);
  const told = new Date(time).toISOString().slice(0, -1).replace('T', ' ');
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(rfc3339, told);
  return told;
}
