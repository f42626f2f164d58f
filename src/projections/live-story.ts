import { decode } from '../events/codec.ts';
import { decidedDelivery, evolveDelivery, type DeliveryState } from '../events/delivery.ts';
import { CHANNELS, type Channel } from '../events/event.ts';
import type { NotificationEvent } from '../events/notifications.ts';
import { updatesOf, type Update } from '../events/updates.ts';
import { NOTIFICATION_PREFIX, type Cursors, type Place } from '../ids.ts';
import type { EventFilter, Position, RecordedEvent } from '../ports/event-log/event-log.ts';
import type { DeliveryFilter, DeliveryUpdate } from './live-updates.ts';

/** What is told of. */
export const NOTIFICATIONS: EventFilter = { streamPrefixes: [NOTIFICATION_PREFIX] };

/** How far somebody has read: everything up to and including this. */
export interface Mark {
  readonly position: Position;
  /** Of the last update read of the event there; Infinity: the event is over. */
  readonly index: number;
  /** Whose event it is, where it is not over. */
  readonly notificationId: string | null;
}

/** What an update is about, without the delivery and without any content. */
export interface LiveUpdate {
  readonly position: Position;
  readonly index: number;
  readonly hasNext: boolean;
  readonly tenant: string;
  readonly notificationId: string;
  readonly userId: string | null;
  readonly campaign: string | null;
  readonly deliveryId: string;
  readonly channel: Channel | null;
  readonly type: string;
  readonly occurredAt: string;
}

/** An update with its delivery as of it. */
export interface Told {
  readonly update: LiveUpdate;
  readonly delivery: DeliveryState;
}

/** The deliveries of one notification by id, as of some version of its stream. */
export type Deliveries = ReadonlyMap<string, DeliveryState>;

/** Whom a subscriber wants to hear of. */
export interface Interest {
  readonly tenant: string;
  readonly filter: DeliveryFilter;
}

export function eventOver(position: Position): Mark {
  return { position, index: Infinity, notificationId: null };
}

export function markOf({ position, index, hasNext, notificationId }: LiveUpdate): Mark {
  return hasNext ? { position, index, notificationId } : eventOver(position);
}

export function isAfter(a: Pick<Mark, 'position' | 'index'>, b: Mark): boolean {
  return a.position === b.position ? a.index > b.index : a.position > b.position;
}

export function concerns({ tenant, filter }: Interest, update: LiveUpdate): boolean {
  const { notificationId, userId, campaign, channels } = filter;
  return (
    update.tenant === tenant &&
    (notificationId === null || update.notificationId === notificationId) &&
    (userId === null || update.userId === userId) &&
    (campaign === null || update.campaign === campaign) &&
    (channels === null || (update.channel !== null && channels.includes(update.channel)))
  );
}

/** What an event of a notification's stream tells of deliveries; not what it tells of the notification as a whole. */
export function liveUpdatesOf(event: RecordedEvent): readonly LiveUpdate[] {
  const told: LiveUpdate[] = [];
  for (const update of updatesOf(event.data)) {
    if (update.deliveryId !== null) told.push(liveUpdateOf(event, update.deliveryId, update));
  }
  return told;
}

function liveUpdateOf(
  { stream, position, type, metadata }: RecordedEvent,
  deliveryId: string,
  { index, hasNext, detail }: Update,
): LiveUpdate {
  const { tenant, occurredAt, notification, delivery } = metadata;
  return {
    position,
    index,
    hasNext,
    tenant,
    notificationId: stream.slice(NOTIFICATION_PREFIX.length),
    userId: notification?.userId ?? null,
    campaign: notification?.campaign ?? null,
    deliveryId,
    channel: delivery?.channel ?? channelIn(detail),
    type,
    occurredAt,
  };
}

function channelIn(detail: Readonly<Record<string, unknown>>): Channel | null {
  return CHANNELS.find((channel) => channel === detail['channel']) ?? null;
}

/** The deliveries after the event; null while the routing is not known. */
export function evolveDeliveries(before: Deliveries | null, stored: RecordedEvent): Deliveries | null {
  const event = decode(stored) as NotificationEvent;
  switch (event.type) {
    case 'NotificationRequested':
      return new Map();
    case 'NotificationRouted':
      return new Map(event.data.decisions.map((decision) => [decision.deliveryId, decidedDelivery(decision)]));
    case 'NotificationCancelled':
      return before;
    default: {
      const delivery = before?.get(event.data.deliveryId ?? '');
      if (before === null || delivery === undefined) return before;
      return new Map(before).set(delivery.id, evolveDelivery(delivery, event, stored.metadata));
    }
  }
}

/** A notification's stream, read whole. */
export interface Story {
  /** Every update that is about a delivery, in order. */
  readonly told: readonly Told[];
  /** Where its events stand. */
  readonly positions: ReadonlySet<Position>;
  /** As of the last event. */
  readonly version: number;
  readonly deliveries: Deliveries | null;
}

/** @param passed Is called with an event that nobody could be told, which counts as nothing then. */
export function storyOf(events: readonly RecordedEvent[], passed: Passed): Story {
  const told: Told[] = [];
  let deliveries: Deliveries | null = null;
  for (const event of events) {
    const read = unlessPassed(event, passed, () => readOn(deliveries, event));
    if (!read) continue;
    ({ deliveries } = read);
    told.push(...read.told);
  }
  const positions = new Set(events.map(({ position }) => position));
  return { told, positions, version: events.at(-1)?.version ?? 0, deliveries };
}

function readOn(before: Deliveries | null, event: RecordedEvent): Pick<Story, 'deliveries' | 'told'> {
  const deliveries = evolveDeliveries(before, event);
  const told = liveUpdatesOf(event).flatMap((update) => {
    const delivery = deliveries?.get(update.deliveryId);
    return delivery ? [{ update, delivery }] : [];
  });
  return { deliveries, told };
}

export type Passed = (event: RecordedEvent, error: unknown) => void;

/** Null where it throws: then the event is passed. */
export function unlessPassed<T>(event: RecordedEvent, passed: Passed, read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    passed(event, error);
    return null;
  }
}

export function placeOf({ position, index, hasNext, occurredAt, notificationId }: LiveUpdate): Place {
  return { position, index, at: Date.parse(occurredAt), notificationId: hasNext ? notificationId : null };
}

export function updateOf(cursors: Cursors, { update, delivery }: Told): DeliveryUpdate {
  const { tenant, notificationId, type, occurredAt } = update;
  return { cursor: cursors.of(tenant, placeOf(update)), notificationId, delivery, type, occurredAt };
}

/** A stretch of the past: what comes after one mark, up to and including the other. */
export interface Stretch extends Interest {
  readonly after: Mark;
  readonly to: Mark;
}

/** Where an update is to be found. */
export type Reference = Pick<LiveUpdate, 'notificationId' | 'position' | 'index'>;

export function isWithin({ after, to }: Stretch, update: Pick<Reference, 'position' | 'index'>): boolean {
  return isAfter(update, after) && !isAfter(update, to);
}

/** In the middle of the event, or at its end: whoever goes on from there looks what is left of it. */
export function markAt({ position, index, notificationId }: Reference): Mark {
  return { position, index, notificationId };
}
