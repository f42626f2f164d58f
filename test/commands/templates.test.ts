import { describe, expect, it } from 'vitest';
import type { PublishTemplate, RequestNotification } from '../../src/commands/commands.ts';
import type { TemplatePublished } from '../../src/events/templates.ts';
import { CALLER, requestFor } from '../support/pipeline.ts';
import { everything, withWorld, type World } from '../support/world.ts';

const HELLO: PublishTemplate = { key: 'hello', locale: null, channel: null, title: null, body: 'Hello', html: null };

async function versions(world: World): Promise<readonly TemplatePublished[]> {
  return (await everything(world, ['TemplatePublished'])).map(({ data }) => data as TemplatePublished);
}

describe('publishing a template', () => {
  it('adds or replaces one variant, and a version repeats all the others', async () => {
    await withWorld(async (world) => {
      const { commands } = world;
      expect(await commands.publishTemplate(CALLER, HELLO)).toEqual({ key: 'hello', version: 1 });
      expect(await commands.publishTemplate(CALLER, { ...HELLO, channel: 'EMAIL', body: 'Mail' })).toEqual({
        key: 'hello',
        version: 2,
      });
      expect(await commands.publishTemplate(CALLER, { ...HELLO, body: 'Hi' })).toEqual({ key: 'hello', version: 3 });
      const bodies = (await versions(world)).map(({ version, variants }) => [
        version,
        ...variants.map(({ body }) => body).toSorted(),
      ]);
      expect(bodies).toEqual([
        [1, 'Hello'],
        [2, 'Hello', 'Mail'],
        [3, 'Hi', 'Mail'],
      ]);
    });
  });

  it('has a variant of its own for every channel', async () => {
    await withWorld(async (world) => {
      const channels = [null, 'EMAIL', 'PUSH', 'SMS'] as const;
      for (const channel of channels) await world.commands.publishTemplate(CALLER, { ...HELLO, channel });
      const { version, variants } = (await versions(world)).at(-1) ?? {};
      expect(version).toBe(4);
      expect(variants?.map(({ channel }) => channel)).toEqual(channels);
    });
  });

  it.each([
    ['SMS', 'code'],
    ['PUSH', 'place'],
  ] as const)('with a variant for %s asks for its variables where it is used', async (channel, variable) => {
    await withWorld(async ({ commands }) => {
      await commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com', phone: '+12025550123' });
      await commands.registerDevice(CALLER, { userId: 'ada', deviceId: null, platform: 'WEB', token: 'a-token' });
      await commands.publishTemplate(CALLER, HELLO);
      await commands.publishTemplate(CALLER, { ...HELLO, channel, body: `{{ ${variable} }}` });
      const ask = (data: object, channels: RequestNotification['channels']): Promise<unknown> => {
        const changes = { content: null, template: { key: 'hello', version: null }, data: { ...data }, channels };
        return commands.requestNotification(CALLER, requestFor('ada', changes));
      };
      const missing = { code: 'TEMPLATE_VARIABLE_MISSING', field: `data.${variable}` };
      await expect(ask({}, null)).rejects.toMatchObject(missing);
      await expect(ask({}, [channel])).rejects.toMatchObject(missing);
      await ask({}, ['EMAIL']);
      await ask({ [variable]: 'x' }, null);
    });
  });

  it('of the same variant again publishes nothing', async () => {
    await withWorld(async ({ commands, log }) => {
      await commands.publishTemplate(CALLER, HELLO);
      await commands.publishTemplate(CALLER, { ...HELLO, channel: 'EMAIL' });
      const head = await log.head();
      expect(await commands.publishTemplate(CALLER, { ...HELLO })).toEqual({ key: 'hello', version: 2 });
      expect(await log.head()).toBe(head);
    });
  });

  it('twenty times at once makes twenty versions, one after the other', async () => {
    await withWorld(async (world) => {
      const bodies = Array.from({ length: 20 }, (_, index) => `body ${String(index)}`);
      const answers = await Promise.all(
        bodies.map((body) => world.commands.publishTemplate(CALLER, { ...HELLO, body })),
      );
      const numbers = Array.from({ length: 20 }, (_, index) => index + 1);
      expect(answers.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(numbers);
      expect((await versions(world)).map(({ version }) => version)).toEqual(numbers);
      for (const [index, { version }] of answers.entries()) {
        const published = (await versions(world))[version - 1];
        expect(published?.variants).toMatchObject([{ body: bodies[index] }]);
      }
    });
  });

  it('shows every version there is, and none to another tenant', async () => {
    await withWorld(async ({ commands, queries }) => {
      await commands.publishTemplate(CALLER, HELLO);
      await commands.publishTemplate(CALLER, { ...HELLO, body: 'Hi' });
      expect(await queries.template('default', 'hello', null)).toEqual({ key: 'hello', version: 2 });
      expect(await queries.template('default', 'hello', 1)).toEqual({ key: 'hello', version: 1 });
      for (const version of [0, -1, 3]) expect(await queries.template('default', 'hello', version)).toBeNull();
      expect(await queries.template('other', 'hello', null)).toBeNull();
      expect(await queries.template('default', '\ud800', null)).toBeNull();
    });
  });

  it.each([
    ['that does not parse', { body: '{% if %}' }, 'TEMPLATE_INVALID', 'body'],
    ['whose HTML reads files', { html: "{% include 'x' %}" }, 'TEMPLATE_INVALID', 'html'],
    ['whose title uses an unknown filter', { title: '{{ a | nonsense }}' }, 'TEMPLATE_INVALID', 'title'],
    ['whose body is over 64 KiB', { body: 'x'.repeat(65_537) }, 'TEMPLATE_INVALID', 'body'],
    [
      'that is too large once written down',
      { body: '"'.repeat(60_000), html: '"'.repeat(60_000) },
      'TOO_LARGE',
      'body',
    ],
    ['without a key', { key: '' }, 'INVALID_INPUT', 'key'],
    ['with a key of half a character', { key: '\ud800' }, 'INVALID_INPUT', 'key'],
  ])('%s is refused, and nothing is appended', async (_, changes, code, field) => {
    await withWorld(async ({ commands, log }) => {
      const head = await log.head();
      await expect(commands.publishTemplate(CALLER, { ...HELLO, ...changes })).rejects.toMatchObject({ code, field });
      expect(await log.head()).toBe(head);
    });
  });

  it('whose variants together are too large for one version is refused, and the old version stays', async () => {
    await withWorld(async ({ commands, queries }) => {
      const large = { title: null, body: 'x'.repeat(60_000), html: 'y'.repeat(60_000) };
      await commands.publishTemplate(CALLER, { ...HELLO, ...large });
      const second = commands.publishTemplate(CALLER, { ...HELLO, ...large, channel: 'EMAIL' });
      await expect(second).rejects.toMatchObject({ code: 'TOO_LARGE', field: 'body' });
      expect(await queries.template('default', 'hello', null)).toEqual({ key: 'hello', version: 1 });
    });
  });
});
