import { describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import {
  QUEUES,
  QueueFull,
  type Broker,
  type ConsumeOptions,
  type Job,
  type JobHandler,
  type QueueName,
  type Verdict,
} from '../../src/ports/broker/broker.ts';
import { eventually } from '../support/eventually.ts';
import { checkScenarios } from './broker.scenario.ts';

/** Opens a broker whose queues are empty. `failureRetryMs` may be rounded up to the adapter's shortest retry step. */
export type OpenBroker = (settings: {
  readonly capacity?: number;
  readonly failureRetryMs: number;
}) => Promise<Started<Broker>>;

const ACK: Verdict = { kind: 'ack' };
const HOUR_MS = 3_600_000;

/** What every broker promises. Waits for conditions only, so a broker on another machine can be held to it too. */
export function brokerContract(open: OpenBroker, scenarios: number): void {
  const withBroker = async (test: (broker: Broker) => Promise<void>, capacity?: number): Promise<void> => {
    const started = await open({ failureRetryMs: 1, ...(capacity === undefined ? {} : { capacity }) });
    try {
      await test(started.value);
    } finally {
      await started.stop();
    }
  };

  describe('publishing', () => {
    it('delivers a confirmed job as it was published, on every queue there is', () =>
      withBroker(async (broker) => {
        const jobs = QUEUES.map((queue, at) =>
          newJob({ deliveryId: queue, due: at, expires: at % 2 === 0 ? null : at }),
        );
        await Promise.all(QUEUES.map((queue, at) => broker.publish(queue, jobs[at] ?? newJob())));
        const seen = await collector(broker, { queues: QUEUES, concurrency: 3 });
        await eventually(() => {
          expect(new Set(seen)).toEqual(new Set(jobs));
        });
      }));

    it('keeps a job for a consumer that starts later, even if the publisher changes its object', () =>
      withBroker(async (broker) => {
        const job = { ...newJob() };
        await broker.publish('sms.bulk', job);
        job.deliveryId = 'changed';
        const seen = await collector(broker, { queues: ['sms.bulk'] });
        await eventually(() => {
          expect(seen).toEqual([newJob()]);
        });
      }));

    it('rejects a queue that does not exist', () =>
      withBroker(async (broker) => {
        await expect(broker.publish('fax.bulk' as QueueName, newJob())).rejects.toThrow('fax.bulk');
        await expect(broker.depth('fax.bulk' as QueueName)).rejects.toThrow('fax.bulk');
      }));

    it('accepts a job of 1 KB and rejects one that is larger', () =>
      withBroker(async (broker) => {
        const room = 1_024 - JSON.stringify(newJob({ tenant: '' })).length;
        await broker.publish('email.bulk', newJob({ tenant: 'x'.repeat(room) }));
        await expect(broker.publish('email.bulk', newJob({ tenant: 'x'.repeat(room + 1) }))).rejects.toThrow(
          RangeError,
        );
        await expect(broker.publish('email.bulk', newJob({ tenant: 'é'.repeat(room / 2 + 1) }))).rejects.toThrow(
          RangeError,
        );
      }));

    it.each(MISSHAPEN)('rejects a job that is none: %j', (job) =>
      withBroker(async (broker) => {
        // The compiler would refuse it; what was read from elsewhere did not pass the compiler.
        await expect(broker.publish('email.bulk', job as Job)).rejects.toThrow(RangeError);
        expect(await broker.depth('email.bulk')).toMatchObject({ depth: 0 });
      }),
    );

    it('says when a queue is full, and takes jobs again once there is room', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'sms.bulk', ids(3));
        const refused = broker.publish('sms.bulk', newJob());
        await expect(refused).rejects.toThrow(QueueFull);
        await expect(refused).rejects.toMatchObject({ name: 'QueueFull', queue: 'sms.bulk' });
        await broker.publish('sms.transactional', newJob());
        await collector(broker, { queues: ['sms.bulk'] });
        await eventually(() => broker.publish('sms.bulk', newJob()));
      }, 3));
  });

  describe('verdicts', () => {
    it('forgets an acknowledged job', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'email.bulk', ids(5));
        const seen = await collector(broker, { queues: ['email.bulk'], concurrency: 2 });
        await eventually(async () => {
          expect(await broker.depth('email.bulk')).toEqual({ depth: 0, retrying: 0, dead: 0, oldestSeconds: null });
        });
        expect(seen.map(({ deliveryId }) => deliveryId).sort()).toEqual(ids(5));
      }));

    it('delivers again after a retry, as often as it takes', () =>
      withBroker(async (broker) => {
        await broker.publish('email.bulk', newJob());
        let calls = 0;
        await collector(broker, { queues: ['email.bulk'] }, () =>
          (calls += 1) <= 8 ? { kind: 'retry', afterMs: 1 } : ACK,
        );
        await eventually(async () => {
          expect(await broker.depth('email.bulk')).toMatchObject({ depth: 0, retrying: 0 });
          expect(calls).toBe(9);
        });
      }));

    it('counts a job as retrying, and not as waiting, until its delay ends', () =>
      withBroker(async (broker) => {
        await broker.publish('email.bulk', newJob());
        const seen = await collector(broker, { queues: ['email.bulk'] }, () => ({ kind: 'retry', afterMs: HOUR_MS }));
        await eventually(async () => {
          expect(await broker.depth('email.bulk')).toEqual({ depth: 0, retrying: 1, dead: 0, oldestSeconds: null });
        });
        expect(seen).toHaveLength(1);
      }));

    it('does not let a delayed job hold up the next one', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'email.bulk', ['slow', 'quick']);
        const seen = await collector(broker, { queues: ['email.bulk'] }, ({ deliveryId }) =>
          deliveryId === 'slow' ? { kind: 'retry', afterMs: HOUR_MS } : ACK,
        );
        await eventually(() => {
          expect(seen.map(({ deliveryId }) => deliveryId).sort()).toEqual(['quick', 'slow']);
        });
      }));

    it('sets a dead job aside and counts it', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'push.ios.bulk', ids(3));
        const seen = await collector(broker, { queues: ['push.ios.bulk'] }, () => ({ kind: 'dead', reason: 'no use' }));
        await eventually(async () => {
          expect(await broker.depth('push.ios.bulk')).toEqual({ depth: 0, retrying: 0, dead: 3, oldestSeconds: null });
        });
        expect(seen).toHaveLength(3);
      }));

    it.each(NO_VERDICTS)('delivers again when a handler answers nonsense: %j', (nonsense) =>
      withBroker(async (broker) => {
        await broker.publish('email.bulk', newJob());
        let calls = 0;
        await collector(broker, { queues: ['email.bulk'] }, () => ((calls += 1) === 1 ? (nonsense as Verdict) : ACK));
        await eventually(async () => {
          expect(calls).toBe(2);
          expect(await broker.depth('email.bulk')).toMatchObject({ depth: 0, retrying: 0, dead: 0 });
        });
      }),
    );

    it('delivers again when a handler throws, at once or later', () =>
      withBroker(async (broker) => {
        await broker.publish('email.bulk', newJob());
        let calls = 0;
        await consumeWith(broker, { queues: ['email.bulk'] }, () => {
          calls += 1;
          if (calls === 1) throw new Error('at once');
          return calls === 2 ? Promise.reject(new Error('later')) : Promise.resolve(ACK);
        });
        await eventually(async () => {
          expect(calls).toBe(3);
          expect(await broker.depth('email.bulk')).toMatchObject({ depth: 0, retrying: 0 });
        });
      }));
  });

  describe('the time limit', () => {
    it('aborts a handler that hangs, gives its slot to others and delivers its job again', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'sms.bulk', ['hangs', 'follows']);
        const signals: AbortSignal[] = [];
        const seen: string[] = [];
        await consumeWith(broker, { queues: ['sms.bulk'], timeLimitMs: 20 }, ({ deliveryId }, signal) => {
          seen.push(deliveryId);
          if (deliveryId !== 'hangs' || signals.length > 0) return Promise.resolve(ACK);
          signals.push(signal);
          return new Promise(() => undefined);
        });
        await eventually(async () => {
          expect(seen.toSorted()).toEqual(['follows', 'hangs', 'hangs']);
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, retrying: 0 });
        });
        expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
      }));

    it.each([
      ['an answer', () => ACK],
      ['a dead verdict', (): Verdict => ({ kind: 'dead', reason: 'too late' })],
    ])('ignores %s that comes after it', (_what, lateAnswer) =>
      withBroker(async (broker) => {
        await broker.publish('sms.bulk', newJob());
        const late = deferred<Verdict>();
        const second = deferred<Verdict>();
        let calls = 0;
        await consumeWith(broker, { queues: ['sms.bulk'], timeLimitMs: 20 }, () =>
          (calls += 1) === 1 ? late.promise : second.promise,
        );
        await eventually(() => {
          expect(calls).toBe(2);
        });
        late.resolve(lateAnswer());
        await late.promise;
        expect(await broker.depth('sms.bulk')).toMatchObject({ dead: 0 });
        second.resolve({ kind: 'dead', reason: 'in time' });
        await eventually(async () => {
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, retrying: 0, dead: 1 });
        });
      }),
    );
  });

  describe('consumers', () => {
    it('hold as many jobs as they may and no more, over all queues and of each', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'sms.transactional', ids(2));
        await publishAll(broker, 'sms.bulk', ids(9));
        const gate = deferred<Verdict>();
        const inHand: string[] = [];
        const queues = [
          { name: 'sms.transactional', concurrency: 9 },
          { name: 'sms.bulk', concurrency: 3 },
        ] as const;
        const handler: JobHandler = ({ deliveryId }) => {
          inHand.push(deliveryId);
          return gate.promise;
        };
        await broker.consume({ queues, concurrency: 4, timeLimitMs: 10_000 }, handler);
        await broker.consume({ queues: [queues[1]], concurrency: 9, timeLimitMs: 10_000 }, handler);
        await eventually(() => {
          expect(inHand).toHaveLength(7);
        });
        await expectNoMore(broker, inHand);
        gate.resolve(ACK);
        await eventually(() => {
          expect(inHand).toHaveLength(11);
        });
      }));

    it('start a job of a later queue only when no earlier queue has one ready', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'sms.bulk', ids(4));
        await publishAll(broker, 'sms.transactional', ids(4));
        const seen: string[] = [];
        await consumeWith(broker, { queues: ['sms.transactional', 'sms.bulk'] }, (job) => {
          seen.push(job.tenant);
          return Promise.resolve(ACK);
        });
        await eventually(() => {
          expect(seen).toHaveLength(8);
        });
        expect(seen).toEqual([...Array<string>(4).fill('sms.transactional'), ...Array<string>(4).fill('sms.bulk')]);
      }));

    it('share the jobs of a queue, each in one hand', () =>
      withBroker(async (broker) => {
        const gate = deferred<Verdict>();
        const seen: string[] = [];
        const consume = (): Promise<unknown> =>
          consumeWith(broker, { queues: ['email.bulk'] }, ({ deliveryId }) => {
            seen.push(deliveryId);
            return gate.promise;
          });
        await Promise.all([consume(), consume(), consume()]);
        await publishAll(broker, 'email.bulk', ids(3));
        await eventually(() => {
          expect(seen.toSorted()).toEqual(ids(3));
        });
        gate.resolve(ACK);
      }));

    it('are refused when what they ask for makes no sense', () =>
      withBroker(async (broker) => {
        const good = { queues: [{ name: 'sms.bulk', concurrency: 1 }], concurrency: 1, timeLimitMs: 10 } as const;
        const refused = async (options: ConsumeOptions): Promise<void> => {
          await expect(broker.consume(options, () => Promise.resolve(ACK))).rejects.toThrow(RangeError);
        };
        await refused({ ...good, concurrency: 0 });
        await refused({ ...good, queues: [] });
        await refused({ ...good, queues: [{ name: 'sms.bulk', concurrency: 0.5 }] });
        await refused({ ...good, queues: [good.queues[0], good.queues[0]] });
        await refused({ ...good, queues: [{ name: 'fax.bulk' as QueueName, concurrency: 1 }] });
        await refused({ ...good, timeLimitMs: 0 });
        await refused({ ...good, timeLimitMs: 2 ** 31 });
      }));
  });

  describe('stopping a consumer', () => {
    it('waits for the jobs in hand, honours their verdicts and takes no other', () =>
      withBroker(async (broker) => {
        await publishAll(broker, 'sms.bulk', ids(2));
        const gate = deferred<Verdict>();
        const signals: AbortSignal[] = [];
        const consumer = await consumeWith(broker, { queues: ['sms.bulk'] }, (_job, signal) => {
          signals.push(signal);
          return gate.promise;
        });
        await eventually(() => {
          expect(signals).toHaveLength(1);
        });
        const stopped = consumer.stop(10_000);
        gate.resolve(ACK);
        await stopped;
        await eventually(async () => {
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 1, retrying: 0 });
        });
        expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
      }));

    it('aborts what is still in hand when its grace is over, and honours a verdict given then', () =>
      withBroker(async (broker) => {
        await broker.publish('sms.bulk', newJob());
        const seen: string[] = [];
        const consumer = await consumeWith(broker, { queues: ['sms.bulk'] }, async ({ deliveryId }, signal) => {
          seen.push(deliveryId);
          await aborted(signal);
          return { kind: 'dead', reason: 'stopped' };
        });
        await eventually(() => {
          expect(seen).toHaveLength(1);
        });
        await consumer.stop(1);
        await eventually(async () => {
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, retrying: 0, dead: 1 });
        });
      }));

    it('loses its patience when it is told again with less', () =>
      withBroker(async (broker) => {
        await broker.publish('sms.bulk', newJob());
        let calls = 0;
        const consumer = await consumeWith(
          broker,
          { queues: ['sms.bulk'], timeLimitMs: 60_000 },
          async (_job, signal) => {
            calls += 1;
            await aborted(signal);
            return ACK;
          },
        );
        await eventually(() => {
          expect(calls).toBe(1);
        });
        await Promise.all([consumer.stop(50_000), consumer.stop(0)]);
      }));

    it('gives the job of a handler that does not care to another consumer', () =>
      withBroker(async (broker) => {
        await broker.publish('sms.bulk', newJob());
        const never = deferred<Verdict>();
        let calls = 0;
        const consumer = await consumeWith(broker, { queues: ['sms.bulk'] }, () => {
          calls += 1;
          return never.promise;
        });
        await eventually(() => {
          expect(calls).toBe(1);
        });
        await consumer.stop(0);
        const seen = await collector(broker, { queues: ['sms.bulk'] });
        await eventually(() => {
          expect(seen).toEqual([newJob()]);
        });
        never.resolve(ACK);
      }));

    it('is over at once when nothing is in hand, and may be repeated', () =>
      withBroker(async (broker) => {
        const consumer = await consumeWith(broker, { queues: ['sms.bulk'] }, () => Promise.resolve(ACK));
        await consumer.stop(60_000);
        await consumer.stop(60_000);
      }));
  });

  describe('closing', () => {
    it('drains the jobs in hand and then refuses everything', async () => {
      const { value: broker, stop } = await open({ failureRetryMs: 1 });
      const gate = deferred<Verdict>();
      const order: string[] = [];
      await broker.publish('sms.bulk', newJob());
      await consumeWith(broker, { queues: ['sms.bulk'] }, async (_job, signal) => {
        order.push('started');
        const verdict = await gate.promise;
        order.push(signal.aborted ? 'aborted' : 'finished');
        return verdict;
      });
      await eventually(() => {
        expect(order).toEqual(['started']);
      });
      const closed = broker.close().then(() => order.push('closed'));
      await new Promise(setImmediate);
      gate.resolve(ACK);
      await closed;
      expect(order).toEqual(['started', 'finished', 'closed']);
      await expect(broker.publish('sms.bulk', newJob())).rejects.toThrow();
      await expect(broker.depth('sms.bulk')).rejects.toThrow();
      await expect(consumeWith(broker, { queues: ['sms.bulk'] }, () => Promise.resolve(ACK))).rejects.toThrow();
      await stop();
    });

    it('names its session, which stays the same while it is open', () =>
      withBroker(async (broker) => {
        const { session } = broker;
        await broker.publish('sms.bulk', newJob());
        expect(session).not.toBe('');
        expect(broker.session).toBe(session);
      }));
  });

  it(
    'loses no job, gives none to two handlers, keeps to its caps and counts right, whatever happens',
    () => checkScenarios(() => open({ failureRetryMs: 2 }), { runs: scenarios }),
    120_000,
  );
}

