import { setTimeout as delay } from 'node:timers/promises';
import type { Channel } from 'rabbitmq-client';
import type { Started } from '../../lifecycle.ts';
import { openOutage, type Log, type Outage } from '../../log.ts';
import {
  BrokerUnavailable,
  QueueFull,
  type Broker,
  type ConsumeOptions,
  type Consumer,
  type Job,
  type JobHandler,
  type QueueDepth,
  type QueueName,
} from './broker.ts';
import { checkConsumeOptions, requireCount, requireMs, requireQueue } from './hands.ts';
import { LONGEST_DELAY_MS, checkedJob } from './job.ts';
import { startConsumer, type RabbitConsumer } from './rabbitmq-consumer.ts';
import { closeSoon, codeOf, openLink, within, type Link } from './rabbitmq-link.ts';
import { openPublisher, Refused, Unroutable, type Publisher } from './rabbitmq-publisher.ts';
import { openDeclarer, type Declarer } from './rabbitmq-topology.ts';
import { FAILURE_RETRY_MS, QUEUE_CAPACITY, RETRY_STEPS_MS, topologyOf, type Topology } from './topology.ts';

export interface RabbitMqOptions {
  /** amqp:// or amqps://, with user, password and virtual host. Never shown. */
  readonly url: string;
  /** What the names of all queues begin with. Default `heliograph.`. */
  readonly prefix?: string;
  /** Jobs that may be ready in a queue; default 20,000. RabbitMQ may let a few more in while many are published at once. */
  readonly capacity?: number;
  /** What delays are rounded up to, ascending, milliseconds; the last is the longest delay there is. Default 1 s to 1 h. */
  readonly retryStepsMs?: readonly number[];
  /** Pause after a handler threw, ran out of time or answered nonsense; milliseconds, default 1,000. */
  readonly failureRetryMs?: number;
  /** How long a publication may take, and a count; milliseconds, default 5,000. */
  readonly timeoutMs?: number;
  /** How long the start waits for the server; milliseconds, default 30,000. */
  readonly startMs?: number;
  /**
   * How often it looks whether all queues are there, besides each time that something points to a loss, and whether the server
   * still knows its consumers (one that has nothing attaches anew then); milliseconds, default 15,000.
   */
  readonly ensureEveryMs?: number;
  /** Told of every handler that failed, once its job is safe again. Must not throw. */
  readonly onFault?: (error: unknown, queue: QueueName, job: Job) => void;
  readonly log?: Log;
}

const CLOSE_GRACE_MS = 10_000;
/** How long a close waits for confirms, and then as long again for its connections: a server that hangs must not hold up a stop. */
const CLOSE_MS = 2_000;

interface State {
  readonly settings: Required<Omit<RabbitMqOptions, 'log'>>;
  readonly log: Log | undefined;
  /** Of trouble that is being mended. */
  readonly tell: Troubles;
  readonly topology: Topology;
  readonly publishing: Link;
  readonly consuming: Link;
  readonly looking: Link;
  readonly publisher: Publisher;
  readonly declarer: Declarer;
  readonly consumers: Set<RabbitConsumer>;
  /** Where queues are counted; opened when it is needed. */
  counting: Promise<Channel> | undefined;
  closing: Promise<void> | undefined;
  closed: boolean;
}

/**
 * Queues on a RabbitMQ server (3.10 or later): replicated, on disk before a publication is confirmed, at least once. It
 * reconnects and attaches its consumers again whenever the server comes back, and makes queues that are missing anew.
 *
 * `depth` counts what is ready, and what this process has in hand; not what other processes have. It never tells an age.
 * @throws OtherArguments when a queue of that name was made differently; BrokerUnavailable when the server cannot be reached.
 */
