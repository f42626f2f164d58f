import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createReceipts } from '../../src/commands/receipts.ts';
import type { Receipt } from '../../src/events/outcome.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Log } from '../../src/log.ts';
import type { State } from '../../src/ports/state/state.ts';
import { nextTry, RECEIPT_SCHEDULE } from '../../src/projections/receipts-index.ts';
import { startReceipts, type ParkedReceipts, type ReceiptsOptions } from '../../src/projections/receipts.ts';
import type { ProjectionStatus } from '../../src/projections/run.ts';
import {
  afterAnotherJob,
  attempted as madeAttempt,
  attempts,
  jobFor,
  pass,
  untilAttempts,
  withDispatch,
} from '../support/dispatching.ts';
import { eventually } from '../support/eventually.ts';
import { attempted, DELIVERY, NOTIFICATION, requested, routed, stored, T0 } from '../support/given.ts';
import { SILENT_LOSS } from '../support/provider.ts';
import { everything, withWorld, type World } from '../support/world.ts';

const HOUR_MS = 3_600_000;
const UNTIL_MS = 72 * HOUR_MS;

function receiptFor(attempt = 1, changes: Partial<Receipt> = {}): Receipt {
  return {
    notificationId: NOTIFICATION,
    deliveryId: DELIVERY,
    attempt,
    provider: 'twilio',
    providerMessageId: 'SM1',
    verdict: { kind: 'delivered' },
    raw: 'delivered to +15005550006',
    ...changes,
  };
}

