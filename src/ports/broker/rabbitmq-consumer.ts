import { setTimeout as delay } from 'node:timers/promises';
import type { AsyncMessage, Channel } from 'rabbitmq-client';
import { gather, type Gathering } from '../../gather.ts';
import type { ConsumeOptions, Consumer, Job, JobHandler, QueueName, Verdict } from './broker.ts';
import { openHands, type Hands, type Source } from './hands.ts';
import { checkedJob } from './job.ts';
import { openAttachment, type Attachment } from './rabbitmq-attachment.ts';
import { asError, within, type Link } from './rabbitmq-link.ts';
import type { Publisher } from './rabbitmq-publisher.ts';
import type { Topology } from './topology.ts';

/** What consumers share. */
export interface ConsumerParts {
  readonly link: Link;
  readonly publisher: Publisher;
  readonly topology: Topology;
  readonly failureRetryMs: number;
  /** Between two looks whether the server still knows a consumer, milliseconds. */
  readonly lookEveryMs: number;
  /** Sees to it that the queues are there. */
  readonly ensure: () => Promise<void>;
  /** A handler failed; its job is safe. */
  readonly onFault: (error: unknown, queue: QueueName, job: Job) => void;
  readonly onTrouble: (error: unknown, what: string) => void;
}

export interface RabbitConsumer extends Consumer {
  /** Attaches to its queues anew. */
  readonly attachAnew: () => void;
  /** Jobs of that queue that the server gave us and that have no end yet. */
  readonly held: (name: QueueName) => number;
}

const TIMEOUT_MS = 5_000;
const VERDICT_PAUSE_MS = 500;
/** How long a stop waits for what the last verdicts need. */
const SETTLE_MS = 1_000;
/** Between two questions whether an earlier queue has a job ready, and how long they go on. */
const CHECK_PAUSE_MS = 5;
const CHECK_MS = 1_000;

interface Delivery {
  readonly source: RabbitSource;
  readonly channel: Channel;
  readonly tag: number;
  readonly job: Job;
}

interface RabbitSource extends Source<Delivery> {
  readonly name: QueueName;
  readonly prefetch: number;
  readonly buffer: Delivery[];
  readonly attachment: Attachment;
  isAttached: boolean;
  /** Tags of what is unsettled on the channel that stands, in their order: the server sends no more than `prefetch`. */
  readonly unsettled: Set<number>;
  /** What is done and not acknowledged yet. */
  readonly done: Gathering<Delivery>;
  arrivals: number;
  /** How often all its places were taken: while they are, the server keeps to itself what becomes ready. */
  fills: number;
  /** Nothing is ready on the server: what becomes ready there is sent to us at once. */
  isDrained: boolean;
  isChecking: boolean;
}

interface State {
  readonly parts: ConsumerParts;
  readonly sources: readonly RabbitSource[];
  readonly settling: Set<Promise<void>>;
  readonly hands: Hands;
  readonly wake: () => void;
  stopping: Promise<void> | undefined;
}

/** Resolves after the first try to attach to the queues; from then on it attaches again whenever the server is there. */
export async function startConsumer(
  parts: ConsumerParts,
  options: ConsumeOptions,
  handler: JobHandler,
): Promise<RabbitConsumer> {
  const state = newState(parts, options, handler);
  await Promise.all(state.sources.map(({ attachment }) => attachment.tried));
  return {
    attachAnew: () => {
      for (const { attachment } of state.sources) attachment.renew();
    },
    stop: (graceMs) => stop(state, graceMs),
    held: (name) => state.sources.find((source) => source.name === name)?.unsettled.size ?? 0,
  };
}

function newState(parts: ConsumerParts, options: ConsumeOptions, handler: JobHandler): State {
  const sources = options.queues.map((_, at) => newSource(parts, options, at, () => state));
  let turn: NodeJS.Immediate | undefined;
  const wake = (): void => {
    turn ??= setImmediate(() => {
      turn = undefined;
      while (hands.takeOne());
    });
  };
  const hands = openHands<Delivery>({
    sources,
    concurrency: options.concurrency,
    timeLimitMs: options.timeLimitMs,
    handler,
    jobOf: ({ job }) => job,
    judged: (delivery, verdict) => {
      if (verdict.kind === 'ack') settleHere(state, delivery);
      else settle(state, delivery, verdict);
    },
    failed: (delivery, error) => {
      settle(state, delivery, { kind: 'retry', afterMs: parts.failureRetryMs }, () => {
        parts.onFault(error, delivery.source.name, delivery.job);
      });
    },
    returned: (delivery) => {
      giveBack(state, delivery);
    },
    freed: wake,
  });
  const state: State = {
    parts,
    sources,
    settling: new Set(),
    hands,
    wake,
    stopping: undefined,
  };
  return state;
}

