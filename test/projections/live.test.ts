import { setImmediate as everybodyWaits } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CHANNELS } from '../../src/events/event.ts';
import { openCursors } from '../../src/ids.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import type { EventLog, Position } from '../../src/ports/event-log/event-log.ts';
import { SlowSubscriber, type DeliveryRequest, type DeliveryUpdate } from '../../src/projections/live-updates.ts';
import { startLive } from '../../src/projections/live.ts';
import { eventually } from '../support/eventually.ts';
import { clockAt, everything, withWorld, type World } from '../support/world.ts';
import { T0 } from '../support/given.ts';
import {
  ALL,
  AWAY,
  EVERYTHING,
  HOUR_MS,
  TENANTS,
  UNANSWERED,
  atStart,
  author,
  expected,
  expectNothing,
  live,
  notificationId,
  refusal,
  seen,
  story,
  take,
  tenantOf,
} from './live-world.ts';

async function cursorAt({ log, context }: World, position: Position, at = T0): Promise<string> {
  return Promise.resolve(
    context.cursors.of('default', { position: position || (await log.head()), index: 0, at, notificationId: null }),
  );
}

/** The last update there is. */
async function lastUpdate(world: World): Promise<DeliveryUpdate> {
  const last = (await expected(world, EVERYTHING)).at(-1);
  if (!last) throw new Error('there are updates');
  return last;
}

describe('a cursor', () => {
  it('that this service did not hand out, or that lies ahead of its log, is refused', async () => {
    await withWorld(async (world) => {
      await author(world).write(...story(4));
      const service = await live(world);
      const { cursor } = await lastUpdate(world);
      const { position } = (await everything(world)).at(-1) ?? {};
      const foreign = openCursors('another-log', () => Buffer.alloc(9));
      const place = { position: position ?? '', index: 0, at: T0, notificationId: null };
      const hopeless = [
        '',
        'nonsense',
        `${cursor}A`,
        world.context.cursors.of('default', { ...place, position: place.position.padStart(600, '0') }),
        cursor.slice(0, -1),
        (cursor.startsWith('A') ? 'B' : 'A') + cursor.slice(1),
        foreign.of('default', place),
        world.context.cursors.of('another-tenant', place),
        world.context.cursors.of('default', { ...place, position: `${place.position.slice(0, -1)}5` }),
      ];
      for (const after of hopeless) {
        await expect(service.follow({ ...EVERYTHING, after })).rejects.toMatchObject({
          ...refusal('INVALID_CURSOR'),
          field: 'after',
        });
      }
      expect(service.status().subscribers).toBe(0);
    });
  });

  it('is good for the resume window, and for ever where one notification is asked for', async () => {
    const clock = clockAt(T0);
    await withWorld(async (world) => {
      await author(world).write(...story(5));
      const service = await live(world);
      clock.advance(HOUR_MS);
      const all = await expected(world, EVERYTHING);
      expect(await take(await service.follow({ ...EVERYTHING, after: atStart(world) }), all.length)).toEqual(all);
      clock.advance(1);
      await expect(service.follow({ ...EVERYTHING, after: atStart(world) })).rejects.toMatchObject({
        ...refusal('CURSOR_TOO_OLD'),
        field: 'after',
      });
      clock.advance(1_000 * HOUR_MS);
      const filter = { ...ALL, notificationId: notificationId(0) };
      expect(await take(await service.follow({ ...EVERYTHING, filter, after: atStart(world) }), all.length)).toEqual(
        all,
      );
    }, clock);
  });

  it('is good however old it is where memory reaches back to it', async () => {
    const clock = clockAt(T0);
    await withWorld(async (world) => {
      const service = await live(world);
      await author(world).write(...story(5));
      await seen(service, world);
      clock.advance(1_000 * HOUR_MS);
      const all = await expected(world, EVERYTHING);
      const updates = await service.follow({ ...EVERYTHING, after: all[0]?.cursor ?? '' });
      expect(await take(updates, all.length - 1)).toEqual(all.slice(1));
    }, clock);
  });

  it('of the middle of an event leaves the rest of it to be told, from memory or from the stream', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const early = await live(world);
      await writer.write({ notification: 0, kind: 0, delivery: 3 }, { notification: 0, kind: 0, delivery: 3 });
      await seen(early, world);
      const late = await live(world);
      const all = await expected(world, EVERYTHING);
      expect(all).toHaveLength(4);
      for (const service of [early, late]) {
        for (const [index, { cursor }] of all.entries()) {
          const updates = await service.follow({ ...EVERYTHING, after: cursor });
          expect(await take(updates, all.length - index - 1)).toEqual(all.slice(index + 1));
          await expectNothing(updates, everybodyWaits);
        }
      }
    });
  });

  it('that memory has not come to yet is waited for', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const held = holdable(world.log);
      const service = await live(world, { log: held.log });
      held.hold();
      await writer.write(...story(4));
      const after = await cursorAt(world, '' as Position);
      const told = take(await service.follow({ ...EVERYTHING, after }), 1);
      const fromNow = take(await service.follow({ ...EVERYTHING, after: null }), 1);
      await writer.write(...story(1));
      held.release();
      expect(await told).toEqual([await lastUpdate(world)]);
      expect(await fromNow).toEqual(await told);
    });
  });
});

