import { setTimeout as delay } from 'node:timers/promises';
import type { Message, Outcome, Sender } from './outcome.ts';
import type { Channel } from '../events/event.ts';
import type { NotificationState } from '../events/notification.ts';
import type { Content } from '../events/notifications.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Broker, Job, NotificationType, Verdict } from '../ports/broker/broker.ts';

/** What the worker records, handed to it by the composition root. */
export interface Deliveries {
  /** Claims the attempt that the job asks for, or says why not. */
  readonly claim: (job: Job) => Promise<ClaimAnswer>;
  /** Records what became of an attempt; answers whether the delivery was dead-lettered by it. Rejects when the log did not take it. */
  readonly record: (job: Job, claim: Claimed, provider: string, outcome: Outcome) => Promise<{ deadLettered: boolean }>;
}

export type ClaimAnswer =
  | Claimed
  /** `requestId`: of what was dead-lettered now. */
  | { readonly kind: 'done'; readonly deadLettered: boolean; readonly requestId?: string }
  | { readonly kind: 'later'; readonly afterMs: number }
  | { readonly kind: 'foreign' };

export interface Claimed {
  readonly kind: 'claimed';
  readonly attempt: number;
  /** The provider must not be called from then on; milliseconds since the epoch. */
  readonly claimUntil: number;
  readonly notification: NotificationState;
  /** Of the notification's stream, with the claim. */
  readonly version: number;
}

/** Words for one recipient, or why there are none. */
export type Composed =
  { readonly ok: true; readonly content: Content } | { readonly ok: false; readonly message: string };

export interface WorkerOptions {
  readonly broker: Broker;
  readonly type: NotificationType;
  readonly sender: Sender;
  readonly deliveries: Deliveries;
  /** The content of the request, or its template rendered in the version pinned at the request. */
  readonly compose: (notification: NotificationState, channel: Channel) => Promise<Composed>;
  readonly logger: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Sends in flight at once, over both lanes. */
  readonly concurrency: number;
  /** From taking the job to having recorded the outcome; milliseconds. Claims must hold longer. */
  readonly timeLimitMs: number;
  /** How long a stop waits for sends in flight before it cuts them off; milliseconds. */
  readonly drainMs: number;
}

/** Part of the time limit that is kept back for recording what became of the attempt. */
const RECORD_SHARE = 0.1;
/** How long a sender may take to settle once it was told to; milliseconds. */
const SETTLE_MS = 500;
/** Of the sends in flight, bulk gets at most this share: a transactional delivery finds a free place. */
const BULK_SHARE = 0.75;

/**
 * Takes jobs of one notification type, claims each attempt in the log, calls the provider once, records the outcome in
 * the log, and only then acknowledges the job. The only window in which a duplicate can arise lies between the
 * provider's acceptance and the recording of it.
 */
export async function startWorker(options: WorkerOptions): Promise<Started<void>> {
  const { broker, type, concurrency, timeLimitMs, drainMs } = options;
  const bulk = Math.max(1, Math.floor(concurrency * BULK_SHARE));
  const consumer = await broker.consume(
    {
      queues: [
        { name: `${type}.transactional`, concurrency },
        { name: `${type}.bulk`, concurrency: bulk },
      ],
      concurrency,
      timeLimitMs,
    },
    (job, signal) => work(options, job, signal),
  );
  return { value: undefined, stop: () => consumer.stop(drainMs) };
}

async function work(options: WorkerOptions, job: Job, signal: AbortSignal): Promise<Verdict> {
  const { deliveries, sender, logger } = options;
  const claim = await deliveries.claim(job);
  switch (claim.kind) {
    case 'done':
      return claim.deadLettered
        ? deadLetter(logger, { ...namesOf(job), requestId: claim.requestId }, 'CLAIM_RAN_OUT')
        : ACK;
    case 'later':
      return { kind: 'retry', afterMs: claim.afterMs };
    case 'foreign':
      logger.error(namesOf(job), 'a job for a delivery that the log does not know');
      return { kind: 'dead', reason: 'UNKNOWN_DELIVERY' };
    case 'claimed': {
      const outcome = await attemptOnce(options, claim, job, signal);
      const names = { ...namesOf(job), requestId: claim.notification.correlationId };
      const { deadLettered } = await recordSurely(options, names, () =>
        deliveries.record(job, claim, sender.provider, outcome),
      );
      if (!deadLettered) return ACK;
      // Not what the provider said: it may name the address.
      const reason = 'reason' in outcome ? outcome.reason : 'RETRIES_EXHAUSTED';
      return deadLetter(logger, names, reason);
    }
  }
}

const ACK: Verdict = { kind: 'ack' };