/**
 * As many as may be in hand. Where others may be in hand besides, one more: it shows that there is another one ready,
 * which later queues have to wait for.
 */
function prefetchOf({ queues, concurrency }: ConsumeOptions, at: number): number {
  const own = queues[at]?.concurrency ?? 1;
  if (own >= concurrency) return concurrency;
  return at === queues.length - 1 ? own : own + 1;
}

function newSource(parts: ConsumerParts, options: ConsumeOptions, at: number, state: () => State): RabbitSource {
  const { name, concurrency } = options.queues[at] ?? { name: 'sms.bulk', concurrency: 1 };
  const laterOnes = (): readonly RabbitSource[] => state().sources.slice(at + 1);
  const prefetch = prefetchOf(options, at);
  const source: RabbitSource = {
    name,
    concurrency,
    prefetch,
    buffer: [],
    attachment: openAttachment({
      ...parts,
      queue: parts.topology.work(name),
      prefetch,
      onMessage: (message, channel) => {
        receive(state(), source, { message, channel });
      },
      onAttached: () => {
        source.isAttached = true;
        state().wake();
      },
      onLost: () => {
        letGo(source);
      },
      received: () => ({ held: source.unsettled.size, arrivals: source.arrivals }),
    }),
    isAttached: false,
    unsettled: new Set(),
    done: gather((deliveries) => {
      acknowledge(state(), source, deliveries);
    }),
    arrivals: 0,
    fills: 0,
    isDrained: false,
    isChecking: false,
    mayHaveReady: () =>
      source.buffer.length > 0 || (!source.isDrained && laterOnes().some(({ buffer }) => buffer.length > 0)),
    take: () => {
      const delivery = source.buffer.shift();
      if (delivery === undefined && source.isAttached) void check(state(), source);
      return delivery;
    },
  };
  return source;
}

/** What came on a channel that is no more is with the server again. Handlers go on: what they find out is recorded elsewhere. */
function letGo(source: RabbitSource): void {
  source.buffer.length = 0;
  source.isAttached = false;
  source.unsettled.clear();
  source.isDrained = false;
}

function receive(
  state: State,
  source: RabbitSource,
  { message, channel }: { readonly message: AsyncMessage; readonly channel: Channel },
): void {
  if (!stands(source, channel)) return;
  source.arrivals += 1;
  source.unsettled.add(message.deliveryTag);
  if (source.unsettled.size >= source.prefetch) {
    source.isDrained = false;
    source.fills += 1;
  }
  const job = jobIn(message);
  if (job === null) {
    state.parts.onTrouble(new Error(`no job in a message of ${source.name}`), 'what is no job is set aside');
    // At-least-once dead-lettering: the server keeps it until the dead-letter queue has it.
    finish(state, { source, channel, tag: message.deliveryTag }, () => {
      channel.basicNack({ deliveryTag: message.deliveryTag, requeue: false });
    });
    return;
  }
  source.buffer.push({ source, channel, tag: message.deliveryTag, job });
  state.wake();
}

function stands({ attachment }: RabbitSource, channel: Channel): boolean {
  return attachment.channel() === channel;
}

/** The client hands over what it could not parse as it came. */
function jobIn({ body }: AsyncMessage): Job | null {
  try {
    const value: unknown = body;
    const isText = Buffer.isBuffer(value) || typeof value === 'string';
    return checkedJob((isText ? JSON.parse(String(value)) : value) as Job);
  } catch {
    return null;
  }
}

/**
 * Finds out whether an earlier queue has a job ready. The server sends one as soon as there is a place, so that is in
 * question only after all places were taken. The second answer comes after whatever was on its way at the first.
 */
