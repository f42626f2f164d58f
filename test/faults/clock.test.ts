import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { decode } from '../../src/events/codec.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import { startAnalytics } from '../../src/projections/analytics.ts';
import { startLease } from '../../src/projections/lease.ts';
import type { Scope } from '../../src/lifecycle.ts';
import { openScope } from '../../src/lifecycle.ts';
import { LIMITS } from '../app/analytics-limits.ts';
import { storedTables, toldTables } from '../app/analytics-tables.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { CALLER, requestFor, SILENT, startPipeline, type Pipeline } from '../support/pipeline.ts';
import { ACCEPT, BUSY, scriptedProvider, type Behaviour } from '../support/provider.ts';
import { randomFrom } from '../support/random.ts';
import { openTally } from '../support/tally.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { everything, typesOf } from '../support/world.ts';
import type { Wish } from './load.ts';
import { rounds, ROUNDS_MS, SEED, SETTLED } from './settings.ts';
import { judge, judgeTables, stillOpen } from './verdict.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const JUMPS = [HOUR_MS, -HOUR_MS, DAY_MS, -DAY_MS];
const REQUESTS = 400;
const USERS = 5;

/** A clock that goes on, and jumps on command. */
function jumpingClock(): {
  readonly now: () => number;
  readonly jump: (ms: number) => void;
  readonly latest: () => number;
} {
  let offset = 0;
  let latest = 0;
  const now = (): number => {
    const time = Date.now() + offset;
    latest = Math.max(latest, time);
    return time;
  };
  return { now, jump: (ms) => void (offset += ms), latest: () => latest };
}

/** Accepts most, is busy now and then, and sometimes keeps its answer to itself. */
function moody(random: () => number): ReturnType<typeof scriptedProvider> {
  return scriptedProvider(async (): Promise<Behaviour> => {
    const mood = random();
    await delay(random() * 30);
    return mood < 0.8 ? ACCEPT : mood < 0.95 ? BUSY : { kind: 'silently' };
  });
}

async function withScope(work: (scope: Scope, folder: string) => Promise<string>): Promise<string> {
  return withTempDir(async (folder) => {
    const scope = openScope();
    return work(scope, folder).finally(scope.stop);
  });
}

async function registerUsers({ commands }: Pipeline): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    const id = `user-${String(user)}`;
    await commands.registerUser(CALLER, { id, email: `${id}@example.com` });
  }
}

/** Asks until all is asked for; the clock jumps meanwhile. Answers what was acknowledged. */
async function requestAll(
  { commands }: Pipeline,
  clock: ReturnType<typeof jumpingClock>,
  random: () => number,
): Promise<ReadonlyMap<string, Wish>> {
  const acknowledged = new Map<string, Wish>();
  const at = (ms: number): Date => new Date(ms);
  for (let index = 0; index < REQUESTS; index += 1) {
    const wish = random() < 0.7 ? 'now' : random() < 0.5 ? 'later' : 'short-lived';
    const request = requestFor(`user-${String(index % USERS)}`, {
      idempotencyKey: `key-${String(index)}`,
      lane: random() < 0.5 ? 'BULK' : 'TRANSACTIONAL',
      deliverAt: wish === 'later' ? at(clock.now() + random() * 2 * HOUR_MS) : null,
      expiresAt: wish === 'short-lived' ? at(clock.now() + 1_000 + random() * DAY_MS) : null,
    });
    const { notification } = await commands.requestNotification(CALLER, request);
    acknowledged.set(notification.state.id, wish);
    if (random() < 0.05) clock.jump(JUMPS[Math.floor(random() * JUMPS.length)] ?? 0);
    if (random() < 0.2) await delay(random() * 40);
  }
  return acknowledged;
}

async function run(seed: number): Promise<string> {
  const random = randomFrom(seed);
  return withScope(async (scope, folder) => {
    const clock = jumpingClock();
    const { now } = clock;
    const provider = moody(randomFrom(seed + 1));
    const policy = { retryDelaysMs: Array.from({ length: 20 }, () => 20) };
    const pipeline = scope.use(await startPipeline(folder, { sender: provider.sender, now, policy }));
    const { log } = pipeline;
    const analytics = scope.use(await openTestAnalytics(join(folder, 'analytics')));
    scope.use(startAnalytics({ log, analytics, logger: SILENT, ids: systemIds, now, limits: LIMITS }));
    await registerUsers(pipeline);
    const acknowledged = await requestAll(pipeline, clock, random);
    // What was decided while the clock was ahead is due when it is there again.
    clock.jump(clock.latest() + DAY_MS - now());
    const events = await eventually(async () => {
      const found = await everything({ log });
      expect(stillOpen({ acknowledged, events: found }).slice(0, 5), 'requests without an outcome').toEqual([]);
      return found;
    }, SETTLED);
    const { copies, add } = openTally();
    for (const { deliveryId } of provider.accepted) add(deliveryId);
    const { problems, figures } = judge({ acknowledged, events, copies: new Map([['EMAIL', copies]]) });
    expect(problems).toEqual([]);
    await eventually(async () => {
      expect(judgeTables(await storedTables(analytics), await toldTables(log))).toEqual([]);
    }, SETTLED);
    const { deliveries, doubts, duplicates } = figures;
    return `${String(deliveries)} deliveries, 0 lost, ${String(doubts)} in doubt, ${String(duplicates)} duplicates`;
  });
}

describe('a clock that jumps by hours and days', () => {
  it('loses nothing and doubles nothing but what is in doubt', () => rounds('a jumping clock', run), ROUNDS_MS);

  it(
    'brings what is due then, though nothing else happens',
    async () => {
      await withScope(async (scope, folder) => {
        const clock = jumpingClock();
        const { sender } = scriptedProvider(() => ACCEPT);
        const pipeline = scope.use(await startPipeline(folder, { sender, now: clock.now }));
        await registerUsers(pipeline);
        const deliverAt = new Date(clock.now() + HOUR_MS);
        const { notification } = await pipeline.commands.requestNotification(
          CALLER,
          requestFor('user-0', { deliverAt }),
        );
        const { id } = notification.state;
        await delay(200);
        clock.jump(HOUR_MS);
        await eventually(async () => expect(await typesOf(pipeline, id)).toContain('DeliverySent'), SETTLED);
        return 'sent';
      });
    },
    ROUNDS_MS,
  );

  it(
    'takes a lease from nobody',
    async () => {
      await withScope(async (scope, folder) => {
        const clock = jumpingClock();
        const random = randomFrom(SEED);
        const { sender } = scriptedProvider(() => ACCEPT);
        const { log } = scope.use(await startPipeline(folder, { sender, now: clock.now }));
        const common = { log, name: 'route', ids: systemIds, now: clock.now, logger: SILENT };
        const first = scope.use(startLease({ ...common, holder: 'first' }));
        await eventually(() => expect(first.heldSince()).not.toBeNull(), SETTLED);
        const second = scope.use(startLease({ ...common, holder: 'second' }));
        const renewals = async (): Promise<number> => (await log.read(streamOf.lease('route'))).length;
        const before = await renewals();
        await eventually(async () => {
          clock.jump(JUMPS[Math.floor(random() * JUMPS.length)] ?? 0);
          expect(second.heldSince()).toBeNull();
          expect((await renewals()) - before).toBeGreaterThan(1);
        }, SETTLED);
        const taken = (await log.read(streamOf.lease('route'))).filter((event) => decode(event).type === 'LeaseTaken');
        expect(taken.length).toBe(1);
        return 'held';
      });
    },
    ROUNDS_MS,
  );
});
