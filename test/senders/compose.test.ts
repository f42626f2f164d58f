import { describe, expect, it } from 'vitest';
import type { PublishTemplate, RequestNotification } from '../../src/commands/commands.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { composeWith } from '../../src/senders/compose.ts';
import { CALLER, requestFor } from '../support/pipeline.ts';
import { registered, withWorld, type World } from '../support/world.ts';

const HELLO: PublishTemplate = {
  key: 'hello',
  locale: null,
  channel: null,
  title: 'any',
  body: 'any {{name}}',
  html: null,
};
const NAMED = { content: null, template: { key: 'hello', version: null }, data: { name: '<Ada>' } };

async function ask({ commands }: World, changes: Partial<RequestNotification>): Promise<NotificationState> {
  return (await commands.requestNotification(CALLER, requestFor('ada', changes))).notification.state;
}

/** Three versions: for every channel; with another one for e-mail; with that one changed so that it needs more data. */
function withTemplate(work: (world: World, second: NotificationState) => Promise<void>): Promise<void> {
  return withWorld(async (world) => {
    await registered(world);
    await world.commands.publishTemplate(CALLER, HELLO);
    await world.commands.publishTemplate(CALLER, {
      ...HELLO,
      channel: 'EMAIL',
      title: 'mail',
      body: '{{name}}',
      html: '{{name}}',
    });
    const second = await ask(world, NAMED);
    await world.commands.publishTemplate(CALLER, { ...HELLO, channel: 'EMAIL', body: 'new {{surname}}' });
    await work(world, second);
  });
}

describe('the words of a notification', () => {
  it('are its own where it has some', async () => {
    await withTemplate(async (world) => {
      const content = { title: null, body: '{{not a template}}', html: '<b>', url: 'app://x' };
      const own = await ask(world, { content });
      expect(await composeWith(world.log)(own, 'EMAIL')).toEqual({ ok: true, content });
    });
  });

  it('come from the version that was newest at the request, by the variant of the channel', async () => {
    await withTemplate(async ({ log }, second) => {
      expect(second.request.template).toEqual({ key: 'hello', version: 2 });
      const compose = composeWith(log);
      const mail = { title: 'mail', body: '<Ada>', html: '&lt;Ada&gt;', url: null };
      expect(await compose(second, 'EMAIL')).toEqual({ ok: true, content: mail });
      expect(await compose(second, 'SMS')).toMatchObject({ ok: true, content: { title: 'any', body: 'any <Ada>' } });
    });
  });

  it('come from the version that was asked for', async () => {
    await withTemplate(async (world) => {
      const first = await ask(world, { ...NAMED, template: { key: 'hello', version: 1 } });
      expect(await composeWith(world.log)(first, 'EMAIL')).toMatchObject({ content: { body: 'any <Ada>' } });
    });
  });

  it('are not taken from another version while the log does not show the right one yet', async () => {
    await withTemplate(async ({ log }, second) => {
      let shown = 1;
      const behind: EventLog = { ...log, read: async (...args) => (await log.read(...args)).slice(0, shown) };
      const compose = composeWith(behind);
      await expect(compose(second, 'EMAIL')).rejects.toThrow('version 2');
      shown = 3;
      expect(await compose(second, 'EMAIL')).toMatchObject({ ok: true, content: { title: 'mail' } });
    });
  });

  it('are missing where the template cannot be rendered any more, and that is said', async () => {
    await withTemplate(async ({ log }, second) => {
      const bare: NotificationState = { ...second, request: { ...second.request, data: null } };
      const composed = await composeWith(log)(bare, 'EMAIL');
      expect(composed).toEqual({ ok: false, message: expect.stringContaining('name') as string });
    });
  });

  it('are tried again later where the process stood still while they were rendered', async () => {
    await withTemplate(async ({ log }, second) => {
      const data = {
        get name(): string {
          const until = performance.now() + 110;
          while (performance.now() < until);
          return 'Ada';
        },
      };
      const held: NotificationState = { ...second, request: { ...second.request, data } };
      const compose = composeWith(log);
      await expect(compose(held, 'EMAIL')).rejects.toThrow('rendering took too long');
      expect(await compose(second, 'EMAIL')).toMatchObject({ ok: true });
    });
  });

  it('are read once, as long as the versions that are kept do not grow too long', async () => {
    await withTemplate(async ({ log }, second) => {
      const asked = (version: number): NotificationState => ({
        ...second,
        request: { ...second.request, template: { key: 'hello', version } },
      });
      expect(await readsFor(log, 1_000, [asked(1), asked(2), asked(1), asked(2)])).toBe(2);
      expect(await readsFor(log, 9_000_000, [asked(1), asked(2), asked(1), asked(2)])).toBe(4);
    });
  });
});

/** How often the log is read for these, one after the other, with templates of this length. */
async function readsFor(log: EventLog, length: number, notifications: readonly NotificationState[]): Promise<number> {
  let reads = 0;
  const variants = [{ channel: null, locale: null, title: null, body: 'x'.repeat(length), html: null }];
  const read: EventLog['read'] = async (...args) => {
    reads += 1;
    const events = await log.read(...args);
    return events.map((event, at) => ({ ...event, data: { key: 'hello', version: at + 1, variants } }));
  };
  const compose = composeWith({ ...log, read });
  for (const notification of notifications) await compose(notification, 'SMS');
  return reads;
}
