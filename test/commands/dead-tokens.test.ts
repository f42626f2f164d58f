import { describe, expect, it } from 'vitest';
import { deliveryId } from '../../src/ids.ts';
import { eventually } from '../support/eventually.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import { POLICY } from '../support/given.ts';
import { CALLER } from '../support/pipeline.ts';
import { crashing, everything, requested, typesOf, type World } from '../support/world.ts';
import {
  routed,
  claimed,
  die,
  devicesOf,
  on,
  PHONE,
  withUsers,
  withPhone,
  register,
  everybodysDevices,
  told,
} from '../support/devices.ts';

/** The user no longer has the device that a push was routed to. */
const GONE: readonly (readonly [string, (world: World) => Promise<unknown>])[] = [
  ['was removed', (world) => world.commands.removeDevice(CALLER, 'phone')],
  ['moved to another user', (world) => register(world, { userId: 'bob' })],
  ['has another token', (world) => register(world, { token: 'new' })],
  ['turned out to be dead', (world) => die(world, PHONE.token)],
];

describe('a push that was routed to a device which', () => {
  it.each(GONE)('%s meanwhile is not sent, and says so', async (_, leave) => {
    await withPhone(async (world) => {
      const request = await routed(world, PHONE.token);
      await leave(world);
      expect(await createDeliveries(world.context, POLICY).claim(request)).toMatchObject({ kind: 'done' });
      const view = await world.queries.notification(CALLER.tenant, request.notificationId);
      expect(view?.state.deliveries).toMatchObject([{ status: 'SUPPRESSED', reason: 'DEVICE_GONE', attempts: 0 }]);
    });
  });
});

describe('a push that was routed before its device moved half-way', () => {
  it('is not sent: the registration counts, though the former holder’s stream still shows the device', async () => {
    await withPhone(async (world) => {
      const request = await routed(world, PHONE.token);
      // Two notes, the registration, and no more.
      const move = register(on(world, crashing(world.log, 4, false)), { userId: 'bob' });
      await expect(move).rejects.toThrow('crash');
      expect(await devicesOf(world, 'ada')).toHaveLength(1);
      expect(await createDeliveries(world.context, POLICY).claim(request)).toMatchObject({ kind: 'done' });
      expect((await typesOf(world, request.notificationId)).at(-1)).toBe('DeliverySuppressed');
    });
  });
});

describe('a message that was routed to a phone number or mailbox which', () => {
  it.each([
    ['was removed', null],
    ['changed', 'ada@elsewhere.example'],
  ])('%s meanwhile is not sent, and says so', async (_, email) => {
    await withUsers(async (world) => {
      await world.commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
      const id = await requested(world, { channels: ['EMAIL'] });
      await eventually(async () => {
        expect(await typesOf(world, id)).toContain('NotificationRouted');
      });
      await world.commands.registerUser(CALLER, { id: 'ada', email });
      const job = { tenant: CALLER.tenant, notificationId: id, deliveryId: deliveryId(id, 'EMAIL', 'ada@example.com') };
      await createDeliveries(world.context, POLICY).claim({ ...job, attempt: 1 });
      const view = await world.queries.notification(CALLER.tenant, id);
      expect(view?.state.deliveries).toMatchObject([{ status: 'SUPPRESSED', reason: 'ADDRESS_GONE', attempts: 0 }]);
    });
  });
});

