import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  checkSafety,
  checkTerms,
  openMachine,
  openTime,
  openTruth,
  type Fate,
  type Machine,
  type Time,
  type Truth,
} from './lease-model.ts';

/** Up to longer than any time-to-live: what was sent by somebody long dead comes all the same. */
const LATEST_MS = 13_000;

const delay = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 60 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: LATEST_MS }) },
);

const fate: fc.Arbitrary<Fate> = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('done' as const) },
    { weight: 1, arbitrary: fc.constant('request lost' as const) },
    { weight: 2, arbitrary: fc.constant('answer lost' as const) },
  ),
  there: delay,
  back: delay,
  silent: fc.boolean(),
});

/** Some logs do almost always what they are asked, and soon. */
const prompt = fc.record({
  kind: fc.constant('done' as const),
  there: fc.integer({ min: 0, max: 20 }),
  back: fc.integer({ min: 0, max: 20 }),
  silent: fc.constant(false),
});
const fates = fc.oneof(
  fc.array(fate, { minLength: 1, maxLength: 60 }),
  fc.array(fc.oneof({ weight: 12, arbitrary: prompt }, { weight: 1, arbitrary: fate }), {
    minLength: 1,
    maxLength: 60,
  }),
);

const ACTS = ['start', 'crash', 'stop', 'pause', 'resume', 'restart', 'cut off', 'join', 'wait'] as const;

const step = fc.record({
  act: fc.constantFrom(...ACTS),
  machine: fc.integer({ min: 0, max: 2 }),
  /** Afterwards nothing is done for so long. */
  ms: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 14_000 })),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Of three clocks, in per mille of true time. */
const clocks = (rate: fc.Arbitrary<number>) => fc.array(rate, { minLength: 3, maxLength: 3 });
/** None is further than a tenth from another. */
const TRUE_CLOCKS = clocks(fc.integer({ min: 950, max: 1_050 }));
/** As far apart as can be borne: none is twice as fast as another. */
const WILD_CLOCKS = clocks(fc.oneof(fc.constantFrom(720, 1_400), fc.integer({ min: 720, max: 1_400 })));

interface Linked extends Machine {
  /** Whether what it asks of the log comes to nothing. */
  readonly cut: (to: boolean) => void;
}

interface House {
  readonly time: Time;
  readonly truth: Truth;
  readonly machines: readonly Linked[];
  readonly check: () => void;
  /** From now on the log answers everybody, and soon. */
  readonly calm: () => void;
}

function openHouse(perMille: readonly number[], fates: readonly Fate[]): House {
  const [time, truth] = [openTime(), openTruth()];
  let calls = 0;
  let isCalm = false;
  const nextFate = (): Fate => {
    calls += 1;
    const random = fates[calls % fates.length];
    return isCalm || !random ? { kind: 'done', there: 20, back: calls % 80, silent: false } : random;
  };
  const isCut = perMille.map(() => false);
  const machines = perMille.map((rate, index) => {
    const ownFate = (): Fate => ({ ...nextFate(), ...(isCut[index] === true && !isCalm && { kind: 'request lost' }) });
    const name = `machine ${String(index)}`;
    const machine = openMachine({ name, time, truth, rate: rate / 1_000, nextFate: ownFate });
    return { ...machine, cut: (to: boolean) => void (isCut[index] = to) };
  });
  const check = (): void => checkSafety(truth, machines);
  return { time, truth, machines, check, calm: () => void (isCalm = true) };
}

function perform(machine: Linked | undefined, act: Step['act']): void {
  if (act === 'wait' || !machine) return;
  if (act === 'restart') {
    machine.crash();
    machine.start();
  } else if (act === 'cut off' || act === 'join') machine.cut(act === 'cut off');
  else machine[act]();
}

async function live({ time, machines, check }: House, steps: readonly Step[]): Promise<void> {
  for (const { act, machine, ms } of steps) {
    perform(machines[machine], act);
    check();
    await time.pass(ms, check);
  }
}

