import { QUEUES, type ConsumeOptions, type Job, type JobHandler, type QueueName, type Verdict } from './broker.ts';
import { checkedVerdict } from './job.ts';

/** One queue of a consumer; `T` is what its adapter holds of a job. */
export interface Source<T> {
  readonly concurrency: number;
  /** Whether a job may be ready: as long as one may, later queues wait. */
  readonly mayHaveReady: () => boolean;
  /** Takes the next job out; undefined: none has come yet. */
  readonly take: () => T | undefined;
}

export interface HandsOptions<T> {
  /** Served in this order. */
  readonly sources: readonly Source<T>[];
  readonly concurrency: number;
  readonly timeLimitMs: number;
  readonly handler: JobHandler;
  readonly jobOf: (item: T) => Job;
  /** Of the next three, one is called for each job that was taken, once. */
  readonly judged: (item: T, verdict: Verdict) => void;
  /** The handler threw, answered nonsense or took too long. */
  readonly failed: (item: T, error: unknown) => void;
  /** The consumer stopped, and the handler did not care. */
  readonly returned: (item: T) => void;
  /** There may be a free place. */
  readonly freed: () => void;
}

/** The jobs that one consumer has in hand, their handlers and time limits. */
export interface Hands {
  /** Starts one job; false when none is to be had or no place is free. */
  readonly takeOne: () => boolean;
  /** As `Consumer.stop`. May be called again with less patience: whichever call loses it first aborts. */
  readonly stop: (graceMs: number) => Promise<void>;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How long an aborted handler may take to settle before its job is taken from it. */
const SETTLE_MS = 1_000;

interface CountedSource<T> extends Source<T> {
  /** Jobs of its in hand. */
  inHand: number;
}

interface Hand<T> {
  readonly source: CountedSource<T>;
  readonly item: T;
  readonly abort: AbortController;
  /** Runs out at the time limit. */
  limit?: NodeJS.Timeout;
}

interface State<T> {
  readonly options: HandsOptions<T>;
  readonly sources: readonly CountedSource<T>[];
  readonly hands: Set<Hand<T>>;
  /** Handlers that have not settled: those of the jobs in hand, and those that were cut off. */
  running: number;
  stopped: boolean;
  /** Called after each change of the two above. */
  readonly watchers: Set<() => void>;
}

export function openHands<T>(options: HandsOptions<T>): Hands {
  const sources = options.sources.map(({ concurrency, mayHaveReady, take }) => ({
    concurrency,
    mayHaveReady,
    take,
    inHand: 0,
  }));
  const state: State<T> = { options, sources, hands: new Set(), running: 0, stopped: false, watchers: new Set() };
  return { takeOne: () => takeOne(state), stop: (graceMs) => stop(state, graceMs) };
}

/** @throws RangeError when they make no sense. */
export function checkConsumeOptions({ queues, concurrency, timeLimitMs }: ConsumeOptions): void {
  requireCount('concurrency', concurrency);
  requireMs('timeLimitMs', timeLimitMs, LONGEST_TIMER_MS);
  const names = new Set(queues.map(({ name }) => name));
  if (names.size === 0 || names.size < queues.length) throw new RangeError('queues must be named, each once');
  for (const queue of queues) {
    requireCount(`concurrency of ${queue.name}`, queue.concurrency);
    requireQueue(queue.name);
  }
}

export function requireQueue(name: QueueName): void {
  if (!QUEUES.includes(name)) throw new RangeError(`unknown queue ${name}`);
}

export function requireCount(what: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${what} must be a whole number from 1`);
}

export function requireMs(what: string, value: number, most: number): void {
  if (!(value >= 1 && value <= most)) throw new RangeError(`${what} must be between 1 and ${String(most)} ms`);
}

/** The first queue that has a job decides: while its own cap holds that job back, later queues wait too. */
function takeOne<T>(state: State<T>): boolean {
  const { options, sources, hands } = state;
  if (state.stopped || hands.size >= options.concurrency) return false;
  const source = sources.find((each) => each.mayHaveReady());
  if (source === undefined || source.inHand >= source.concurrency) return false;
  const item = source.take();
  if (item === undefined) return false;
  const hand: Hand<T> = { source, item, abort: new AbortController() };
  hands.add(hand);
  source.inHand += 1;
  state.running += 1;
  hand.limit = setTimeout(() => cutOff(state, hand), options.timeLimitMs);
  void run(state, hand);
  return true;
}

async function run<T>(state: State<T>, hand: Hand<T>): Promise<void> {
  const { handler, jobOf, judged, failed, freed } = state.options;
  try {
    const verdict = checkedVerdict(await handler(jobOf(hand.item), hand.abort.signal));
    if (letGo(state, hand)) judged(hand.item, verdict);
  } catch (error) {
    if (letGo(state, hand)) failed(hand.item, error);
  }
  state.running -= 1;
  for (const check of state.watchers) check();
  freed();
}

function cutOff<T>(state: State<T>, hand: Hand<T>): void {
  const error = new Error(`the handler took longer than ${String(state.options.timeLimitMs)} ms`);
  if (letGo(state, hand)) state.options.failed(hand.item, error);
  hand.abort.abort(error);
  state.options.freed();
}

/** Frees the place. False when the job was taken from this handler before: what it answers no longer counts. */
function letGo<T>(state: State<T>, hand: Hand<T>): boolean {
  if (!state.hands.delete(hand)) return false;
  hand.source.inHand -= 1;
  clearTimeout(hand.limit);
  for (const check of state.watchers) check();
  return true;
}

async function stop<T>(state: State<T>, graceMs: number): Promise<void> {
  state.stopped = true;
  await within(graceMs, state.watchers, () => state.hands.size === 0);
  const reason = new Error('the consumer is being stopped');
  for (const hand of state.hands) hand.abort.abort(reason);
  await within(SETTLE_MS, state.watchers, () => state.running === 0);
  for (const hand of state.hands) {
    if (letGo(state, hand)) state.options.returned(hand.item);
  }
}

/** Resolves once `isOver`, or when the time is over. */
function within(ms: number, watchers: Set<() => void>, isOver: () => boolean): Promise<void> {
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
