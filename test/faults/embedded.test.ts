import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { randomFrom } from '../support/random.ts';
import { judgeAlone, openAlone, untilOver, type Alone } from './alone.ts';
import { follow } from './follower.ts';
import { answersLost, linkFault, LINK_FAULTS } from './kinds.ts';
import { askAny, registerUsers, startLoad } from './load.ts';
import { probe } from './probe.ts';
import { drawSchedule, runSchedule, told, type Kind } from './schedule.ts';
import { rounds, ROUNDS_MS, TELLS } from './settings.ts';
import { summary } from './verdict.ts';

const FAULTS = { faults: 10, spanMs: 15_000 };

function kindsFor(alone: Alone): readonly Kind[] {
  const { unit, sinks } = alone;
  const units = [unit];
  return [
    ...LINK_FAULTS.map((fault) => linkFault({ units }, 'SMTP', fault)),
    answersLost({ units }, sinks[0]),
    killed(alone),
    killed(alone),
    engineKilled(alone),
    standsStill(alone),
  ];
}

function killed({ unit }: Alone): Kind {
  return () => ({
    name: 'kill -9 of the process',
    target: 'process',
    lastsMs: [100, 2_000],
    begin: async () => {
      await unit.kill();
      return unit.start;
    },
  });
}

/** ClickHouse is a child of its own. */
function engineKilled({ unit }: Alone): Kind {
  return () => ({
    name: 'kill -9 of the embedded ClickHouse',
    target: 'process',
    lastsMs: [0, 0],
    begin: async () => {
      const pid = String(unit.service()?.child.pid);
      const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
      for (const child of children.split(' ').filter((text) => text !== '')) process.kill(Number(child), 'SIGKILL');
    },
  });
}

function standsStill({ unit }: Alone): Kind {
  return () => ({
    name: 'the process stands still',
    target: 'process',
    lastsMs: [500, 6_000],
    begin: () => {
      const child = unit.service()?.child;
      child?.kill('SIGSTOP');
      return Promise.resolve(() => void child?.kill('SIGCONT'));
    },
  });
}

async function run(alone: Alone, seed: number): Promise<string> {
  const { apis } = alone;
  const schedule = drawSchedule(randomFrom(seed), kindsFor(alone), FAULTS);
  if (TELLS) console.log(told(schedule));
  await registerUsers(apis);
  const { head } = await askAny<{ head: string }>(apis, '{ head }');
  const load = startLoad({ apis, random: randomFrom(seed + 1), name: 'fault' });
  const follower = follow(apis, head, randomFrom(seed + 2));
  try {
    await runSchedule(schedule);
    const recoveredMs = await probe(alone, seed);
    await load.stop();
    await untilOver(alone, load);
    const { problems, figures } = await judgeAlone(alone, load, follower);
    expect(problems).toEqual([]);
    return summary(figures, { faults: schedule.length, load, follower, recoveredMs });
  } catch (error) {
    console.error(`seed ${String(seed)}:\n${told(schedule)}`);
    throw error;
  } finally {
    await follower.stop();
  }
}

describe('one process on what is embedded', () => {
  it(
    'loses nothing, doubles nothing but what is in doubt, and tells all of it',
    () =>
      rounds('one process', async (seed) => {
        const { value, stop } = await openAlone();
        return run(value, seed).finally(stop);
      }),
    ROUNDS_MS,
  );
});