/** For the log. */
function namesOf({ notificationId: notification, deliveryId: delivery }: Job): object {
  return { notification, delivery };
}

function deadLetter(logger: Log, names: object, reason: string): Verdict {
  logger.error({ ...names, reason }, 'dead-lettered a delivery');
  return { kind: 'dead', reason };
}

async function attemptOnce(
  options: WorkerOptions,
  { notification, claimUntil, attempt }: Claimed,
  { deliveryId }: Job,
  signal: AbortSignal,
): Promise<Outcome> {
  const composed = await compose(options, notification);
  if ('kind' in composed) return composed;
  if (!composed.ok) return { kind: 'rejected', reason: 'RENDER_FAILED', raw: composed.message };
  const message = messageFor(notification, { deliveryId, attempt }, composed.content);
  if (message === null) return { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: 'no address' };
  // After a long pause of this process the claim may have run out, and somebody else may be at it.
  if (signal.aborted || options.now() >= claimUntil)
    return { kind: 'retry', reason: 'SENDER_STOPPED', afterMs: null, raw: null };
  return send(options, message, signal);
}

/** Without words nothing was sent, and that is certain. */
async function compose(
  { compose, sender, logger }: WorkerOptions,
  notification: NotificationState,
): Promise<Composed | Outcome> {
  try {
    return await compose(notification, sender.channel);
  } catch (error) {
    const { id, correlationId: requestId } = notification;
    logger.error({ notification: id, requestId, err: error }, 'a message could not be composed; trying again later');
    return { kind: 'retry', reason: 'SENDER_FAILED', afterMs: null, raw: 'the message could not be composed' };
  }
}

/** Always settles in time, whatever the sender does: without its answer nobody knows whether the message went out. */
async function send(
  { sender, timeLimitMs, logger }: WorkerOptions,
  message: Message,
  signal: AbortSignal,
): Promise<Outcome> {
  const cut = cutOff(signal, timeLimitMs * (1 - RECORD_SHARE));
  try {
    return await Promise.race([sender.send(message, cut.signal), cut.noAnswer]);
  } catch (error) {
    logger.error(
      { delivery: message.deliveryId, requestId: message.requestId, provider: sender.provider, err: error },
      'a sender threw; that is a bug',
    );
    return { kind: 'unknown', reason: 'NO_ANSWER', raw: 'the sender failed' };
  } finally {
    cut.clear();
  }
}

interface CutOff {
  /** Tells the sender to settle: its time is over, or the worker stops. */
  readonly signal: AbortSignal;
  /** Settles for a sender that does not when it is told to. */
  readonly noAnswer: Promise<Outcome>;
  readonly clear: () => void;
}

function cutOff(stop: AbortSignal, limitMs: number): CutOff {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let giveUp: (outcome: Outcome) => void;
  const noAnswer = new Promise<Outcome>((resolve) => (giveUp = resolve));
  const cut = (): void => {
    clearTimeout(timer);
    controller.abort();
    timer = setTimeout(() => {
      giveUp({ kind: 'unknown', reason: 'NO_ANSWER', raw: null });
    }, SETTLE_MS);
  };
  timer = setTimeout(cut, limitMs);
  if (stop.aborted) cut();
  else stop.addEventListener('abort', cut, { once: true });
  const clear = (): void => {
    clearTimeout(timer);
    stop.removeEventListener('abort', cut);
  };
  return { signal: controller.signal, noAnswer, clear };
}

/** Giving up turns a known outcome into a doubtful one, so it is tried for as long as the log may take to come back. */
async function recordSurely<T>({ logger }: WorkerOptions, names: object, record: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await record();
    } catch (error) {
      logger.error({ ...names, attempt, err: error }, 'an outcome could not be recorded');
      if (attempt === RECORD_TRIES) throw error;
      await delay(RECORD_PAUSE_MS * attempt);
    }
  }
}

const RECORD_TRIES = 5;
const RECORD_PAUSE_MS = 100;

function messageFor(
  notification: NotificationState,
  { deliveryId, attempt }: { readonly deliveryId: string; readonly attempt: number },
  content: Content,
): Message | null {
  const delivery = notification.deliveries.find(({ id }) => id === deliveryId);
  if (delivery === undefined || delivery.address === null) return null;
  return {
    tenant: notification.tenant,
    notificationId: notification.id,
    requestId: notification.correlationId,
    ...(notification.traceparent !== undefined && { traceparent: notification.traceparent }),
    deliveryId,
    channel: delivery.channel,
    lane: notification.request.lane,
    address: delivery.address,
    platform: delivery.platform,
    attempt,
    ...content,
    requestedAt: notification.requestedAt,
    expiresAt: notification.request.expiresAt,
  };
}
