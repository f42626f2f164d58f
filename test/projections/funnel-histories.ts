import fc from 'fast-check';
import type { Channel, NotificationContext } from '../../src/events/event.ts';
import type { DeliveryEvent, NotificationEvent, Platform } from '../../src/events/notifications.ts';
import { derivedId } from '../../src/ids.ts';
import type { Position, RecordedEvent } from '../../src/ports/event-log/event-log.ts';

/** What happens to a delivery after its routing; `atMs` after the request by the clock of whoever tells, which may be wrong. */
export interface Fact {
  readonly type: FactType;
  readonly atMs: number;
}

export const FACT_TYPES = [
  'DeliveryAttempted',
  'DeliverySent',
  'DeliveryDelivered',
  'DeliveryBounced',
  'DeliveryOpened',
  'DeliveryClicked',
  'ConversionRecorded',
] as const;
export type FactType = (typeof FACT_TYPES)[number];

export interface DeliveryStory {
  readonly channel: Channel;
  readonly platform: Platform | null;
  readonly outcome: 'QUEUE' | 'SUPPRESS';
  readonly facts: readonly Fact[];
}

export interface NotificationStory {
  readonly tenant: string;
  readonly userId: string;
  /** After the beginning of the history. */
  readonly requestedMs: number;
  readonly campaign: string | null;
  readonly category: string;
  readonly template: string | null;
  readonly routedMs: number | null;
  readonly deliveries: readonly DeliveryStory[];
  /** Conversions put down to no delivery. */
  readonly conversions: readonly number[];
}

const PROVIDERS: Readonly<Record<Channel, string>> = { PUSH: 'fcm', SMS: 'twilio', EMAIL: 'smtp' };

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;

/** Around the borders of the windows that are asked for. */
const WINDOWS_MS = [SECOND, 2 * SECOND, 60 * SECOND, HOUR, 60 * 24 * HOUR];
export const WINDOWS_SECONDS = WINDOWS_MS.map((ms) => ms / SECOND);

const elapsed: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -2 * SECOND, max: 0 }),
  fc.nat(3),
  fc.tuple(fc.constantFrom(...WINDOWS_MS), fc.integer({ min: -1, max: 1 })).map(([ms, off]) => ms + off),
  fc.nat(3 * SECOND),
  fc.nat(2 * HOUR),
);

const fact: fc.Arbitrary<Fact> = fc.record({ type: fc.constantFrom(...FACT_TYPES), atMs: elapsed });

/** A delivery that went as most do, so that funnels do not run dry at once; the next one only now and then. */
const usual: fc.Arbitrary<readonly Fact[]> = fc
  .tuple(
    fc.integer({ min: 2, max: FACT_TYPES.length }),
    fc.array(elapsed, { minLength: 7, maxLength: 7 }),
    fc.boolean(),
  )
  .map(([length, times, inOrder]) => {
    const sorted = inOrder ? times.toSorted((a, b) => a - b) : times;
    return FACT_TYPES.filter((type) => type !== 'DeliveryBounced')
      .slice(0, length)
      .map((type, index) => ({ type, atMs: sorted[index] ?? 0 }));
  });

const facts = fc
  .tuple(
    fc.oneof({ weight: 4, arbitrary: usual }, { weight: 1, arbitrary: fc.constant([]) }),
    fc.array(fact, { maxLength: 4 }),
  )
  .map((both) => both.flat());

const delivery: fc.Arbitrary<DeliveryStory> = fc.oneof(
  fc.record({
    channel: fc.constant('PUSH' as const),
    platform: fc.constantFrom('IOS' as const, 'ANDROID' as const, 'WEB' as const, null),
    outcome: fc.constantFrom('QUEUE' as const, 'QUEUE' as const, 'SUPPRESS' as const),
    facts,
  }),
  fc.record({
    channel: fc.constantFrom('SMS' as const, 'EMAIL' as const),
    platform: fc.constant(null),
    outcome: fc.constant('QUEUE' as const),
    facts,
  }),
);

/** Hours apart, quarters of an hour apart, and milliseconds apart: the last for the borders of cohorts. */
const requestedMs = fc
  .tuple(fc.integer({ min: -14, max: 14 }), fc.nat(4), fc.integer({ min: -2, max: 2 }))
  .map(([hours, quarters, ms]) => hours * HOUR + (quarters * HOUR) / 4 + ms);

export const TENANTS = ['a', 'b', 'c'] as const;

const story: fc.Arbitrary<NotificationStory> = fc.record({
  tenant: fc.constantFrom(...TENANTS),
  userId: fc.constantFrom('ada', 'bob', 'cy', "o'hara", 'user/4'),
  requestedMs,
  campaign: fc.constantFrom(null, 'spring', 'autumn/25 %', "o'c", 'ä'),
  category: fc.constantFrom('general', 'news'),
  template: fc.constantFrom(null, 'welcome'),
  routedMs: fc.oneof({ weight: 6, arbitrary: fc.nat(SECOND) }, { weight: 1, arbitrary: fc.constant(null) }),
  deliveries: fc.array(delivery, { maxLength: 3, size: 'max' }),
  conversions: fc.array(elapsed, { maxLength: 1 }),
});

