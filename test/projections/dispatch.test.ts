import { describe, expect, it } from 'vitest';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import type { Broker } from '../../src/ports/broker/broker.ts';
import {
  ackAll,
  afterAnotherJob,
  attempted,
  attempts,
  brokerOf,
  dispatch,
  HOUR_MS,
  jobFor,
  NO_LOOKS,
  pass,
  POLICY,
  startRouting,
  untilAttempts,
  untilEmpty,
  withDispatch,
  type WatchedBroker,
} from '../support/dispatching.ts';
import type { Job } from '../../src/ports/broker/broker.ts';
import { eventually } from '../support/eventually.ts';
import { at } from '../support/given.ts';
import { CALLER } from '../support/pipeline.ts';
import { ACCEPT, BUSY, REFUSE, SILENT_LOSS } from '../support/provider.ts';
import { registered, requested, requestedMany, withWorld, type World } from '../support/world.ts';

describe('dispatching', () => {
  it('publishes one job for each queued delivery, on the queue of its lane, and none for a suppressed one', async () => {
    await withDispatch(async (world, broker) => {
      const ids = [...(await requestedMany(world, 600)), ...(await requestedMany(world, 10, { lane: 'BULK' }))];
      await world.commands.registerUser(CALLER, { id: 'off', email: 'off@example.com' });
      await world.commands.setPreference(CALLER, { userId: 'off', channel: 'EMAIL', category: null, optIn: false });
      await requested(world, {}, 'off');
      const last = await requested(world);
      await eventually(() => {
        expect(broker.jobs.map(({ notificationId }) => notificationId).toSorted()).toEqual([...ids, last].toSorted());
      });
      expect((await broker.depth('email.bulk')).depth).toBe(10);
    });
  });

  it('puts names, times and nothing else into a job', async () => {
    await withDispatch(async (world, broker) => {
      const job = await jobFor(world, broker, { expiresAt: new Date(at(60_000)) });
      const { notificationId, deliveryId } = job;
      const times = { due: world.clock.now(), expires: Date.parse(at(60_000)) };
      expect(job).toEqual({ tenant: 'default', notificationId, deliveryId, attempt: 1, ...times });
    });
  });

  it('keeps the time of a retry', async () => {
    await withDispatch(async (world, broker) => {
      const job = await jobFor(world, broker);
      await attempted(world, job, BUSY);
      await pass(world, 29_999);
      await afterAnotherJob(world, broker);
      expect(attempts(broker, job)).toEqual([1]);
      await pass(world, 1);
      await afterAnotherJob(world, broker);
      await untilAttempts(broker, job, [1, 2]);
    });
  });

  it('wakes by itself when a retry is due', async () => {
    await withWorld(
      async (world) => {
        const broker = brokerOf(world);
        await registered(world);
        startRouting(world);
        world.use(await dispatch(world, broker, NO_LOOKS));
        const job = await jobFor(world, broker);
        await attempted(world, job, BUSY, { ...POLICY, retryDelaysMs: [200] });
        await untilAttempts(broker, job, [1, 2]);
      },
      { now: Date.now, advance: () => undefined },
    );
  });

  it('gets everything through a queue that is smaller than the backlog', async () => {
    await withDispatch(
      async (world, broker) => {
        const ids = await requestedMany(world, 40);
        await ackAll(broker);
        await eventually(() => {
          expect(broker.jobs.map(({ notificationId }) => notificationId).toSorted()).toEqual(ids.toSorted());
        });
        expect(world.logger.errors).toEqual([]);
      },
      { broker: { capacity: 5 }, ...NO_LOOKS },
    );
  });
});

describe('a broker that forgot everything', () => {
  it('is given all open deliveries again at once, also more than a thousand', async () => {
    await withWorld(async (world) => {
      await registered(world);
      startRouting(world);
      const [before, after] = [brokerOf(world), brokerOf(world)];
      const first = await dispatch(world, before);
      await requestedMany(world, 700);
      await requestedMany(world, 600, { lane: 'BULK' });
      await eventually(
        () => {
          expect(before.jobs).toHaveLength(1_300);
        },
        { timeoutMs: 10_000 },
      );
      await attempted(world, before.jobs[0] ?? failed(), ACCEPT);
      await attempted(world, before.jobs[1] ?? failed(), BUSY);
      await first.stop();
      world.use(await dispatch(world, after));
      await eventually(
        () => {
          expect(after.jobs).toHaveLength(1_298);
        },
        { timeoutMs: 10_000 },
      );
      const open = before.jobs.slice(2).map(({ deliveryId }) => deliveryId);
      expect(after.jobs.map(({ deliveryId }) => deliveryId).toSorted()).toEqual(open.toSorted());
    });
  });
});

