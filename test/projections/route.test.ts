import { describe, expect, it } from 'vitest';
import { createCommands } from '../../src/commands/create.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { foldNotification } from '../../src/events/fold.ts';
import { statusOf } from '../../src/events/notification.ts';
import type { NotificationRouted } from '../../src/events/notifications.ts';
import type { Device } from '../../src/events/users.ts';
import { deliveryId, streamOf, systemIds } from '../../src/ids.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { EventBatch, EventLog } from '../../src/ports/event-log/event-log.ts';
import type { State } from '../../src/ports/state/state.ts';
import { startRoute, type RouteOptions } from '../../src/projections/route.ts';
import { userOf } from '../../src/projections/route-pending.ts';
import type { ProjectionStatus } from '../../src/projections/run.ts';
import { attempted } from '../support/dispatching.ts';
import { eventually } from '../support/eventually.ts';
import { at } from '../support/given.ts';
import { CALLER, requestFor } from '../support/pipeline.ts';
import {
  crashing,
  everything,
  registered,
  requested,
  requestedMany,
  typesOf,
  withWorld,
  type World,
} from '../support/world.ts';

function route(world: World, options: Partial<RouteOptions> = {}): Started<() => ProjectionStatus> {
  const { log, logger, clock } = world;
  return startRoute({
    log,
    state: world.state('route'),
    logger,
    ids: systemIds,
    now: clock.now,
    channels: CHANNELS,
    ...options,
  });
}

/** Notifications in the order in which they were routed. */
async function routings(world: World): Promise<readonly (string | undefined)[]> {
  return (await everything(world, ['NotificationRouted'])).map(({ metadata }) => metadata.notification?.id);
}

async function untilRouted(world: World, ids: readonly string[]): Promise<void> {
  await eventually(
    async () => {
      expect((await routings(world)).toSorted()).toEqual(ids.toSorted());
    },
    { timeoutMs: 10_000 },
  );
}

/** Anything that happens makes the router look at its pending set. */
async function somethingElseHappens(world: World): Promise<void> {
  const id = `bystander-${String((await everything(world)).length)}`;
  await registered(world, id);
  await untilRoutedBesides(world, await requested(world, {}, id));
}

async function untilRoutedBesides(world: World, id: string): Promise<void> {
  await eventually(async () => {
    expect(await routings(world)).toContain(id);
  });
}

function untilNothingIsPending({ state }: World, name: string): Promise<void> {
  return eventually(() => {
    expect([...state(name).list(['pending']), ...state(name).list(['open'])]).toEqual([]);
  });
}

function counting(log: EventLog): EventLog & { readonly appends: string[] } {
  const appends: string[] = [];
  return {
    ...log,
    appends,
    append: (stream, ...rest) => {
      appends.push(stream);
      return log.append(stream, ...rest);
    },
  };
}

/** Its reader never hears of a routing: what it appended is in the log, and it dies before it comes back. */
function deafToRoutings(log: EventLog): EventLog {
  async function* subscribe(...[after, filter, signal]: Parameters<EventLog['subscribe']>): AsyncGenerator<EventBatch> {
    for await (const batch of log.subscribe(after, filter, signal)) {
      if (batch.events.some(({ type }) => type === 'NotificationRouted')) return hang(signal);
      yield batch;
    }
  }
  return { ...log, subscribe };
}

function hang(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

describe('routing', () => {
  it('knows a user who was registered a moment ago', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      for (const user of ['ada', 'grace', 'edsger']) {
        await registered(world, user);
        const id = await requested(world, {}, user);
        await untilRoutedBesides(world, id);
        const [delivery] = (await world.queries.notification('default', id))?.state.deliveries ?? [];
        expect(delivery).toMatchObject({ status: 'QUEUED', address: `${user}@example.com` });
      }
    });
  });

  it('gets through many more requests than it decides at once', async () => {
    await withWorld(async (world) => {
      await registered(world);
      world.use(route(world));
      const ids = [...(await requestedMany(world, 700)), ...(await requestedMany(world, 700))];
      await untilRouted(world, ids);
      expect(world.logger.errors).toEqual([]);
    });
  });

  it('looks at what is under way no more, however long that takes and however often it is woken', async () => {
    await withWorld(async (world) => {
      await registered(world);
      await requestedMany(world, 200);
      const kept = world.state('route');
      let listed = 0;
      const state: State = {
        ...kept,
        list: (...args) => {
          const found = kept.list(...args);
          listed += found.length;
          return found;
        },
      };
      const held: (() => void)[] = [];
      const log: EventLog = {
        ...world.log,
        append: async (...args) => {
          await new Promise<void>((resolve) => held.push(resolve));
          return world.log.append(...args);
        },
      };
      const status = world.use(route(world, { state, log }));
      await eventually(() => expect(held).toHaveLength(200));
      const before = listed;
      for (const id of ['bob', 'eve', 'joe', 'sue']) {
        await registered(world, id);
        await eventually(async () => expect(status().position).toBe(await world.log.head()));
      }
      expect(listed - before).toBeLessThan(50);
      await eventually(() => {
        for (const letGo of held.splice(0)) letGo();
        expect(kept.count(['pending'])).toBe(0);
      });
    });
  });

  it('takes the transactional requests of a backlog first', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const bulk = await requestedMany(world, 600, { lane: 'BULK' });
      const transactional = await requestedMany(world, 100);
      world.use(route(world));
      await untilRouted(world, [...bulk, ...transactional]);
      expect((await routings(world)).slice(0, 100).toSorted()).toEqual(transactional.toSorted());
    });
  });

  it('of another tenant goes by the other tenant’s user of the same name', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      await registered(world);
      const other = { ...CALLER, tenant: 'other' };
      await world.commands.registerUser(other, { id: 'ada', email: 'ada@other.example' });
      const { notification } = await world.commands.requestNotification(other, requestFor('ada'));
      await untilRoutedBesides(world, notification.state.id);
      const routed = (await world.log.read(streamOf.notification(notification.state.id)))[1];
      expect(routed).toMatchObject({
        metadata: { tenant: 'other' },
        data: { decisions: [{ address: 'ada@other.example' }] },
      });
    });
  });
});