/** A log whose subscriptions pause while it is held. */
function holdable(log: EventLog): { readonly log: EventLog; readonly hold: () => void; readonly release: () => void } {
  let release = (): void => undefined;
  let held = Promise.resolve();
  const subscribe: EventLog['subscribe'] = async function* (...args) {
    for await (const batch of log.subscribe(...args)) {
      await held;
      yield batch;
    }
  };
  return {
    log: { ...log, subscribe },
    hold: () => {
      held = new Promise((resolve) => {
        release = resolve;
      });
    },
    release: () => {
      release();
    },
  };
}

describe('tenants', () => {
  it("do not see each other's deliveries, whatever they ask for", async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(4));
      const service = await live(world);
      const asked = [notificationId(0), notificationId(0).toUpperCase(), 'no id/../at all', '\0'];
      const foreign = [
        ...asked.map((id) => ({ tenant: 'other', filter: { ...ALL, notificationId: id } })),
        ...asked.slice(1).map((id) => ({ tenant: 'default', filter: { ...ALL, notificationId: id } })),
        { tenant: 'other', filter: ALL },
        { tenant: 'other', filter: { ...ALL, userId: 'bob' } },
        { tenant: 'default/', filter: ALL },
      ];
      const following = await Promise.all(
        foreign.map((each) => service.follow({ ...each, after: atStart(world, each.tenant) })),
      );
      const told = following.map((updates) => updates.next());
      await eventually(() => {
        expect(service.status().waiting).toBe(following.length);
      });
      await writer.write(...story(4));
      await seen(service, world);
      await everybodyWaits();
      expect(service.status().waiting).toBe(following.length);
      for (const updates of following) await updates.return?.();
      expect(await Promise.all(told)).toEqual(told.map(() => ({ done: true, value: undefined })));
    });
  });
});

