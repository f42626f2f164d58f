import { describe, expect, it } from 'vitest';
import type { Broker } from '../../src/ports/broker/broker.ts';
import {
  ackAll,
  afterThreeLooks,
  attempts,
  brokerOf,
  dispatch,
  HOUR_MS,
  jobFor,
  pass,
  QUEUE,
  startRouting,
  untilAttempts,
  untilEmpty,
  untilMarked,
  withDispatch,
} from '../support/dispatching.ts';
import { eventually } from '../support/eventually.ts';
import { registered, requestedMany, withWorld, type World } from '../support/world.ts';

describe('a published job that vanished', () => {
  it('is fed again after the grace, and each time that it vanishes after four times as long, up to an hour', async () => {
    await withDispatch(async (world, broker) => {
      // Nobody takes it, so that there is always one to be looked at.
      await jobFor(world, broker, { lane: 'BULK' });
      const job = await jobFor(world, broker);
      await ackAll(broker);
      await untilEmpty(broker);
      await pass(world, 15_001);
      for (const patienceMs of [60_000, 240_000, 960_000, HOUR_MS, HOUR_MS]) {
        const fed = await eventually(() => {
          const jobs = attempts(broker, job);
          expect(jobs.length).toBeGreaterThan(1);
          return jobs;
        });
        await untilMarked(world, job);
        await untilEmpty(broker);
        world.clock.advance(patienceMs - 1);
        await afterThreeLooks(broker);
        expect(attempts(broker, job)).toEqual(fed);
        world.clock.advance(1);
        await untilAttempts(broker, job, [...fed, 1]);
      }
    });
  });

  it('is fed again after the grace, however many wait to be suspected again', async () => {
    await withDispatch(async (world, broker) => {
      const many = 501;
      await requestedMany(world, many);
      await eventually(() => expect(broker.jobs.length).toBe(many));
      await ackAll(broker);
      await untilEmpty(broker);
      await pass(world, 15_001);
      await eventually(() => expect(broker.jobs.length).toBe(2 * many));
      const lost = await jobFor(world, broker);
      await untilMarked(world, lost);
      await untilEmpty(broker);
      await pass(world, 15_001);
      await untilAttempts(broker, lost, [1, 1]);
      expect(broker.jobs.length).toBe(2 * many + 2);
    });
  });

  it('is not missed before the grace is over', async () => {
    await withDispatch(async (world, broker) => {
      const early = await jobFor(world, broker);
      world.clock.advance(5_000);
      const late = await jobFor(world, broker);
      await ackAll(broker);
      await untilEmpty(broker);
      await pass(world, 10_001);
      await untilAttempts(broker, early, [1, 1]);
      expect(attempts(broker, late)).toEqual([1]);
    });
  });

  it('is fed again when all that its queue holds is younger', async () => {
    await withDispatch(async (world, broker) => {
      const lost = await jobFor(world, broker);
      const consumer = await ackAll(broker);
      await untilEmpty(broker);
      await consumer.stop(1_000);
      world.clock.advance(1_000);
      const lying = await jobFor(world, broker);
      await pass(world, 20_000);
      await untilAttempts(broker, lost, [1, 1]);
      await afterThreeLooks(broker);
      expect(attempts(broker, lying)).toEqual([1]);
    });
  });
});

describe('a job that vanished from a queue that is never empty', () => {
  it.each([
    ['holds others', { depth: 7, retrying: 0 }],
    ['has others that wait for their time', { depth: 0, retrying: 1 }],
  ])('is fed again after an hour, where the broker knows no ages and the queue %s', async (_, counts) => {
    await withWorld(async (world) => {
      const broker = brokerOf(world);
      const busy = {
        ...broker,
        depth: async (queue: typeof QUEUE) => ({ ...(await broker.depth(queue)), ...counts, oldestSeconds: null }),
      };
      await registered(world);
      startRouting(world);
      world.use(await dispatch(world, busy));
      const job = await jobFor(world, broker);
      await ackAll(broker);
      await untilEmpty(broker);
      await pass(world, HOUR_MS - 1_000);
      await afterThreeLooks(broker);
      expect(attempts(broker, job)).toEqual([1]);
      await pass(world, 1_001);
      await untilAttempts(broker, job, [1, 1]);
    });
  });
});

