import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import { eventually } from '../support/eventually.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import { everything } from '../support/world.ts';
import { randomFrom } from '../support/random.ts';
import { registerUsers, startLoad } from './load.ts';
import { probe } from './probe.ts';
import { openRig, type Rig } from './rig.ts';
import { rounds, ROUNDS_MS, SEED, SETTLED, TELLS } from './settings.ts';
import { copiesAt } from './sinks.ts';
import { judge, stillOpen } from './verdict.ts';
import type { Unit } from './unit.ts';

/** What the state of a process that has ended says of its queues: how many jobs it takes for published. */
async function markedIn({ folder }: Unit, logId: string): Promise<number> {
  const { value: states, stop } = await openLmdbState(join(folder, 'state', logId));
  try {
    return states.open('dispatch-2').count(['fed']);
  } finally {
    await stop();
  }
}

/** Jobs in the queues of e-mail. */
async function published({ rabbit, prefix }: Rig): Promise<number> {
  const lines = (await rabbit.ctl('-q', 'list_queues', 'name', 'messages')).split('\n');
  const counts = lines.map((line) => /^(\S+)\s+(\d+)$/.exec(line)).filter((found) => found !== null);
  const work = counts.filter(([, name]) => name?.startsWith(`${prefix}email.`) && !name.includes('.retry.'));
  return work.reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** Dispatch is killed when its queues have taken jobs, or nothing has come to them, and it heard of neither. */
async function run(rig: Rig, seed: number, what: 'everything' | 'answers'): Promise<string> {
  const { units, apis, log, sinks } = rig;
  const mails = (): number => copiesAt(sinks).get('EMAIL')?.size ?? 0;
  const dispatch = units.find(({ roles }) => roles.includes('dispatch'));
  const sender = units.find(({ roles }) => roles.includes('sender:email'));
  if (dispatch === undefined || sender === undefined) throw new Error('a process is missing');
  await registerUsers(apis);
  // So that there is a channel that answers can fail to come back on.
  await probe(rig, seed);
  await sender.kill();
  const thaw = dispatch.link('RabbitMQ')?.freeze(what);
  const load = startLoad({ apis, random: randomFrom(seed), name: 'unconfirmed' });
  await eventually(() => expect(load.acknowledged.size).toBeGreaterThan(60), SETTLED);
  await load.stop();
  if (what === 'answers') await eventually(async () => expect(await published(rig)).toBeGreaterThan(0), SETTLED);
  await eventually(async () => {
    const routed = (await everything({ log })).filter(({ type }) => type === 'NotificationRouted');
    expect(routed.length).toBeGreaterThan(30);
  }, SETTLED);
  await dispatch.kill();
  expect(await markedIn(dispatch, log.id), 'jobs that are taken for published, and no confirm ever came').toBe(0);
  const inQueues = await published(rig);
  expect(mails()).toBe(1);
  thaw?.();
  await Promise.all([dispatch.start(), sender.start()]);
  const { acknowledged } = load;
  const events = await eventually(async () => {
    const found = await everything({ log });
    expect(stillOpen({ acknowledged, events: found }).slice(0, 5), 'requests without an outcome').toEqual([]);
    return found;
  }, SETTLED);
  const { problems, figures } = judge({ acknowledged, events, copies: copiesAt(sinks) });
  expect(problems).toEqual([]);
  expect([figures.doubts, figures.duplicates]).toEqual([0, 0]);
  return `killed with ${String(inQueues)} jobs in the queues and none marked: ${String(mails())} mails, each once`;
}

describe.skipIf(lacksRabbit())('whoever feeds the queues, killed before it hears of what it published', () => {
  // Each takes twenty seconds: one of them, by the seed, where nobody asked for more.
  it.each((['answers', 'everything'] as const).filter((_, index) => TELLS || index === SEED % 2))(
    'marks nothing, and publishes again (lost: %s)',
    (what) =>
      rounds(`unconfirmed, lost: ${what}`, async (seed) => {
        const { value, stop } = await openRig([['api'], ['route'], ['dispatch'], ['sender:email']]);
        return run(value, seed, what).finally(stop);
      }),
    ROUNDS_MS,
  );
});