describe('a slow subscriber', () => {
  it('is told so and dropped without asking for anything, and loses nothing by it', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const service = await live(world, { limits: { ringUpdates: 4, sweepMs: 20 } });
      const slow: string[] = [];
      const updates = await service.follow({ ...EVERYTHING, after: null, onSlow: (cursor) => slow.push(cursor) });
      await writer.write(...story(2));
      const [first] = await take(updates, 1);
      await writer.write(...story(20));
      await eventually(() => {
        expect(slow).toEqual([first?.cursor]);
      });
      expect(service.status().subscribers).toBe(0);
      const error: unknown = await updates.next().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(SlowSubscriber);
      expect(error).toMatchObject({ cursor: first?.cursor });
      expect(await updates.next()).toEqual({ done: true, value: undefined });

      const all = await expected(world, EVERYTHING);
      const resumed = await service.follow({ ...EVERYTHING, after: first?.cursor ?? '' });
      expect(await take(resumed, all.length - 1)).toEqual(all.slice(1));
      expect(slow).toHaveLength(1);
    });
  });

  it('may be one that came from the past and had caught up', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(6));
      const service = await live(world, { limits: { ringUpdates: 4, sweepMs: 1 } });
      const slow: string[] = [];
      const request = { ...EVERYTHING, after: atStart(world), onSlow: (cursor: string) => slow.push(cursor) };
      const updates = await service.follow(request);
      const before = await expected(world, EVERYTHING);
      const told = take(updates, before.length + 1);
      await eventually(() => {
        expect(service.status().waiting).toBe(1);
      });
      await writer.write(...story(1));
      const last = (await told).at(-1)?.cursor;
      await writer.write(...story(10));
      await eventually(() => {
        expect(slow).toEqual([last]);
      });
      await expect(updates.next()).rejects.toBeInstanceOf(SlowSubscriber);
    });
  });

  it('is told so when it asks before it is looked for', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const service = await live(world, { limits: { ringUpdates: 4, sweepMs: HOUR_MS } });
      await writer.write(...story(10));
      await seen(service, world);
      const slow: string[] = [];
      const updates = await service.follow({ ...EVERYTHING, after: null, onSlow: (cursor) => slow.push(cursor) });
      await writer.write(...story(10));
      await seen(service, world);
      const before = await cursorAt(world, '0000000000000010' as Position);
      await expect(updates.next()).rejects.toEqual(new SlowSubscriber(before));
      expect(slow).toEqual([before]);
      expect(await updates.next()).toEqual({ done: true, value: undefined });
      expect(service.status().subscribers).toBe(0);
    });
  });

  it('is neither one who waits nor one who still catches up', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(12));
      const service = await live(world, { limits: { ringUpdates: 4, sweepMs: 1, page: 2 } });
      const slow: string[] = [];
      const request = { ...EVERYTHING, onSlow: (cursor: string) => slow.push(cursor) };
      const catching = await service.follow({ ...request, after: atStart(world) });
      const waiting = await service.follow({
        ...request,
        filter: { ...ALL, notificationId: notificationId(2) },
        after: null,
      });
      const news = take(waiting, 1);
      const never = await service.follow({
        ...EVERYTHING,
        after: null,
        onSlow: () => {
          throw new Error('cannot be told');
        },
      });
      const told = [...(await take(catching, 3))];
      await writer.write(...story(20));
      await eventually(() => {
        expect(world.logger.errors).toEqual(['a slow subscriber could not be told']);
      });
      await writer.write(...story(2, 2));
      expect(await news).toHaveLength(1);
      const all = await expected(world, EVERYTHING);
      while (told.length < all.length) told.push(...(await take(catching, 1)));
      expect(told).toEqual(all);
      expect(slow).toEqual([]);
      await expect(never.next()).rejects.toBeInstanceOf(SlowSubscriber);
    });
  });
});

