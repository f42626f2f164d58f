/** What ClickHouse has to hold, made from the log once more, slowly and in other words; and what it does hold. */
import type { Analytics, ResultRow } from '../../src/ports/analytics/analytics.ts';
import type { EventLog, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { everything } from '../support/world.ts';

export interface Tables {
  readonly deliveryEvents: readonly ResultRow[];
  readonly deliveries: readonly ResultRow[];
  readonly activityHourly: readonly ResultRow[];
}

const NEVER = '18446744073709551615';
const NONE = '00000000-0000-0000-0000-000000000000';

/** Without FINAL and without DISTINCT: what is there twice is seen twice. */
const DELIVERY_EVENTS = `SELECT tenant, toString(requested_at) AS requested, toString(notification_id) AS notification,
  toString(delivery_id) AS delivery, user_id, channel, platform, provider, campaign, category, template, template_version,
  type, reason, steps, toString(occurred_at) AS occurred, toString(recorded_at) AS recorded, conversion, value, currency, version, position, update_index
  FROM delivery_events ORDER BY position, update_index`;
const DELIVERIES = `SELECT tenant, toString(requested_at) AS requested, toString(notification_id) AS notification,
  toString(delivery_id) AS delivery, user_id, channel, platform, provider, campaign, category, template, template_version,
  steps, toString(queued_ms) AS queued, toString(sent_ms) AS sent, toString(delivered_ms) AS delivered,
  toString(opened_ms) AS opened, toString(clicked_ms) AS clicked, toString(converted_ms) AS converted
  FROM deliveries FINAL ORDER BY notification, delivery`;
const ACTIVITY_HOURLY = `SELECT tenant, toString(hour) AS at, channel, provider, type, sum(updates) AS total
  FROM activity_hourly GROUP BY tenant, at, channel, provider, type ORDER BY tenant, at, channel, provider, type`;

/** Everything that is in ClickHouse, in order. */
export async function storedTables(analytics: Analytics): Promise<Tables> {
  return {
    deliveryEvents: await analytics.query(DELIVERY_EVENTS),
    deliveries: await analytics.query(DELIVERIES),
    activityHourly: await analytics.query(ACTIVITY_HOURLY),
  };
}

/** What the log says has to be in ClickHouse, in the same order. */
export async function toldTables(log: EventLog): Promise<Tables> {
  const deliveryEvents = (await everything({ log })).flatMap(toldRows);
  return { deliveryEvents, deliveries: toldDeliveries(deliveryEvents), activityHourly: toldActivity(deliveryEvents) };
}

type Told = Readonly<Record<string, string | number | null>>;
type Loose = Readonly<Record<string, unknown>>;

export function toldRows(event: RecordedEvent): readonly Told[] {
  const { metadata, type, position, version } = event;
  const context = metadata.notification;
  if (context === undefined) return [];
  const data = event.data as Loose;
  const common = {
    tenant: metadata.tenant,
    requested: clock(context.requestedAt),
    notification: context.id,
    user_id: context.userId.replace('\ud800', '\ufffd'),
    campaign: context.campaign ?? '',
    category: context.category,
    template: context.template === null ? '' : context.template.key,
    template_version: context.template === null ? 0 : context.template.version,
    type,
    occurred: clock(metadata.occurredAt),
    recorded: clock(metadata.occurredAt),
    ...{ conversion: '', value: null, currency: '' },
    version,
    position,
  };
  const decisions = (data['decisions'] ?? []) as readonly Loose[];
  if (decisions.length > 0)
    return decisions.map((each, index) => ({ ...common, ...toldDecision(each), update_index: index }));
  const conversion = type === 'ConversionRecorded' ? toldConversion(data) : {};
  return [{ ...common, ...toldDelivery(event), ...conversion, update_index: 0 }];
}

function toldDecision({ deliveryId, channel, platform, reason, outcome }: Loose): Told {
  const steps = outcome === 'QUEUE' ? 0b11 : 0b1;
  const said: Loose = { delivery: deliveryId, channel, platform: platform ?? '', provider: '', reason, steps };
  return said as Told;
}

function toldDelivery({ data, metadata: { delivery }, type }: RecordedEvent): Told {
  const { deliveryId, reason } = data as Loose;
  return {
    delivery: typeof deliveryId === 'string' ? deliveryId : NONE,
    channel: delivery === undefined ? '' : delivery.channel,
    platform: '',
    provider: delivery?.provider ?? '',
    reason: typeof reason === 'string' ? reason : '',
    steps: STEPS[type] ?? 0,
  };
}

function toldConversion({ name, value, currency, convertedAt }: Loose): Told {
  const said: Loose = { conversion: name, value, currency: currency ?? '', occurred: clock(convertedAt as string) };
  return said as Told;
}

const STEPS: Readonly<Record<string, number>> = {
  NotificationRequested: 0b1,
  NotificationRouted: 0b1,
  DeliverySent: 0b100,
  DeliveryDelivered: 0b1100,
  DeliveryBounced: 0b100,
  DeliveryOpened: 0b1_0000,
  DeliveryClicked: 0b10_0000,
  ConversionRecorded: 0b100_0000,
};

function toldDeliveries(rows: readonly Told[]): readonly ResultRow[] {
  const groups = grouped(rows, ['notification', 'delivery']);
  return groups.map((own) => ({
    ...greatest(own, ['tenant', 'requested', 'notification', 'delivery', 'user_id', 'channel', 'platform', 'provider']),
    ...greatest(own, ['campaign', 'category', 'template', 'template_version']),
    steps: own.reduce((all, { steps }) => all | Number(steps), 0),
    queued: firstTime(own, 0b10),
    sent: firstTime(own, 0b100),
    delivered: firstTime(own, 0b1000),
    opened: firstTime(own, 0b1_0000),
    clicked: firstTime(own, 0b10_0000),
    converted: firstTime(own, 0b100_0000),
  }));
}

function toldActivity(rows: readonly Told[]): readonly ResultRow[] {
  const hours = rows.map((row) => ({ ...row, at: `${String(row['occurred']).slice(0, 13)}:00:00` }));
  const groups = grouped(hours, ['tenant', 'at', 'channel', 'provider', 'type']);
  return groups.map((own) => ({
    ...greatest(own, ['tenant', 'at', 'channel', 'provider', 'type']),
    total: own.length,
  }));
}

/** In the order of the values. */
function grouped(rows: readonly Told[], by: readonly string[]): readonly (readonly Told[])[] {
  const groups = new Map<string, Told[]>();
  for (const row of rows) {
    const key = by.map((name) => row[name]).join('\0');
    const own = groups.get(key) ?? [];
    own.push(row);
    groups.set(key, own);
  }
  return [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, own]) => own);
}

function greatest(rows: readonly Told[], names: readonly string[]): Told {
  const values = names.map((name) => [name, rows.map((row) => row[name] ?? '').reduce((a, b) => (a < b ? b : a))]);
  return Object.fromEntries(values) as Told;
}

/** Milliseconds after the request, in text as ClickHouse writes 64 bits. */
function firstTime(rows: readonly Told[], step: number): string {
  const times = rows
    .filter(({ steps }) => (Number(steps) & step) !== 0)
    .map(({ occurred, requested }) => {
      const after = Date.parse(`${String(occurred)}Z`) - Date.parse(`${String(requested)}Z`);
      return Math.max(0, after);
    });
  return times.length === 0 ? NEVER : String(Math.min(...times));
}

function clock(rfc3339: string): string {
  return rfc3339.replace('T', ' ').replace('Z', '');
}
