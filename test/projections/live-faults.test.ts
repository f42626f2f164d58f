import { setImmediate as everybodyWaits } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { streamOf } from '../../src/ids.ts';
import type { EventLog, Position } from '../../src/ports/event-log/event-log.ts';
import { everything, withWorld, type World } from '../support/world.ts';
import {
  atStart,
  author,
  EVERYTHING,
  expected,
  expectNothing,
  live,
  notificationId,
  refusal,
  seen,
  story,
  take,
  UNANSWERED,
} from './live-world.ts';

describe('the log', () => {
  it('is read once for a thousand subscribers who know nothing of a delivery, and then no more', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(3), ...story(3, 2));
      let reads = 0;
      const read: EventLog['read'] = (...args) => {
        reads += 1;
        return world.log.read(...args);
      };
      const service = await live(world, { log: { ...world.log, read } });
      await writer.write(...story(1, 2));
      await seen(service, world);
      expect(reads).toBe(0);
      const following = await Promise.all(
        Array.from({ length: 1_000 }, () => service.follow({ ...EVERYTHING, after: null })),
      );
      const told = Promise.all(following.map((updates) => take(updates, 4)));
      for (let times = 0; times < 4; times += 1) await writer.write({ notification: 0, kind: times, delivery: 1 });
      const all = (await expected(world, EVERYTHING)).slice(-4);
      for (const each of await told) expect(each).toEqual(all);
      expect(reads).toBeLessThanOrEqual(4);
      await writer.write(...story(2));
      for (const updates of following) await take(updates, 2);
      expect(reads).toBe(service.status().lookups);
      expect(reads).toBe(1);
    });
  });

  const away = new Error('no log here');
  const faults: readonly (readonly [string, (log: EventLog) => Partial<EventLog>])[] = [
    ['does not answer', () => ({ read: () => UNANSWERED })],
    ['refuses to be read', () => ({ read: () => Promise.reject(away) })],
    ['ends without a word', (log) => ({ subscribe: second(log, () => []) })],
    [
      'refuses to be followed',
      (log) => ({
        subscribe: second(log, () => {
          throw away;
        }),
      }),
    ],
  ];
  it.each(faults)('that %s is UNAVAILABLE to those who need it', async (_, fault) => {
    await withWorld(async (world) => {
      await author(world).write(...story(6));
      const service = await live(world, { log: { ...world.log, ...fault(world.log) }, limits: { readMs: 50 } });
      const updates = await service.follow({ ...EVERYTHING, after: atStart(world) });
      await expect(updates.next()).rejects.toMatchObject(refusal('UNAVAILABLE'));
      expect(await updates.next()).toEqual({ done: true, value: undefined });
      expect(service.status().subscribers).toBe(0);
    });
  });

  it('that cannot be read for an update in memory is UNAVAILABLE, and asked again for the next subscriber', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(2));
      let broken = true;
      const read: EventLog['read'] = (...args) => (broken ? Promise.reject(away) : world.log.read(...args));
      const service = await live(world, { log: { ...world.log, read } });
      const updates = await service.follow({ ...EVERYTHING, after: null });
      const told = updates.next();
      await writer.write(...story(1));
      await expect(told).rejects.toMatchObject(refusal('UNAVAILABLE'));
      broken = false;
      const all = await expected(world, EVERYTHING);
      const again = await service.follow({ ...EVERYTHING, after: all.at(-2)?.cursor ?? '' });
      expect(await take(again, 1)).toEqual(all.slice(-1));
    });
  });

  it('that does not say where it ends lets nobody in', async () => {
    await withWorld(async (world) => {
      let broken = false;
      const head = (): Promise<Position> => (broken ? Promise.reject(away) : world.log.head());
      const service = await live(world, { log: { ...world.log, head } });
      broken = true;
      await expect(service.follow({ ...EVERYTHING, after: null })).rejects.toMatchObject(refusal('UNAVAILABLE'));
      expect(service.status().subscribers).toBe(0);
    });
  });

  it('from which a notification is deleted makes cursors before it too old, and keeps nobody from the news of others', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(4), ...story(4, 2));
      const gone = streamOf.notification(notificationId(2));
      const read: EventLog['read'] = (stream, after) =>
        stream === gone ? Promise.resolve([]) : world.log.read(stream, after);
      const before = await expected(world, EVERYTHING);
      const service = await live(world, { log: { ...world.log, read } });
      const cursors = [atStart(world), before[3]?.cursor ?? '', before[4]?.cursor ?? ''];
      expect(before[4]).toMatchObject({ type: 'NotificationRouted', notificationId: notificationId(2) });
      for (const after of cursors) {
        const updates = await service.follow({ ...EVERYTHING, after });
        await expect(take(updates, 5)).rejects.toMatchObject(refusal('CURSOR_TOO_OLD'));
      }
      const fromNow = (await service.follow({ ...EVERYTHING, after: null })).next();
      await writer.write(...story(1, 2), ...story(1));
      const last = (await expected(world, EVERYTHING)).at(-1);
      expect(last).toMatchObject({ notificationId: notificationId(0) });
      expect(await fromNow).toEqual({ done: false, value: last });
    });
  });
});

