import type { ReceiptRequest } from './api/options.ts';
import type { Commands } from './commands/commands.ts';
import { DomainError } from './errors.ts';
import type { DeliveryState } from './events/delivery.ts';
import type { AcceptMutation, AppendFailure, Metrics, OutcomeKind, ReceiptResult } from './metrics.ts';
import type { NotificationType } from './ports/broker/broker.ts';
import { EventTooLarge, WrongExpectedVersion } from './ports/event-log/event-log.ts';
import type { EventLog, NewEvent } from './ports/event-log/event-log.ts';
import { NoSpace } from './ports/event-log/guarded.ts';
import type { Sender } from './senders/outcome.ts';
import type { Claimed, Deliveries } from './senders/worker.ts';

/** `commands`, counted. */
export function measuredCommands(commands: Commands, metrics: Metrics): Commands {
  const refused = (error: unknown): void =>
    metrics.refused(error instanceof DomainError ? error.code : 'INTERNAL_SERVER_ERROR');
  const counted = ({ replayed, notification }: Awaited<ReturnType<Commands['requestNotification']>>): void => {
    if (replayed) metrics.replayed();
    else metrics.accepted(notification.state.request.lane);
  };
  const timed = async <T>(mutation: AcceptMutation, ask: () => Promise<T>, count: (answer: T) => void): Promise<T> => {
    const since = performance.now();
    try {
      const answer = await ask();
      count(answer);
      return answer;
    } catch (error) {
      refused(error);
      throw error;
    } finally {
      metrics.acceptTook(secondsSince(since), mutation);
    }
  };
  return {
    ...commands,
    requestNotification: (caller, input) =>
      timed('requestNotification', () => commands.requestNotification(caller, input), counted),
    requestNotifications: (caller, inputs) =>
      timed(
        'requestNotifications',
        () => commands.requestNotifications(caller, inputs),
        (answers) => {
          for (const answer of answers) {
            if (answer instanceof DomainError) refused(answer);
            else counted(answer);
          }
        },
      ),
  };
}

const KINDS: Readonly<Record<string, OutcomeKind>> = {
  DeliverySent: 'sent',
  DeliveryRetryScheduled: 'retry',
  DeliveryRejected: 'rejected',
  DeliveryOutcomeUnknown: 'unknown',
  DeliveryHeld: 'held',
  DeliveryExpired: 'expired',
  DeliveryCancelled: 'cancelled',
  DeliverySuppressed: 'suppressed',
  DeliveryDeadLettered: 'dead_lettered',
  DeliveryDelivered: 'delivered',
  DeliveryBounced: 'bounced',
};

/** `log`, with what this process appends counted once it is durable: outcomes are what is on record, whoever recorded it. */
export function measuredLog(log: EventLog, metrics: Metrics): EventLog {
  return {
    ...log,
    append: async (stream, events, expectedVersion) => {
      const since = performance.now();
      try {
        const appended = await log.append(stream, events, expectedVersion);
        metrics.appendTook(secondsSince(since));
        for (const event of events) countEvent(event, metrics);
        return appended;
      } catch (error) {
        metrics.appendFailed(failureOf(error));
        throw error;
      }
    },
  };
}

function countEvent({ type, data, metadata: { delivery } }: NewEvent, metrics: Metrics): void {
  metrics.eventAppended(type);
  const kind = KINDS[type];
  if (kind === undefined || delivery === undefined) return;
  // Before the provider's own answer is recorded: that one counts.
  if (kind === 'sent' && isByReceipt(data)) return;
  metrics.outcome(delivery.channel, delivery.provider, kind);
  if (kind === 'unknown') metrics.doubted(delivery.channel, reasonOf(data));
}

function isByReceipt(data: unknown): boolean {
  return typeof data === 'object' && data !== null && 'byReceipt' in data && data.byReceipt === true;
}

function reasonOf(data: unknown): string {
  const reason = typeof data === 'object' && data !== null && 'reason' in data ? data.reason : '';
  return typeof reason === 'string' ? reason : '';
}

function failureOf(error: unknown): AppendFailure {
  if (error instanceof WrongExpectedVersion) return 'conflict';
  if (error instanceof NoSpace) return 'no_space';
  return error instanceof EventTooLarge ? 'too_large' : 'unknown';
}

export interface Worked {
  readonly type: NotificationType;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What the worker of one notification type claims and records, counted. */
export function measuredDeliveries(deliveries: Deliveries, { type, metrics, now }: Worked): Deliveries {
  return {
    claim: async (job) => {
      try {
        const claim = await deliveries.claim(job);
        metrics.claimed(type, claim.kind);
        const delivery = claim.kind === 'claimed' ? deliveryOf(claim, job.deliveryId) : undefined;
        if (delivery?.inDoubt === true) metrics.resent(delivery.channel);
        return claim;
      } catch (error) {
        metrics.claimed(type, 'failed');
        throw error;
      }
    },
    record: async (job, claim, provider, outcome) => {
      const at = now();
      const recorded = await deliveries.record(job, claim, provider, outcome);
      const delivery = outcome.kind === 'sent' ? deliveryOf(claim, job.deliveryId) : undefined;
      if (delivery !== undefined) {
        const { requestedAt, request } = claim.notification;
        const since = Math.max(Date.parse(requestedAt), Date.parse(request.deliverAt ?? requestedAt));
        metrics.deliveryTook((at - since) / 1_000, delivery.channel, request.lane);
      }
      return recorded;
    },
  };
}

function deliveryOf({ notification }: Claimed, deliveryId: string): DeliveryState | undefined {
  return notification.deliveries.find(({ id }) => id === deliveryId);
}

export function measuredSender(sender: Sender, metrics: Metrics): Sender {
  const { channel, provider } = sender;
  return {
    ...sender,
    send: async (message, signal) => {
      const since = performance.now();
      try {
        return await sender.send(message, signal);
      } finally {
        metrics.providerTook(secondsSince(since), channel, provider);
      }
    },
  };
}

type Receive<T> = (request: ReceiptRequest) => Promise<T>;

export function measuredReceipts<T extends Exclude<ReceiptResult, 'failed'>>(
  receive: Receive<T>,
  metrics: Metrics,
): Receive<T> {
  return async (request) => {
    try {
      const outcome = await receive(request);
      metrics.receiptCame(outcome);
      return outcome;
    } catch (error) {
      metrics.receiptCame('failed');
      throw error;
    }
  };
}

function secondsSince(since: number): number {
  return (performance.now() - since) / 1_000;
}
