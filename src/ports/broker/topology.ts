import { QUEUES, type QueueName } from './broker.ts';
import { LONGEST_DELAY_MS } from './job.ts';

/** Jobs that a queue may hold unless told otherwise. The backlog itself is in dispatch's index: a queue is a window on it. */
export const QUEUE_CAPACITY = 20_000;
/** Pause after a handler threw, ran out of time or answered nonsense. */
export const FAILURE_RETRY_MS = 1_000;
/** What a delay is rounded up to where each length needs a queue of its own. */
export const RETRY_STEPS_MS = [1_000, 5_000, 30_000, 300_000, LONGEST_DELAY_MS] as const;
/** Jobs set aside that a queue keeps; what became of a delivery is in the log in any case. */
const DEAD_KEPT = 100_000;
/**
 * Deliveries without an answer after which a job is set aside: one that ends every process that takes it. Far more than lost
 * connections and stops, which count as well, can come to; what it costs is bounded by the claims that come before each attempt.
 */
const DELIVERY_LIMIT = 1_000;
/**
 * Where looking at a message must never be what removes it: with no limit said, RabbitMQ 4 drops what was given back twenty times.
 * There -1 would mean none; 3.10.8 takes it too, and drops what was given back once.
 */
const NO_DELIVERY_LIMIT = 2 ** 31 - 1;

export interface TopologyOptions {
  /** What the names of all queues begin with. */
  readonly prefix: string;
  readonly capacity: number;
  /** Ascending, the last one an hour. */
  readonly retryStepsMs: readonly number[];
}

/** A queue on a server, as it is declared there. */
export interface DeclaredQueue {
  readonly queue: string;
  readonly arguments: Readonly<Record<string, string | number>>;
}

export interface Topology {
  /** All queues of jobs. */
  readonly queues: readonly DeclaredQueue[];
  /** Holds one message: the name of the memory behind all of them. */
  readonly session: DeclaredQueue;
  readonly work: (name: QueueName) => string;
  readonly dead: (name: QueueName) => string;
  /** All retry steps of a queue, the shortest first. */
  readonly retries: (name: QueueName) => readonly string[];
  /** The shortest step that lasts at least that long; the longest when none does. */
  readonly retryAfter: (name: QueueName, afterMs: number) => string;
}

/** The one table of what there is on a server: for each queue its work queue, a queue a retry step, and a dead-letter queue. */
export function topologyOf({ prefix, capacity, retryStepsMs }: TopologyOptions): Topology {
  const work = (name: QueueName): string => `${prefix}${name}`;
  const dead = (name: QueueName): string => `${prefix}${name}.dead`;
  const retry = (name: QueueName, stepMs: number): string => `${prefix}${name}.retry.${stepName(stepMs)}`;
  const queuesOf = (name: QueueName): readonly DeclaredQueue[] => [
    newestOnly(dead(name), DEAD_KEPT),
    workQueue(work(name), { capacity, dead: dead(name) }),
    ...retryStepsMs.map((stepMs) => retryQueue(retry(name, stepMs), { stepMs, work: work(name) })),
  ];
  return {
    queues: QUEUES.flatMap(queuesOf),
    session: newestOnly(`${prefix}session`, 1),
    work,
    dead,
    retries: (name) => retryStepsMs.map((stepMs) => retry(name, stepMs)),
    retryAfter: (name, afterMs) =>
      retry(name, retryStepsMs.find((stepMs) => stepMs >= afterMs) ?? Math.max(...retryStepsMs)),
  };
}

/** At least once needs all three: else a job is forgotten before the other queue has it. */
const DEAD_LETTERS = { 'x-overflow': 'reject-publish', 'x-dead-letter-strategy': 'at-least-once' } as const;

function workQueue(queue: string, { capacity, dead }: { capacity: number; dead: string }): DeclaredQueue {
  return {
    queue,
    arguments: {
      'x-queue-type': 'quorum',
      ...DEAD_LETTERS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
      // A quorum queue refuses once it holds more than this (3.10.8: with 3 it takes four).
      'x-max-length': capacity - 1,
      // RabbitMQ 4 has a limit in any case; said here, 3 has the same.
      'x-delivery-limit': DELIVERY_LIMIT,
    },
  };
}

/** A time to live of the queue, not of messages: in a queue of different ones a long delay holds up the short ones behind it. */
function retryQueue(queue: string, { stepMs, work }: { stepMs: number; work: string }): DeclaredQueue {
  return {
    queue,
    arguments: {
      'x-queue-type': 'quorum',
      ...DEAD_LETTERS,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': work,
      'x-message-ttl': stepMs,
      'x-delivery-limit': NO_DELIVERY_LIMIT,
    },
  };
}

/** Keeps the newest and loses the oldest. Whoever looks into it takes messages and gives them back, which counts as failed deliveries. */
function newestOnly(queue: string, most: number): DeclaredQueue {
  return {
    queue,
    arguments: {
      'x-queue-type': 'quorum',
      'x-max-length': most,
      'x-overflow': 'drop-head',
      'x-delivery-limit': NO_DELIVERY_LIMIT,
    },
  };
}

function stepName(ms: number): string {
  return ms % 1_000 === 0 ? `${String(ms / 1_000)}s` : `${String(ms)}ms`;
}
