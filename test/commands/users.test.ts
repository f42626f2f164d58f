import { describe, expect, it } from 'vitest';
import type { RegisterUser } from '../../src/commands/commands.ts';
import { CALLER } from '../support/pipeline.ts';
import { everything, withWorld, type World } from '../support/world.ts';

const ADA: RegisterUser = {
  id: 'ada',
  email: 'ada@example.com',
  phone: '+12025550123',
  locale: 'pt-BR',
  timeZone: 'Europe/Berlin',
};

function withAda(work: (world: World) => Promise<void>): Promise<void> {
  return withWorld(async (world) => {
    await world.commands.registerUser(CALLER, ADA);
    await work(world);
  });
}

describe('registering a user', () => {
  it('again with some fields leaves the others as they are', async () => {
    await withAda(async ({ commands, queries }) => {
      const after = await commands.registerUser(CALLER, { id: 'ada', email: 'ada@new.example' });
      expect(after).toEqual({ ...ADA, email: 'ada@new.example', tenant: 'default', devices: [], preferences: [] });
      expect(await queries.user('default', 'ada')).toEqual(after);
    });
  });

  it('with null removes a field', async () => {
    await withAda(async ({ commands, queries }) => {
      await commands.registerUser(CALLER, { id: 'ada', phone: null, locale: null });
      expect(await queries.user('default', 'ada')).toMatchObject({ ...ADA, phone: null, locale: null });
    });
  });

  it('records only what changed, and nothing when nothing did', async () => {
    await withAda(async (world) => {
      const head = await world.log.head();
      await world.commands.registerUser(CALLER, ADA);
      await world.commands.registerUser(CALLER, { id: 'ada' });
      expect(await world.log.head()).toBe(head);
      await world.commands.registerUser(CALLER, { ...ADA, locale: 'de' });
      expect((await everything(world, ['ContactChanged'])).map(({ data }) => data)).toEqual([{ locale: 'de' }]);
    });
  });

  it('keeps the preferences', async () => {
    await withAda(async ({ commands, queries }) => {
      const preference = { channel: 'EMAIL', category: 'news', optIn: false } as const;
      await commands.setPreference(CALLER, { userId: 'ada', ...preference });
      await commands.registerUser(CALLER, { id: 'ada', email: null });
      expect(await queries.user('default', 'ada')).toMatchObject({ email: null, preferences: [preference] });
    });
  });

  it('keeps the devices', async () => {
    await withAda(async ({ commands, queries }) => {
      const input = { userId: 'ada', deviceId: 'phone', platform: 'IOS', token: 'a-token' } as const;
      const device = await commands.registerDevice(CALLER, input);
      await commands.registerUser(CALLER, { id: 'ada', phone: null });
      expect(await queries.user('default', 'ada')).toMatchObject({ phone: null, devices: [device] });
    });
  });

  it('with a phone number that is none says how to write one', async () => {
    await withAda(async ({ commands }) => {
      const refused = commands.registerUser(CALLER, { id: 'ada', phone: '202 555 0123' });
      await expect(refused).rejects.toThrow(/E\.164.*country code.*\+12025550123/);
    });
  });

  it.each([
    ['no address at all', { email: 'ada' }, 'INVALID_EMAIL', 'email'],
    ['two addresses', { email: 'ada@example.com, eve@example.com' }, 'INVALID_EMAIL', 'email'],
    ['two addresses without a space', { email: 'ada@example.com,eve@example.com' }, 'INVALID_EMAIL', 'email'],
    ['a line break in the address', { email: 'ada@example.com\r\nBcc: eve@example.com' }, 'INVALID_EMAIL', 'email'],
    ['a name in front of the address', { email: 'Ada <ada@example.com>' }, 'INVALID_EMAIL', 'email'],
    ['an empty address', { email: '' }, 'INVALID_EMAIL', 'email'],
    ['a phone number without its country', { phone: '2025550123' }, 'INVALID_PHONE', 'phone'],
    ['a phone number as people write it', { phone: '+1 (202) 555-0123' }, 'INVALID_PHONE', 'phone'],
    ['a phone number that is too short', { phone: '+1202' }, 'INVALID_PHONE', 'phone'],
    ['an empty phone number', { phone: '' }, 'INVALID_PHONE', 'phone'],
    ['a line break behind the phone number', { phone: '+12025550123\n' }, 'INVALID_PHONE', 'phone'],
    ['a locale that is none', { locale: 'not a locale' }, 'INVALID_INPUT', 'locale'],
    ['a locale that never ends', { locale: `en-x-${'abcdefgh-'.repeat(40_000)}z` }, 'INVALID_INPUT', 'locale'],
    ['a time zone that is none', { timeZone: 'Mars/Olympus' }, 'INVALID_INPUT', 'timeZone'],
    ['a time zone by its offset', { timeZone: '+01:00' }, 'INVALID_INPUT', 'timeZone'],
    ['an empty id', { id: ' ' }, 'INVALID_INPUT', 'id'],
    ['an id with a control character', { id: 'a\0b' }, 'INVALID_INPUT', 'id'],
    ['an id with half a character', { id: 'a\udc00b' }, 'INVALID_INPUT', 'id'],
    ['an id that is too long', { id: 'x'.repeat(256) }, 'INVALID_INPUT', 'id'],
  ])('with %s is refused, and nothing is appended', async (_, changes, code, field) => {
    await withAda(async ({ commands, log }) => {
      const head = await log.head();
      await expect(commands.registerUser(CALLER, { id: 'ada', ...changes })).rejects.toMatchObject({ code, field });
      expect(await log.head()).toBe(head);
    });
  });
});