/** Begins its session 'since' when it forgets; what was published in 'before' is gone with that. */
function forgetting(broker: Broker): Broker & { readonly forget: () => void } {
  let session = 'before';
  return {
    ...broker,
    get session() {
      return session;
    },
    forget: () => {
      session = 'since';
    },
  };
}

describe('a broker whose memory was lost while it was open', () => {
  it('is fed again at once with all that was published before, and with nothing that was published since', async () => {
    await withWorld(async (world) => {
      const broker = brokerOf(world);
      const forgetful = forgetting(broker);
      await registered(world);
      startRouting(world);
      world.use(await dispatch(world, forgetful));
      const early = await jobFor(world, broker);
      await eventually(() => {
        expect(fedIn(world, 'before')).toBe(1);
      });
      forgetful.forget();
      await untilAttempts(broker, early, [1, 1]);
      const late = await jobFor(world, broker);
      await eventually(() => {
        expect([fedIn(world, 'before'), fedIn(world, 'since')]).toEqual([0, 2]);
      });
      expect(attempts(broker, late)).toEqual([1]);
    });
  });

  it('is fed again although the look for lost jobs failed after that', async () => {
    await withWorld(async (world) => {
      const broker = brokerOf(world);
      const forgetful = forgetting(broker);
      const state = world.state('dispatch');
      let refusals = 0;
      // What a look for suspects commits when it finds none.
      const commit: typeof state.commit = async (changes) => {
        if (changes.length > 0) return state.commit(changes);
        refusals += 1;
        throw new Error('disk full');
      };
      await registered(world);
      startRouting(world);
      world.use(await dispatch(world, forgetful, { state: { ...state, commit } }));
      const job = await jobFor(world, broker);
      await eventually(() => {
        expect(fedIn(world, 'before')).toBe(1);
      });
      forgetful.forget();
      await untilAttempts(broker, job, [1, 1]);
      expect(refusals).toBeGreaterThan(0);
    });
  });

  it('has a job published again of which nobody knows into which memory it went', async () => {
    await withWorld(async (world) => {
      const broker = brokerOf(world);
      let session = 'before';
      const forgetful = {
        ...broker,
        get session() {
          return session;
        },
        publish: async (...args: Parameters<typeof broker.publish>) => {
          await broker.publish(...args);
          session = 'since';
        },
      };
      await registered(world);
      startRouting(world);
      world.use(await dispatch(world, forgetful));
      await untilAttempts(broker, await jobFor(world, broker), [1, 1]);
    });
  });
});

function fedIn({ state }: World, session: string): number {
  return state('dispatch').count(['fed', session]);
}

describe('a slow backlog', () => {
  it('is not fed into itself, however long it lies there', async () => {
    await withDispatch(async (world, broker) => {
      await requestedMany(world, 20);
      await eventually(() => {
        expect(broker.jobs).toHaveLength(20);
      });
      for (const ms of [20_000, HOUR_MS, 5 * HOUR_MS]) {
        await pass(world, ms);
        await afterThreeLooks(broker);
      }
      expect(broker.jobs).toHaveLength(20);
    });
  });
});

describe('a job that the broker itself keeps back', () => {
  it('is not fed again, though its queue looks empty', async () => {
    await withDispatch(async (world, broker) => {
      const consumer = await broker.consume(
        { queues: [{ name: QUEUE, concurrency: 1 }], concurrency: 1, timeLimitMs: 1_000 },
        () => Promise.resolve({ kind: 'retry', afterMs: HOUR_MS }),
      );
      const job = await jobFor(world, broker);
      await eventually(async () => {
        expect(await broker.depth(QUEUE)).toMatchObject({ depth: 0, retrying: 1 });
      });
      await consumer.stop(1_000);
      await pass(world, 20_000);
      await afterThreeLooks(broker);
      expect(attempts(broker, job)).toEqual([1]);
    });
  });
});
