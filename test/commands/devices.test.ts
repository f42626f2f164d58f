import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RegisterDevice } from '../../src/commands/commands.ts';
import type { DeviceRegistered } from '../../src/events/users.ts';
import { streamOf } from '../../src/ids.ts';
import { CALLER } from '../support/pipeline.ts';
import { crashing, everything, takingTurns, type World } from '../support/world.ts';
import {
  die,
  PHONE,
  USERS,
  withUsers,
  withPhone,
  register,
  devicesOf,
  routedDevicesOf,
  everybodysDevices,
  told,
  on,
} from '../support/devices.ts';

const LONG_TOKEN = 'f7'.repeat(70);

describe('registering a device', () => {
  it('answers it, and the user has it', async () => {
    await withUsers(async (world) => {
      const device = { id: 'phone', platform: 'IOS', token: PHONE.token, active: true };
      expect(await register(world)).toEqual(device);
      expect(await everybodysDevices(world)).toEqual({ ada: [device], bob: [], cleo: [] });
    });
  });

  it('without an id gives the same token the same one, and no other tenant’s', async () => {
    await withUsers(async (world) => {
      const { id } = await register(world, { deviceId: null });
      expect(await register(world, { deviceId: null })).toMatchObject({ id });
      expect(await register(world, { deviceId: null, token: 'another' })).not.toMatchObject({ id });
      const other = { ...CALLER, tenant: 'other' };
      await world.commands.registerUser(other, { id: 'ada' });
      const { id: others } = await world.commands.registerDevice(other, { ...PHONE, deviceId: null });
      expect(others).not.toBe(id);
      expect(await devicesOf(world, 'ada')).toHaveLength(2);
    });
  });

  it('again as it is records nothing', async () => {
    await withPhone(async (world) => {
      await register(world, { userId: 'bob', deviceId: 'tablet', token: 'token-2' });
      const head = await world.log.head();
      await register(world);
      await register(world);
      expect(await world.log.head()).toBe(head);
    });
  });

  it('again with a new token or platform changes it', async () => {
    await withPhone(async (world) => {
      await register(world, { token: 'new' });
      await register(world, { token: 'new', platform: 'ANDROID' });
      const changed = { id: 'phone', platform: 'ANDROID', token: 'new', active: true };
      expect(await everybodysDevices(world)).toEqual({ ada: [changed], bob: [], cleo: [] });
    });
  });

  it('with the token of another device of the user takes that one’s place', async () => {
    await withPhone(async (world) => {
      await register(world, { deviceId: 'tablet', token: 'token-2' });
      await register(world, { deviceId: 'tablet' });
      const left = { id: 'tablet', platform: 'IOS', token: PHONE.token, active: true };
      expect(await everybodysDevices(world)).toEqual({ ada: [left], bob: [], cleo: [] });
    });
  });

  it.each([
    ['its token', { deviceId: 'tablet' }],
    ['its id', { token: 'token-2' }],
    ['both', {}],
  ])('with %s for somebody else moves it', async (_, changes) => {
    await withPhone(async (world) => {
      await register(world, { deviceId: 'watch', token: 'token-3' });
      const moved = await register(world, { userId: 'bob', ...changes });
      const { ada, bob } = await everybodysDevices(world);
      expect([ada, bob]).toMatchObject([[{ id: 'watch' }], [moved]]);
      expect(await told(world, 'DeviceRemoved')).toEqual([{ deviceId: 'phone', reason: 'MOVED' }]);
    });
  });

  it('takes the id from one and the token from another', async () => {
    await withUsers(async (world) => {
      await register(world, { userId: 'bob', token: 'token-2' });
      await register(world, { userId: 'cleo', deviceId: 'tablet' });
      const device = await register(world);
      expect(await everybodysDevices(world)).toEqual({ ada: [device], bob: [], cleo: [] });
    });
  });

  it('moves it back as often as it is asked to', async () => {
    await withUsers(async (world) => {
      for (const userId of ['ada', 'bob', 'ada', 'cleo', 'bob', 'ada']) {
        const device = await register(world, { userId });
        const nobody = { ada: [], bob: [], cleo: [] };
        expect(await everybodysDevices(world)).toEqual({ ...nobody, [userId]: [device] });
      }
    });
  });

  it('leaves another tenant’s device with the same id and token alone', async () => {
    await withUsers(async (world) => {
      const other = { ...CALLER, tenant: 'other' };
      await world.commands.registerUser(other, { id: 'bob' });
      await register(world);
      const theirs = await world.commands.registerDevice(other, { ...PHONE, userId: 'bob' });
      expect((await world.queries.user('other', 'bob'))?.devices).toEqual([theirs]);
      expect(await devicesOf(world, 'ada')).toHaveLength(1);
      expect(await told(world, 'DeviceRemoved')).toEqual([]);
    });
  });

  it.each([
    ['for an unknown user', { userId: 'nobody' }, 'USER_NOT_FOUND', 'userId'],
    ['for half a character', { userId: '\ud800' }, 'USER_NOT_FOUND', 'userId'],
    ['without a token', { token: '' }, 'INVALID_INPUT', 'token'],
    ['with white space in the token', { token: 'secret token' }, 'INVALID_INPUT', 'token'],
    ['with a line break behind the token', { token: 'secret-token\n' }, 'INVALID_INPUT', 'token'],
    ['with white space of another alphabet', { token: 'secret\u3000token' }, 'INVALID_INPUT', 'token'],
    ['with half a character in the token', { token: 'secret-token\ud800' }, 'INVALID_INPUT', 'token'],
    ['with a token that is too long', { token: 's'.repeat(4_097) }, 'INVALID_INPUT', 'token'],
    ['with an empty id', { deviceId: '' }, 'INVALID_INPUT', 'deviceId'],
    ['with an id that is too long', { deviceId: 'x'.repeat(256) }, 'INVALID_INPUT', 'deviceId'],
    ['with its token for an id', { deviceId: LONG_TOKEN, token: LONG_TOKEN }, 'INVALID_INPUT', 'deviceId'],
    ['with its token in its id', { deviceId: `id-${LONG_TOKEN}`, token: LONG_TOKEN }, 'INVALID_INPUT', 'deviceId'],
  ])('%s is refused without showing the token, and nothing is appended', async (_, changes, code, field) => {
    await withUsers(async (world) => {
      const head = await world.log.head();
      const refused = await register(world, changes).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code, field });
      expect(String(refused)).not.toContain({ ...PHONE, ...changes }.token.trim() || '(none)');
      expect(await world.log.head()).toBe(head);
    });
  });

  it('takes the longest token and id there are', async () => {
    await withUsers(async (world) => {
      const device = await register(world, { deviceId: 'x'.repeat(255), token: 't'.repeat(4_096) });
      expect(await everybodysDevices(world)).toMatchObject({ ada: [device] });
    });
  });
});

