import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Caller, Cancelled } from '../../src/commands/commands.ts';
import { statusOf } from '../../src/events/notification.ts';
import { eventually } from '../support/eventually.ts';
import { CALLER, requestFor, startPipeline, type Pipeline } from '../support/pipeline.ts';
import {
  ACCEPT,
  BUSY,
  REFUSE,
  SILENT_LOSS,
  scriptedProvider,
  type Behaviour,
  type ScriptedProvider,
} from '../support/provider.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { registered, requested, withWorld } from '../support/world.ts';

const OTHER: Caller = { ...CALLER, tenant: 'other' };
const UNKNOWN = '018f3a52-0000-7000-8000-000000000009';

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn();
}

/** One notification: how the provider behaves and how long it takes; that many calls and turns later it is cancelled. */
interface Story {
  readonly behaviours: readonly Behaviour[];
  readonly sendTurns: number;
  readonly cancelCalls: number;
  readonly cancelTurns: number;
}

const anyStory: fc.Arbitrary<Story> = fc.record({
  behaviours: fc.array(
    fc.constantFrom<Behaviour>(ACCEPT, ACCEPT, BUSY, BUSY, REFUSE, SILENT_LOSS, { kind: 'silently' }),
    {
      minLength: 4,
      maxLength: 4,
    },
  ),
  sendTurns: fc.nat(60),
  cancelCalls: fc.nat(2),
  cancelTurns: fc.nat(60),
});

async function tell(pipeline: Pipeline, provider: ScriptedProvider, story: Story, index: number): Promise<Cancelled> {
  const input = requestFor('ada', { campaign: String(index) });
  const { notification } = await pipeline.commands.requestNotification(CALLER, input);
  const { id } = notification.state;
  await eventually(async () => {
    const calls = provider.calls.filter(({ notificationId }) => notificationId === id).length;
    if (calls < story.cancelCalls) expect(await statusNow(pipeline, id)).toBe('COMPLETED');
  });
  await turns(story.cancelTurns);
  return pipeline.commands.cancelNotification(CALLER, id);
}

async function statusNow({ queries }: Pipeline, id: string): Promise<string | null> {
  const view = await queries.notification('default', id);
  return view && statusOf(view.state);
}

function providerOf(
  stories: readonly Story[],
  campaignOf: (notificationId: string) => Promise<string>,
): ScriptedProvider {
  const calls = new Map<string, number>();
  return scriptedProvider(async ({ notificationId }) => {
    const index = await campaignOf(notificationId);
    const call = calls.get(index) ?? 0;
    calls.set(index, call + 1);
    const { sendTurns = 0, behaviours = [] } = stories[Number(index)] ?? {};
    await turns(sendTurns);
    return behaviours[call] ?? ACCEPT;
  });
}

async function check(pipeline: Pipeline, provider: ScriptedProvider, told: Cancelled): Promise<void> {
  const view = await pipeline.queries.notification('default', told.notification.state.id);
  const copies = provider.accepted.filter(({ notificationId }) => notificationId === view?.state.id).length;
  if (told.cancelled) expect(copies).toBe(0);
  for (const { delivery, outcome } of told.deliveries) {
    const after = view?.state.deliveries.find(({ id }) => id === delivery.id);
    if (outcome === 'CANCELLED') expect([copies, after?.status === 'SENT']).toEqual([0, false]);
    if (outcome === 'TOO_LATE') expect([copies > 0, after?.status]).toEqual([true, 'SENT']);
    expect(after?.attempts).toBe(delivery.attempts);
  }
}

describe('cancelling while it is being sent', () => {
  it('tells an outcome that nothing afterwards contradicts, and no attempt follows', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStory, { minLength: 8, maxLength: 16 }), (stories) =>
        withTempDir(async (folder) => {
          let campaignOf = (_: string): Promise<string> => Promise.resolve('');
          const provider = providerOf(stories, (id) => campaignOf(id));
          const { value: pipeline, stop } = await startPipeline(folder, {
            sender: provider.sender,
            policy: { retryDelaysMs: [1, 1, 1] },
          });
          campaignOf = async (id) => (await pipeline.queries.notification('default', id))?.state.request.campaign ?? '';
          try {
            await pipeline.commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
            const told = await Promise.all(stories.map((each, index) => tell(pipeline, provider, each, index)));
            await untilEnded(pipeline, told);
            for (const each of told) await check(pipeline, provider, each);
          } finally {
            await stop();
          }
        }),
      ),
      { numRuns: 10 },
    );
  });
});