describe('a token that the provider calls dead', () => {
  it('deactivates its device and no other', async () => {
    await withPhone(async (world) => {
      await register(world, { deviceId: 'tablet', token: 'token-2' });
      const { id, tell } = await claimed(world, PHONE.token);
      await tell();
      const { ada } = await everybodysDevices(world);
      expect(ada).toMatchObject([
        { id: 'phone', active: false },
        { id: 'tablet', active: true },
      ]);
      expect((await typesOf(world, id)).at(-1)).toBe('DeliveryRejected');
      const [event] = await everything(world, ['DeviceDeactivated']);
      expect(event?.metadata).toMatchObject({ tenant: 'default', correlationId: CALLER.correlationId });
    });
  });

  it('said twice, or by two attempts, deactivates it once', async () => {
    await withPhone(async (world) => {
      const [first, second] = [await claimed(world, PHONE.token), await claimed(world, PHONE.token)];
      for (const { tell } of [first, first, second]) await tell();
      expect(await told(world, 'DeviceDeactivated')).toEqual([{ deviceId: 'phone', reason: 'DEVICE_UNREGISTERED' }]);
    });
  });

  it('comes to life when it is registered again', async () => {
    await withPhone(async (world) => {
      await die(world, PHONE.token);
      expect(await register(world)).toMatchObject({ active: true });
      expect(await everybodysDevices(world)).toMatchObject({ ada: [{ id: 'phone', active: true }] });
    });
  });

  it('is forgiven to an app that registered after the attempt was claimed', async () => {
    await withPhone(async (world) => {
      const [first, second] = [await claimed(world, PHONE.token), await claimed(world, PHONE.token)];
      await first.tell();
      await register(world);
      await second.tell();
      expect(await everybodysDevices(world)).toMatchObject({ ada: [{ id: 'phone', active: true }] });
    });
  });

  it('does not harm the device once it has another token', async () => {
    await withPhone(async (world) => {
      const { tell } = await claimed(world, PHONE.token);
      await register(world, { token: 'new' });
      await tell();
      expect(await told(world, 'DeviceDeactivated')).toEqual([]);
    });
  });

  it('of a device that moved after the attempt was claimed does not touch the new holder’s', async () => {
    await withPhone(async (world) => {
      const { tell } = await claimed(world, PHONE.token);
      await register(world, { userId: 'bob' });
      await tell();
      expect(await everybodysDevices(world)).toMatchObject({ ada: [], bob: [{ id: 'phone', active: true }] });
    });
  });

  it('is another matter than a message that was refused', async () => {
    await withPhone(async (world) => {
      const { tell } = await claimed(world, PHONE.token);
      await tell({ kind: 'rejected', reason: 'MESSAGE_REFUSED', raw: '400' });
      expect(await told(world, 'DeviceDeactivated')).toEqual([]);
    });
  });

  it.each([
    [1, false],
    [1, true],
    [2, false],
    [2, true],
  ])(
    'is acted on once the outcome is recorded: a fault at append %i (taken place: %s) is made good by another try',
    async (failing, appended) => {
      await withUsers(async (world) => {
        await register(world);
        const { id, tell } = await claimed(world, PHONE.token, crashing(world.log, failing, appended));
        await expect(tell()).rejects.toThrow('crash');
        expect(await told(world, 'DeviceDeactivated')).toHaveLength(failing === 2 && appended ? 1 : 0);
        await tell();
        expect(await told(world, 'DeviceDeactivated')).toHaveLength(1);
        expect((await typesOf(world, id)).filter((type) => type === 'DeliveryRejected')).toHaveLength(1);
      });
    },
  );
});

describe('a process that dies between the rejection and the deactivation', () => {
  it('leaves it to the next push, of which the provider says the same', async () => {
    await withUsers(async (world) => {
      await register(world);
      const { id, tell } = await claimed(world, PHONE.token, crashing(world.log, 2, false));
      await expect(tell()).rejects.toThrow('crash');
      const view = await world.queries.notification('default', id);
      expect(view?.state.deliveries).toMatchObject([{ status: 'REJECTED', inDoubt: false }]);
      await die(world, PHONE.token);
      expect(await told(world, 'DeviceDeactivated')).toHaveLength(1);
    });
  });
});

describe('a push token', () => {
  it('is nowhere in the story of a notification', async () => {
    await withPhone(async (world) => {
      const { id, tell } = await claimed(world, PHONE.token);
      await tell();
      const view = await world.queries.notification('default', id);
      expect(view?.timeline().length).toBeGreaterThan(2);
      expect(JSON.stringify(view?.timeline())).not.toContain(PHONE.token);
    });
  });

  it('is no part of the name of a stream', async () => {
    await withPhone(async (world) => {
      const streams = (await everything(world, ['HolderNoted', 'DeviceRegistered'])).map(({ stream }) => stream);
      expect(streams.toSorted().map((stream) => stream.replace(/[\da-f-]{36}$/, '<uuid>'))).toEqual([
        'device-<uuid>',
        'token-<uuid>',
        'user-<uuid>',
      ]);
    });
  });
});
