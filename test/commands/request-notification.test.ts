import { describe, expect, it } from 'vitest';
import type { Caller, PublishTemplate, Requested, RequestNotification } from '../../src/commands/commands.ts';
import { createCommands } from '../../src/commands/create.ts';
import { DomainError } from '../../src/errors.ts';
import { at } from '../support/given.ts';
import { CALLER, requestFor } from '../support/pipeline.ts';
import { everything, registered, withWorld, type World } from '../support/world.ts';

const OTHER: Caller = { ...CALLER, tenant: 'other' };
const KEYED = { idempotencyKey: 'order-1' };
const GREETING: PublishTemplate = {
  key: 'hi',
  locale: null,
  channel: null,
  title: null,
  body: 'Hi {{user.name}}',
  html: null,
};

/** A user and a template are there. */
function withAda(work: (world: World) => Promise<void>): Promise<void> {
  return withWorld(async (world) => {
    await registered(world);
    await world.commands.publishTemplate(CALLER, GREETING);
    await work(world);
  });
}

function ask({ commands }: World, changes: Partial<RequestNotification> = {}, caller = CALLER): Promise<Requested> {
  return commands.requestNotification(caller, requestFor('ada', changes));
}

/** All that can be read off an answer. */
function told({ notification, cursor, replayed }: Requested): object {
  return { state: notification.state, timeline: notification.timeline(), cursor: cursor(), replayed };
}

/** Nothing may be appended by what is refused. */
async function refusal({ log }: World, act: () => Promise<unknown>): Promise<object> {
  const before = await log.head();
  const error: unknown = await act().then(
    () => new Error('it was accepted'),
    (reason: unknown) => reason,
  );
  expect(await log.head()).toBe(before);
  if (!(error instanceof DomainError)) throw error;
  return { code: error.code, field: error.field };
}

function withKey(asSent: object): Partial<RequestNotification> {
  return { ...KEYED, asSent };
}

describe('an idempotency key', () => {
  it('with the same input gives the first answer again', async () => {
    await withAda(async (world) => {
      const first = await ask(world, KEYED);
      const head = await world.log.head();
      world.clock.advance(60_000);
      const again = await ask(world, KEYED);
      expect(told(again)).toEqual({ ...told(first), replayed: true });
      expect(first.replayed).toBe(false);
      expect(await world.log.head()).toBe(head);
    });
  });

  it('with another input is a conflict', async () => {
    await withAda(async (world) => {
      await ask(world, KEYED);
      const other = { ...KEYED, content: { title: null, body: 'Other', html: null, url: null } };
      expect(await refusal(world, () => ask(world, other))).toEqual({
        code: 'IDEMPOTENCY_CONFLICT',
        field: 'idempotencyKey',
      });
    });
  });

  it('used fifty times at once makes one notification', async () => {
    await withAda(async (world) => {
      const answers = await Promise.all(Array.from({ length: 50 }, () => ask(world, KEYED)));
      expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(new Set(answers.map(({ notification }) => notification.state.lastEventId)).size).toBe(1);
      expect(await everything(world, ['NotificationRequested'])).toHaveLength(1);
    });
  });

  it('used at once with different inputs lets one win, and the others are told', async () => {
    await withAda(async (world) => {
      const inputs = Array.from({ length: 10 }, (_, index) => requestFor('ada', { ...KEYED, campaign: String(index) }));
      const results = await world.commands.requestNotifications(CALLER, inputs);
      const codes = results.map((result) => (result instanceof DomainError ? result.code : 'accepted'));
      expect(codes.toSorted()).toEqual([...Array.from({ length: 9 }, () => 'IDEMPOTENCY_CONFLICT'), 'accepted']);
      expect(await everything(world, ['NotificationRequested'])).toHaveLength(1);
    });
  });

  it('is looked at before the rules: a replay is answered though the request would be refused today', async () => {
    await withAda(async (world) => {
      const input = {
        ...KEYED,
        expiresAt: new Date(at(10_000)),
        content: null,
        template: { key: 'hi', version: null },
        data: { user: { name: 'Ada' } },
      };
      const first = await ask(world, input);
      await world.commands.registerUser(CALLER, { id: 'ada', email: null });
      await world.commands.publishTemplate(CALLER, { ...GREETING, body: 'Hi {{another}}' });
      world.clock.advance(60_000);
      expect(told(await ask(world, input))).toEqual({ ...told(first), replayed: true });
      expect(await refusal(world, () => ask(world, { ...input, idempotencyKey: 'order-2' }))).toMatchObject({
        code: 'INVALID_SCHEDULE',
      });
    });
  });

  it('takes null and a field left out for the same input, and the order of fields for nothing', async () => {
    await withAda(async (world) => {
      const first = await ask(world, withKey({ userId: 'ada', data: { a: 1, b: { c: null } } }));
      const same = [
        { data: { b: {}, a: 1 }, userId: 'ada', campaign: null },
        { userId: 'ada', data: { a: 1, b: { c: undefined } } },
      ];
      for (const asSent of same)
        expect(told(await ask(world, withKey(asSent)))).toEqual({ ...told(first), replayed: true });
      for (const asSent of [
        { userId: 'ada', data: { a: 1 } },
        { userId: 'ada', data: { a: '1', b: {} } },
      ]) {
        expect(await refusal(world, () => ask(world, withKey(asSent)))).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
      }
    });
  });

  it('of another tenant has nothing to do with it', async () => {
    await withAda(async (world) => {
      await world.commands.registerUser(OTHER, { id: 'ada', email: 'ada@other.example' });
      const [mine, theirs] = [await ask(world, KEYED), await ask(world, KEYED, OTHER)];
      expect(theirs.replayed).toBe(false);
      expect(theirs.notification.state.id).not.toBe(mine.notification.state.id);
      expect(theirs.notification.state.tenant).toBe('other');
    });
  });

  it('keeps neither the key nor the input readable beside the event’s own fields', async () => {
    await withAda(async (world) => {
      await ask(world, { idempotencyKey: 'a-telling-key' });
      const [event] = await everything(world, ['NotificationRequested']);
      expect(JSON.stringify(event)).not.toContain('a-telling-key');
    });
  });
});

