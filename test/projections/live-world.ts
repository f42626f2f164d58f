import fc from 'fast-check';
import { expect } from 'vitest';
import type { Channel, Metadata } from '../../src/events/event.ts';
import { decode } from '../../src/events/codec.ts';
import { evolveNotification, type NotificationState } from '../../src/events/notification.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import { updatesOf } from '../../src/events/updates.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { NOTIFICATION_PREFIX, deliveryId, derivedId, streamOf } from '../../src/ids.ts';
import { AnalyticsError, type Analytics } from '../../src/ports/analytics/analytics.ts';
import type { RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import type { LiveLimits } from '../../src/projections/live-limits.ts';
import { SlowSubscriber, type DeliveryFilter, type DeliveryUpdate } from '../../src/projections/live-updates.ts';
import type { Interest } from '../../src/projections/live-story.ts';
import { startLive, type Live, type LiveOptions } from '../../src/projections/live.ts';
import { eventually } from '../support/eventually.ts';
import { at, requested, T0 } from '../support/given.ts';
import { everything, type World } from '../support/world.ts';

export const ALL: DeliveryFilter = { notificationId: null, userId: null, campaign: null, channels: null };
export const TENANTS = ['default', 'other'] as const;
export const HOUR_MS = 3_600_000;

/** ClickHouse as it is when it is not there. */
export const AWAY: Analytics = {
  migrate: () => gone(),
  insert: () => gone(),
  query: () => gone(),
  reset: () => gone(),
  close: () => Promise.resolve(),
};

function gone(): Promise<never> {
  return Promise.reject(new AnalyticsError('unavailable', 'no ClickHouse here'));
}

/** The read model of the world's log, without ClickHouse unless one is given. */
export async function live(world: World, options: Partial<LiveOptions> = {}): Promise<Live> {
  const { log, context, clock, logger } = world;
  return world.use(
    await startLive({
      log,
      analytics: AWAY,
      ingest: { watermark: () => null },
      cursors: context.cursors,
      now: clock.now,
      logger,
      resumeWindowMs: HOUR_MS,
      ...options,
    }),
  );
}

/** Notification number n. They take turns in belonging to tenants, users and campaigns. */
export function notificationId(n: number): string {
  return derivedId('live', String(n));
}

export function tenantOf(n: number): string {
  return TENANTS[n % 2] ?? 'default';
}

export function userOf(n: number): string {
  return n % 3 === 0 ? 'bob' : 'ada';
}

export function campaignOf(n: number): string | null {
  return n % 4 < 2 ? 'spring' : null;
}

const PLACES: readonly (readonly [Channel, string])[] = [
  ['EMAIL', 'a@example.com'],
  ['SMS', '+4915112345678'],
  ['PUSH', 'token-1'],
  ['PUSH', 'token-2'],
];

/** What happens to a notification next: it is requested, then routed to `deliveries` places, then `kind` decides. */
export interface Step {
  readonly notification: number;
  readonly kind: number;
  /** Number of a delivery; of the routing, how many there are. */
  readonly delivery: number;
}

/** Appends the steps to the world's log, in their order. */
export interface Author {
  readonly write: (...steps: readonly Step[]) => Promise<void>;
}

/** @param base When the story begins; milliseconds since the epoch. */
export function author({ log, context }: Pick<World, 'log' | 'context'>, base = T0): Author {
  const versions = new Map<number, number>();
  const routed = new Map<number, number>();
  let time = base;
  const append = (step: Step): Promise<unknown> => {
    const { notification } = step;
    const version = versions.get(notification) ?? 0;
    if (version === 1) routed.set(notification, 1 + (step.delivery % PLACES.length));
    const event = eventOf(step, version, routed.get(notification) ?? 1);
    const metadata = metadataOf(notification, event, { base, time: (time += 1) });
    versions.set(notification, version + 1);
    const stream = streamOf.notification(notificationId(notification));
    return log.append(stream, [{ id: context.ids.random(), ...event, metadata }], version);
  };
  return {
    // Side by side: the log takes them in this order and flushes the disk once for many.
    write: async (...all) => {
      await Promise.all(all.map(append));
    },
  };
}

function eventOf({ notification, kind, delivery }: Step, version: number, deliveries: number): NotificationEvent {
  if (version === 0) return requested({ userId: userOf(notification), campaign: campaignOf(notification) });
  if (version === 1) return routedTo(notification, deliveries);
  const id = idOf(notification, delivery % deliveries);
  const attempt = 1 + (kind % 2);
  const sent = { deliveryId: id, attempt, provider: 'p', providerMessageId: `m-${String(version)}`, raw: null };
  const conversion = {
    name: 'purchase',
    value: 1,
    currency: 'EUR',
    convertedAt: at(version),
    keyHash: null,
    inputHash: 'h',
  };
  const events: readonly NotificationEvent[] = [
    { type: 'DeliveryAttempted', data: { deliveryId: id, attempt, claimUntil: at(25_000) } },
    { type: 'DeliverySent', data: sent },
    { type: 'DeliveryDelivered', data: sent },
    { type: 'DeliveryBounced', data: { ...sent, reason: 'RECIPIENT_UNREACHABLE' } },
    { type: 'DeliveryOpened', data: { deliveryId: id } },
    { type: 'DeliveryClicked', data: { deliveryId: id } },
    { type: 'NotificationCancelled', data: {} },
    { type: 'ConversionRecorded', data: { ...conversion, deliveryId: id } },
    { type: 'ConversionRecorded', data: { ...conversion, deliveryId: null } },
  ];
  const event = events[kind % events.length];
  if (!event) throw new Error('there is always an event');
  return event;
}

function routedTo(notification: number, deliveries: number): NotificationEvent {
  const decisions = PLACES.slice(0, deliveries).map(([channel, address], index) => ({
    deliveryId: idOf(notification, index),
    channel,
    platform: null,
    address,
    outcome: index === 1 ? ('SUPPRESS' as const) : ('QUEUE' as const),
    reason: index === 1 ? ('CHANNEL_OPTED_OUT' as const) : ('DELIVERABLE' as const),
    rule: 'default' as const,
    inputs: {},
  }));
  return { type: 'NotificationRouted', data: { decisions, policyVersion: 0, expiresAt: null } };
}

function idOf(notification: number, index: number): string {
  const [channel, address] = PLACES[index] ?? ['EMAIL', ''];
  return deliveryId(notificationId(notification), channel, address);
}

function metadataOf(
  notification: number,
  event: NotificationEvent,
  { base, time }: { readonly base: number; readonly time: number },
): Metadata {
  const about = 'deliveryId' in event.data ? event.data.deliveryId : null;
  const index = PLACES.findIndex((_, place) => idOf(notification, place) === about);
  return {
    schemaVersion: 1,
    tenant: tenantOf(notification),
    occurredAt: new Date(time).toISOString(),
    correlationId: 'request-1',
    causationId: 'request-1',
    notification: {
      id: notificationId(notification),
      userId: userOf(notification),
      requestedAt: new Date(base).toISOString(),
      category: 'general',
      lane: 'TRANSACTIONAL',
      campaign: campaignOf(notification),
      template: null,
    },
    ...(about !== null && { delivery: { id: about, channel: PLACES[index]?.[0] ?? 'EMAIL', provider: 'p' } }),
  };
}

/** What a subscriber is to be told of the log, by another way: the whole log, folded as commands fold it. */
export async function expected(world: World, wanted: Interest): Promise<readonly DeliveryUpdate[]> {
  const states = new Map<string, NotificationState | null>();
  const events = (await everything(world)).filter(({ stream }) => stream.startsWith(NOTIFICATION_PREFIX));
  return events.flatMap((event) => {
    const before = states.get(event.stream) ?? null;
    const state = evolveNotification(before, decode(event) as NotificationEvent, event);
    states.set(event.stream, state);
    return toldOf(world, event, state).filter(({ delivery }) => isWanted(wanted, event, delivery.channel));
  });
}

function isWanted({ tenant, filter }: Interest, { metadata, stream }: RecordedEvent, channel: Channel): boolean {
  const { userId, campaign } = metadata.notification ?? {};
  const asked = [
    [tenant, metadata.tenant],
    [filter.notificationId && streamOf.notification(filter.notificationId), stream],
    [filter.userId, userId],
    [filter.campaign, campaign],
  ];
  return asked.every(([want, is]) => want === null || want === is) && (filter.channels?.includes(channel) ?? true);
}

function toldOf(
  { context }: World,
  { position, type, metadata, data }: RecordedEvent,
  state: NotificationState | null,
): readonly DeliveryUpdate[] {
  return updatesOf(data).flatMap(({ index, hasNext, deliveryId: id }) => {
    const delivery = state?.deliveries.find((each) => each.id === id);
    if (!state || !delivery) return [];
    const { occurredAt } = metadata;
    const place = { position, index, at: Date.parse(occurredAt), notificationId: hasNext ? state.id : null };
    return [
      { cursor: context.cursors.of(metadata.tenant, place), notificationId: state.id, delivery, type, occurredAt },
    ];
  });
}

/** Before everything. */
export function atStart({ context }: Pick<World, 'context'>, tenant = 'default'): string {
  return context.cursors.of(tenant, { position: '', index: 0, at: T0, notificationId: null });
}

export const EVERYTHING = { tenant: 'default', filter: ALL } as const;

/** `count` things happen to notification 0 or another, if it is new: it is requested, routed to two places, sent … */
export function story(count: number, notification = 0): readonly Step[] {
  return Array.from({ length: count }, (_, kind) => ({ notification, kind, delivery: 1 }));
}

export function refusal(code: ErrorCode): object {
  return { name: 'DomainError', code };
}

export const UNANSWERED = new Promise<never>(() => undefined);

/** The next `count` updates. */
export async function take(updates: AsyncIterator<DeliveryUpdate>, count: number): Promise<readonly DeliveryUpdate[]> {
  const taken: DeliveryUpdate[] = [];
  while (taken.length < count) {
    const next: IteratorResult<DeliveryUpdate, unknown> = await updates.next();
    if (next.done === true) throw new Error(`the updates ended after ${String(taken.length)} of ${String(count)}`);
    taken.push(next.value);
  }
  return taken;
}

/** There is nothing more to tell now. */
export async function expectNothing(updates: AsyncIterator<DeliveryUpdate>, ended: () => Promise<void>): Promise<void> {
  const next = updates.next();
  await ended();
  await updates.return?.();
  expect(await next).toEqual({ done: true, value: undefined });
}

/** One who is cut off now and then, and goes on after the last update that it was told. */
export interface Subscriber {
  readonly told: readonly DeliveryUpdate[];
  /** Subscribes, reads that many updates, and is cut off. */
  readonly read: (count: number) => Promise<void>;
  /** Cuts it off where it is. */
  readonly cut: () => Promise<void>;
  /** How often it was dropped as too slow. */
  readonly dropped: () => number;
}

export function subscriber(service: Live, interest: Interest, after: string): Subscriber {
  const told: DeliveryUpdate[] = [];
  let cursor = after;
  let dropped = 0;
  let current: AsyncIterator<DeliveryUpdate> | undefined;
  let isCut = false;
  /** Answers whether it read to the goal, or was cut off. */
  const readTo = async (goal: number): Promise<boolean> => {
    const updates = await service.follow({ ...interest, after: cursor });
    current = updates;
    if (isCut) await updates.return?.();
    for await (const update of updates) {
      told.push(update);
      ({ cursor } = update);
      if (told.length >= goal) return true;
    }
    return false;
  };
  const read = async (count: number): Promise<void> => {
    const goal = told.length + count;
    isCut = false;
    while (told.length < goal) {
      try {
        if (!(await readTo(goal))) return;
      } catch (error) {
        if (!(error instanceof SlowSubscriber)) throw error;
        expect(error.cursor).toBe(cursor);
        dropped += 1;
      }
    }
  };
  const cut = async (): Promise<void> => {
    isCut = true;
    await current?.return?.();
  };
  return { told, read, cut, dropped: () => dropped };
}

export const steps = (most: number, notifications = 5): fc.Arbitrary<readonly Step[]> =>
  fc.array(fc.record({ notification: fc.nat(notifications - 1), kind: fc.nat(8), delivery: fc.nat(3) }), {
    maxLength: most,
    size: 'max',
  });

/** Interests that tell something of every kind of filter, in either tenant. */
export const interest: fc.Arbitrary<Interest> = fc.record({
  tenant: fc.constantFrom(...TENANTS),
  filter: fc.oneof(
    fc.constant(ALL),
    fc.record({
      notificationId: fc.option(fc.nat(4).map(notificationId), { freq: 2 }),
      userId: fc.option(fc.constantFrom('ada', 'bob')),
      campaign: fc.option(fc.constantFrom('spring', 'autumn'), { freq: 2 }),
      channels: fc.option(fc.subarray(['EMAIL', 'SMS', 'PUSH'] as const, { minLength: 1 })),
    }),
  ),
});

/** So tight that a handful of updates goes through every place that updates can come from. */
export const tight: fc.Arbitrary<Partial<LiveLimits>> = fc.record({
  ringUpdates: fc.integer({ min: 1, max: 8 }),
  page: fc.integer({ min: 1, max: 4 }),
  scan: fc.integer({ min: 1, max: 4 }),
  held: fc.integer({ min: 1, max: 8 }),
  states: fc.integer({ min: 1, max: 12 }),
  lingerMs: fc.constantFrom(0, HOUR_MS),
});

/** Until the service has seen the whole log, or while it looks at nothing. */
export async function seen(service: Live, { log }: Pick<World, 'log'>): Promise<void> {
  const head = await log.head();
  await eventually(() => {
    expect((service.status().position ?? head) >= head).toBe(true);
  });
}