export async function openRabbitMq(options: RabbitMqOptions): Promise<Started<Broker>> {
  const state = newState(options);
  const stop = (): Promise<void> => (state.closing ??= close(state));
  let timer: NodeJS.Timeout | undefined;
  const ensure = (): void => void ensureLater(state);
  try {
    await Promise.all(
      [state.publishing, state.consuming, state.looking].map((link) => link.ready(state.settings.startMs)),
    );
    await state.declarer.ensure();
    state.looking.onConnected(ensure);
    timer = setInterval(() => void ensureLater(state, true), state.settings.ensureEveryMs).unref();
  } catch (error) {
    await stop();
    throw error;
  }
  const stopAll = (): Promise<void> => {
    clearInterval(timer);
    return stop();
  };
  const value: Broker = {
    get session() {
      return state.declarer.session();
    },
    publish: (queue, job) => publish(state, queue, job),
    consume: (consumeOptions, handler) => consume(state, consumeOptions, handler),
    depth: (queue) => depthOf(state, queue),
    close: stopAll,
  };
  return { value, stop: stopAll };
}

function newState(options: RabbitMqOptions): State {
  const settings = settingsOf(options);
  const { url, timeoutMs } = settings;
  const topology = topologyOf(settings);
  const tell = openTroubles(options.log);
  const link = (purpose: string): Link => {
    return openLink(url, purpose, (err) =>
      tell(err, `no connection to RabbitMQ (BROKER_URL) for ${purpose}; trying again`),
    );
  };
  const [publishing, consuming, looking] = [link('publishing'), link('consuming'), link('looking')];
  const publisher = openPublisher(publishing, timeoutMs);
  const consumers = new Set<RabbitConsumer>();
  const onRepaired = (): void => {
    for (const consumer of consumers) consumer.attachAnew();
    options.log?.error({}, 'queues of RabbitMQ were gone; they are there again, and their jobs will be published anew');
  };
  return {
    settings,
    log: options.log,
    tell,
    topology,
    publishing,
    consuming,
    looking,
    publisher,
    declarer: openDeclarer({ topology, looking, publisher, onRepaired }),
    consumers,
    counting: undefined,
    closing: undefined,
    closed: false,
  };
}

function settingsOf(options: RabbitMqOptions): State['settings'] {
  const settings = {
    url: options.url,
    prefix: options.prefix ?? 'heliograph.',
    capacity: options.capacity ?? QUEUE_CAPACITY,
    retryStepsMs: options.retryStepsMs ?? RETRY_STEPS_MS,
    failureRetryMs: options.failureRetryMs ?? FAILURE_RETRY_MS,
    timeoutMs: options.timeoutMs ?? 5_000,
    startMs: options.startMs ?? 30_000,
    ensureEveryMs: options.ensureEveryMs ?? 15_000,
    onFault: options.onFault ?? (() => undefined),
  };
  requireCount('capacity', settings.capacity);
  requireMs('failureRetryMs', settings.failureRetryMs, LONGEST_DELAY_MS);
  if (settings.retryStepsMs.length === 0) throw new RangeError('there must be a retry step');
  for (const stepMs of settings.retryStepsMs) requireMs('a retry step', stepMs, LONGEST_DELAY_MS);
  return settings;
}

type Troubles = (err: unknown, what: string) => void;

/** Each kind of trouble in a few lines, however often it is met. */
function openTroubles(log: Log | undefined): Troubles {
  const outages = new Map<string, Outage>();
  return (err, what) => {
    if (log === undefined) return;
    const outage = outages.get(what) ?? openOutage(log, { failed: what, isHarmless: true });
    outages.set(what, outage);
    outage.met({ err });
  };
}

async function publish(state: State, name: QueueName, job: Job): Promise<void> {
  requireOpen(state);
  requireQueue(name);
  try {
    await state.publisher.send({ lane: name, queue: state.topology.work(name), body: checkedJob(job) });
  } catch (error) {
    if (error instanceof Refused) throw new QueueFull(name);
    if (error instanceof Unroutable) void ensureLater(state);
    throw error;
  }
}