const CONTENT = { title: null, body: 'B', html: null, url: null };
const half = '\ud800';

/** What is asked, the code, the field. */
const BAD: readonly (readonly [string, Partial<RequestNotification>, string, string])[] = [
  ['an unknown user', { userId: 'nobody' }, 'USER_NOT_FOUND', 'userId'],
  ['a user of half a character', { userId: half }, 'INVALID_INPUT', 'userId'],
  ['a user without an address', { userId: 'mute' }, 'USER_UNREACHABLE', 'userId'],
  [
    'a channel that the user cannot be reached on',
    { userId: 'mute', channels: ['EMAIL'] },
    'USER_UNREACHABLE',
    'channels',
  ],
  ['no channel', { channels: [] }, 'INVALID_INPUT', 'channels'],
  ['both content and template', { template: { key: 'hi', version: null } }, 'CONTENT_OR_TEMPLATE', 'template'],
  ['neither content nor template', { content: null }, 'CONTENT_OR_TEMPLATE', 'content'],
  ['an unknown template', { content: null, template: { key: 'no', version: null } }, 'TEMPLATE_NOT_FOUND', 'template'],
  ['a version to come', { content: null, template: { key: 'hi', version: 2 } }, 'TEMPLATE_NOT_FOUND', 'template'],
  ['version zero', { content: null, template: { key: 'hi', version: 0 } }, 'TEMPLATE_NOT_FOUND', 'template'],
  ['a version below zero', { content: null, template: { key: 'hi', version: -1 } }, 'TEMPLATE_NOT_FOUND', 'template'],
  [
    'a missing variable',
    { content: null, template: { key: 'hi', version: 1 } },
    'TEMPLATE_VARIABLE_MISSING',
    'data.user.name',
  ],
  [
    'a variable that is null',
    { content: null, template: { key: 'hi', version: 1 }, data: { user: { name: null } } },
    'TEMPLATE_VARIABLE_MISSING',
    'data.user.name',
  ],
  [
    'data that cannot be written',
    { content: null, template: { key: 'hi', version: 1 }, data: { user: { name: {} } } },
    'TEMPLATE_UNRENDERABLE',
    'data',
  ],
  ['an empty body', { content: { ...CONTENT, body: ' \n' } }, 'INVALID_INPUT', 'content.body'],
  [
    'a title that begins another header',
    { content: { ...CONTENT, title: 'Hi\r\nBcc: eve@example.com' } },
    'INVALID_INPUT',
    'content.title',
  ],
  [
    'a link that runs a program',
    { content: { ...CONTENT, url: 'javascript:alert(1)' } },
    'INVALID_INPUT',
    'content.url',
  ],
  ['a link that is none', { content: { ...CONTENT, url: '/home' } }, 'INVALID_INPUT', 'content.url'],
  ['an empty category', { category: '' }, 'INVALID_INPUT', 'category'],
  ['a campaign with a line break', { campaign: 'a\nb' }, 'INVALID_INPUT', 'campaign'],
  [
    'a deadline before the time of delivery',
    { deliverAt: new Date(at(9_000)), expiresAt: new Date(at(8_000)) },
    'INVALID_SCHEDULE',
    'expiresAt',
  ],
  [
    'a deadline at the time of delivery',
    { deliverAt: new Date(at(9_000)), expiresAt: new Date(at(9_000)) },
    'INVALID_SCHEDULE',
    'expiresAt',
  ],
  ['a deadline in the past', { expiresAt: new Date(at(-1)) }, 'INVALID_SCHEDULE', 'expiresAt'],
  ['a time of delivery long ago', { deliverAt: new Date(at(-300_001)) }, 'INVALID_SCHEDULE', 'deliverAt'],
  ['an empty key', { idempotencyKey: '' }, 'INVALID_INPUT', 'idempotencyKey'],
  ['a key that is too long', { idempotencyKey: 'k'.repeat(256) }, 'INVALID_INPUT', 'idempotencyKey'],
  ['a key of half a character', { idempotencyKey: half }, 'INVALID_INPUT', 'idempotencyKey'],
  ['more than 200 KiB of content', { content: { ...CONTENT, body: 'x'.repeat(205_000) } }, 'TOO_LARGE', 'content'],
  [
    'more than 200 KiB of data',
    { content: null, template: { key: 'hi', version: 1 }, data: { user: { name: 'x'.repeat(205_000) } } },
    'TOO_LARGE',
    'data',
  ],
  ['data that nest too deep', { asSent: { data: nested(40) } }, 'INVALID_INPUT', 'data'],
];

