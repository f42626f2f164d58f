import type { Channel, Metadata } from './event.ts';
import type {
  CancelReason,
  Decision,
  DecisionReason,
  DeliveryEvent,
  DeliveryRetryScheduled,
  Platform,
  SuppressReason,
} from './notifications.ts';
import type { BounceReason, RejectReason, RetryReason, UnknownReason } from './outcome.ts';
import { earliest, isEngagement, NOT_ENGAGED, withEngagement, type Engaged, type Engagement } from './engagement.ts';
import { isOurs } from './outcome.ts';

export const DELIVERY_STATUSES = [
  'QUEUED',
  'SENDING',
  'RETRYING',
  'SENT',
  'DELIVERED',
  'REJECTED',
  'BOUNCED',
  'SUPPRESSED',
  'DEFERRED',
  'EXPIRED',
  'CANCELLED',
  'DEAD_LETTERED',
  'HELD',
] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

export type DeliveryReason =
  | DecisionReason
  | RetryReason
  | RejectReason
  | UnknownReason
  | BounceReason
  | Exclude<CancelReason, 'REQUESTED'>
  | SuppressReason;

/** A delivery as the events of its notification tell it. */
export interface DeliveryState extends Engaged {
  readonly id: string;
  readonly channel: Channel;
  readonly platform: Platform | null;
  readonly address: string | null;
  readonly status: DeliveryStatus;
  /** Why it stands where it stands; null where the status says it all. */
  readonly reason: DeliveryReason | null;
  readonly provider: string | null;
  readonly providerMessageId: string | null;
  /** Claims so far. */
  readonly attempts: number;
  /** Attempts that failed or are in doubt, and so used up a place of the retry schedule; those that we cut short do not count. */
  readonly failures: number;
  /** While an attempt runs: until when the claim holds. */
  readonly claimUntil: string | null;
  /** When the next attempt is due, where one was scheduled. */
  readonly retryAt: string | null;
  /** Attempts of which nobody knew the outcome at the time. */
  readonly doubtful: readonly number[];
  /** An attempt may have reached the provider without our knowing, or more than one did. */
  readonly inDoubt: boolean;
  /** Attempts of which the sender recorded a DeliverySent. */
  readonly sent: readonly number[];
  /** Attempts that the provider accepted, by its answer or by a receipt; a second one is a duplicate. */
  readonly accepted: readonly number[];
  /** Attempts whose message arrived, as a receipt said. */
  readonly delivered: readonly number[];
  /** Accepted attempts whose message did not arrive. */
  readonly bounces: readonly Bounce[];
  readonly sentAt: string | null;
  readonly deliveredAt: string | null;
}

export interface Bounce {
  readonly attempt: number;
  readonly reason: BounceReason;
}

/** As its routing decided. */
export function decidedDelivery(decision: Decision): DeliveryState {
  const queued = decision.outcome === 'QUEUE';
  return {
    id: decision.deliveryId,
    channel: decision.channel,
    platform: decision.platform,
    address: decision.address,
    status: queued ? 'QUEUED' : 'SUPPRESSED',
    reason: queued ? null : decision.reason,
    provider: null,
    providerMessageId: null,
    attempts: 0,
    failures: 0,
    claimUntil: null,
    retryAt: null,
    doubtful: [],
    inDoubt: false,
    sent: [],
    accepted: [],
    delivered: [],
    bounces: [],
    sentAt: null,
    deliveredAt: null,
    ...NOT_ENGAGED,
  };
}

/**
 * What a provider said of a message that it accepted is a fact and wins over everything; any other ending stays; what a
 * superseded attempt found out changes nothing but whether there is doubt.
 */
export function evolveDelivery(delivery: DeliveryState, event: DeliveryEvent, metadata: Metadata): DeliveryState {
  if (isFact(event)) return withFact(delivery, event, metadata.occurredAt);
  if (isEngagement(event)) return withEngagement(delivery, event, metadata.occurredAt);
  if (!hasEnded(delivery) && !isSuperseded(delivery, event)) return withProgress(delivery, event);
  return event.type === 'DeliveryOutcomeUnknown' ? withDoubt(doubting(delivery, event.data.attempt)) : delivery;
}

function doubting(delivery: DeliveryState, attempt: number): DeliveryState {
  return { ...delivery, doubtful: including(delivery.doubtful, attempt) };
}

function isSuperseded(delivery: DeliveryState, { data }: DeliveryEvent): boolean {
  return 'attempt' in data && data.attempt < delivery.attempts;
}

type Fact = Extract<DeliveryEvent, { type: 'DeliverySent' | 'DeliveryDelivered' | 'DeliveryBounced' }>;

function isFact(event: DeliveryEvent): event is Fact {
  return event.type === 'DeliverySent' || event.type === 'DeliveryDelivered' || event.type === 'DeliveryBounced';
}