describe('the twentieth device', () => {
  async function withTwenty(work: (world: World) => Promise<void>): Promise<void> {
    await withUsers(async (world) => {
      for (let index = 1; index <= 20; index += 1) await register(world, numbered(index));
      await work(world);
    });
  }

  function numbered(index: number): Partial<RegisterDevice> {
    return { deviceId: `device-${String(index)}`, token: `token-${String(index)}` };
  }

  it('is the last: one more is refused, and nothing is appended or moved', async () => {
    await withTwenty(async (world) => {
      await register(world, { userId: 'bob', ...numbered(21) });
      const head = await world.log.head();
      const refused = { code: 'TOO_MANY_DEVICES', field: 'userId' };
      await expect(register(world, numbered(21))).rejects.toMatchObject(refused);
      await expect(register(world, numbered(22))).rejects.toMatchObject(refused);
      expect(await world.log.head()).toBe(head);
      expect(await devicesOf(world, 'bob')).toHaveLength(1);
    });
  });

  it('does not keep a known one from changing', async () => {
    await withTwenty(async (world) => {
      await register(world, { ...numbered(7), token: 'new' });
      await register(world, { deviceId: 'another', token: 'token-8' });
      expect(await devicesOf(world, 'ada')).toHaveLength(20);
      expect((await everybodysDevices(world))['ada']).toHaveLength(20);
    });
  });

  it('gives way when it is dead, the oldest of the dead first', async () => {
    await withTwenty(async (world) => {
      for (const index of [5, 3]) await die(world, `token-${String(index)}`);
      await register(world, numbered(21));
      expect(await told(world, 'DeviceRemoved')).toEqual([{ deviceId: 'device-3', reason: 'REPLACED' }]);
      await register(world, numbered(22));
      await expect(register(world, numbered(23))).rejects.toMatchObject({ code: 'TOO_MANY_DEVICES' });
      const { ada = [] } = await everybodysDevices(world);
      expect(ada).toHaveLength(20);
      expect(ada.every(({ active }) => active)).toBe(true);
      const ids = ada.map(({ id }) => id);
      expect(ids).not.toContain('device-3');
      expect(ids).not.toContain('device-5');
    });
  });

  it('is counted exactly when many are registered at once', async () => {
    await withUsers(async (world) => {
      const answers = await Promise.allSettled(
        Array.from({ length: 30 }, (_, index) => register(world, numbered(index))),
      );
      const refused = answers.filter((answer) => answer.status === 'rejected').map(({ reason }) => reason as unknown);
      expect(refused).toHaveLength(10);
      for (const reason of refused) expect(reason).toMatchObject({ code: 'TOO_MANY_DEVICES' });
      expect((await everybodysDevices(world))['ada']).toHaveLength(20);
    });
  });
});