interface Line {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** The projection on a world's log, its clock and its state; what it does is watched. */
interface Watched {
  readonly world: World;
  readonly lines: readonly Line[];
  /** Attempts of the receipts that were tried again, in order; without those that only wake it. */
  readonly tried: readonly number[];
  readonly mostAtOnce: () => number;
  /** Looks for what is due. */
  readonly looks: () => number;
  readonly faults: { retry: Error | null; settle: Error | null };
  readonly start: (options?: Partial<ReceiptsOptions>) => Started<() => ProjectionStatus>;
  /** Time goes on, and the projection has looked for what is due now. */
  readonly pass: (ms: number) => Promise<void>;
}

const WAKING = 'of a test that wants it to look';

function watch(world: World): Watched {
  const lines: Line[] = [];
  const tried: number[] = [];
  const faults: Watched['faults'] = { retry: null, settle: null };
  let [running, most, looks] = [0, 0, 0];
  const silent = (): void => undefined;
  const logger: Log = {
    debug: silent,
    info: silent,
    warn: silent,
    error: (fields, message) => {
      const line: Line = { fields: { ...fields }, message };
      if (line.fields['provider'] !== WAKING) lines.push(line);
    },
  };
  const real = createReceipts(world.context);
  const receipts: ParkedReceipts = {
    retry: async (receipt) => {
      if (receipt.provider !== WAKING) tried.push(receipt.attempt);
      running += 1;
      most = Math.max(most, running);
      try {
        if (faults.retry !== null) throw faults.retry;
        return await real.retry(receipt);
      } finally {
        running -= 1;
      }
    },
    settle: (receipt, outcome) =>
      faults.settle === null ? real.settle(receipt, outcome) : Promise.reject(faults.settle),
  };
  const looking = (state: State): State => ({
    ...state,
    list: (prefix, options) => {
      if (prefix[0] === 'due' && options?.to !== undefined) looks += 1;
      return state.list(prefix, options);
    },
  });
  const { log, clock } = world;
  return {
    world,
    lines,
    tried,
    mostAtOnce: () => most,
    looks: () => looks,
    faults,
    start: ({ state = world.state('receipts'), ...options } = {}) =>
      startReceipts({ log, logger, now: clock.now, receipts, state: looking(state), ...options }),
    pass: async (ms) => {
      clock.advance(ms);
      const before = looks;
      await real.receive(
        receiptFor(99, { provider: WAKING, raw: String(clock.now()), deliveryId: systemIds.random() }),
      );
      await eventually(() => {
        expect(looks).toBeGreaterThan(before);
      });
    },
  };
}

function withReceipts(work: (watched: Watched) => Promise<void>): Promise<void> {
  return withWorld((world) => work(watch(world)));
}

/** Receives as the API would. */
async function park({ world }: Watched, ...receipts: readonly Receipt[]): Promise<void> {
  for (const receipt of receipts) expect(await createReceipts(world.context).receive(receipt)).toBe('parked');
}

/** Puts more of a notification's past into the log. */
async function given({ world: { log } }: Watched, ...events: readonly NotificationEvent[]): Promise<void> {
  const stream = streamOf.notification(NOTIFICATION);
  const recorded = events.map((event, index) => ({ ...stored(event, index), id: systemIds.random() }));
  await log.append(stream, recorded, (await log.read(stream)).length);
}

async function endings({ world }: Watched): Promise<readonly unknown[]> {
  return (await everything(world, ['ReceiptSettled'])).map(({ data }) => data);
}

async function untilParked({ lines }: Watched, count = 1): Promise<void> {
  await eventually(() => {
    expect(lines.filter(({ message }) => message.includes('was parked'))).toHaveLength(count);
  });
}

/** Nothing makes it look for what is due any more but time. */
async function untilQuiet({ looks }: Watched): Promise<void> {
  await eventually(async () => {
    const before = looks();
    for (let turn = 0; turn < 50; turn += 1) await nextTurn();
    expect(looks()).toBe(before);
  });
}

describe('the schedule of a parked receipt', () => {
  it('is 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, and every hour until 72 h', () => {
    const parkedAt = 1_000_000;
    const ages = [0];
    while ((ages.at(-1) ?? 0) < UNTIL_MS) {
      ages.push(nextTry(RECEIPT_SCHEDULE, parkedAt, parkedAt + (ages.at(-1) ?? 0)) - parkedAt);
    }
    const hours = Array.from({ length: 72 }, (_, index) => (index + 1) * HOUR_MS);
    expect(ages).toEqual([0, 1_000, 5_000, 30_000, 120_000, 600_000, ...hours]);
  });

  it('goes on with the next time after a pause, and ends with the last', () => {
    const next = (age: number): number => nextTry(RECEIPT_SCHEDULE, 0, age);
    expect([next(999), next(1_001), next(400_000)]).toEqual([1_000, 5_000, 600_000]);
    expect([next(5.5 * HOUR_MS), next(71.5 * HOUR_MS), next(500 * HOUR_MS)]).toEqual([6 * HOUR_MS, UNTIL_MS, UNTIL_MS]);
    expect(next(-5_000)).toBe(1_000);
  });
});

describe('a parked receipt', () => {
  it('is reported to people, without what the provider said', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, receiptFor());
      await untilParked(watched);
      const names = { notification: NOTIFICATION, delivery: DELIVERY, attempt: 1, provider: 'twilio' };
      expect(watched.lines[0]?.fields).toMatchObject(names);
      expect(JSON.stringify(watched.lines)).not.toContain('+1500');
    });
  });

  it('is tried at the times of the schedule and not before', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, receiptFor());
      await untilParked(watched);
      const times = [1_000, 5_000, 30_000, 120_000, 600_000, HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS];
      for (const [index, age] of times.entries()) {
        await watched.pass(age - (times[index - 1] ?? 0) - 1);
        expect(watched.tried).toHaveLength(index);
        await watched.pass(1);
        expect(watched.tried).toHaveLength(index + 1);
        await untilKept(watched);
      }
    });
  });

  it('is recorded once its attempt is known, and then ended', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, receiptFor());
      await untilParked(watched);
      await watched.pass(1_000);
      await untilKept(watched);
      await given(watched, requested(), routed(), attempted());
      await watched.pass(4_000);
      await eventually(async () => {
        expect(await endings(watched)).toEqual([{ outcome: 'RECORDED' }]);
      });
      expect(await everything(watched.world, ['DeliveryDelivered'])).toHaveLength(1);
      await watched.pass(UNTIL_MS);
      expect(watched.tried).toEqual([1, 1]);
      expect(watched.lines).toHaveLength(1);
    });
  });

  it('is given up after 72 hours and a last try, on record and with a line for people', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, receiptFor());
      await untilParked(watched);
      await watched.pass(UNTIL_MS - 1);
      await untilKept(watched);
      expect([watched.tried, await endingsOfReal(watched)]).toEqual([[1], []]);
      await watched.pass(1);
      await eventually(async () => {
        expect(await endingsOfReal(watched)).toEqual([{ outcome: 'GIVEN_UP' }]);
      });
      expect(watched.tried).toEqual([1, 1]);
      expect(watched.lines).toHaveLength(2);
      expect(watched.lines[1]?.message).toContain('given up');
      expect(watched.lines[1]?.fields).toMatchObject({ notification: NOTIFICATION, delivery: DELIVERY });
      expect(JSON.stringify(watched.lines)).not.toContain('+1500');
    });
  });

  it('needs nobody to wake it', async () => {
    await withWorld(
      async (world) => {
        const watched = watch(world);
        const schedule = { at: [5, 10, 20], every: 20, until: 100, afterFault: 5 };
        world.use(watched.start({ schedule }));
        await park(watched, receiptFor());
        await eventually(async () => {
          expect(await endings(watched)).toEqual([{ outcome: 'GIVEN_UP' }]);
        });
        expect(watched.tried.length).toBeGreaterThan(0);
      },
      { now: Date.now, advance: () => undefined },
    );
  });

  it('that falls due while the projection looks for what is due is not overlooked', async () => {
    await withReceipts(async (watched) => {
      const { world } = watched;
      const state = world.state('receipts');
      const list: State['list'] = (prefix, options) => {
        const found = state.list(prefix, options);
        if (prefix[0] === 'due' && world.clock.now() === T0 + HOUR_MS - 1) world.clock.advance(1);
        return found;
      };
      world.use(watched.start({ state: { ...state, list }, schedule: { ...RECEIPT_SCHEDULE, at: [HOUR_MS] } }));
      await park(watched, receiptFor());
      await untilParked(watched);
      await untilQuiet(watched);
      await watched.pass(HOUR_MS - 1);
      await eventually(() => {
        expect(watched.tried).toEqual([1]);
      });
    });
  });

  it('does not hold up others, and others do not make it tried more often', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await given(watched, requested(), routed(), attempted());
      await park(watched, ...Array.from({ length: 40 }, (_, index) => receiptFor(index + 2)));
      await untilParked(watched, 40);
      await watched.pass(1_000);
      await eventually(() => {
        expect(watched.tried.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 2));
      });
      expect(watched.mostAtOnce()).toBeLessThanOrEqual(32);
      await given(watched, ...Array.from({ length: 40 }, (_, index) => attempted(index + 2)));
      await untilKept(watched);
      await watched.pass(4_000);
      await eventually(async () => {
        expect(await endingsOfReal(watched)).toEqual(Array.from({ length: 40 }, () => ({ outcome: 'RECORDED' })));
      });
      expect(watched.tried).toHaveLength(80);
      expect(await everything(watched.world, ['DeliveryDelivered'])).toHaveLength(40);
    });
  });
});

