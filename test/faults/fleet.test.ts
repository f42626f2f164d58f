import { describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import { storedTables, toldTables } from '../app/analytics-tables.ts';
import { eventually } from '../support/eventually.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import { randomFrom } from '../support/random.ts';
import { everything } from '../support/world.ts';
import { follow, updatesIn, type Follower } from './follower.ts';
import { kindsFor } from './kinds.ts';
import { askAny, registerUsers, startLoad, type Load } from './load.ts';
import { probe } from './probe.ts';
import { openRig, SPLIT, WHOLE, type Rig } from './rig.ts';
import { drawSchedule, runSchedule, told } from './schedule.ts';
import { rounds, ROUNDS_MS, SETTLED, TELLS } from './settings.ts';
import { copiesAt } from './sinks.ts';
import { judge, judgeSeen, judgeTables, stillOpen, summary, type Verdict } from './verdict.ts';

/** One request in five is for three deliveries: fewer requests, lest the judging takes longer than the faults. */
const PAUSE_MS = 300;
const FAULTS = { faults: 14, spanMs: 25_000 };

/** Waits until nothing more is to come, and compares. */
async function settle(rig: Rig, load: Load, follower: Follower): Promise<Verdict> {
  const { log, cursors, engine, sinks } = rig;
  const { acknowledged } = load;
  const events = await eventually(async () => {
    const found = await everything({ log });
    expect(stillOpen({ acknowledged, events: found }).slice(0, 5), 'requests without an outcome').toEqual([]);
    return found;
  }, SETTLED);
  const ought = updatesIn(events, cursors);
  await eventually(() => expect(follower.seen.length).toBeGreaterThanOrEqual(ought.length), SETTLED);
  await eventually(async () => {
    expect(judgeTables(await storedTables(engine), await toldTables(log))).toEqual([]);
  }, SETTLED);
  const { problems, figures } = judge({ acknowledged, events: await everything({ log }), copies: copiesAt(sinks) });
  return { figures, problems: [...problems, ...judgeSeen(follower.seen, ought)] };
}

async function run(rig: Rig, seed: number): Promise<string> {
  const random = randomFrom(seed);
  const schedule = drawSchedule(random, kindsFor(rig), FAULTS);
  if (TELLS) console.log(told(schedule));
  const channels = rig.sinks.map(({ channel }) => channel);
  await registerUsers(rig.apis, channels);
  const { head } = await askAny<{ head: string }>(rig.apis, '{ head }');
  const load = startLoad({ apis: rig.apis, random: randomFrom(seed + 1), name: 'fault', channels, pauseMs: PAUSE_MS });
  const follower = follow(rig.apis, head, randomFrom(seed + 2));
  try {
    await runSchedule(schedule);
    const recoveredMs = await probe(rig, seed);
    await load.stop();
    const { problems, figures } = await settle(rig, load, follower);
    const crashes = rig.units.flatMap(({ name, crashes }) => crashes.map((crash) => `${name} ${crash}`));
    expect([...problems, ...crashes, ...load.contradictions]).toEqual([]);
    return summary(figures, { faults: schedule.length, load, follower, recoveredMs });
  } catch (error) {
    console.error(`seed ${String(seed)}:\n${told(schedule)}`);
    throw error;
  } finally {
    await follower.stop();
  }
}

async function withRig(opening: Promise<Started<Rig>>, work: (rig: Rig) => Promise<string>): Promise<string> {
  const { value, stop } = await opening;
  try {
    return await work(value);
  } finally {
    await stop();
  }
}

const isSkipped = lacksRabbit();

describe.skipIf(isSkipped)('while everything fails that can', () => {
  it(
    'several processes lose nothing, double nothing but what is in doubt, and tell all of it',
    () =>
      rounds('several processes', (seed, number) => {
        // Two that do everything take turns with nine that share the work.
        return withRig(openRig(number % 2 === 0 ? SPLIT : WHOLE), (rig) => run(rig, seed));
      }),
    ROUNDS_MS,
  );
});
