import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { QueueName } from '../../src/ports/broker/broker.ts';
import {
  openInProcessBroker,
  type InProcessBroker,
  type InProcessBrokerOptions,
} from '../../src/ports/broker/in-process.ts';
import { openReadyList } from '../../src/ports/broker/ready-list.ts';
import { eventually } from '../support/eventually.ts';
import { openEmptyRabbitMq } from '../support/rabbitmq-broker.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import { sharedRabbit } from '../support/rabbitmq-shared.ts';
import {
  aborted,
  brokerContract,
  collector,
  consumeWith,
  deferred,
  ids,
  newJob,
  publishAll,
  type OpenBroker,
} from './broker.contract.ts';
import { checkScenarios, SCENARIO_QUEUES, type World } from './broker.scenario.ts';

interface Adapter {
  readonly name: string;
  readonly open: OpenBroker;
  readonly scenarios: number;
  readonly skip?: boolean;
}

const ADAPTERS: readonly Adapter[] = [
  { name: 'in-process', open: (settings) => Promise.resolve(openInProcessBroker(settings)), scenarios: 80 },
  {
    name: 'RabbitMQ',
    open: async (settings) => openEmptyRabbitMq({ url: await sharedRabbit(), prefix: 'contract.', ...settings }),
    scenarios: 25,
    skip: lacksRabbit(),
  },
];

describe.each(ADAPTERS)('the broker contract: $name', ({ open, scenarios, skip = false }) => {
  describe.skipIf(skip)('with its server', () => {
    // The first one starts it.
    beforeAll(async () => (await open({ failureRetryMs: 1 })).stop(), 180_000);
    brokerContract(open, scenarios);
  });
});

describe('the in-process broker', () => {
  it('has another session each time it is opened', async () => {
    const sessions = await Promise.all([1, 2].map(() => withBroker({}, (broker) => Promise.resolve(broker.session))));
    expect(new Set(sessions).size).toBe(2);
  });

  it('counts ready, retrying and in-hand jobs against its capacity', () =>
    withBroker({ capacity: 3 }, async (broker) => {
      const gate = deferred<{ kind: 'ack' }>();
      await publishAll(broker, 'sms.bulk', ['later', 'held', 'ready']);
      const seen: string[] = [];
      await consumeWith(broker, { queues: ['sms.bulk'] }, ({ deliveryId }) => {
        seen.push(deliveryId);
        return deliveryId === 'later' ? Promise.resolve({ kind: 'retry', afterMs: 60_000 }) : gate.promise;
      });
      await eventually(() => {
        expect(seen).toEqual(['later', 'held']);
      });
      expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 2, retrying: 1 });
      await expect(broker.publish('sms.bulk', newJob())).rejects.toThrow('queue sms.bulk is full');
      gate.resolve({ kind: 'ack' });
      await eventually(() => broker.publish('sms.bulk', newJob()));
    }));

  it('holds 20,000 jobs a queue unless told otherwise', () =>
    withBroker({}, async (broker) => {
      await publishAll(broker, 'sms.bulk', ids(20_000));
      await expect(broker.publish('sms.bulk', newJob())).rejects.toMatchObject({ name: 'QueueFull' });
    }));

  it('tells the age of the oldest job that is ready, from its publication even after a retry', async () => {
    let now = 1_000;
    await withBroker({ now: () => now }, async (broker) => {
      await publishAll(broker, 'sms.bulk', ['first']);
      now += 2_500;
      expect(await broker.depth('sms.bulk')).toMatchObject({ oldestSeconds: 2.5 });
      const gate = deferred<{ kind: 'retry'; afterMs: number }>();
      const consumer = await consumeWith(broker, { queues: ['sms.bulk'] }, () => gate.promise);
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 1, oldestSeconds: null });
      });
      const stopped = consumer.stop(10_000);
      gate.resolve({ kind: 'retry', afterMs: 1 });
      await stopped;
      await publishAll(broker, 'sms.bulk', ['second']);
      now += 1_000;
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 2, retrying: 0, oldestSeconds: 3.5 });
      });
    });
  });

  it('takes a job from a handler that ignores its stop and keeps its age', async () => {
    let now = 0;
    await withBroker({ now: () => now }, async (broker) => {
      await publishAll(broker, 'sms.bulk', ['held']);
      const consumer = await consumeWith(broker, { queues: ['sms.bulk'] }, () => new Promise(() => undefined));
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ oldestSeconds: null });
      });
      now = 7_000;
      await consumer.stop(0);
      expect(await broker.depth('sms.bulk')).toEqual({ depth: 1, retrying: 0, dead: 0, oldestSeconds: 7 });
    });
  });

  it('keeps the jobs set aside last, with their reasons, and counts all', () =>
    withBroker({}, async (broker) => {
      await publishAll(broker, 'email.bulk', ids(1_005));
      await collector(broker, { queues: ['email.bulk'], concurrency: 50 }, ({ deliveryId }) => ({
        kind: 'dead',
        reason: `because of ${deliveryId}`,
      }));
      await eventually(async () => {
        expect(await broker.depth('email.bulk')).toMatchObject({ depth: 0, dead: 1_005 });
      });
      const kept = broker.setAside('email.bulk');
      expect(kept).toHaveLength(1_000);
      expect(kept.every(({ job, reason }) => reason === `because of ${job.deliveryId}`)).toBe(true);
      expect(kept.at(-1)?.job.deliveryId).toBe('1004');
    }));

  it('reports every handler that threw, ran out of time or answered nonsense', async () => {
    const faults: string[] = [];
    const onFault = (error: unknown, queue: QueueName, { deliveryId }: { deliveryId: string }): void => {
      faults.push(`${queue} ${deliveryId}: ${error instanceof Error ? error.message : String(error)}`);
    };
    await withBroker({ failureRetryMs: 60_000, onFault }, async (broker) => {
      await publishAll(broker, 'sms.bulk', ['throws', 'hangs', 'mumbles', 'works']);
      await consumeWith(broker, { queues: ['sms.bulk'], concurrency: 4, timeLimitMs: 30 }, async (job, signal) => {
        if (job.deliveryId === 'throws') throw new Error('ouch');
        if (job.deliveryId === 'hangs') await aborted(signal);
        return { kind: job.deliveryId === 'mumbles' ? ('hm' as 'ack') : 'ack' };
      });
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, retrying: 3 });
      });
    });
    expect(faults.toSorted()).toEqual([
      'sms.bulk hangs: the handler took longer than 30 ms',
      'sms.bulk mumbles: the handler answered no verdict',
      'sms.bulk throws: ouch',
    ]);
  });

  it('fills the slot of a handler that was cut off even if it never settles', () =>
    withBroker({ failureRetryMs: 60_000 }, async (broker) => {
      await publishAll(broker, 'sms.bulk', ['hangs', 'follows']);
      const never = deferred<{ kind: 'ack' }>();
      await consumeWith(broker, { queues: ['sms.bulk'], timeLimitMs: 20 }, ({ deliveryId }) =>
        deliveryId === 'hangs' ? never.promise : Promise.resolve({ kind: 'ack' }),
      );
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, retrying: 1 });
      });
      never.resolve({ kind: 'ack' });
    }));

  it('keeps names only: whatever else hangs on a published object stays outside, and handlers cannot change a job', () =>
    withBroker({}, async (broker) => {
      await broker.publish('sms.bulk', Object.assign({ body: 'secret' }, newJob()));
      const seen = await collector(broker, { queues: ['sms.bulk'] });
      await eventually(() => {
        expect(seen).toEqual([newJob()]);
      });
      expect(seen.every((job) => Object.isFrozen(job))).toBe(true);
    }));

  it('cuts a delay of more than an hour to an hour instead of losing it in an overflowing timer', () =>
    withBroker({}, async (broker) => {
      await broker.publish('sms.bulk', newJob());
      const seen = await collector(broker, { queues: ['sms.bulk'] }, () => ({ kind: 'retry', afterMs: 2 ** 40 }));
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ retrying: 1 });
      });
      expect(seen).toHaveLength(1);
    }));

  it('takes no consumer while it closes', () =>
    withBroker({}, async (broker) => {
      const closed = broker.close();
      await expect(consumeWith(broker, { queues: ['sms.bulk'] }, () => Promise.reject(new Error()))).rejects.toThrow(
        'closing',
      );
      await closed;
    }));

  it.each([{ capacity: 0 }, { capacity: 1.5 }, { failureRetryMs: 0 }, { failureRetryMs: 2 ** 31 }])(
    'refuses %j',
    (options) => {
      expect(() => openInProcessBroker(options)).toThrow(RangeError);
    },
  );

  it('never starts a job while a queue with priority has one ready, and counts right at every moment', async () => {
    const looks: Promise<void>[] = [];
    await checkScenarios(() => Promise.resolve(openInProcessBroker({ failureRetryMs: 2 })), {
      runs: 80,
      onStart: (world, queue, earlier) => {
        looks.push(...earlier.map((other) => expectNoneReady(world, queue, other)));
      },
      afterStep: async (world) => {
        await Promise.all([...looks.splice(0), ...SCENARIO_QUEUES.map((queue) => expectExactCount(world, queue))]);
      },
    });
  }, 120_000);
});