async function consume(state: State, options: ConsumeOptions, handler: JobHandler): Promise<Consumer> {
  requireOpen(state);
  if (isClosing(state)) throw new Error('the broker is closing');
  checkConsumeOptions(options);
  const parts = {
    link: state.consuming,
    publisher: state.publisher,
    topology: state.topology,
    failureRetryMs: state.settings.failureRetryMs,
    lookEveryMs: state.settings.ensureEveryMs,
    ensure: () => state.declarer.ensure(),
    onFault: state.settings.onFault,
    onTrouble: state.tell,
  };
  const started = await startConsumer(parts, options, handler);
  state.consumers.add(started);
  if (isClosing(state)) {
    await started.stop(0);
    throw new Error('the broker is closing');
  }
  return {
    stop: async (graceMs) => {
      await started.stop(graceMs);
      state.consumers.delete(started);
    },
  };
}

async function depthOf(state: State, name: QueueName): Promise<QueueDepth> {
  requireOpen(state);
  requireQueue(name);
  const counting = count(state, name).catch(async (error: unknown) => {
    // Its channel may have ended with a queue, or with a connection, that is back by now.
    if (codeOf(error) === null) throw error;
    await state.declarer.ensure();
    return count(state, name);
  });
  try {
    return await within(state.settings.timeoutMs, counting, `RabbitMQ did not tell how long ${name} is`);
  } catch (error) {
    // One question that hangs would hold up all that are asked after it on its channel.
    if (error instanceof BrokerUnavailable) dropCounting(state);
    if (codeOf(error) === null) throw error;
    throw new BrokerUnavailable(`RabbitMQ did not tell how long ${name} is: ${String(error)}`, { cause: error });
  }
}

function dropCounting(state: State): void {
  state.counting?.then(closeSoon, () => undefined);
  state.counting = undefined;
}

async function count(state: State, name: QueueName): Promise<QueueDepth> {
  const { topology, consumers } = state;
  const names = [topology.work(name), topology.dead(name), ...topology.retries(name)];
  const [ready = 0, dead = 0, ...retrying] = await messagesIn(state, names);
  const held = [...consumers].reduce((sum, consumer) => sum + consumer.held(name), 0);
  return { depth: ready + held, retrying: retrying.reduce((sum, each) => sum + each, 0), dead, oldestSeconds: null };
}

async function messagesIn(state: State, queues: readonly string[]): Promise<readonly number[]> {
  const channel = await countingChannel(state);
  const found = await Promise.all(queues.map((queue) => channel.queueDeclare({ queue, passive: true })));
  return found.map(({ messageCount }) => messageCount);
}

function countingChannel(state: State): Promise<Channel> {
  if (state.counting !== undefined) return state.counting;
  const opening = state.looking.channel(state.settings.timeoutMs);
  const forget = (): void => {
    if (state.counting === opening) state.counting = undefined;
  };
  state.counting = opening;
  opening.then((channel) => {
    channel.once('close', forget);
    if (!channel.active) forget();
  }, forget);
  return opening;
}

async function ensureLater(state: State, isRoutine = false): Promise<void> {
  if (state.closing !== undefined) return;
  try {
    await state.declarer.ensure(isRoutine);
  } catch (err) {
    state.tell(err, 'the queues of RabbitMQ could not be looked after; trying again');
  }
}

function isClosing({ closing }: State): boolean {
  return closing !== undefined;
}

function requireOpen({ closed }: State): void {
  if (closed) throw new Error('the broker is closed');
}

async function close(state: State): Promise<void> {
  await Promise.all(Array.from(state.consumers, (consumer) => consumer.stop(CLOSE_GRACE_MS)));
  state.closed = true;
  const finished = Promise.all([state.publisher.close(), state.counting?.then(closeSoon, () => undefined)]);
  await Promise.race([finished, delay(CLOSE_MS, undefined, { ref: false })]);
  await Promise.all([state.publishing, state.consuming, state.looking].map((link) => link.close()));
}
