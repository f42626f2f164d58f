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
import { LONGEST_DELAY_MS, checkedJob, checkedVerdict } from './job.ts';
import { openReadyList, type ReadyList } from './ready-list.ts';

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
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How long `close` lets the jobs in hand go on; a consumer that was stopped before has none. */
const CLOSE_GRACE_MS = 10_000;
/** How long an aborted handler may take to settle before its job is taken from it. */
const SETTLE_MS = 1_000;

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

/** A queue as one consumer sees it. */
interface Source {
  readonly queue: Queue;
  readonly concurrency: number;
  inHand: number;
}

interface Hand {
  readonly source: Source;
  readonly held: Held;
  readonly abort: AbortController;
  /** Runs out at the time limit. */
  limit?: NodeJS.Timeout;
}

interface ConsumerState {
  readonly sources: readonly Source[];
  readonly concurrency: number;
  readonly timeLimitMs: number;
  readonly handler: JobHandler;
  readonly hands: Set<Hand>;
  /** Handlers that have not settled: those of the jobs in hand, and those that were cut off. */
  running: number;
  /** Called after each change of the two above. */
  readonly watchers: Set<() => void>;
}

interface State {
  readonly settings: Required<InProcessBrokerOptions>;
  readonly queues: ReadonlyMap<string, Queue>;
  /** Consumers that take jobs; rotated, so that they share. */
  readonly consumers: ConsumerState[];
  /** Every consumer that may still have jobs in hand. */
  readonly open: Set<Consumer>;
  turn: NodeJS.Immediate | undefined;
  closing: Promise<void> | undefined;
  closed: boolean;
}

function newState(options: InProcessBrokerOptions): State {
  const settings = {
    capacity: options.capacity ?? 20_000,
    failureRetryMs: options.failureRetryMs ?? 1_000,
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
  const started = newConsumer(state, options, handler);
  state.consumers.push(started);
  const consumer: Consumer = {
    stop: async (graceMs) => {
      await stopConsumer(state, started, graceMs);
      state.open.delete(consumer);
    },
  };
  state.open.add(consumer);
  wake(state);
  return consumer;
}

function newConsumer(state: State, options: ConsumeOptions, handler: JobHandler): ConsumerState {
  const { concurrency, timeLimitMs } = options;
  requireCount('concurrency', concurrency);
  requireMs('timeLimitMs', timeLimitMs, LONGEST_TIMER_MS);
  const names = new Set(options.queues.map(({ name }) => name));
  if (names.size === 0 || names.size < options.queues.length) throw new RangeError('queues must be named, each once');
  const sources = options.queues.map((source): Source => {
    requireCount(`concurrency of ${source.name}`, source.concurrency);
    return { queue: queueOf(state, source.name), concurrency: source.concurrency, inHand: 0 };
  });
  return { sources, concurrency, timeLimitMs, handler, hands: new Set(), running: 0, watchers: new Set() };
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

/** May be called again with less patience: whichever call loses it first aborts. */
async function stopConsumer(state: State, consumer: ConsumerState, graceMs: number): Promise<void> {
  const at = state.consumers.indexOf(consumer);
  if (at >= 0) state.consumers.splice(at, 1);
  await within(graceMs, consumer, () => consumer.hands.size === 0);
  const reason = new Error('the consumer is being stopped');
  for (const hand of consumer.hands) hand.abort.abort(reason);
  await within(SETTLE_MS, consumer, () => consumer.running === 0);
  for (const hand of consumer.hands) {
    if (letGo(consumer, hand)) makeReady(state, hand.source.queue, hand.held);
  }
}

/** Resolves once `isOver`, or when the time is over. */
function within(ms: number, { watchers }: ConsumerState, isOver: () => boolean): Promise<void> {
  if (isOver()) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      watchers.delete(check);
      resolve();
    };
    const check = (): void => {
      if (isOver()) end();
    };
    const timer = setTimeout(end, Math.min(ms, LONGEST_TIMER_MS));
    watchers.add(check);
  });
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
    refusals = takeOne(state, consumer) ? 0 : refusals + 1;
  }
}

/** The first queue that has a job decides: while its own cap holds that job back, later queues wait too. */
function takeOne(state: State, consumer: ConsumerState): boolean {
  if (consumer.hands.size >= consumer.concurrency) return false;
  const source = consumer.sources.find(({ queue }) => queue.ready.size() > 0);
  if (source === undefined || source.inHand >= source.concurrency) return false;
  const held = source.queue.ready.shift();
  if (held === undefined) return false;
  const hand: Hand = { source, held, abort: new AbortController() };
  consumer.hands.add(hand);
  consumer.running += 1;
  source.inHand += 1;
  source.queue.inHand += 1;
  hand.limit = setTimeout(cutOff, consumer.timeLimitMs, state, consumer, hand);
  void run(state, consumer, hand);
  return true;
}

async function run(state: State, consumer: ConsumerState, hand: Hand): Promise<void> {
  const { queue } = hand.source;
  try {
    const verdict = checkedVerdict(await consumer.handler(hand.held.job, hand.abort.signal));
    if (letGo(consumer, hand)) carryOut(state, queue, hand.held, verdict);
  } catch (error) {
    if (letGo(consumer, hand)) failed(state, queue, hand.held, error);
  }
  consumer.running -= 1;
  for (const check of consumer.watchers) check();
  wake(state);
}

function cutOff(state: State, consumer: ConsumerState, hand: Hand): void {
  const error = new Error(`the handler took longer than ${String(consumer.timeLimitMs)} ms`);
  if (letGo(consumer, hand)) failed(state, hand.source.queue, hand.held, error);
  hand.abort.abort(error);
  wake(state);
}

/** Frees the slot. False when the job was taken from this handler before: what it answers no longer counts. */
function letGo(consumer: ConsumerState, hand: Hand): boolean {
  if (!consumer.hands.delete(hand)) return false;
  clearTimeout(hand.limit);
  hand.source.inHand -= 1;
  hand.source.queue.inHand -= 1;
  for (const check of consumer.watchers) check();
  return true;
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

function requireCount(what: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${what} must be a whole number from 1`);
}

function requireMs(what: string, value: number, most: number): void {
  if (!(value >= 1 && value <= most)) throw new RangeError(`${what} must be between 1 and ${String(most)} ms`);
}

function promised<T>(act: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(act());
  });
}