describe('the list of ready jobs', () => {
  it('is first in, first out, and knows the earliest publication in it', () => {
    const operations = fc.array(fc.option(fc.nat(20), { freq: 2 }), { maxLength: 4_000, size: 'max' });
    const property = fc.property(operations, (all) => {
      const list = openReadyList<{ publishedAt: number }>();
      const model: { publishedAt: number }[] = [];
      for (const publishedAt of all) {
        if (publishedAt === null) expect(list.shift()).toBe(model.shift());
        else {
          const held = { publishedAt };
          list.push(held);
          model.push(held);
        }
        if (list.size() !== model.length) throw new Error('size is wrong');
        const oldest = model.length === 0 ? undefined : Math.min(...model.map((held) => held.publishedAt));
        if (list.oldest() !== oldest) throw new Error('oldest is wrong');
      }
    });
    fc.assert(property, { numRuns: 30 });
  });
});

/** `depth` looks at the queue when it is called: inside the handler's start. */
async function expectNoneReady(world: World, started: QueueName, earlier: QueueName): Promise<void> {
  const { oldestSeconds } = await world.broker.depth(earlier);
  if (oldestSeconds !== null) world.violations.push(`a job of ${started} started while ${earlier} had one ready`);
}

async function expectExactCount(world: World, queue: QueueName): Promise<void> {
  const jobs = [...world.jobs.values()].filter((job) => job.queue === queue);
  const unacked = jobs.filter(({ end }) => end !== 'ack').length;
  const { depth, retrying, dead } = await world.broker.depth(queue);
  expect(depth + retrying + dead).toBe(unacked);
}

async function withBroker<T>(
  options: InProcessBrokerOptions,
  test: (broker: InProcessBroker) => Promise<T>,
): Promise<T> {
  const started = openInProcessBroker(options);
  try {
    return await test(started.value);
  } finally {
    await started.stop();
  }
}
