import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import { randomFrom } from '../support/random.ts';
import type { Service } from '../support/service.ts';
import { openAlone } from './alone.ts';
import { registerUsers, startLoad } from './load.ts';
import { growthOf, samplesOf, series, watched, type Sample } from './memory.ts';
import { openRig, type Topology } from './rig.ts';
import { SEED } from './settings.ts';
import type { Unit } from './unit.ts';

/** `npm run test:soak`, 30 unless SOAK_MINUTES says otherwise. */
const MINUTES = Number(process.env['SOAK_MINUTES'] ?? 0);
/**
 * Compiled code, pools and what is kept on purpose fill up first: for subscribers the state of 16,384 requests, which takes
 * up to ten minutes. A shorter run is for trying out, and may see that as growth.
 */
const WARM_UP_SHARE = 0.4;
const SAMPLES = 180;
/**
 * By how much the straight line through the samples after the warm-up may rise, in MiB: a few for what happens to be under way
 * at a sample. In the 18 minutes that are left of the full run there are 50,000 requests, so that is 170 bytes a request.
 */
const MOST_HEAP_MIB = 8;
/** What allocators keep comes on top. */
const MOST_RSS_MIB = 48;

interface Subject {
  readonly units: readonly Unit[];
  readonly apis: () => readonly Service[];
}

const EVERY_MS = Math.max(1_000, (MINUTES * 60_000) / SAMPLES);

async function soak({ units, apis }: Subject): Promise<readonly string[]> {
  await registerUsers(apis);
  const load = startLoad({ apis, random: randomFrom(SEED), name: 'soak', clients: 2, pauseMs: 80 });
  await delay(MINUTES * 60_000);
  await load.stop();
  console.log(`${String(load.acknowledged.size)} requests in ${String(MINUTES)} minutes (seed ${String(SEED)})`);
  const problems: string[] = [];
  for (const unit of units) problems.push(...unit.crashes, ...judged(unit.name, await samplesOf(unit)));
  return problems;
}

/** What is wrong with it; prints what it is judged by. */
function judged(name: string, all: readonly Sample[]): readonly string[] {
  const warm = all.slice(Math.floor(all.length * WARM_UP_SHARE));
  const measures = [
    ['heap', MOST_HEAP_MIB],
    ['rss', MOST_RSS_MIB],
  ] as const;
  return measures.flatMap(([what, most]) => {
    const growth = growthOf(warm, (sample) => sample[what]);
    const sentence = `${what} of ${name}: ${growth.toFixed(1)} MiB more after the warm-up, ${String(most)} allowed`;
    console.log(`${sentence}; ${series(all, (sample) => sample[what])} MiB`);
    return growth > most ? [sentence] : [];
  });
}

async function over<T extends Subject>(opening: Promise<Started<T>>): Promise<void> {
  const { value, stop } = await opening;
  try {
    expect(await soak(value)).toEqual([]);
  } finally {
    await stop();
  }
}

const EACH: Topology = [['api'], ['route'], ['dispatch'], ['analytics'], ['sender:email']];

const isSkipped = MINUTES === 0;
const LIMIT_MS = MINUTES * 60_000 + 300_000;

describe.skipIf(isSkipped)('memory under a constant load stays flat (npm run test:soak)', () => {
  it(
    'of one process that does everything',
    () =>
      over(
        openAlone({ settings: watched(EVERY_MS) }).then(({ value, stop }) => ({
          value: { ...value, units: [value.unit] },
          stop,
        })),
      ),
    LIMIT_MS,
  );

  it.skipIf(lacksRabbit())('of processes that share the work', () => over(openRig(EACH, watched(EVERY_MS))), LIMIT_MS);
});