const MISSHAPEN = [
  null,
  'job',
  {},
  { ...newJob(), tenant: '' },
  { ...newJob(), notificationId: 7 },
  { ...newJob(), deliveryId: undefined },
  { ...newJob(), attempt: 0 },
  { ...newJob(), attempt: 1.5 },
  { ...newJob(), due: '2024-01-01' },
  { ...newJob(), due: null },
  { ...newJob(), expires: undefined },
] as unknown[];

const NO_VERDICTS = [
  undefined,
  'ack',
  { kind: 'nack' },
  { kind: 'retry' },
  { kind: 'retry', afterMs: 0 },
  { kind: 'retry', afterMs: '10' },
  { kind: 'dead' },
] as unknown[];

export function newJob(fields: Partial<Job> = {}): Job {
  return { tenant: 'acme', notificationId: 'n', deliveryId: 'd', attempt: 1, due: 0, expires: null, ...fields };
}

export function ids(count: number): string[] {
  return Array.from({ length: count }, (_, at) => String(at));
}

/** Publishes one job a delivery id, in this order; its tenant is the queue. */
export async function publishAll(broker: Broker, queue: QueueName, deliveryIds: readonly string[]): Promise<void> {
  for (const deliveryId of deliveryIds) await broker.publish(queue, newJob({ tenant: queue, deliveryId }));
}

