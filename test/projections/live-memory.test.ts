import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decidedDelivery, type DeliveryState } from '../../src/events/delivery.ts';
import type { Decision } from '../../src/events/notifications.ts';
import type { Position } from '../../src/ports/event-log/event-log.ts';
import { openLiveRing, openWaiting, type Entry } from '../../src/projections/live-ring.ts';
import { openLiveStates } from '../../src/projections/live-states.ts';
import { eventOver, isAfter, markOf, storyOf, type LiveUpdate } from '../../src/projections/live-story.ts';
import { withWorld } from '../support/world.ts';
import { ALL, author, notificationId, story } from './live-world.ts';
import { streamOf } from '../../src/ids.ts';

function positionOf(number: number): Position {
  return String(number).padStart(4, '0') as Position;
}

/** An update at that place of the log, one of `of` of its event. */
function updateAt(number: number, index = 0, of = 1): LiveUpdate {
  return {
    position: positionOf(number),
    index,
    hasNext: index + 1 < of,
    tenant: 'default',
    notificationId: `n-${String(number)}`,
    userId: 'ada',
    campaign: null,
    deliveryId: `d-${String(number)}-${String(index)}`,
    channel: 'EMAIL',
    type: 'DeliverySent',
    occurredAt: '2026-03-01T12:00:00.000Z',
  };
}

function entryOf(update: LiveUpdate): Entry {
  return { update, delivery: null, told: null, lookup: null };
}

const DECISION: Decision = {
  deliveryId: 'd-1-0',
  channel: 'EMAIL',
  platform: null,
  address: null,
  outcome: 'SUPPRESS',
  reason: 'NO_ADDRESS',
  rule: 'reachability',
  inputs: {},
};

const ignore = (): void => undefined;
const UNBOUNDED = { updates: 1_000, bytes: 1_000_000, onEvict: ignore };

describe('the ring', () => {
  it('finds exactly what came after a mark, or knows that it does not reach so far', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 30 });
    const limits = { capacity: fc.integer({ min: 1, max: 12 }), most: fc.integer({ min: 1, max: 9 }) };
    fc.assert(
      fc.property(sizes, limits.capacity, limits.most, fc.nat(), (events, capacity, most, seed) => {
        const ring = openLiveRing(eventOver(positionOf(0)), { ...UNBOUNDED, updates: capacity });
        const updates = events.flatMap((of, n) => Array.from({ length: of }, (_, index) => updateAt(n + 1, index, of)));
        for (const update of updates) ring.push(entryOf(update));
        const held = updates.slice(-capacity);
        expect(ring.size().updates).toBe(held.length);
        const wanted = (update: LiveUpdate): boolean => (Number(update.position) + update.index + seed) % 3 === 0;
        for (const mark of [eventOver(positionOf(0)), ...updates.map(markOf)]) {
          const after = updates.filter((update) => isAfter(update, mark));
          expect(ring.covers(mark)).toBe(after.every((update) => held.includes(update)));
          if (!ring.covers(mark)) continue;
          const looked = after.slice(0, most);
          const found = looked.find(wanted) ?? null;
          const answer = ring.find(mark, most, wanted);
          expect(answer.entry?.update ?? null).toBe(found);
          expect(answer.mark).toEqual(found ? markOf(found) : (looked.map(markOf).at(-1) ?? mark));
          if (!found) expect(answer.atEnd).toBe(looked.length === after.length);
        }
      }),
    );
  });

  it('counts what it remembers later, and forgets older updates for it', () => {
    let evictions = 0;
    const onEvict = (): void => void (evictions += 1);
    const ring = openLiveRing(eventOver(positionOf(0)), { updates: 1_000, bytes: 20_000, onEvict });
    const entries = Array.from({ length: 10 }, (_, n) => entryOf(updateAt(n + 1)));
    for (const entry of entries) ring.push(entry);
    const before = ring.size();
    const long: DeliveryState = { ...decidedDelivery(DECISION), address: 'x'.repeat(15_000) };
    for (const entry of entries.slice(-1)) ring.remember(entry, long);
    expect(before.updates).toBe(10);
    expect(evictions).toBe(1);
    expect(ring.size().updates).toBeLessThan(5);
    expect(ring.size().bytes).toBeLessThanOrEqual(20_000);
    for (const entry of entries.slice(0, 1)) ring.remember(entry, long);
    expect(ring.size().bytes).toBeLessThanOrEqual(20_000);
    expect(ring.size().updates).toBeGreaterThan(0);
    expect(ring.covers(markOf(updateAt(10)))).toBe(true);
  });
});

describe('the states', () => {
  it('of a stream that was read ahead of the tail are told neither too early nor forgotten', async () => {
    await withWorld(async (world) => {
      await author(world).write(...story(8));
      const events = await world.log.read(streamOf.notification(notificationId(0)));
      const states = openLiveStates(100);
      const read = storyOf(events.slice(0, 6), ignore);
      states.learn(notificationId(0), read);
      for (const event of events.slice(4, 6)) expect(states.fold(event)).toBeNull();
      const after = events.slice(6).map((event) => states.fold(event));
      expect(after).toEqual([storyOf(events.slice(0, 7), ignore).deliveries, storyOf(events, ignore).deliveries]);
      states.learn(notificationId(0), read);
      for (const event of events.slice(7)) expect(states.fold({ ...event, version: 9 })).not.toBeNull();
    });
  });
});

describe('an update', () => {
  it('is shown to those only whom it may concern', () => {
    const waiting = openWaiting();
    const shown: string[] = [];
    const interests = {
      all: { tenant: 'default', filter: ALL },
      'another tenant': { tenant: 'other', filter: ALL },
      'its notification': { tenant: 'default', filter: { ...ALL, notificationId: 'n-1', userId: 'ada' } },
      'another notification': { tenant: 'default', filter: { ...ALL, notificationId: 'n-2' } },
      'its user': { tenant: 'default', filter: { ...ALL, userId: 'ada', campaign: 'spring' } },
      'another user': { tenant: 'default', filter: { ...ALL, userId: 'bob' } },
      'its campaign': { tenant: 'default', filter: { ...ALL, campaign: 'spring' } },
      'another campaign': { tenant: 'default', filter: { ...ALL, campaign: 'autumn' } },
    };
    const leave = Object.entries(interests).map(([name, interest]) =>
      waiting.add(interest, () => {
        shown.push(name);
        return name.startsWith('its');
      }),
    );
    waiting.push(entryOf({ ...updateAt(1), campaign: 'spring' }));
    expect(shown.sort()).toEqual(['all', 'its campaign', 'its notification', 'its user']);
    expect(waiting.size()).toBe(5);
    for (const each of leave) each();
    expect(waiting.size()).toBe(0);
  });
});