describe('return()', () => {
  const hangs: readonly (readonly [string, (log: EventLog) => Partial<EventLog>, Partial<Analytics>])[] = [
    ['a read of a stream', () => ({ read: () => UNANSWERED }), {}],
    ['a read of the log', (log) => ({ subscribe: firstOnly(log) }), {}],
    ['a question to ClickHouse', () => ({}), { query: () => UNANSWERED }],
  ];
  it.each(hangs)('ends a subscription during %s that hangs, and those behind it', async (_, fault, broken) => {
    await withWorld(async (world) => {
      await author(world).write(...story(8));
      const watermark = { position: await world.log.head(), at: T0 };
      const options = { analytics: { ...AWAY, ...broken }, ingest: { watermark: () => watermark } };
      const service = await live(world, {
        log: { ...world.log, ...fault(world.log) },
        ...options,
        limits: { readers: 1 },
      });
      const following = await Promise.all(
        [1, 2, 3].map(() => service.follow({ ...EVERYTHING, after: atStart(world) })),
      );
      const asked = following.map((updates) => updates.next());
      await everybodyWaits();
      await everybodyWaits();
      for (const updates of [...following].reverse()) await updates.return?.();
      for (const answer of asked) expect(await answer).toEqual({ done: true, value: undefined });
      for (const updates of following) expect(await updates.next()).toEqual({ done: true, value: undefined });
      expect(service.status()).toMatchObject({ subscribers: 0, waiting: 0, held: 0 });
    });
  });

  it('ends one that waits, or whose update is being looked up, with all its questions', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(2));
      const service = await live(world, { log: { ...world.log, read: () => UNANSWERED } });
      const updates = await service.follow({ ...EVERYTHING, after: null });
      const waiting = [updates.next(), updates.next()];
      expect(service.status().waiting).toBe(1);
      await updates.return?.();
      const looking = await service.follow({ ...EVERYTHING, after: null });
      waiting.push(looking.next(), looking.next());
      await writer.write(...story(1));
      await eventually(() => {
        expect(service.status().lookups).toBe(1);
      });
      await looking.return?.();
      for (const answer of waiting) expect(await answer).toEqual({ done: true, value: undefined });
      expect(service.status()).toMatchObject({ subscribers: 0, waiting: 0 });
    });
  });

  it('lets go of what was read of the past and not yet asked for', async () => {
    await withWorld(async (world) => {
      await author(world).write(...story(8));
      const service = await live(world);
      const updates = await service.follow({ ...EVERYTHING, after: atStart(world) });
      await take(updates, 2);
      expect(service.status().held).toBe((await expected(world, EVERYTHING)).length - 2);
      await updates.return?.();
      expect(service.status().held).toBe(0);
    });
  });

  it('of 10,000 subscriptions leaves nothing behind', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(6));
      const service = await live(world);
      const interestsOf = (tenant: string): readonly Pick<DeliveryRequest, 'filter' | 'after'>[] => [
        { filter: ALL, after: null },
        { filter: { ...ALL, notificationId: notificationId(0) }, after: null },
        { filter: { ...ALL, userId: 'ada' }, after: null },
        { filter: ALL, after: atStart(world, tenant) },
      ];
      const requestOf = (n: number): DeliveryRequest => {
        const tenant = tenantOf(n);
        return { tenant, filter: ALL, after: null, ...interestsOf(tenant)[n % 4] };
      };
      for (let round = 0; round < 10; round += 1) {
        const following = await Promise.all(Array.from({ length: 1_000 }, (_, n) => service.follow(requestOf(n))));
        const asked = following.map((updates) => updates.next());
        await everybodyWaits();
        expect(service.status().subscribers).toBe(1_000);
        for (const updates of following) await updates.return?.();
        await Promise.all(asked);
      }
      expect(service.status()).toMatchObject({ subscribers: 0, waiting: 0, held: 0 });
      await writer.write(...story(3));
      await seen(service, world);
      expect(service.status()).toMatchObject({ subscribers: 0, waiting: 0, held: 0, lookups: 0 });
    });
  });
});

/** A log that counts the subscriptions to it. */
function countedSubscriptions(log: EventLog): {
  readonly log: EventLog;
  readonly opened: () => number;
  readonly open: () => number;
} {
  let [opened, open] = [0, 0];
  const subscribe: EventLog['subscribe'] = async function* (...args) {
    opened += 1;
    open += 1;
    try {
      yield* log.subscribe(...args);
    } finally {
      open -= 1;
    }
  };
  return { log: { ...log, subscribe }, opened: () => opened, open: () => open };
}