interface Consume {
  readonly queues: readonly QueueName[];
  /** Default 1. */
  readonly concurrency?: number;
  /** Default 10 s. */
  readonly timeLimitMs?: number;
}

export function consumeWith(broker: Broker, options: Consume, handler: JobHandler): ReturnType<Broker['consume']> {
  const { concurrency = 1, timeLimitMs = 10_000 } = options;
  const queues = options.queues.map((name) => ({ name, concurrency }));
  return broker.consume({ queues, concurrency, timeLimitMs }, handler);
}

/** Consumes with a handler that answers at once; the list of all jobs it was given grows. */
export async function collector(
  broker: Broker,
  options: Consume,
  judge: (job: Job) => Verdict = () => ACK,
): Promise<Job[]> {
  const seen: Job[] = [];
  await consumeWith(broker, options, (job) => {
    seen.push(job);
    return Promise.resolve(judge(job));
  });
  return seen;
}

/** Shows by a job on another queue, handed out later by the same broker, that no further job was handed out before it. */
async function expectNoMore(broker: Broker, inHand: readonly string[]): Promise<void> {
  const before = inHand.length;
  const seen = await collector(broker, { queues: ['push.web.bulk'] });
  await broker.publish('push.web.bulk', newJob());
  await eventually(() => {
    expect(seen).toHaveLength(1);
  });
  expect(inHand).toHaveLength(before);
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
