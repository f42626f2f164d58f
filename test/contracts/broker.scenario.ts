import fc from 'fast-check';
import { expect } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import type { Broker, Consumer, Job, QueueName, Verdict } from '../../src/ports/broker/broker.ts';
import { eventually } from '../support/eventually.ts';

/**
 * A model of what may happen to jobs: random publishers, consumers and handlers act on a broker, and every handler
 * notes what it sees. In the end a consumer of everything must bring each job to its end.
 */
export interface ScenarioOptions {
  readonly runs: number;
  /** Called while a handler starts on a job of `queue`, before anything else happens; `earlier` are the queues with priority. */
  readonly onStart?: (world: World, queue: QueueName, earlier: readonly QueueName[]) => void;
  /** Called at the next turn of the event loop after each step. */
  readonly afterStep?: (world: World) => Promise<void>;
}

export interface World {
  readonly broker: Broker;
  readonly jobs: Map<string, TrackedJob>;
  readonly consumers: Consumer[];
  readonly stops: Promise<void>[];
  /** Sentences about what must not happen and did. */
  readonly violations: string[];
}

interface TrackedJob {
  readonly queue: QueueName;
  readonly plan: readonly Answer[];
  handled: number;
  running: boolean;
  end: 'ack' | 'dead' | null;
}

interface Answer {
  /** Turns of the event loop before the answer. */
  readonly turns: number;
  readonly kind: 'ack' | 'retry' | 'dead' | 'throw' | 'hang';
}

type Step =
  | { readonly kind: 'publish'; readonly queue: QueueName; readonly plans: readonly (readonly Answer[])[] }
  | {
      readonly kind: 'consume';
      readonly queues: readonly QueueName[];
      readonly caps: readonly number[];
      readonly cap: number;
    }
  | { readonly kind: 'stop'; readonly which: number; readonly graceMs: number }
  | { readonly kind: 'wait'; readonly turns: number };

export const SCENARIO_QUEUES = ['sms.transactional', 'sms.bulk', 'email.bulk'] as const;
const TIME_LIMIT_MS = 15;

export async function checkScenarios(open: () => Promise<Started<Broker>>, options: ScenarioOptions): Promise<void> {
  const property = fc.asyncProperty(fc.array(step(), { minLength: 1, maxLength: 14 }), async (steps) => {
    const { value, stop } = await open();
    try {
      await play(value, steps, options);
    } finally {
      await stop();
    }
  });
  await fc.assert(property, { numRuns: options.runs, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: true });
}

function step(): fc.Arbitrary<Step> {
  const answer = fc.record<Answer>({
    turns: fc.nat(4),
    kind: fc.constantFrom('ack', 'ack', 'retry', 'retry', 'dead', 'throw', 'hang'),
  });
  const queue = fc.constantFrom(...SCENARIO_QUEUES);
  const plans = fc.array(fc.array(answer, { maxLength: 3 }), { minLength: 1, maxLength: 6 });
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('publish' as const), queue, plans }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('consume' as const),
        queues: fc.shuffledSubarray([...SCENARIO_QUEUES], { minLength: 1 }),
        caps: fc.tuple(...SCENARIO_QUEUES.map(() => fc.integer({ min: 1, max: 4 }))),
        cap: fc.integer({ min: 1, max: 5 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('stop' as const), which: fc.nat(9), graceMs: fc.nat(30) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), turns: fc.nat(6) }) },
  );
}

async function play(broker: Broker, steps: readonly Step[], options: ScenarioOptions): Promise<void> {
  const world: World = { broker, jobs: new Map(), consumers: [], stops: [], violations: [] };
  for (const next of steps) {
    await act(world, next, options);
    await turn();
    await options.afterStep?.(world);
  }
  await finish(world, options);
  await options.afterStep?.(world);
  expect(world.violations).toEqual([]);
}

async function act(world: World, next: Step, options: ScenarioOptions): Promise<void> {
  switch (next.kind) {
    case 'publish':
      for (const plan of next.plans) await publish(world, next.queue, plan);
      return;
    case 'consume':
      await consume(world, next, options);
      return;
    case 'stop': {
      const [consumer] = world.consumers.splice(next.which % Math.max(1, world.consumers.length), 1);
      if (consumer !== undefined) world.stops.push(consumer.stop(next.graceMs));
      return;
    }
    case 'wait':
      for (let left = next.turns; left > 0; left--) await turn();
  }
}

