import { randomUUID } from 'node:crypto';
import type { Started } from '../../lifecycle.ts';
import {
  QUEUES,
  QueueFull,
  type Broker,
  type ConsumeOptions,
  type Consumer,
  type Job,
  type JobHandler,
  type QueueDepth,
  type QueueName,
  type Verdict,
} from './broker.ts';
import { checkConsumeOptions, openHands, requireCount, requireMs, type Hands } from './hands.ts';
import { LONGEST_DELAY_MS, checkedJob } from './job.ts';
import { openReadyList, type ReadyList } from './ready-list.ts';
import { FAILURE_RETRY_MS, QUEUE_CAPACITY } from './topology.ts';

export interface InProcessBrokerOptions {
  /** Jobs a queue may hold: ready, retrying and in hand together. Default 20,000. */
  readonly capacity?: number;
  /** Pause after a handler threw, ran out of time or answered nonsense; milliseconds, 1 to 3,600,000. Default 1,000. */
  readonly failureRetryMs?: number;
  /** Clock for ages, milliseconds; default monotonic. Delays and time limits always take real time. */
  readonly now?: () => number;
  /** Told of every such failure once the job is safe again. Must not throw. */
  readonly onFault?: (error: unknown, queue: QueueName, job: Job) => void;
}

/** A job that a handler judged dead. */
export interface SetAside {
  readonly job: Job;
  readonly reason: string;
}

export interface InProcessBroker extends Broker {
  /** The jobs set aside last, oldest first, at most 1,000 a queue; `depth` counts all of them. */
  setAside(queue: QueueName): readonly SetAside[];
}

/** Queues in this process's memory: they end with it, and a confirm promises no more than that. */
export function openInProcessBroker(options: InProcessBrokerOptions = {}): Started<InProcessBroker> {
  const state = newState(options);
  const stop = (): Promise<void> => (state.closing ??= close(state));
  const value: InProcessBroker = {
    session: randomUUID(),
    publish: (queue, job) =>
      promised(() => {
        publish(state, queue, job);
      }),
    consume: (consumeOptions, handler) => promised(() => consume(state, consumeOptions, handler)),
    depth: (queue) => promised(() => depthOf(state, queue)),
    close: stop,
    setAside: (queue) => [...queueOf(state, queue).setAside],
  };
  return { value, stop };
}

const SET_ASIDE_KEPT = 1_000;
/** How long `close` lets the jobs in hand go on; a consumer that was stopped before has none. */
const CLOSE_GRACE_MS = 10_000;

interface Held {
  readonly job: Job;
  readonly publishedAt: number;
}

interface Queue {
  readonly name: QueueName;
  readonly ready: ReadyList<Held>;
  /** One timer a job that waits; Node keeps its timers in a heap. */
  readonly delays: Set<NodeJS.Timeout>;
  readonly setAside: SetAside[];
  inHand: number;
  dead: number;
}

interface State {
  readonly settings: Required<InProcessBrokerOptions>;
  readonly queues: ReadonlyMap<string, Queue>;
  /** Consumers that take jobs; rotated, so that they share. */
  readonly consumers: Hands[];
  /** Every consumer that may still have jobs in hand. */
  readonly open: Set<Consumer>;
  turn: NodeJS.Immediate | undefined;
  closing: Promise<void> | undefined;
  closed: boolean;
}

function newState(options: InProcessBrokerOptions): State {
  const settings = {
    capacity: options.capacity ?? QUEUE_CAPACITY,
    failureRetryMs: options.failureRetryMs ?? FAILURE_RETRY_MS,
    now: options.now ?? (() => performance.now()),
    onFault: options.onFault ?? (() => undefined),
  };
  requireCount('capacity', settings.capacity);
  requireMs('failureRetryMs', settings.failureRetryMs, LONGEST_DELAY_MS);
  const queues = new Map(QUEUES.map((name) => [name, newQueue(name)]));
  return { settings, queues, consumers: [], open: new Set(), turn: undefined, closing: undefined, closed: false };
}

function newQueue(name: QueueName): Queue {
  return { name, ready: openReadyList<Held>(), delays: new Set(), setAside: [], inHand: 0, dead: 0 };
}

function publish(state: State, name: QueueName, job: Job): void {
  const queue = queueOf(state, name);
  const copy = checkedJob(job);
  if (sizeOf(queue) >= state.settings.capacity) throw new QueueFull(name);
  makeReady(state, queue, { job: copy, publishedAt: state.settings.now() });
}