/** The tail is served as ever; whoever reads the past gets no answer. */
function firstOnly(log: EventLog): EventLog['subscribe'] {
  let first = true;
  return (...args) => {
    if (!first) return { [Symbol.asyncIterator]: () => ({ next: () => UNANSWERED }) };
    first = false;
    return log.subscribe(...args);
  };
}

describe('the service', () => {
  it('takes as many subscribers as it can serve', async () => {
    await withWorld(async (world) => {
      const service = await live(world, { limits: { subscribers: 2, tenantShare: 1 } });
      const results = await Promise.allSettled([1, 2, 3, 4].map(() => service.follow({ ...EVERYTHING, after: null })));
      const refused = results.filter((result) => result.status === 'rejected');
      expect(refused).toMatchObject([1, 2].map(() => ({ reason: refusal('TOO_MANY_SUBSCRIPTIONS') })));
      expect(service.status().subscribers).toBe(2);
      const [first] = results.filter((result) => result.status === 'fulfilled');
      await first?.value.return?.();
      await service.follow({ ...EVERYTHING, after: null });
      expect(service.status().subscribers).toBe(2);
    });
  });

  it('takes one of another tenant when one has its share', async () => {
    await withWorld(async (world) => {
      const service = await live(world, { limits: { subscribers: 8, tenantShare: 1 / 4 } });
      const follow = (tenant: string): ReturnType<typeof service.follow> =>
        service.follow({ tenant, filter: ALL, after: null });
      const [first] = [await follow('big'), await follow('big')];
      await expect(follow('big')).rejects.toMatchObject(refusal('TOO_MANY_SUBSCRIPTIONS'));
      await follow('small');
      await first.return?.();
      await follow('big');
      await expect(service.follow({ tenant: 'small', filter: ALL, after: 'nonsense' })).rejects.toMatchObject(
        refusal('INVALID_CURSOR'),
      );
      await follow('small');
      expect(service.status().subscribers).toBe(4);
    });
  });

  it.each([
    ['userId', { userId: 'u'.repeat(255) }, { userId: 'u'.repeat(256) }],
    ['campaign', { campaign: 'c'.repeat(200) }, { campaign: 'c'.repeat(201) }],
    ['notificationId', { notificationId: 'n'.repeat(36) }, { notificationId: 'n'.repeat(37) }],
    ['channels', { channels: CHANNELS }, { channels: [...CHANNELS, 'SMS' as const] }],
  ])('keeps no %s for anybody that is longer than any can be', async (field, longest, tooLong) => {
    await withWorld(async (world) => {
      const service = await live(world);
      await service.follow({ ...EVERYTHING, filter: { ...ALL, ...longest }, after: null });
      const refused = service.follow({ ...EVERYTHING, filter: { ...ALL, ...tooLong }, after: null });
      await expect(refused).rejects.toMatchObject({ ...refusal('INVALID_INPUT'), field: `filter.${field}` });
      expect(service.status().subscribers).toBe(1);
    });
  });

  it('keeps no more in memory than it may, however much is in a request', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const service = await live(world, { limits: { ringBytes: 20_000, states: 30 } });
      await writer.write(...Array.from({ length: 400 }, (_, n) => ({ notification: n % 40, kind: n, delivery: 1 })));
      await seen(service, world);
      const { updates, bytes, states } = service.status();
      expect(updates).toBeGreaterThan(5);
      expect(bytes).toBeLessThanOrEqual(20_000);
      expect(states).toBeLessThanOrEqual(30);
    });
  });

  it('reads and keeps nothing while nobody is there, and misses nothing by it', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const subscriptions = countedSubscriptions(world.log);
      const { log } = subscriptions;
      const service = await live(world, { log, limits: { lingerMs: 1 } });
      const idle = (): Promise<void> =>
        eventually(() => {
          expect(service.status()).toMatchObject({ position: null, updates: 0, bytes: 0, states: 0 });
          expect(subscriptions.open()).toBe(0);
        });
      await idle();
      const [first, second] = await Promise.all([1, 2].map(() => service.follow({ ...EVERYTHING, after: null })));
      if (!first || !second) throw new Error('there are two');
      await writer.write(...story(4));
      const told = await take(first, 3);
      await first.return?.();
      expect(await take(second, 3)).toEqual(told);
      expect(service.status()).toMatchObject({ subscribers: 1, updates: 4 });
      await second.return?.();
      await idle();

      await writer.write(...story(6, 2));
      await idle();
      const fromNow = await service.follow({ ...EVERYTHING, after: null });
      const resumed = await service.follow({ ...EVERYTHING, after: told.at(-1)?.cursor ?? '' });
      await writer.write(...story(2, 4), ...story(1));
      const all = await expected(world, EVERYTHING);
      expect(await take(resumed, all.length - 3)).toEqual(all.slice(3));
      expect(await take(fromNow, 3)).toEqual(all.slice(-3));
    });
  });

  it('goes on for those who come back soon', async () => {
    await withWorld(async (world) => {
      const { log, opened } = countedSubscriptions(world.log);
      const service = await live(world, { log });
      for (let times = 0; times < 3; times += 1) {
        const updates = await service.follow({ ...EVERYTHING, after: null });
        await updates.return?.();
        await expect(service.follow({ ...EVERYTHING, after: 'nonsense' })).rejects.toMatchObject(
          refusal('INVALID_CURSOR'),
        );
      }
      await author(world).write(...story(4));
      await seen(service, world);
      expect(service.status().updates).toBe((await expected(world, EVERYTHING)).length);
      expect(opened()).toBe(1);
    });
  });

  it('that cannot ask where the log ends tells the first who comes so, and serves the next', async () => {
    await withWorld(async (world) => {
      let isAway = false;
      const head: EventLog['head'] = () => (isAway ? Promise.reject(new Error('away')) : world.log.head());
      const service = await live(world, { log: { ...world.log, head }, limits: { lingerMs: 0 } });
      await eventually(() => {
        expect(service.status().position).toBeNull();
      });
      isAway = true;
      await expect(service.follow({ ...EVERYTHING, after: null })).rejects.toMatchObject(refusal('UNAVAILABLE'));
      isAway = false;
      const updates = await service.follow({ ...EVERYTHING, after: null });
      await author(world).write(...story(3));
      expect(await take(updates, 3)).toEqual(await expected(world, EVERYTHING));
    });
  });

  it('ends all subscriptions when it stops, and takes no more', async () => {
    await withWorld(async (world) => {
      const { log, context, clock, logger } = world;
      await author(world).write(...story(8));
      const { value: service, stop } = await startLive({
        log: { ...log, read: () => UNANSWERED },
        analytics: AWAY,
        ingest: { watermark: () => null },
        cursors: context.cursors,
        now: clock.now,
        logger,
        resumeWindowMs: HOUR_MS,
      });
      const following = await Promise.all(
        TENANTS.flatMap((tenant) =>
          [null, atStart(world, tenant)].map((after) => service.follow({ tenant, filter: ALL, after })),
        ),
      );
      const asked = following.map((updates) => updates.next());
      await everybodyWaits();
      await stop();
      expect(await Promise.all(asked)).toEqual(asked.map(() => ({ done: true, value: undefined })));
      expect(service.status()).toMatchObject({ subscribers: 0, waiting: 0, held: 0 });
      await expect(service.follow({ ...EVERYTHING, after: null })).rejects.toMatchObject(refusal('SHUTTING_DOWN'));
    });
  });

  it('answers questions asked at once one after the other', async () => {
    await withWorld(async (world) => {
      const service = await live(world);
      const updates = await service.follow({ ...EVERYTHING, after: null });
      const asked = Array.from({ length: 5 }, () => updates.next());
      await author(world).write(...story(5));
      const all = await expected(world, EVERYTHING);
      expect(await Promise.all(asked)).toEqual(all.map((value) => ({ done: false, value })));
    });
  });
});
