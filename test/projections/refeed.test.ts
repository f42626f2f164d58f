import { describe, expect, it } from 'vitest';
import {
  ackAll,
  afterThreeLooks,
  attempts,
  HOUR_MS,
  jobFor,
  pass,
  QUEUE,
  untilAttempts,
  untilEmpty,
  withDispatch,
} from '../support/dispatching.ts';
import { eventually } from '../support/eventually.ts';
import { requestedMany } from '../support/world.ts';

describe('a published job that vanished', () => {
  it('is fed again after the grace, and then not for an hour', async () => {
    await withDispatch(async (world, broker) => {
      const job = await jobFor(world, broker);
      await ackAll(broker);
      await untilEmpty(broker);
      await pass(world, 15_001);
      await untilAttempts(broker, job, [1, 1]);
      await untilEmpty(broker);
      world.clock.advance(HOUR_MS - 1);
      await afterThreeLooks(broker);
      expect(attempts(broker, job)).toEqual([1, 1]);
      world.clock.advance(1);
      await untilAttempts(broker, job, [1, 1, 1]);
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
