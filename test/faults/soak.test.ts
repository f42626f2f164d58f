import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import { randomFrom } from '../support/random.ts';
import type { Service } from '../support/service.ts';
import { openAlone } from './alone.ts';
import { registerUsers, startLoad } from './load.ts';
import { growthAnHour, residentMib, series, type Sample } from './memory.ts';
import { openRig } from './rig.ts';
import { SEED } from './settings.ts';
import type { Unit } from './unit.ts';

/** `npm run test:soak`, 30 unless SOAK_MINUTES says otherwise. */
const MINUTES = Number(process.env['SOAK_MINUTES'] ?? 0);
/** Compiled code, pools and caches fill up first. */
const WARM_UP_SHARE = 1 / 3;
const SAMPLES = 200;
/**
 * By how much the straight line through all samples after the warm-up may rise over that time: what a heap varies by
 * between two collections, and a tenth of where it began. A leak of 1 KiB a request rises by more within 30 minutes.
 */
const MOST_MIB = 16;
const MOST_SHARE = 0.1;

interface Subject {
  readonly units: readonly Unit[];
  readonly apis: () => readonly Service[];
}

async function soak({ units, apis }: Subject): Promise<readonly string[]> {
  await registerUsers(apis);
  const load = startLoad({ apis, random: randomFrom(SEED), name: 'soak', clients: 4, pauseMs: 100 });
  const samples = new Map(units.map(({ name }) => [name, [] as Sample[]]));
  const startedAt = performance.now();
  const everyMs = (MINUTES * 60_000) / SAMPLES;
  for (let count = 0; count < SAMPLES; count += 1) {
    await delay(everyMs);
    const at = (performance.now() - startedAt) / 1_000;
    for (const unit of units) {
      const mib = await residentMib(unit.service()?.child.pid ?? 0);
      if (mib !== null) samples.get(unit.name)?.push({ at, mib });
    }
  }
  await load.stop();
  console.log(`${String(load.acknowledged.size)} requests in ${String(MINUTES)} minutes (seed ${String(SEED)})`);
  return [...samples].flatMap(([name, all]) => judged(name, all));
}

/** What is wrong with it; prints what it is judged by. */
function judged(name: string, all: readonly Sample[]): readonly string[] {
  const warm = all.slice(Math.floor(all.length * WARM_UP_SHARE));
  const hours = ((warm.at(-1)?.at ?? 0) - (warm[0]?.at ?? 0)) / 3_600;
  const growth = growthAnHour(warm) * hours;
  const most = Math.max(MOST_MIB, (warm[0]?.mib ?? 0) * MOST_SHARE);
  console.log(
    `${name}: ${series(all, 20)} MiB; after the warm-up ${growth.toFixed(1)} MiB, allowed ${most.toFixed(0)}`,
  );
  const gone = all.length < SAMPLES ? [`${name} has ended`] : [];
  return growth > most ? [...gone, `${name} grew by ${growth.toFixed(1)} MiB`] : gone;
}

async function over<T extends Subject>(opening: Promise<Started<T>>): Promise<void> {
  const { value, stop } = await opening;
  try {
    expect(await soak(value)).toEqual([]);
  } finally {
    await stop();
  }
}

const isSkipped = MINUTES === 0 || process.platform !== 'linux';
const LIMIT_MS = MINUTES * 60_000 + 300_000;

describe.skipIf(isSkipped)('memory under a constant load stays flat (npm run test:soak)', () => {
  it(
    'of one process that does everything',
    () => over(openAlone().then(({ value, stop }) => ({ value: { ...value, units: [value.unit] }, stop }))),
    LIMIT_MS,
  );

  it.skipIf(lacksRabbit())(
    'of processes that share the work',
    () => over(openRig([['api'], ['route'], ['dispatch'], ['analytics'], ['sender:email']])),
    LIMIT_MS,
  );
});
