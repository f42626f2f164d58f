import type { Lane } from '../../events/event.ts';

/** What lies in a queue: names, never content, and never the only copy of a fact. Under 1 KB. */
export interface Job {
  readonly tenant: string;
  readonly notificationId: string;
  readonly deliveryId: string;
  /** The attempt this job asks for, counted from 1. */
  readonly attempt: number;
  /** Not to be sent before; milliseconds since the epoch. */
  readonly due: number;
  /** Not to be sent at or after; milliseconds since the epoch, null = never expires. */
  readonly expires: number | null;
}

/** One queue a notification type, so that one provider's outage leaves the other types working. */
export const NOTIFICATION_TYPES = ['push.ios', 'push.android', 'push.web', 'sms', 'email'] as const;
export type NotificationType = (typeof NOTIFICATION_TYPES)[number];

export type QueueName = `${NotificationType}.${Lowercase<Lane>}`;

/** Every queue there is: type × lane. Adapters declare exactly these. */
export const QUEUES: readonly QueueName[] = NOTIFICATION_TYPES.flatMap((type): QueueName[] => [
  `${type}.transactional`,
  `${type}.bulk`,
]);

export function queueFor(type: NotificationType, lane: Lane): QueueName {
  return `${type}.${lane === 'BULK' ? 'bulk' : 'transactional'}`;
}

/** What becomes of a job once its handler is done. */
export type Verdict =
  | { readonly kind: 'ack' }
  /** Delivered again after about this many milliseconds (at least 1; adapters may round up to their next retry step, never over an hour). */
  | { readonly kind: 'retry'; readonly afterMs: number }
  /** Set aside for a person. */
  | { readonly kind: 'dead'; readonly reason: string };

/** Must settle soon after `signal` aborts (time limit reached, or the consumer is being stopped for good). A throw counts as `retry` after a short while. */
export type JobHandler = (job: Job, signal: AbortSignal) => Promise<Verdict>;

export interface ConsumeOptions {
  /** Served in this order: a job of a later queue starts only when no earlier queue has one ready. `concurrency` caps the jobs of that queue in hand. */
  readonly queues: readonly { readonly name: QueueName; readonly concurrency: number }[];
  /** Jobs in hand at once over all its queues. */
  readonly concurrency: number;
  /** A handler that takes longer is aborted and its job retried after a short while, whatever it answers later; milliseconds. */
  readonly timeLimitMs: number;
}

export interface Consumer {
  /** Takes no further job and waits for those in hand, up to `graceMs`; then aborts their signals and waits (up to a second) for them to settle. */
  stop(graceMs: number): Promise<void>;
}

export interface QueueDepth {
  /** Ready, or in hand of this process. */
  readonly depth: number;
  /** Waiting for the end of a delay. */
  readonly retrying: number;
  /** Set aside since the broker was opened or the queue was made. */
  readonly dead: number;
  /** Age of the oldest job that is ready, in seconds; null when none is, or the broker cannot tell. */
  readonly oldestSeconds: number | null;
}

/** Work queues between decisions and senders. At least once, no order promised. Disposable: the log re-feeds it. */
export interface Broker {
  /**
   * Names the memory behind the queues: another session means that what was published in an earlier one is gone.
   * A broker that keeps its queues has one session as long as it keeps them, and another as soon as it finds that it has
   * lost one, also while it is open; one in memory has a new one each start.
   */
  readonly session: string;

  /** Resolves on the broker's confirm: from then on the job is delivered at least once while the session lasts. @throws QueueFull, or an error when the queue is unknown or not confirmed. */
  publish(queue: QueueName, job: Job): Promise<void>;

  consume(options: ConsumeOptions, handler: JobHandler): Promise<Consumer>;

  /** @throws BrokerUnavailable when the server does not tell in time. */
  depth(queue: QueueName): Promise<QueueDepth>;

  /** Stops consumers as `Consumer.stop` does, then refuses everything. */
  close(): Promise<void>;
}

/** The server that holds the queues does not answer. Of a publication nobody knows whether it arrived. */
export class BrokerUnavailable extends Error {
  override readonly name = 'BrokerUnavailable';
}

/** The queue holds as many jobs as it may. The publisher keeps its own record and tries again later. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
  constructor(readonly queue: QueueName) {
    super(`queue ${queue} is full`);
  }
}
