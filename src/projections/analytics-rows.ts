import { FUNNEL_STAGES, type FunnelStage } from './funnel-input.ts';
import { decode } from '../events/codec.ts';
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
const PROVEN: ReadonlyMap<string, readonly FunnelStage[]> = new Map([
  ['NotificationRequested', ['REQUESTED']],
  ['DeliverySent', ['SENT']],
  ['DeliveryDelivered', ['SENT', 'DELIVERED']],
  ['DeliveryBounced', ['SENT']],
  ['DeliveryOpened', ['OPENED']],
  ['DeliveryClicked', ['CLICKED']],
  ['ConversionRecorded', ['CONVERTED']],
] satisfies readonly (readonly [string, readonly FunnelStage[]])[]);

/**
 * The rows of one event, one an update, from nothing but the event: the same event gives the same rows for ever. None
 * where it is not about a notification; an event of a type from a newer version has rows that prove no stage.
 * @throws RangeError or TypeError when ClickHouse could not hold what the event says.
 */
export function rowsOf(event: RecordedEvent): readonly Row[] {
  const { tenant, notification } = event.metadata;
  if (notification === undefined) return [];
  const { id, userId, requestedAt, campaign, category, template } = notification;
  const { type, data } = decode(event);
  const before = [text(tenant), instant(requestedAt), uuid(id)];
  const [key, templateVersion] = [text(template?.key), uint32(template?.version ?? 0)];
  return updatesOf(data).map((update) => [
    ...before,
    uuid(update.deliveryId ?? NO_DELIVERY),
    text(userId),
    ...reached(event, update),
    text(campaign),
    text(category),
    key,
    templateVersion,
    type,
    text(update.detail['reason']),
    stepsOf(type, update),
    instant(type === 'ConversionRecorded' ? data.convertedAt : event.metadata.occurredAt),
    instant(event.metadata.occurredAt),
    ...converted(type, update),
    event.version,
    event.position,
    update.index,
  ]);
}

/** Channel, platform and provider. A routing tells them of each delivery, and only it knows the platform. */
function reached({ type, metadata: { delivery } }: RecordedEvent, { detail }: Update): readonly Cell[] {
  if (type === 'NotificationRouted') return [text(detail['channel']), text(detail['platform']), ''];
  return [text(delivery?.channel), '', text(delivery?.provider)];
}

/** Conversion, value and currency. */
function converted(type: string, { detail }: Update): readonly Cell[] {
  if (type !== 'ConversionRecorded') return ['', null, ''];
  const value = detail['value'];
  return [text(detail['name']), typeof value === 'number' ? value : null, text(detail['currency'])];
}

function stepsOf(type: string, { detail }: Update): number {
  if (type !== 'NotificationRouted') return bits(PROVEN.get(type) ?? []);
  return bits(detail['outcome'] === 'QUEUE' ? ['REQUESTED', 'QUEUED'] : ['REQUESTED']);
}

function bits(stages: readonly FunnelStage[]): number {
  return stages.reduce((all, stage) => all | (1 << FUNNEL_STAGES.indexOf(stage)), 0);
}

const HALF_CHARACTER = /\p{Surrogate}/u;

/** ClickHouse has no nulls here, and reads no JSON with half a character in it. */
function text(value: unknown): string {
  if (typeof value !== 'string') return '';
  return HALF_CHARACTER.test(value) ? Buffer.from(value).toString() : value;
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

function instant(rfc3339: string): string {
  const time = Date.parse(rfc3339);
  if (!(time >= 0 && time < END_OF_TIME)) throw new RangeError(`not a time that ClickHouse can hold: ${rfc3339}`);
  return new Date(time).toISOString().slice(0, -1).replace('T', ' ');
}