/** The receipts that only wake the projection have endings of their own. */
async function endingsOfReal({ world }: Watched): Promise<readonly unknown[]> {
  const parked = await everything(world, ['ReceiptParked']);
  const real = parked.filter(({ data }) => (data as { receipt: Receipt }).receipt.provider !== WAKING);
  const streams = new Set(real.map(({ stream }) => stream));
  const settled = await everything(world, ['ReceiptSettled']);
  return settled.filter(({ stream }) => streams.has(stream)).map(({ data }) => data);
}

/** Every try that was made has been followed by its next time or its ending: nothing is due now. */
async function untilKept({ world }: Watched): Promise<void> {
  const state = world.state('receipts');
  await eventually(() => {
    expect(state.list(['due'], { to: ['due', world.clock.now() + 1] })).toEqual([]);
  });
}

describe('after a pause of the process', () => {
  it('what fell due meanwhile is tried once, and the rest of its schedule follows', async () => {
    await withReceipts(async (watched) => {
      const first = watched.start();
      await park(watched, receiptFor());
      await untilParked(watched);
      await first.stop();
      watched.world.clock.advance(5.5 * HOUR_MS);
      watched.world.use(watched.start());
      await eventually(() => {
        expect(watched.tried).toEqual([1]);
      });
      await untilKept(watched);
      await watched.pass(0.5 * HOUR_MS - 1);
      expect(watched.tried).toEqual([1]);
      await watched.pass(1);
      expect(watched.tried).toEqual([1, 1]);
      expect(watched.lines).toHaveLength(1);
    });
  });

  it('one that outlived its schedule is tried once more before it is given up', async () => {
    await withReceipts(async (watched) => {
      const [late, never] = [receiptFor(1), receiptFor(2)];
      await park(watched, late, never);
      await given(watched, requested(), routed(), attempted());
      watched.world.clock.advance(200 * HOUR_MS);
      watched.world.use(watched.start());
      await eventually(async () => {
        const outcomes = (await endings(watched)).map((data) => (data as { outcome: string }).outcome);
        expect(outcomes.toSorted()).toEqual(['GIVEN_UP', 'RECORDED']);
      });
      expect(watched.tried.toSorted((a, b) => a - b)).toEqual([1, 2]);
    });
  });

  it('a lost state is made again from the log: open receipts are tried, ended ones are not', async () => {
    await withReceipts(async (watched) => {
      const first = watched.start();
      await park(watched, receiptFor(1), receiptFor(2));
      await untilParked(watched, 2);
      await given(watched, requested(), routed(), attempted());
      await watched.pass(1_000);
      await eventually(async () => {
        expect(await endingsOfReal(watched)).toEqual([{ outcome: 'RECORDED' }]);
      });
      await untilKept(watched);
      await first.stop();
      const rebuilt = watched.world.state('rebuilt');
      watched.world.use(watched.start({ state: rebuilt }));
      await eventually(() => {
        expect(watched.tried.toSorted((a, b) => a - b)).toEqual([1, 2, 2]);
      });
      expect(watched.lines.map(({ fields }) => fields['attempt'])).toEqual([1, 2, 2]);
    });
  });
});