/** Stops whoever is there, then lets a last consumer bring everything to its end, and counts. */
async function finish(world: World, options: ScenarioOptions): Promise<void> {
  await Promise.all([...world.stops, ...world.consumers.map((consumer) => consumer.stop(5))]);
  for (const job of world.jobs.values()) {
    if (job.running) world.violations.push('a handler was still at work after its consumer had stopped');
  }
  await consume(world, { queues: SCENARIO_QUEUES, caps: [4, 4, 4], cap: 6 }, options);
  await eventually(async () => {
    const open = [...world.jobs.values()].filter(({ end }) => end === null);
    expect(open, 'jobs that never came to an end').toEqual([]);
    for (const queue of SCENARIO_QUEUES) {
      const dead = [...world.jobs.values()].filter((job) => job.queue === queue && job.end === 'dead').length;
      expect(await world.broker.depth(queue)).toEqual({ depth: 0, retrying: 0, dead, oldestSeconds: null });
    }
  });
}

async function publish(world: World, queue: QueueName, plan: readonly Answer[]): Promise<void> {
  const deliveryId = String(world.jobs.size);
  world.jobs.set(deliveryId, { queue, plan, handled: 0, running: false, end: null });
  await world.broker.publish(queue, {
    tenant: queue,
    notificationId: 'n',
    deliveryId,
    attempt: 1,
    due: 0,
    expires: null,
  });
}

async function consume(
  world: World,
  { queues, caps, cap }: { queues: readonly QueueName[]; caps: readonly number[]; cap: number },
  options: ScenarioOptions,
): Promise<void> {
  const sources = queues.map((name, at) => ({ name, concurrency: caps[at] ?? 1 }));
  const inHand = new Map<QueueName, number>();
  const held = (): number => [...inHand.values()].reduce((sum, count) => sum + count, 0);
  const consumer = await world.broker.consume(
    { queues: sources, concurrency: cap, timeLimitMs: TIME_LIMIT_MS },
    async (job, signal) => {
      const tracked = begin(world, job);
      const { queue } = tracked;
      const leave = entered(inHand, queue);
      // A place is free as soon as its handler was told to end, even where it has not heard yet.
      signal.addEventListener('abort', leave);
      const own = sources.find(({ name }) => name === queue)?.concurrency ?? 0;
      if ((inHand.get(queue) ?? 0) > own) world.violations.push(`more than ${String(own)} jobs of ${queue} in hand`);
      if (held() > cap) world.violations.push(`more than ${String(cap)} jobs in hand`);
      options.onStart?.(world, queue, queues.slice(0, queues.indexOf(queue)));
      try {
        return await answer(tracked, signal);
      } finally {
        tracked.running = false;
        leave();
      }
    },
  );
  world.consumers.push(consumer);
}

/** Counts a job of that queue as in hand; answers how to count it as gone, once. */
function entered(inHand: Map<QueueName, number>, queue: QueueName): () => void {
  inHand.set(queue, (inHand.get(queue) ?? 0) + 1);
  let isGone = false;
  return () => {
    if (!isGone) inHand.set(queue, (inHand.get(queue) ?? 0) - 1);
    isGone = true;
  };
}

function begin(world: World, job: Job): TrackedJob {
  const tracked = world.jobs.get(job.deliveryId);
  if (tracked?.queue !== job.tenant) throw new Error(`nobody published ${JSON.stringify(job)}`);
  if (tracked.running) world.violations.push(`job ${job.deliveryId} is in two handlers at once`);
  if (tracked.end !== null) world.violations.push(`job ${job.deliveryId} came again after its ${tracked.end}`);
  tracked.running = true;
  return tracked;
}

/** Gives up as soon as the signal aborts: what it says then might not count. */
async function answer(tracked: TrackedJob, signal: AbortSignal): Promise<Verdict> {
  const { turns, kind } = tracked.plan[tracked.handled] ?? { turns: 0, kind: 'ack' };
  tracked.handled += 1;
  for (let left = turns; left > 0 || kind === 'hang'; left--) {
    await turn();
    signal.throwIfAborted();
  }
  if (kind === 'throw') throw new Error('as planned');
  if (kind === 'retry') return { kind, afterMs: 1 + (tracked.handled % 3) };
  if (kind === 'dead') {
    tracked.end = kind;
    return { kind, reason: 'as planned' };
  }
  tracked.end = 'ack';
  return { kind: 'ack' };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