function withProgress(delivery: DeliveryState, event: Exclude<DeliveryEvent, Fact | Engagement>): DeliveryState {
  const idle = { ...delivery, claimUntil: null, retryAt: null };
  switch (event.type) {
    case 'DeliveryAttempted': {
      const { attempt, claimUntil } = event.data;
      return { ...idle, status: 'SENDING', reason: null, attempts: attempt, claimUntil };
    }
    case 'DeliveryRetryScheduled':
      return { ...idle, ...retrying(delivery, event.data) };
    case 'DeliveryOutcomeUnknown': {
      const { reason, retryAt, attempt } = event.data;
      const failures = delivery.failures + 1;
      return withDoubt(doubting({ ...idle, status: 'SENDING', reason, retryAt, failures }, attempt));
    }
    case 'DeliveryHeld':
      return { ...idle, status: 'HELD', reason: event.data.reason };
    case 'DeliveryRejected':
      return { ...idle, status: 'REJECTED', reason: event.data.reason };
    case 'DeliveryExpired':
      return { ...idle, status: 'EXPIRED', reason: null };
    case 'DeliveryCancelled':
      return { ...idle, status: 'CANCELLED', reason: cancelReason(event.data.reason) };
    case 'DeliverySuppressed':
      return { ...idle, status: 'SUPPRESSED', reason: event.data.reason };
    case 'DeliveryDeadLettered':
      return { ...idle, status: 'DEAD_LETTERED', reason: event.data.reason };
    default:
      return delivery;
  }
}

/** Gathers sets and earliest times: neither order nor repetition of facts matters. Of two reasons for one bounce the first stays. */
function withFact(delivery: DeliveryState, event: Fact, occurredAt: string): DeliveryState {
  const { attempt } = event.data;
  return withDoubt(
    settled({
      ...delivery,
      ...identity(delivery, event.data),
      claimUntil: null,
      retryAt: null,
      sent:
        event.type === 'DeliverySent' && event.data.byReceipt !== true
          ? including(delivery.sent, attempt)
          : delivery.sent,
      accepted: including(delivery.accepted, attempt),
      delivered: event.type === 'DeliveryDelivered' ? including(delivery.delivered, attempt) : delivery.delivered,
      bounces: event.type === 'DeliveryBounced' ? withBounce(delivery.bounces, event.data) : delivery.bounces,
      sentAt: earliest(delivery.sentAt, occurredAt),
      deliveredAt:
        event.type === 'DeliveryDelivered' ? earliest(delivery.deliveredAt, occurredAt) : delivery.deliveredAt,
    }),
  );
}

/** The provider's name for the message of the first attempt that it accepted. */
function identity(
  delivery: DeliveryState,
  { attempt, provider, providerMessageId }: Fact['data'],
): Pick<DeliveryState, 'provider' | 'providerMessageId'> {
  const first = delivery.accepted[0];
  if (first === undefined || attempt < first) return { provider, providerMessageId };
  const known = { provider: delivery.provider, providerMessageId: delivery.providerMessageId };
  return attempt === first && known.providerMessageId === null ? { ...known, providerMessageId } : known;
}

/** One message that arrived is enough; one that may still arrive is better than one that did not. */
function settled(delivery: DeliveryState): DeliveryState {
  const { deliveredAt, accepted, bounces } = delivery;
  if (deliveredAt !== null) return { ...delivery, status: 'DELIVERED', reason: null };
  const underWay = accepted.some((attempt) => !bounces.some((bounce) => bounce.attempt === attempt));
  if (underWay) return { ...delivery, status: 'SENT', reason: null };
  return { ...delivery, status: 'BOUNCED', reason: bounces.at(-1)?.reason ?? null };
}

function withDoubt(delivery: DeliveryState): DeliveryState {
  const { doubtful, accepted } = delivery;
  const inDoubt = accepted.length > 1 || doubtful.some((attempt) => !accepted.includes(attempt));
  return { ...delivery, inDoubt };
}

/** By attempt; the first bounce of an attempt stays. */
function withBounce(bounces: readonly Bounce[], { attempt, reason }: Bounce): readonly Bounce[] {
  if (bounces.some((bounce) => bounce.attempt === attempt)) return bounces;
  return [...bounces, { attempt, reason }].toSorted((a, b) => a.attempt - b.attempt);
}

function including(attempts: readonly number[], attempt: number): readonly number[] {
  return attempts.includes(attempt) ? attempts : [...attempts, attempt].toSorted((a, b) => a - b);
}

function retrying({ failures }: DeliveryState, { reason, retryAt }: DeliveryRetryScheduled): Partial<DeliveryState> {
  return { status: 'RETRYING', reason, retryAt, failures: isOurs(reason) ? failures : failures + 1 };
}

function cancelReason(reason: CancelReason): DeliveryReason | null {
  return reason === 'REQUESTED' ? null : reason;
}

const ENDED: ReadonlySet<DeliveryStatus> = new Set([
  'SENT',
  'DELIVERED',
  'REJECTED',
  'BOUNCED',
  'SUPPRESSED',
  'EXPIRED',
  'CANCELLED',
  'DEAD_LETTERED',
]);

/** Whether nothing more is going to be sent for it by itself. A held delivery has not ended: a person decides. */
export function hasEnded(delivery: DeliveryState): boolean {
  return ENDED.has(delivery.status);
}