export const stories = fc.array(story, { minLength: 15, maxLength: 45, size: 'max' });

/** The events of all stories as a log would hold them. `name` keeps histories apart. */
export function eventsOf(name: string, begin: number, all: readonly NotificationStory[]): readonly RecordedEvent[] {
  const events = all.flatMap((each, index) => eventsOfOne(each, `${name}-${String(index)}`, { name, begin }));
  return events.map((event, index) => ({ ...event, position: String(index).padStart(16, '0') as Position }));
}

export function tenantOf(name: string, tenant: string): string {
  return `${name}-${tenant}`;
}

type Unplaced = Omit<RecordedEvent, 'position'>;

function eventsOfOne(
  story: NotificationStory,
  seed: string,
  history: { readonly name: string; readonly begin: number },
): readonly Unplaced[] {
  const requestedAt = history.begin + story.requestedMs;
  const id = derivedId('notification', seed);
  const notification: NotificationContext = {
    id,
    userId: story.userId,
    requestedAt: iso(requestedAt),
    category: story.category,
    lane: 'BULK',
    campaign: story.campaign,
    template: story.template === null ? null : { key: story.template, version: 1 },
  };
  const events: Unplaced[] = [];
  const add = ({ type, data }: NotificationEvent, atMs: number, about: DeliveryStory | null = null): void => {
    const occurredAt = iso(requestedAt + atMs + (type === TOLD ? TOLD_LATE_MS : 0));
    const context = about === null ? {} : { delivery: contextOf(about, data, type) };
    const chain = { correlationId: 'c', causationId: 'c' };
    const metadata = { schemaVersion: 1, tenant: tenantOf(history.name, story.tenant), occurredAt, ...chain };
    const place = { stream: `notification-${id}`, version: events.length + 1, id: `${seed}-${String(events.length)}` };
    events.push({ ...place, type, data, metadata: { ...metadata, notification, ...context } });
  };
  add(requestedEvent(story), 0);
  if (story.routedMs !== null && story.deliveries.length > 0) add(routedEvent(story, seed), story.routedMs);
  story.deliveries.forEach((each, index) => {
    const deliveryId = deliveryIdOf(seed, index);
    for (const { type, atMs } of each.facts) add(factEvent(type, deliveryId, requestedAt + atMs), atMs, each);
  });
  for (const atMs of story.conversions) add(conversion(null, requestedAt + atMs), atMs);
  return events;
}

/** Conversions are told long after, and say themselves when they happened. */
const TOLD = 'ConversionRecorded';
const TOLD_LATE_MS = 5 * 24 * HOUR;

function contextOf(
  { channel }: DeliveryStory,
  data: unknown,
  type: string,
): { id: string; channel: Channel; provider: string | null } {
  const { deliveryId } = data as { readonly deliveryId: string };
  return { id: deliveryId, channel, provider: type === TOLD ? null : PROVIDERS[channel] };
}

function deliveryIdOf(seed: string, index: number): string {
  return derivedId('delivery', seed, String(index));
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

function requestedEvent({ userId, category, campaign }: NotificationStory): NotificationEvent {
  const content = { title: null, body: 'Hello', html: null, url: null };
  const schedule = { deliverAt: null, expiresAt: null };
  const rest = { template: null, data: null, lane: 'BULK' as const, ...schedule, inputHash: 'hash' };
  return { type: 'NotificationRequested', data: { userId, channels: null, content, category, campaign, ...rest } };
}

function routedEvent({ deliveries }: NotificationStory, seed: string): NotificationEvent {
  const decisions = deliveries.map(({ channel, platform, outcome }, index) => ({
    deliveryId: deliveryIdOf(seed, index),
    channel,
    platform,
    address: 'somewhere',
    outcome,
    reason: outcome === 'QUEUE' ? ('DELIVERABLE' as const) : ('CHANNEL_OPTED_OUT' as const),
    rule: 'default' as const,
    inputs: {},
  }));
  return { type: 'NotificationRouted', data: { decisions, policyVersion: 0, expiresAt: null } };
}

function factEvent(type: FactType, deliveryId: string, time: number): DeliveryEvent {
  const attempt = { deliveryId, attempt: 1 };
  const said = { ...attempt, provider: 'p', providerMessageId: null, raw: null };
  switch (type) {
    case 'DeliveryAttempted':
      return { type, data: { ...attempt, claimUntil: iso(time) } };
    case 'DeliverySent':
    case 'DeliveryDelivered':
      return { type, data: said };
    case 'DeliveryBounced':
      return { type, data: { ...said, reason: 'RECIPIENT_REFUSED' } };
    case 'DeliveryOpened':
    case 'DeliveryClicked':
      return { type, data: { deliveryId } };
    case 'ConversionRecorded':
      return conversion(deliveryId, time);
  }
}

function conversion(deliveryId: string | null, time: number): DeliveryEvent {
  const money = { value: 9.5, currency: 'EUR' };
  return {
    type: 'ConversionRecorded',
    data: { deliveryId, name: 'purchase', ...money, convertedAt: iso(time), keyHash: null, inputHash: 'hash' },
  };
}