describe('routing a push', () => {
  function register(world: World, userId: string, deviceId: string, token = `token-of-${deviceId}`): Promise<Device> {
    return world.commands.registerDevice(CALLER, { userId, deviceId, platform: 'IOS', token });
  }

  async function pushed(world: World, userId = 'ada'): Promise<readonly unknown[]> {
    const id = await requested(world, { channels: ['PUSH', 'EMAIL'] }, userId);
    await untilRoutedBesides(world, id);
    const { deliveries = [] } = (await world.queries.notification('default', id))?.state ?? {};
    return deliveries.filter(({ channel }) => channel === 'PUSH').map(({ address, reason }) => address ?? reason);
  }

  it('reaches every device of the user, as they are at that moment', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      await registered(world);
      await register(world, 'ada', 'iphone');
      await register(world, 'ada', 'browser');
      expect(await pushed(world)).toEqual(['token-of-iphone', 'token-of-browser']);
      await register(world, 'ada', 'iphone', 'new-token');
      await world.commands.removeDevice(CALLER, 'browser');
      await register(world, 'ada', 'watch');
      expect(await pushed(world)).toEqual(['new-token', 'token-of-watch']);
    });
  });

  it('goes to the new holder of a device from its registration on, even if the old holder never heard of it', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      for (const user of ['ada', 'grace']) await registered(world, user);
      await register(world, 'ada', 'iphone');
      // Both notes and the registration; what takes the device from its former holder crashes.
      const commands = createCommands({ ...world.context, log: crashing(world.log, 4, false) });
      const moving = { userId: 'grace', deviceId: 'iphone', platform: 'IOS', token: 'token-of-iphone' } as const;
      await expect(commands.registerDevice(CALLER, moving)).rejects.toThrow('crash');
      expect((await world.queries.user('default', 'ada'))?.devices).toHaveLength(1);
      expect(await pushed(world, 'ada')).toEqual(['NO_ADDRESS']);
      expect(await pushed(world, 'grace')).toEqual(['token-of-iphone']);
    });
  });

  it('stops at a device that died, and goes on when it is registered again', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      await registered(world);
      await register(world, 'ada', 'iphone');
      await died(world, 'token-of-iphone');
      expect(await pushed(world)).toEqual(['NO_ACTIVE_DEVICE']);
      await register(world, 'ada', 'iphone');
      expect(await pushed(world)).toEqual(['token-of-iphone']);
    });
  });

  it('is decided the same by a state that is rebuilt from nothing', async () => {
    await withWorld(async (world) => {
      const first = route(world);
      for (const user of ['ada', 'grace']) await registered(world, user);
      for (const user of ['ada', 'grace', 'ada', 'grace']) await register(world, user, 'iphone');
      await register(world, 'ada', 'ipad', 'token-of-iphone');
      await register(world, 'grace', 'mac');
      await world.commands.removeDevice(CALLER, 'mac');
      await somethingElseHappens(world);
      await first.stop();
      world.use(route(world, { state: world.state('rebuilt') }));
      await somethingElseHappens(world);
      for (const user of ['ada', 'grace']) {
        const rebuilt = userOf(world.state('rebuilt'), 'default', user);
        expect(rebuilt).toEqual(await world.queries.user('default', user));
        expect(rebuilt).toEqual(userOf(world.state('route'), 'default', user));
      }
      const held = ['device', 'token'].flatMap((kind) => world.state('rebuilt').list([kind]));
      expect(held.map(([, stream]) => stream)).toEqual(Array(2).fill(streamOf.user('default', 'ada')));
    });
  });

  async function died(world: World, token: string): Promise<void> {
    const id = await requested(world, { channels: ['PUSH'] });
    await untilRoutedBesides(world, id);
    const claim = { tenant: 'default', notificationId: id, deliveryId: deliveryId(id, 'PUSH', token), attempt: 1 };
    await attempted(world, claim, { kind: 'rejected', reason: 'DEVICE_UNREGISTERED', raw: '404' });
  }
});