describe('a long log', () => {
  it('is read to its end first: what was settled long ago is neither reported nor tried', async () => {
    await withReceipts(async (watched) => {
      const { world } = watched;
      await park(watched, receiptFor());
      const { metadata } = stored(requested());
      const filler = Array.from({ length: 900 }, () => {
        return { id: systemIds.random(), type: 'ReceiptSettled', data: { outcome: 'RECORDED' }, metadata };
      });
      await world.log.append(streamOf.receipt('filler'), filler, 0);
      await createReceipts(world.context).settle(receiptFor(), 'GIVEN_UP');
      world.clock.advance(1_000);
      const status = world.use(watched.start());
      await eventually(async () => {
        const position = await world.log.head();
        expect(status()).toEqual({
          name: 'receipts',
          position,
          live: true,
          parked: 0,
          unhandledSince: null,
          mayAct: true,
        });
      });
      await watched.pass(UNTIL_MS);
      expect([watched.lines, watched.tried]).toEqual([[], []]);
    });
  });
});

describe('a log that does not answer', () => {
  it('loses no receipt and gives none up', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, receiptFor());
      await untilParked(watched);
      watched.faults.retry = new Error('no answer');
      await watched.pass(UNTIL_MS);
      await untilKept(watched);
      await watched.pass(14_999);
      expect(watched.tried).toEqual([1]);
      await watched.pass(1);
      await untilKept(watched);
      expect([watched.tried, await endingsOfReal(watched)]).toEqual([[1, 1], []]);
      watched.faults.retry = null;
      await given(watched, requested(), routed(), attempted());
      await watched.pass(15_000);
      await eventually(async () => {
        expect(await endingsOfReal(watched)).toEqual([{ outcome: 'RECORDED' }]);
      });
    });
  });

  it('is told once a second, however many receipts wait', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, ...Array.from({ length: 50 }, (_, index) => receiptFor(index + 1)));
      await untilParked(watched, 50);
      watched.faults.retry = new Error('no answer');
      await watched.pass(1_000);
      await untilKept(watched);
      const told = watched.lines.filter(({ message }) => message.includes('could not be tried'));
      expect(told).toHaveLength(1);
      expect(told[0]?.fields['err']).toEqual(new Error('no answer'));
      expect(watched.tried).toHaveLength(50);
    });
  });

  it('between the record and its ending does not make two records', async () => {
    await withReceipts(async (watched) => {
      watched.world.use(watched.start());
      await park(watched, receiptFor());
      await untilParked(watched);
      await given(watched, requested(), routed(), attempted());
      watched.faults.settle = new Error('no answer');
      await watched.pass(1_000);
      await untilKept(watched);
      watched.faults.settle = null;
      await watched.pass(15_000);
      await eventually(async () => {
        expect(await endingsOfReal(watched)).toEqual([{ outcome: 'RECORDED' }]);
      });
      expect(await everything(watched.world, ['DeliveryDelivered'])).toHaveLength(1);
    });
  });
});