function nested(levels: number): unknown {
  return levels === 0 ? 1 : { deeper: nested(levels - 1) };
}

async function withMute(world: World): Promise<void> {
  await world.commands.registerUser(CALLER, { id: 'mute', locale: 'en' });
}

describe('a request', () => {
  it.each(BAD)('with %s is refused, and nothing is appended', async (_, changes, code, field) => {
    await withAda(async (world) => {
      await withMute(world);
      expect(await refusal(world, () => ask(world, changes))).toEqual({ code, field });
    });
  });

  it('fits with almost 200 KiB', async () => {
    await withAda(async (world) => {
      const content = { ...CONTENT, body: 'x'.repeat(200_000) };
      const input = { userId: 'ada', content };
      const { notification } = await ask(world, { content, asSent: input });
      expect(notification.state.request.content?.body).toHaveLength(200_000);
    });
  });

  it('up to five minutes late counts as now', async () => {
    await withAda(async (world) => {
      const { notification } = await ask(world, { deliverAt: new Date(at(-300_000)) });
      expect(notification.state.request.deliverAt).toBeNull();
    });
  });

  it('is answered with cursors that are signed only when they are asked for', async () => {
    await withAda(async (world) => {
      const { cursors, log } = world.context;
      let signed = 0;
      const of: typeof cursors.of = (...place) => {
        signed += 1;
        return cursors.of(...place);
      };
      const commands = createCommands({ ...world.context, cursors: { ...cursors, of } });
      await commands.requestNotifications(CALLER, [requestFor('ada'), requestFor('ada')]);
      const { notification, cursor } = await commands.requestNotification(CALLER, requestFor('ada', KEYED));
      expect(signed).toBe(0);
      expect(notification.timeline()).toMatchObject([{ type: 'NotificationRequested', cursor: cursor() }]);
      const place = { position: await log.head(), index: 0, at: world.clock.now(), notificationId: null };
      expect(cursors.read(CALLER.tenant, cursor())).toEqual(place);
    });
  });

  it('that names a channel twice goes to it once', async () => {
    await withAda(async (world) => {
      expect((await ask(world, { channels: ['EMAIL', 'EMAIL'] })).notification.state.request.channels).toEqual([
        'EMAIL',
      ]);
    });
  });
});

describe('a thousand requests at once', () => {
  it('are answered in order, and the bad ones fail alone', async () => {
    await withAda(async (world) => {
      const inputs = Array.from({ length: 1_000 }, (_, index) =>
        requestFor(index % 100 === 7 ? 'nobody' : 'ada', { campaign: String(index) }),
      );
      const results = await world.commands.requestNotifications(CALLER, inputs);
      expect(results).toHaveLength(1_000);
      results.forEach((result, index) => {
        if (result instanceof DomainError) expect([index % 100, result.code]).toEqual([7, 'USER_NOT_FOUND']);
        else expect(result.notification.state.request).toMatchObject({ userId: 'ada', campaign: String(index) });
      });
      expect(await everything(world, ['NotificationRequested'])).toHaveLength(990);
    });
  });

  it('and one more are refused as a whole', async () => {
    await withAda(async (world) => {
      const inputs = Array.from({ length: 1_001 }, () => requestFor('ada'));
      const act = (): Promise<unknown> => world.commands.requestNotifications(CALLER, inputs);
      expect(await refusal(world, act)).toEqual({ code: 'TOO_MANY_ITEMS', field: 'inputs' });
    });
  });
});