describe('removing a device', () => {
  it('answers whether there was one, and then it is gone', async () => {
    await withPhone(async (world) => {
      await register(world, { deviceId: 'tablet', token: 'token-2' });
      expect(await world.commands.removeDevice(CALLER, 'phone')).toBe(true);
      expect(await world.commands.removeDevice(CALLER, 'phone')).toBe(false);
      expect(await everybodysDevices(world)).toMatchObject({ ada: [{ id: 'tablet' }] });
      expect(await told(world, 'DeviceRemoved')).toEqual([{ deviceId: 'phone', reason: 'REMOVED' }]);
    });
  });

  it('finds it with whoever it was moved to', async () => {
    await withPhone(async (world) => {
      await register(world, { userId: 'bob' });
      expect(await world.commands.removeDevice(CALLER, 'phone')).toBe(true);
      expect(await everybodysDevices(world)).toEqual({ ada: [], bob: [], cleo: [] });
    });
  });

  it('leaves an id free for anybody', async () => {
    await withPhone(async (world) => {
      await world.commands.removeDevice(CALLER, 'phone');
      const device = await register(world, { userId: 'bob' });
      expect(await everybodysDevices(world)).toEqual({ ada: [], bob: [device], cleo: [] });
      const back = await register(world);
      expect(await everybodysDevices(world)).toEqual({ ada: [back], bob: [], cleo: [] });
    });
  });

  it.each([['tablet'], [''], ['\ud800'], ['x'.repeat(100_000)]])('that is unknown answers false: %.10j', async (id) => {
    await withPhone(async (world) => {
      const head = await world.log.head();
      expect(await world.commands.removeDevice(CALLER, id)).toBe(false);
      expect(await world.log.head()).toBe(head);
    });
  });

  it('of another tenant answers exactly as if there were none', async () => {
    await withPhone(async (world) => {
      const head = await world.log.head();
      expect(await world.commands.removeDevice({ ...CALLER, tenant: 'other' }, 'phone')).toBe(false);
      expect(await world.log.head()).toBe(head);
    });
  });
});

const PICKS = fc.array(fc.nat(), { minLength: 30, maxLength: 120 });

const STEP = fc.record({
  userId: fc.constantFrom(...USERS),
  deviceId: fc.constantFrom('d1', 'd2', 'd3'),
  token: fc.constantFrom('t1', 't2', 't3'),
  removes: fc.nat(5).map((chance) => chance === 0),
});

/** Whom the log alone names: whoever registered an id or a token last. The router sends to nobody else, whatever crashed. */
async function expectRoutedToTheLast(world: World): Promise<void> {
  const last = new Map<string, string>();
  for (const { stream, data } of await everything(world, ['DeviceRegistered'])) {
    const { deviceId, token } = data as DeviceRegistered;
    last.set(`device ${deviceId}`, stream).set(`token ${token}`, stream);
  }
  for (const user of USERS) {
    const stream = streamOf.user('default', user);
    for (const { id, token } of await routedDevicesOf(world, user)) {
      expect([last.get(`device ${id}`), last.get(`token ${token}`)]).toEqual([stream, stream]);
    }
  }
}