function consume(state: State, options: ConsumeOptions, handler: JobHandler): Consumer {
  if (state.closing !== undefined) throw new Error('the broker is closing');
  checkConsumeOptions(options);
  const hands = newHands(state, options, handler);
  state.consumers.push(hands);
  const consumer: Consumer = {
    stop: async (graceMs) => {
      const at = state.consumers.indexOf(hands);
      if (at >= 0) state.consumers.splice(at, 1);
      await hands.stop(graceMs);
      state.open.delete(consumer);
    },
  };
  state.open.add(consumer);
  wake(state);
  return consumer;
}

/** A job as the consumer that has it in hand sees it. */
interface Taken {
  readonly queue: Queue;
  readonly held: Held;
}

function newHands(state: State, options: ConsumeOptions, handler: JobHandler): Hands {
  return openHands<Taken>({
    sources: options.queues.map(({ name, concurrency }) => {
      const queue = queueOf(state, name);
      return { concurrency, mayHaveReady: () => queue.ready.size() > 0, take: () => take(queue) };
    }),
    concurrency: options.concurrency,
    timeLimitMs: options.timeLimitMs,
    handler,
    jobOf: ({ held }) => held.job,
    judged: ({ queue, held }, verdict) => {
      queue.inHand -= 1;
      carryOut(state, queue, held, verdict);
    },
    failed: ({ queue, held }, error) => {
      queue.inHand -= 1;
      failed(state, queue, held, error);
    },
    returned: ({ queue, held }) => {
      queue.inHand -= 1;
      makeReady(state, queue, held);
    },
    freed: () => {
      wake(state);
    },
  });
}

function take(queue: Queue): Taken | undefined {
  const held = queue.ready.shift();
  if (held === undefined) return undefined;
  queue.inHand += 1;
  return { queue, held };
}

function depthOf(state: State, name: QueueName): QueueDepth {
  const queue = queueOf(state, name);
  const oldest = queue.ready.oldest();
  return {
    depth: queue.ready.size() + queue.inHand,
    retrying: queue.delays.size,
    dead: queue.dead,
    oldestSeconds: oldest === undefined ? null : Math.max(0, state.settings.now() - oldest) / 1_000,
  };
}

async function close(state: State): Promise<void> {
  await Promise.all(Array.from(state.open, (consumer) => consumer.stop(CLOSE_GRACE_MS)));
  state.closed = true;
  clearImmediate(state.turn);
  for (const queue of state.queues.values()) queue.delays.forEach(clearTimeout);
}

function makeReady(state: State, queue: Queue, held: Held): void {
  queue.ready.push(held);
  wake(state);
}

function makeReadyLater(state: State, queue: Queue, held: Held, afterMs: number): void {
  const timer = setTimeout(() => {
    queue.delays.delete(timer);
    makeReady(state, queue, held);
  }, afterMs);
  queue.delays.add(timer);
}

/** Hands out jobs at the next turn of the event loop: handlers that answer at once must not keep others from their turn. */
function wake(state: State): void {
  if (state.closed) return;
  state.turn ??= setImmediate(() => {
    state.turn = undefined;
    handOut(state);
  });
}

function handOut(state: State): void {
  for (let refusals = 0; refusals < state.consumers.length;) {
    const consumer = state.consumers.shift();
    if (consumer === undefined) return;
    state.consumers.push(consumer);
    refusals = consumer.takeOne() ? 0 : refusals + 1;
  }
}

function carryOut(state: State, queue: Queue, held: Held, verdict: Verdict): void {
  if (verdict.kind === 'retry') makeReadyLater(state, queue, held, verdict.afterMs);
  if (verdict.kind !== 'dead') return;
  queue.dead += 1;
  queue.setAside.push({ job: held.job, reason: verdict.reason });
  if (queue.setAside.length > SET_ASIDE_KEPT) queue.setAside.shift();
}

function failed(state: State, queue: Queue, held: Held, error: unknown): void {
  makeReadyLater(state, queue, held, state.settings.failureRetryMs);
  state.settings.onFault(error, queue.name, held.job);
}

function queueOf(state: State, name: string): Queue {
  if (state.closed) throw new Error('the broker is closed');
  const queue = state.queues.get(name);
  if (queue === undefined) throw new RangeError(`unknown queue ${name}`);
  return queue;
}

function sizeOf(queue: Queue): number {
  return queue.ready.size() + queue.inHand + queue.delays.size;
}

function promised<T>(act: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(act());
  });
}