describe('a state that cannot be written', () => {
  it('loses no receipt, and is not tried again and again without a pause', async () => {
    await withReceipts(async (watched) => {
      const { world } = watched;
      const state = world.state('receipts');
      let full = false;
      // What is folded is committed with its checkpoint, and that goes on.
      const commit: State['commit'] = (changes) =>
        full && !changes.some((change) => 'put' in change && change.put[0] === 'checkpoint')
          ? Promise.reject(new Error('disk full'))
          : state.commit(changes);
      world.use(watched.start({ state: { ...state, commit } }));
      await park(watched, receiptFor());
      await untilParked(watched);
      full = true;
      await watched.pass(1_000);
      await eventually(() => {
        expect(watched.lines.map(({ fields }) => fields['err'])).toContainEqual(new Error('disk full'));
      });
      await untilQuiet(watched);
      full = false;
      await given(watched, requested(), routed(), attempted());
      await watched.pass(15_000);
      await eventually(async () => {
        expect(await endingsOfReal(watched)).toEqual([{ outcome: 'RECORDED' }]);
      });
    });
  });
});

describe('while it stops', () => {
  it('a try under way is finished, and nothing new begins', async () => {
    await withReceipts(async (watched) => {
      const running = watched.start();
      await park(watched, receiptFor(1), receiptFor(2));
      await untilParked(watched, 2);
      await given(watched, requested(), routed(), attempted());
      await watched.pass(1_000);
      await running.stop();
      expect(await endingsOfReal(watched)).toEqual([{ outcome: 'RECORDED' }]);
      const before = watched.looks();
      await park(watched, receiptFor(3));
      for (let turn = 0; turn < 50; turn += 1) await nextTurn();
      expect(watched.looks()).toBe(before);
      expect(watched.tried.toSorted((a, b) => a - b)).toEqual([1, 2]);
    });
  });
});

describe('a delivery in doubt', () => {
  it.each([[{ kind: 'accepted' }], [{ kind: 'delivered' }], [{ kind: 'bounced', reason: 'CARRIER_FAILED' }]] as const)(
    'of which a receipt says %j is not fed again',
    async (verdict) => {
      await withDispatch(async (world, broker) => {
        const [settled, doubtful] = [await jobFor(world, broker), await jobFor(world, broker)];
        for (const job of [settled, doubtful]) await madeAttempt(world, job, SILENT_LOSS);
        const { notificationId, deliveryId } = settled;
        const receipt = receiptFor(1, { notificationId, deliveryId, verdict });
        expect(await createReceipts(world.context).receive(receipt)).toBe('recorded');
        await pass(world, 30_000);
        await afterAnotherJob(world, broker);
        await untilAttempts(broker, doubtful, [1, 2]);
        expect(attempts(broker, settled)).toEqual([1]);
        expect(world.state('dispatch').get(['delivery', deliveryId])).toBeUndefined();
      });
    },
  );
});