describe('users who race for a device', () => {
  let round = 0;

  it('end with exactly one who has it, the last in the log, whoever cleans up first', async () => {
    await withUsers(async (world) => {
      const property = fc.asyncProperty(PICKS, async (picks) => {
        const token = `raced-for-${String((round += 1))}`;
        const { log, ended } = takingTurns(world.log, picks);
        const racing = on(world, log);
        const race = ['ada', 'bob'].map((userId) => register(racing, { userId, deviceId: `of-${userId}`, token }));
        await ended(race);
        const holders = Object.entries(await everybodysDevices(world)).filter(([, devices]) =>
          devices.some((device) => device.token === token),
        );
        const last = (await everything(world, ['DeviceRegistered'])).at(-1)?.data;
        expect(holders.map(([user]) => `of-${user}`)).toEqual([(last as DeviceRegistered).deviceId]);
      });
      await fc.assert(property, { numRuns: 100 });
    });
  });

  it('whatever they register and remove at once, every id and token has one holder at most, in the streams as in the router', async () => {
    await withUsers(async (world) => {
      const steps = fc.array(STEP, { minLength: 2, maxLength: 7 });
      const property = fc.asyncProperty(PICKS, steps, async (picks, all) => {
        const prefix = `r${String((round += 1))}-`;
        const { log, ended } = takingTurns(world.log, picks);
        const racing = on(world, log);
        const taken = all.map(({ userId, deviceId, token, removes }) =>
          removes
            ? racing.commands.removeDevice(CALLER, prefix + deviceId)
            : register(racing, { userId, deviceId: prefix + deviceId, token: prefix + token }),
        );
        await ended(taken);
        const devices = Object.values(await everybodysDevices(world)).flat();
        expect(new Set(devices.map(({ id }) => id)).size).toBe(devices.length);
        expect(new Set(devices.map(({ token }) => token)).size).toBe(devices.length);
        await expectRoutedToTheLast(world);
        await Promise.all(devices.map(({ id }) => world.commands.removeDevice(CALLER, id)));
      });
      await fc.assert(property, { numRuns: 100 });
    });
  });
});

describe('a crash while a device moves', () => {
  /** Bob has the id and Cleo the token that Ada is about to register. */
  async function withMove(work: (world: World) => Promise<void>): Promise<void> {
    await withUsers(async (world) => {
      await register(world, { userId: 'bob', token: 'token-2' });
      await register(world, { userId: 'cleo', deviceId: 'tablet' });
      await work(world);
    });
  }

  const APPENDS = 5;

  it(`has ${String(APPENDS)} places to happen`, async () => {
    await withMove(async (world) => {
      const log = crashing(world.log, Infinity, false);
      await register(on(world, log));
      expect(log.appends()).toBe(APPENDS);
    });
  });

  const places = Array.from({ length: APPENDS }, (_, index) => index + 1);
  const PLACES = places.flatMap((place) => [[place, false] as const, [place, true] as const]);

  it.each(PLACES)('at append %i (taken place: %s) is healed by the same command again', async (failing, appended) => {
    await withMove(async (world) => {
      const log = crashing(world.log, failing, appended);
      await expect(register(on(world, log))).rejects.toThrow('crash');
      const registeredBefore = (await everything(world, ['DeviceRegistered'])).length === 3;
      await expectRoutedToTheLast(world);
      const device = await register(world);
      expect(await everybodysDevices(world)).toEqual({ ada: [device], bob: [], cleo: [] });
      const registrations = (await everything(world, ['DeviceRegistered'])).length;
      expect(registrations).toBe(3);
      expect(registeredBefore).toBe(failing > 3 || (failing === 3 && appended));
      const head = await world.log.head();
      await register(world);
      expect(await world.log.head()).toBe(head);
    });
  });

  it('leaves the former holder able to take it back', async () => {
    await withPhone(async (world) => {
      await register(world, { userId: 'bob' });
      const log = crashing(world.log, 4, false);
      await expect(register(on(world, log), { userId: 'cleo' })).rejects.toThrow('crash');
      expect(await devicesOf(world, 'bob')).toHaveLength(1);
      expect(await routedDevicesOf(world, 'bob')).toEqual([]);
      const device = await register(world, { userId: 'bob' });
      expect(await everybodysDevices(world)).toEqual({ ada: [], bob: [device], cleo: [] });
    });
  });
});