async function check(state: State, source: RabbitSource): Promise<void> {
  const channel = source.attachment.channel();
  if (source.isChecking || channel === undefined) return;
  source.isChecking = true;
  // What the server takes for unsettled it takes for a place.
  acknowledgeNow(state, source);
  const before = source.fills;
  const deadline = performance.now() + CHECK_MS;
  try {
    for (let zeros = 0; zeros < 2 && source.fills === before && performance.now() < deadline;) {
      const looking = channel.queueDeclare({ queue: state.parts.topology.work(source.name), passive: true });
      const { messageCount } = await within(TIMEOUT_MS, looking, 'RabbitMQ did not tell a count');
      zeros = messageCount === 0 ? zeros + 1 : 0;
      if (messageCount > 0) await delay(CHECK_PAUSE_MS);
    }
    if (source.fills === before && stands(source, channel)) source.isDrained = true;
  } catch (error) {
    // A queue that is gone, or a server.
    state.parts.onTrouble(error, 'a queue could not be looked at');
    if (stands(source, channel)) source.attachment.renew();
  } finally {
    source.isChecking = false;
    state.wake();
  }
}

/** Carries out a verdict; what needs another queue is there, and confirmed, before the server may forget it here. */
function settle(state: State, delivery: Delivery, verdict: Verdict, settled: () => void = () => undefined): void {
  const settling = carryOut(state, delivery, verdict).finally(() => {
    state.settling.delete(settling);
    settled();
  });
  state.settling.add(settling);
}

/** Tries for as long as its channel stands: until then the server keeps the job for us, and sends no others in its place. */
async function carryOut(state: State, delivery: Delivery, verdict: Verdict): Promise<void> {
  // Without its channel the server has given it to somebody else already.
  while (stands(delivery.source, delivery.channel)) {
    try {
      await moveOn(state, delivery, verdict);
      settleHere(state, delivery);
      return;
    } catch (error) {
      state.parts.onTrouble(error, 'a verdict could not be carried out; trying again');
      await state.parts.ensure().catch(() => undefined);
      await delay(VERDICT_PAUSE_MS, undefined, { ref: false });
    }
  }
}

async function moveOn({ parts }: State, { source: { name }, job }: Delivery, verdict: Verdict): Promise<void> {
  const { publisher, topology } = parts;
  const common = { lane: name, body: job };
  if (verdict.kind === 'retry') {
    await publisher.send({ ...common, queue: topology.retryAfter(name, verdict.afterMs) });
  }
  if (verdict.kind === 'dead') {
    await publisher.send({ ...common, queue: topology.dead(name), headers: { reason: verdict.reason.slice(0, 255) } });
  }
}

function settleHere(state: State, delivery: Delivery): void {
  finish(state, delivery, () => {
    delivery.source.done.add(delivery);
  });
}

/** All at once, and in one word those before which nothing is unsettled any more. */
function acknowledge({ parts }: State, source: RabbitSource, deliveries: readonly Delivery[]): void {
  const channel = source.attachment.channel();
  const tags = deliveries.flatMap((delivery) => (delivery.channel === channel ? [delivery.tag] : []));
  if (channel?.active !== true || tags.length === 0) return;
  const [firstUnsettled = Infinity] = source.unsettled;
  const upTo = tags.reduce((last, tag) => (tag < firstUnsettled ? Math.max(last, tag) : last), 0);
  parts.link.together(() => {
    if (upTo > 0) channel.basicAck({ deliveryTag: upTo, multiple: true });
    for (const tag of tags) if (tag > upTo) channel.basicAck({ deliveryTag: tag });
  });
}

function acknowledgeNow(state: State, source: RabbitSource): void {
  acknowledge(state, source, source.done.takeAll());
}

function giveBack(state: State, delivery: Delivery): void {
  finish(state, delivery, () => {
    delivery.channel.basicNack({ deliveryTag: delivery.tag, requeue: true });
  });
}

function finish(state: State, { source, channel, tag }: Omit<Delivery, 'job'>, tell: () => void): void {
  if (!stands(source, channel) || !channel.active) return;
  source.unsettled.delete(tag);
  tell();
  state.wake();
}

async function stop(state: State, graceMs: number): Promise<void> {
  const detached = (state.stopping ??= detach(state));
  await state.hands.stop(graceMs);
  await detached;
  await Promise.race([Promise.all(state.settling), delay(SETTLE_MS, undefined, { ref: false })]);
  for (const source of state.sources) acknowledgeNow(state, source);
  await Promise.all(state.sources.map(({ attachment }) => attachment.close()));
}

/** Takes nothing more, and gives back what no handler has seen: only after that, else it would come again at once. */
async function detach(state: State): Promise<void> {
  await Promise.all(state.sources.map(({ attachment }) => attachment.detach())).catch((error: unknown) => {
    state.parts.onTrouble(asError(error), 'a consumer could not be ended in good order');
  });
  for (const source of state.sources) for (const delivery of source.buffer.splice(0)) giveBack(state, delivery);
}
