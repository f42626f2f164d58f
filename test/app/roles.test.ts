import { describe, expect, it } from 'vitest';
import { streamOf } from '../../src/ids.ts';
import { start } from '../../src/lifecycle.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { PATIENCE_MS } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { openFleet, type Fleet, type Member } from '../support/fleet.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import type { Service } from '../support/service.ts';

const REQUESTS = 400;
const USERS = 10;
const CHUNK = 50;
const PATIENCE = { timeoutMs: 60_000, pauseMs: 200 };
/** What the service promises for a holder that was killed, and time to notice. */
const REPLACED = { timeoutMs: 20_000, pauseMs: 100 };

const SINGLE_ROLES = ['route', 'dispatch', 'analytics'] as const;

async function registerUsers({ ask }: Service): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    const id = `user-${String(user)}`;
    await ask(`mutation { registerUser(input: {id: "${id}", email: "${id}@example.com"}) { id } }`);
  }
}

const BULK =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { error { code } notification { id } } }';

/** Answers their ids. */
async function request({ ask }: Service, from: number, number: number): Promise<readonly string[]> {
  const inputs = Array.from({ length: number }, (_, index) => ({
    userId: `user-${String((from + index) % USERS)}`,
    idempotencyKey: `key-${String(from + index)}`,
    content: { title: 'Hello', body: `Message ${String(from + index)}` },
  }));
  const { requestNotifications } = await ask<{
    requestNotifications: readonly { error: unknown; notification: { id: string } | null }[];
  }>(BULK, { inputs });
  expect(requestNotifications.filter(({ error }) => error !== null)).toEqual([]);
  return requestNotifications.flatMap(({ notification }) => notification?.id ?? []);
}

async function typesIn(log: EventLog, id: string): Promise<readonly string[]> {
  return (await log.read(streamOf.notification(id))).map(({ type }) => type);
}

function figuresOf({ ask }: Service): Promise<unknown> {
  const [from, to] = [-86_400_000, 86_400_000].map((ms) => new Date(Date.now() + ms).toISOString());
  return ask(
    `{ funnel(input: {stages: [REQUESTED, SENT], from: "${String(from)}", to: "${String(to)}"}) { groups { stages { count } } } }`,
  );
}

function figures(count: number): object {
  return { funnel: { groups: [{ stages: [{ count }, { count }] }] } };
}

async function isReady({ service }: Member): Promise<void> {
  await eventually(async () => expect((await fetch(`${service.url}/readyz`)).status).toBe(200), PATIENCE);
}

/** Two of each, but for senders of e-mail, of which there is one. */
async function openCouples(fleet: Fleet): Promise<{ readonly apis: readonly Service[]; readonly members: Member[] }> {
  const members: Member[] = [];
  for (const role of ['api', 'api', ...SINGLE_ROLES, ...SINGLE_ROLES, 'sender:email'] as const) {
    members.push(await fleet.add(role));
  }
  for (const member of members) await isReady(member);
  return { apis: members.slice(0, 2).map(({ service }) => service), members };
}

describe('processes that share the work', () => {
  it.skipIf(lacksRabbit())(
    'route, send and count everything once, while those who hold the leases are killed',
    async () => {
      const { stop } = await start(async (scope) => {
        const fleet = scope.use(await openFleet());
        const { apis } = await openCouples(fleet);
        const [one, other] = apis as [Service, Service];
        await registerUsers(one);
        const ids: string[] = [];
        for (let from = 0; from < REQUESTS; from += CHUNK) {
          ids.push(...(await request(from % (2 * CHUNK) === 0 ? one : other, from, CHUNK)));
          if (from === 2 * CHUNK) await replaceHolders(fleet);
        }
        await eventually(async () => {
          const stories = await Promise.all(ids.map((id) => typesIn(fleet.log, id)));
          expect(stories.filter((types) => !types.includes('DeliverySent')).length).toBe(0);
        }, PATIENCE);
        const stories = await Promise.all(ids.map((id) => typesIn(fleet.log, id)));
        const routings = stories.map((types) => types.filter((type) => type === 'NotificationRouted').length);
        expect(new Set(ids).size).toBe(REQUESTS);
        expect(new Set(routings)).toEqual(new Set([1]));
        expect(fleet.sink.copies.size).toBe(REQUESTS);
        expect([...fleet.sink.copies.values()].reduce((sum, copies) => sum + copies, 0)).toBe(REQUESTS);
        for (const api of apis) {
          await eventually(async () => expect(await figuresOf(api)).toEqual(figures(REQUESTS)), PATIENCE);
          await eventually(async () => {
            const { queues } = await api.ask<{ queues: readonly { depth: number }[] }>(
              '{ queues { name depth dead } }',
            );
            expect(queues.length).toBe(10);
            expect(queues.every(({ depth }) => depth === 0)).toBe(true);
          }, PATIENCE);
        }
      });
      await stop();
    },
    PATIENCE_MS + 240_000,
  );
});

/** Kills whoever holds a lease, all at once, and waits for the others. */
async function replaceHolders(fleet: Fleet): Promise<void> {
  const holders = await Promise.all(
    SINGLE_ROLES.map((role) => eventually(() => present(fleet.holderOf(role)), PATIENCE)),
  );
  await Promise.all(holders.map((holder) => holder.kill()));
  await Promise.all(
    SINGLE_ROLES.map((role, index) =>
      eventually(async () => expect(await present(fleet.holderOf(role))).not.toBe(holders[index]), REPLACED),
    ),
  );
}

async function present<T>(wanted: Promise<T | null>): Promise<T> {
  const found = await wanted;
  if (found === null) throw new Error('nobody yet');
  return found;
}
