import { describe, expect, it } from 'vitest';
import { openInProcessBroker } from '../../src/ports/broker/in-process.ts';
import { startDispatch } from '../../src/projections/dispatch.ts';
import { queueFigures } from '../../src/projections/queue-figures.ts';
import { startRoute } from '../../src/projections/route.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { systemIds } from '../../src/ids.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import { createReceipts } from '../../src/commands/receipts.ts';
import { attempted, POLICY } from '../support/dispatching.ts';
import { eventually } from '../support/eventually.ts';
import { registered, requestedMany, withWorld, type World } from '../support/world.ts';
import type { Broker, Job, QueueDepth } from '../../src/ports/broker/broker.ts';

const BUSY = { kind: 'retry', reason: 'PROVIDER_BUSY', afterMs: null, raw: null } as const;

async function withQueue(
  capacity: number,
  work: (world: World, broker: Broker, figures: () => Promise<QueueDepth>) => Promise<void>,
): Promise<void> {
  await withWorld(async (world) => {
    const { log, logger, clock } = world;
    const state = world.state('dispatch');
    const broker = world.use(openInProcessBroker({ capacity }));
    await registered(world);
    world.use(
      startRoute({ log, state: world.state('route'), logger, ids: systemIds, now: clock.now, channels: CHANNELS }),
    );
    world.use(await startDispatch({ log, state, broker, logger, now: clock.now }));
    await work(world, broker, () => queueFigures({ state, broker, now: clock.now }, 'email.transactional'));
  });
}

/** Takes one job in hand and keeps it there. */
async function takeOne(world: World, broker: Broker): Promise<Job> {
  return new Promise((resolve, reject) => {
    broker
      .consume(
        { queues: [{ name: 'email.transactional', concurrency: 1 }], concurrency: 1, timeLimitMs: 60_000 },
        (job, signal) => {
          resolve(job);
          return new Promise((settle) => {
            signal.addEventListener('abort', () => {
              settle({ kind: 'ack' });
            });
          });
        },
      )
      .then((consumer) => world.use({ value: undefined, stop: () => consumer.stop(0) }), reject);
  });
}

describe('the figures of a queue', () => {
  it('count what waits in the index because the queue is full', () =>
    withQueue(5, async (world, _broker, figures) => {
      await requestedMany(world, 20);
      await eventually(async () => {
        expect(await figures()).toMatchObject({ depth: 20, retrying: 0, dead: 0 });
      });
      world.clock.advance(90_000);
      expect((await figures()).oldestSeconds).toBe(90);
    }));

  it('count a job in hand once, and do not take its claim for a retry', () =>
    withQueue(100, async (world, broker, figures) => {
      await requestedMany(world, 3);
      const job = await takeOne(world, broker);
      await createDeliveries(world.context, POLICY).claim(job);
      await eventually(async () => {
        expect(await world.queries.notification('default', job.notificationId)).toMatchObject({
          state: { deliveries: [{ status: 'SENDING' }] },
        });
        expect(await figures()).toMatchObject({ depth: 3, retrying: 0 });
      });
    }));

  it('count what waits for its retry', () =>
    withQueue(100, async (world, broker, figures) => {
      await requestedMany(world, 3);
      const consumer = await broker.consume(
        { queues: [{ name: 'email.transactional', concurrency: 1 }], concurrency: 1, timeLimitMs: 60_000 },
        async (job) => {
          await attempted(world, job, BUSY);
          return { kind: 'ack' };
        },
      );
      await eventually(async () => {
        expect(await figures()).toMatchObject({ depth: 0, retrying: 3, oldestSeconds: null });
      });
      await consumer.stop(1_000);
    }));

  it('count the dead for as long as the state is kept', () =>
    withQueue(100, async (world, broker, figures) => {
      await requestedMany(world, 1);
      const job = await takeOne(world, broker);
      await attempted(world, job, BUSY, { ...POLICY, retryDelaysMs: [] });
      await eventually(async () => {
        expect(await figures()).toMatchObject({ dead: 1, retrying: 0 });
      });
    }));

  it('are all zero where nothing waits', () =>
    withQueue(100, async (_world, _broker, figures) => {
      expect(await figures()).toEqual({ depth: 0, retrying: 0, dead: 0, oldestSeconds: null });
    }));

  it('no longer count a dead letter of which a receipt says that the provider had it after all', () =>
    withQueue(5, async (world, broker, figures) => {
      await requestedMany(world, 1);
      const job = await takeOne(world, broker);
      const deliveries = createDeliveries(world.context, { ...POLICY, retryDelaysMs: [] });
      await deliveries.claim(job);
      const outcome = { kind: 'unknown', reason: 'NO_ANSWER', raw: null } as const;
      expect(await deliveries.record(job, { attempt: 1 }, 'twilio', outcome)).toEqual({ deadLettered: true });
      await eventually(async () => {
        expect(await figures()).toMatchObject({ dead: 1 });
      });
      const { notificationId, deliveryId, attempt } = job;
      const said = {
        provider: 'twilio',
        providerMessageId: 'SM1',
        verdict: { kind: 'delivered' },
        raw: 'delivered',
      } as const;
      await createReceipts(world.context).receive({ notificationId, deliveryId, attempt, ...said });
      await eventually(async () => {
        expect(await figures()).toMatchObject({ dead: 0 });
      });
    }));
});
