import { expect } from 'vitest';
import type { ClaimRequest } from '../../src/commands/claim-delivery.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import type { Outcome } from '../../src/events/outcome.ts';
import type { DeliveryPolicy } from '../../src/commands/delivery-policy.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { systemIds } from '../../src/ids.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Broker, Consumer, Job, QueueName } from '../../src/ports/broker/broker.ts';
import { openInProcessBroker, type InProcessBrokerOptions } from '../../src/ports/broker/in-process.ts';
import { startDispatch, type DispatchOptions } from '../../src/projections/dispatch.ts';
import { startRoute } from '../../src/projections/route.ts';
import type { ProjectionStatus } from '../../src/projections/run.ts';
import { eventually } from './eventually.ts';
import { registered, requested, withWorld, type World } from './world.ts';

export const POLICY: DeliveryPolicy = { retryDelaysMs: [30_000], doubt: 'RESEND', claimMs: 25_000, busyMs: 5_000 };
export const QUEUE: QueueName = 'email.transactional';
export const HOUR_MS = 3_600_000;

/** A real broker that remembers what was confirmed and how often it was asked for a depth. */
export interface WatchedBroker extends Broker {
  readonly jobs: Job[];
  readonly looks: () => number;
}

export function brokerOf(world: World, options: InProcessBrokerOptions = {}): WatchedBroker {
  const broker = world.use(openInProcessBroker({ now: world.clock.now, ...options }));
  const jobs: Job[] = [];
  let looks = 0;
  return {
    ...broker,
    jobs,
    looks: () => looks,
    publish: async (queue, job) => {
      await broker.publish(queue, job);
      jobs.push(job);
    },
    depth: (queue) => {
      looks += 1;
      return broker.depth(queue);
    },
  };
}

export async function dispatch(
  world: World,
  broker: Broker,
  options: Partial<DispatchOptions> = {},
): Promise<Started<() => ProjectionStatus>> {
  const { log, logger, clock } = world;
  const fixed = { log, state: world.state('dispatch'), broker, logger, now: clock.now };
  return startDispatch({ ...fixed, graceMs: 15_000, refeedEveryMs: 5, ...options });
}

/** Looks for lost jobs wake the dispatcher too: tests about its own timers do without them. */
export const NO_LOOKS = { refeedEveryMs: HOUR_MS } as const;

/** Users, a router and a dispatcher; requests become jobs in the broker. */
export async function withDispatch(
  work: (world: World, broker: WatchedBroker) => Promise<void>,
  {
    broker: brokerOptions = {},
    ...options
  }: Partial<Omit<DispatchOptions, 'broker'>> & { broker?: InProcessBrokerOptions } = {},
): Promise<void> {
  await withWorld(async (world) => {
    const broker = brokerOf(world, brokerOptions);
    await registered(world);
    startRouting(world);
    world.use(await dispatch(world, broker, options));
    await work(world, broker);
  });
}

export function startRouting(world: World): void {
  const { log, logger, clock } = world;
  world.use(
    startRoute({ log, state: world.state('route'), logger, ids: systemIds, now: clock.now, channels: CHANNELS }),
  );
}

/** The job of a request once it was published. */
export async function jobFor(world: World, { jobs }: WatchedBroker, changes = {}): Promise<Job> {
  const id = await requested(world, changes);
  return eventually(() => {
    const job = jobs.find(({ notificationId }) => notificationId === id);
    if (job === undefined) throw new Error(`no job for ${id}`);
    return job;
  });
}

export function attempts({ jobs }: WatchedBroker, { deliveryId }: Job): readonly number[] {
  return jobs.filter((job) => job.deliveryId === deliveryId).map(({ attempt }) => attempt);
}

export async function untilAttempts(broker: WatchedBroker, job: Job, expected: readonly number[]): Promise<void> {
  await eventually(() => {
    expect(attempts(broker, job)).toEqual(expected);
  });
}

/** Until the index says that the job was published now; the broker has it a moment before. */
export async function untilMarked({ state, clock }: World, { deliveryId }: Job): Promise<void> {
  await eventually(() => {
    expect(state('dispatch').get(['delivery', deliveryId])).toMatchObject({ fedAt: clock.now() });
  });
}

/** Until lost jobs were looked for three times more, with suspects in the index. */
export async function afterThreeLooks({ looks }: WatchedBroker): Promise<void> {
  const before = looks();
  await eventually(() => {
    expect(looks()).toBeGreaterThanOrEqual(before + 3);
  });
}

/** Time goes on once the dispatcher knows all that happened so far. */
export async function pass({ log, state, clock }: World, ms: number): Promise<void> {
  await eventually(async () => {
    expect(state('dispatch').get(['checkpoint'])).toBe(await log.head());
  });
  clock.advance(ms);
}

/** The dispatcher went through its due times: it published what came last. */
export async function afterAnotherJob(world: World, broker: WatchedBroker): Promise<void> {
  await jobFor(world, broker);
}

/** Takes every job and claims none. */
export function ackAll(broker: Broker): Promise<Consumer> {
  const options = { queues: [{ name: QUEUE, concurrency: 2 }], concurrency: 2, timeLimitMs: 1_000 };
  return broker.consume(options, () => Promise.resolve({ kind: 'ack' }));
}

export async function untilEmpty(broker: Broker): Promise<void> {
  await eventually(async () => {
    expect(await broker.depth(QUEUE)).toMatchObject({ depth: 0, retrying: 0 });
  });
}

export async function attempted(
  { context }: World,
  job: ClaimRequest,
  outcome: Outcome,
  policy = POLICY,
): Promise<void> {
  const deliveries = createDeliveries(context, policy);
  const claimed = await deliveries.claim(job);
  if (claimed.kind !== 'claimed') throw new Error(`not claimed but ${claimed.kind}`);
  await deliveries.record(job, claimed, 'scripted', outcome);
}