describe('a preference', () => {
  it('is one for each channel and category, and the last word counts', async () => {
    await withAda(async ({ commands, queries }) => {
      const set = { userId: 'ada', channel: 'EMAIL', category: 'news' } as const;
      await commands.setPreference(CALLER, { ...set, optIn: false });
      await commands.setPreference(CALLER, { ...set, category: null, optIn: false });
      await commands.setPreference(CALLER, { ...set, optIn: true });
      expect((await queries.user('default', 'ada'))?.preferences).toEqual([
        { channel: 'EMAIL', category: 'news', optIn: true },
        { channel: 'EMAIL', category: null, optIn: false },
      ]);
    });
  });

  it('said again records nothing', async () => {
    await withAda(async ({ commands, log }) => {
      const preference = { userId: 'ada', channel: 'EMAIL', category: null, optIn: false } as const;
      await commands.setPreference(CALLER, preference);
      const head = await log.head();
      await commands.setPreference(CALLER, preference);
      expect(await log.head()).toBe(head);
    });
  });

  it.each([
    ['of an unknown user', { userId: 'nobody' }, 'USER_NOT_FOUND', 'userId'],
    ['of half a character', { userId: '\ud800' }, 'USER_NOT_FOUND', 'userId'],
    ['for an empty category', { category: '' }, 'INVALID_INPUT', 'category'],
    ['for a category that is too long', { category: 'x'.repeat(101) }, 'INVALID_INPUT', 'category'],
  ])('%s is refused, and nothing is appended', async (_, changes, code, field) => {
    await withAda(async ({ commands, log }) => {
      const head = await log.head();
      const input = { userId: 'ada', channel: 'EMAIL', category: null, optIn: false, ...changes } as const;
      await expect(commands.setPreference(CALLER, input)).rejects.toMatchObject({ code, field });
      expect(await log.head()).toBe(head);
    });
  });
});

describe('fifty changes of one user at the same moment', () => {
  it('all survive', async () => {
    await withAda(async (world) => {
      const categories = Array.from({ length: 50 }, (_, index) => `category-${String(index)}`);
      const answers = await Promise.all(
        categories.map((category) =>
          world.commands.setPreference(CALLER, { userId: 'ada', channel: 'EMAIL', category, optIn: false }),
        ),
      );
      const user = await world.queries.user('default', 'ada');
      expect(user?.preferences.map(({ category }) => category).toSorted()).toEqual(categories.toSorted());
      answers.forEach(({ preferences }, index) => {
        expect(preferences.map(({ category }) => category)).toContain(categories[index]);
      });
      const ids = (await everything(world)).map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
    });
  });
});