/** The one machine whose process acts now. */
function holderOf({ machines }: House): Linked | undefined {
  return machines.find((machine) => machine.lease()?.heldSince() != null);
}

describe('several processes that want one lease', () => {
  it('never hold it two at a time, whatever becomes of them, their clocks and their calls', async () => {
    await fc.assert(
      fc.asyncProperty(WILD_CLOCKS, fates, fc.array(step, { maxLength: 40 }), async (perMille, given, steps) => {
        const house = openHouse(perMille, given);
        for (const machine of house.machines) machine.start();
        await live(house, steps);
        checkTerms(house.truth);
      }),
      { numRuns: 600 },
    );
  });

  it('replace a holder that is killed within 20 seconds, and keep the one who lives', async () => {
    let slowest = 0;
    await fc.assert(
      fc.asyncProperty(TRUE_CLOCKS, fates, fc.array(step, { maxLength: 15 }), async (perMille, given, steps) => {
        const house = openHouse(perMille, given);
        const { time, truth, machines, check, calm } = house;
        for (const machine of machines) machine.start();
        await live(house, steps);
        calm();
        for (const machine of machines) machine.resume();
        await time.pass(2 * LATEST_MS + 5_000, check);
        for (const machine of machines) machine.start();
        await time.pass(20_000, check);

        const holder = holderOf(house);
        expect(holder?.lease()?.heldSince()).toBeDefined();
        expect(machines.map((machine) => machine.believes())).toEqual(machines.map((machine) => machine === holder));
        const { length } = truth.events;
        await time.pass(8_000, () => {
          check();
          expect(holderOf(house)).toBe(holder);
        });
        expect(truth.events.slice(length).every(({ type }) => type === 'LeaseRenewed')).toBe(true);

        holder?.crash();
        const killedAt = time.now();
        const replaced: number[] = [];
        await time.pass(20_000, () => {
          check();
          if (holderOf(house)) replaced.push(time.now());
        });
        const [replacedAt = Infinity] = replaced;
        slowest = Math.max(slowest, replacedAt - killedAt);
        expect(holderOf(house)).not.toBe(holder);
        checkTerms(truth);
      }),
      { numRuns: 150 },
    );
    // The time-to-live by the slowest clock, a look, a handful of answers.
    expect(slowest).toBeLessThan(12_000);
  });

  it('hand it over at once when its holder stops', async () => {
    const house = openHouse([1_000, 1_000, 1_000], []);
    const { time, machines, check } = house;
    for (const machine of machines) machine.start();
    await time.pass(5_000, check);
    const holder = holderOf(house);
    holder?.stop();
    await time.pass(1_500, check);
    expect(holder?.state()).toBe('down');
    expect(holderOf(house)?.process()).not.toBe('');
    expect(holderOf(house)).not.toBe(holder);
  });

  it('lose nothing to answers that do not come, as long as the log does what it is asked', async () => {
    const soon = fc.integer({ min: 0, max: 200 });
    const lossy = fc.record({
      kind: fc.constantFrom<Fate['kind']>('done', 'answer lost'),
      there: soon,
      back: soon,
      silent: fc.constant(false),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(lossy, { minLength: 1, maxLength: 30 }), async (losses) => {
        // A look that is answered follows each append whose answer is lost.
        const readable = losses.flatMap((one) => [one, { ...one, kind: 'done' as const }]);
        const house = openHouse([1_000], readable);
        const { time, truth, machines, check } = house;
        for (const machine of machines) machine.start();
        await time.pass(5_000, check);
        await time.pass(60_000, () => {
          check();
          expect(holderOf(house)).toBeDefined();
        });
        expect(truth.events.filter(({ type }) => type === 'LeaseTaken')).toHaveLength(1);
      }),
      { numRuns: 50 },
    );
  });
});