describe('a copy of the log that has not come so far', () => {
  it('is UNAVAILABLE, and what it lacks is told when it has', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(3));
      let lacking = 1;
      const read: EventLog['read'] = async (...args) => {
        const events = await world.log.read(...args);
        return events.slice(0, events.length - lacking);
      };
      const service = await live(world, { log: { ...world.log, read } });
      const fromNow = (await service.follow({ ...EVERYTHING, after: null })).next();
      await writer.write(...story(1));
      await expect(fromNow).rejects.toMatchObject(refusal('UNAVAILABLE'));
      const all = await expected(world, EVERYTHING);
      const past = await service.follow({ ...EVERYTHING, after: atStart(world) });
      await expect(take(past, all.length)).rejects.toMatchObject(refusal('UNAVAILABLE'));
      lacking = 0;
      expect(await take(await service.follow({ ...EVERYTHING, after: atStart(world) }), all.length)).toEqual(all);
    });
  });
});

/** The tail is served as ever; whoever reads the past gets what `then` says. */
function second(log: EventLog, then: () => readonly never[]): EventLog['subscribe'] {
  let first = true;
  return (...args) => {
    if (!first) {
      const [nothing] = [then()];
      return (async function* () {
        await everybodyWaits();
        yield* nothing;
      })();
    }
    first = false;
    return log.subscribe(...args);
  };
}

describe('the tail', () => {
  type Fault = (log: EventLog) => EventLog['subscribe'];
  const faults: readonly (readonly [string, Fault])[] = [
    [
      'ends without a word',
      (log) =>
        async function* (...args) {
          for await (const batch of log.subscribe(...args)) {
            yield batch;
            return;
          }
        },
    ],
    [
      'fails',
      (log) =>
        async function* (...args) {
          for await (const batch of log.subscribe(...args)) {
            yield batch;
            throw new Error('connection lost');
          }
        },
    ],
    [
      'brings nothing while the log moves on',
      () =>
        async function* (_after, _filter, signal) {
          await new Promise((resolve) => {
            signal.addEventListener('abort', resolve);
          });
          yield* [];
        },
    ],
    [
      'tells everything twice',
      (log) =>
        async function* (...args) {
          for await (const batch of log.subscribe(...args)) {
            yield batch;
            yield batch;
          }
        },
    ],
  ];
  it.each(faults)('that %s is opened again where it was', async (_, fault) => {
    await withWorld(async (world) => {
      const writer = author(world);
      let opened = 0;
      const subscribe: EventLog['subscribe'] = (...args) => {
        opened += 1;
        return opened < 4 ? fault(world.log)(...args) : world.log.subscribe(...args);
      };
      const service = await live(world, { log: { ...world.log, subscribe }, limits: { stallMs: 10, pauseMs: 1 } });
      const updates = await service.follow({ ...EVERYTHING, after: null });
      for (let times = 1; times <= 6; times += 1) {
        await writer.write(...story(2));
        await seen(service, world);
      }
      const all = await expected(world, EVERYTHING);
      expect(await take(updates, all.length)).toEqual(all);
      expect(service.status().updates).toBe(all.length);
    });
  });

  it('is not left running by a start that fails', async () => {
    await withWorld(async (world) => {
      let [asked, open] = [0, 0];
      const head = (): Promise<Position> => (++asked > 1 ? Promise.reject(new Error('no log here')) : world.log.head());
      const subscribe: EventLog['subscribe'] = async function* (...args) {
        open += 1;
        try {
          yield* world.log.subscribe(...args);
        } finally {
          open -= 1;
        }
      };
      await expect(live(world, { log: { ...world.log, head, subscribe } })).rejects.toThrow('no log here');
      expect({ asked, open }).toEqual({ asked: 2, open: 0 });
    });
  });

  it('passes an event that nobody could be told', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const service = await live(world);
      const updates = await service.follow({ ...EVERYTHING, after: null });
      const { metadata } = (await written(world, writer.write(...story(2))))[1] ?? {};
      if (!metadata) throw new Error('there are events');
      const data = { decisions: 'none', deliveryId: 'x' };
      const event = { id: world.context.ids.random(), type: 'NotificationRouted', data, metadata };
      await world.log.append('notification-odd', [event], 0);
      await writer.write(...story(1));
      expect(await take(updates, 3)).toMatchObject([{}, {}, { type: 'DeliveryAttempted' }]);
      expect(world.logger.errors).toEqual(['passed an event that nobody could be told']);
    });
  });
});