async function untilEnded(pipeline: Pipeline, told: readonly Cancelled[]): Promise<void> {
  await eventually(
    async () => {
      for (const { notification } of told) {
        expect(['CANCELLED', 'COMPLETED']).toContain(await statusNow(pipeline, notification.state.id));
      }
    },
    { timeoutMs: 10_000 },
  );
}

/** All that can be read off the notification of an answer. */
function told({ notification: { state, timeline } }: Cancelled): object {
  return { state, timeline: timeline() };
}

describe('cancelling', () => {
  it('an unrouted request says that nothing will be sent, and is told in its story', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const id = await requested(world);
      const { cancelled, deliveries, notification } = await world.commands.cancelNotification(
        { ...CALLER, correlationId: 'request-2' },
        id,
      );
      expect([cancelled, deliveries, statusOf(notification.state)]).toEqual([true, [], 'CANCELLED']);
      expect(notification.timeline().map(({ type }) => type)).toEqual([
        'NotificationRequested',
        'NotificationCancelled',
      ]);
      const [event] = (await world.log.read(`notification-${id}`)).slice(-1);
      expect(event?.metadata).toMatchObject({ correlationId: 'request-2', notification: { id, userId: 'ada' } });
    });
  });

  it('again gives the same answer and records nothing', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const id = await requested(world);
      const first = await world.commands.cancelNotification(CALLER, id);
      const head = await world.log.head();
      const again = await world.commands.cancelNotification(CALLER, id);
      expect({ ...again, notification: told(again) }).toEqual({ ...first, notification: told(first) });
      expect(await world.log.head()).toBe(head);
    });
  });

  it('thirty times at once records it once', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const id = await requested(world);
      await Promise.all(Array.from({ length: 30 }, () => world.commands.cancelNotification(CALLER, id)));
      expect(await world.log.read(`notification-${id}`)).toHaveLength(2);
    });
  });
});

describe('what belongs to another tenant', () => {
  it('answers exactly like what does not exist', async () => {
    await withWorld(async (world) => {
      await registered(world);
      await world.commands.publishTemplate(CALLER, {
        key: 'welcome',
        locale: null,
        channel: null,
        title: null,
        body: 'x',
        html: null,
      });
      const id = await requested(world);
      const head = await world.log.head();
      const { commands, queries } = world;
      expect(await queries.notification('other', id)).toBeNull();
      expect(await queries.user('other', 'ada')).toBeNull();
      expect(await queries.template('other', 'welcome', 1)).toBeNull();
      const asked = (template: string | null, userId = 'ada') => {
        const changes = template === null ? {} : { content: null, template: { key: template, version: null } };
        return commands.requestNotification(OTHER, requestFor(userId, changes));
      };
      await same([id, UNKNOWN, 'no id at all'], (each) => commands.cancelNotification(OTHER, each));
      await same(['ada', 'nobody'], (each) => asked(null, each));
      await same(['ada', 'nobody'], (userId) =>
        commands.setPreference(OTHER, { userId, channel: 'EMAIL', category: null, optIn: true }),
      );
      expect(await world.log.head()).toBe(head);
      await commands.registerUser(OTHER, { id: 'ada', email: 'ada@other.example' });
      await same(['welcome', 'unknown'], (each) => asked(each));
    });
  });
});

/** Every name is refused in the same words, but for the name. */
async function same(names: readonly string[], act: (name: string) => Promise<unknown>): Promise<void> {
  const answers = await Promise.all(
    names.map(async (name) => {
      const error: unknown = await act(name).catch((reason: unknown) => reason);
      if (!(error instanceof Error)) throw new Error(`${name} was accepted`);
      return JSON.stringify([error, error.message]).replaceAll(name, 'NAME');
    }),
  );
  expect(new Set(answers).size).toBe(1);
}