describe('a crash between the routing and its folding', () => {
  it.each([
    ['the old state', 'route'],
    ['an empty state', 'another'],
  ])('with %s leads to no second routing, nor to an attempt at one', async (_, stateName) => {
    await withWorld(async (world) => {
      await registered(world);
      const ids = await requestedMany(world, 5);
      const first = route(world, { log: deafToRoutings(world.log) });
      await untilRouted(world, ids);
      await first.stop();
      const log = counting(world.log);
      world.use(route(world, { log, state: world.state(stateName) }));
      const later = await requested(world);
      await untilRoutedBesides(world, later);
      expect(log.appends).toEqual([streamOf.notification(later)]);
      expect(world.logger.errors).toEqual([]);
    });
  });

  it('leaves nothing to do for a state that is rebuilt from nothing', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const ids = await requestedMany(world, 300);
      const first = route(world);
      await untilRouted(world, ids);
      await first.stop();
      const head = await world.log.head();
      const log = counting(world.log);
      const status = world.use(route(world, { log, state: world.state('rebuilt') }));
      await eventually(() => {
        expect(status()).toMatchObject({ live: true, position: head, parked: 0 });
      });
      await somethingElseHappens(world);
      expect(log.appends).toHaveLength(1);
      await untilNothingIsPending(world, 'rebuilt');
    });
  });
});

describe('a request with a time of delivery', () => {
  it('is decided on at its time, with the preferences of then', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      await registered(world);
      const id = await requested(world, { deliverAt: new Date(at(60_000)) });
      await world.commands.setPreference(CALLER, { userId: 'ada', channel: 'EMAIL', category: null, optIn: false });
      world.clock.advance(59_999);
      await somethingElseHappens(world);
      expect(await typesOf(world, id)).toEqual(['NotificationRequested']);
      world.clock.advance(1);
      await somethingElseHappens(world);
      await untilRoutedBesides(world, id);
      const routed = (await world.log.read(streamOf.notification(id))).at(-1)?.data as NotificationRouted;
      expect(routed.decisions).toMatchObject([{ outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT' }]);
    });
  });

  it('is woken for by the clock alone, also after a restart', async () => {
    await withWorld(
      async (world) => {
        await registered(world);
        const id = await requested(world, { deliverAt: new Date(Date.now() + 300) });
        await route(world).stop();
        world.use(route(world));
        await untilRoutedBesides(world, id);
        const { metadata } = (await world.log.read(streamOf.notification(id))).at(-1) ?? {};
        const { request } = (await world.queries.notification('default', id))?.state ?? {};
        expect(metadata?.occurredAt && metadata.occurredAt >= (request?.deliverAt ?? '')).toBe(true);
      },
      { now: Date.now, advance: () => undefined },
    );
  });

  it('is not routed when it was cancelled before', async () => {
    await withWorld(async (world) => {
      world.use(route(world));
      await registered(world);
      const id = await requested(world, { deliverAt: new Date(at(60_000)) });
      const cancelled = await world.commands.cancelNotification(CALLER, id);
      expect(cancelled).toMatchObject({ cancelled: true, deliveries: [] });
      await somethingElseHappens(world);
      world.clock.advance(120_000);
      await somethingElseHappens(world);
      expect(await typesOf(world, id)).toEqual(['NotificationRequested', 'NotificationCancelled']);
      await untilNothingIsPending(world, 'route');
    });
  });

  it('that expired before anybody could route it shows its deliveries expired', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const times = { deliverAt: new Date(at(10_000)), expiresAt: new Date(at(20_000)) };
      const id = await requested(world, times);
      world.clock.advance(20_000);
      world.use(route(world));
      await untilRoutedBesides(world, id);
      expect(await typesOf(world, id)).toEqual(['NotificationRequested', 'NotificationRouted', 'DeliveryExpired']);
      const state = foldNotification(await world.log.read(streamOf.notification(id)));
      expect(state && statusOf(state)).toBe('EXPIRED');
    });
  });
});

describe('while the log is out of order', () => {
  it('routing is delayed, and nothing is lost or decided twice', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const ids = await requestedMany(world, 20);
      let faults = 25;
      const append: EventLog['append'] = async (...args) => {
        faults -= 1;
        // Every other one was appended all the same: its answer is what got lost.
        if (faults >= 0 && faults % 2 === 0) await world.log.append(...args);
        if (faults >= 0) throw new Error('the log is out of order');
        return world.log.append(...args);
      };
      world.use(route(world, { log: { ...world.log, append } }));
      await untilRouted(world, ids);
      expect(world.logger.errors).not.toEqual([]);
    });
  });
});