describe('an event about a delivery that nobody decided on', () => {
  it('is told to nobody, from wherever', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const early = await live(world);
      const [, routing] = await written(world, writer.write(...story(3)));
      const late = await live(world);
      if (!routing) throw new Error('there is a routing');
      const { stream, metadata } = routing;
      const odd = { id: world.context.ids.random(), type: 'DeliveryOpened', data: { deliveryId: 'x' }, metadata };
      await world.log.append(stream, [odd], 3);
      const latest = await live(world);
      await world.log.append(stream, [{ ...odd, id: world.context.ids.random(), type: 'DeliveryClicked' }], 4);
      const all = await expected(world, EVERYTHING);
      expect(all.map(({ type }) => type)).toEqual(['NotificationRouted', 'NotificationRouted', 'DeliveryDelivered']);
      for (const service of [early, late, latest]) {
        await seen(service, world);
        const updates = await service.follow({ ...EVERYTHING, after: atStart(world) });
        expect(await take(updates, all.length)).toEqual(all);
        await expectNothing(updates, everybodyWaits);
      }
      expect([early, late, latest].map((service) => service.status().lookups)).toEqual([0, 2, 1]);
    });
  });
});

describe('an event that nobody can read', () => {
  it('keeps nobody from being told the rest of its stream, from wherever', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      const early = await live(world);
      const [, routing] = await written(world, writer.write(...story(3)));
      if (!routing) throw new Error('there is a routing');
      const { stream, metadata } = routing;
      const before = await expected(world, EVERYTHING);
      const append = (type: string, data: unknown, version: number): Promise<unknown> =>
        world.log.append(stream, [{ id: world.context.ids.random(), type, data, metadata }], version);
      await append('NotificationRouted', { decisions: 'none', deliveryId: 'x' }, 3);
      await append('NotificationRouted', null, 4);
      const late = await live(world);
      const [delivery] = before.map((update) => update.delivery.id);
      await append('DeliveryOpened', { deliveryId: delivery }, 5);
      for (const service of [early, late, await live(world)]) {
        await seen(service, world);
        const updates = await service.follow({ ...EVERYTHING, after: atStart(world) });
        const told = await take(updates, before.length + 1);
        expect(told.slice(0, -1)).toEqual(before);
        expect(told.at(-1)).toMatchObject({ type: 'DeliveryOpened', delivery: { id: delivery } });
        await expectNothing(updates, everybodyWaits);
      }
      expect(new Set(world.logger.errors)).toEqual(new Set(['passed an event that nobody could be told']));
    });
  });
});

async function written(world: World, writing: Promise<void>): ReturnType<typeof everything> {
  await writing;
  return everything(world);
}