function failed(): never {
  throw new Error('no such job');
}

describe('a state that was lost', () => {
  it('is rebuilt before anything is published, and then only what is open is', async () => {
    await withWorld(async (world) => {
      await registered(world);
      startRouting(world);
      const [before, after] = [brokerOf(world), brokerOf(world)];
      const first = await dispatch(world, before);
      await requestedMany(world, 260);
      await eventually(() => {
        expect(before.jobs).toHaveLength(260);
      });
      await Promise.all(before.jobs.slice(1).map((job) => attempted(world, job, ACCEPT)));
      await first.stop();
      world.use(await dispatch(world, after, { state: world.state('rebuilt') }));
      await eventually(() => {
        expect(after.jobs).toHaveLength(1);
      });
      await afterAnotherJob(world, after);
      expect(after.jobs.map(({ deliveryId }) => deliveryId)[0]).toBe(before.jobs[0]?.deliveryId);
      expect(after.jobs).toHaveLength(2);
    });
  });
});

describe('a delivery', () => {
  it.each([
    ['sent', ACCEPT, POLICY],
    ['rejected', REFUSE, POLICY],
    ['dead-lettered', BUSY, { ...POLICY, retryDelaysMs: [] }],
    ['held', SILENT_LOSS, { ...POLICY, doubt: 'HOLD' }],
  ] as const)('that was %s is never fed again', async (_, outcome, policy) => {
    await withDispatch(async (world, broker) => {
      const job = await jobFor(world, broker);
      await attempted(world, job, outcome, policy);
      await neverAgain(world, broker, job);
    });
  });

  it('that was cancelled is never fed again, be it queued or waiting for a retry', async () => {
    await withDispatch(async (world, broker) => {
      const [queued, retrying] = [await jobFor(world, broker), await jobFor(world, broker)];
      await attempted(world, retrying, BUSY);
      for (const { notificationId } of [queued, retrying])
        await world.commands.cancelNotification(CALLER, notificationId);
      await neverAgain(world, broker, queued);
      expect(attempts(broker, retrying)).toEqual([1]);
    });
  });

  it('whose claim ran out is fed again, and not sooner', async () => {
    await withDispatch(async (world, broker) => {
      const job = await jobFor(world, broker);
      expect(await createDeliveries(world.context, POLICY).claim(job)).toMatchObject({ kind: 'claimed' });
      await pass(world, 24_999);
      await afterAnotherJob(world, broker);
      expect(attempts(broker, job)).toEqual([1]);
      await pass(world, 1);
      await afterAnotherJob(world, broker);
      await untilAttempts(broker, job, [1, 2]);
    });
  });

  it('in doubt is fed again when its time has come', async () => {
    await withDispatch(async (world, broker) => {
      const job = await jobFor(world, broker);
      await attempted(world, job, SILENT_LOSS);
      await pass(world, 29_999);
      await afterAnotherJob(world, broker);
      expect(attempts(broker, job)).toEqual([1]);
      await pass(world, 1);
      await afterAnotherJob(world, broker);
      await untilAttempts(broker, job, [1, 2]);
    });
  });
});

/** Its job lies in no queue any more, a day passes, lost jobs are looked for, others are published. */
async function neverAgain(world: World, broker: WatchedBroker, job: Job): Promise<void> {
  await ackAll(broker);
  await untilEmpty(broker);
  const other = await jobFor(world, broker);
  await untilEmpty(broker);
  for (const ms of [15_001, 30_000, 24 * HOUR_MS]) await pass(world, ms);
  await untilAttempts(broker, other, [1, 1]);
  await afterAnotherJob(world, broker);
  expect(attempts(broker, job)).toEqual([1]);
}

describe('a broker that fails', () => {
  it('delays jobs and loses none', async () => {
    await withWorld(async (world) => {
      const broker = brokerOf(world);
      let faults = 30;
      const publish: Broker['publish'] = (queue, job) => {
        faults -= 1;
        return faults >= 0 ? Promise.reject(new Error('no confirm')) : broker.publish(queue, job);
      };
      await registered(world);
      startRouting(world);
      world.use(await dispatch(world, { ...broker, publish }, NO_LOOKS));
      const ids = await requestedMany(world, 20);
      await afterRetries(world, async () => {
        expect(broker.jobs.map(({ notificationId }) => notificationId).toSorted()).toEqual(ids.toSorted());
        await Promise.resolve();
      });
    });
  });
});

async function afterRetries(world: World, check: () => Promise<void>): Promise<void> {
  await eventually(async () => {
    world.clock.advance(1);
    await check();
  });
}
