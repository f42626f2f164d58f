import type { Channel, DomainEvent, Lane, TemplateVersion } from './event.ts';
import type { BounceReason, RejectReason, RetryReason, SmsParts, UnknownReason } from './outcome.ts';

/** Everything that can happen to a notification, all in its one stream. */
export type NotificationEvent =
  | DomainEvent<'NotificationRequested', NotificationRequested>
  | DomainEvent<'NotificationRouted', NotificationRouted>
  | DomainEvent<'NotificationCancelled', Record<string, never>>
  | DeliveryEvent;

/** Facts about one delivery of a notification (a conversion may be about none). `attempt` counts from 1; `raw` is the provider's own word. */
export type DeliveryEvent =
  | DomainEvent<'DeliveryAttempted', DeliveryAttempted>
  | DomainEvent<'DeliverySent', DeliverySent>
  | DomainEvent<'DeliveryRetryScheduled', DeliveryRetryScheduled>
  | DomainEvent<'DeliveryOutcomeUnknown', DeliveryOutcomeUnknown>
  | DomainEvent<'DeliveryHeld', DeliveryRef & { readonly reason: UnknownReason }>
  | DomainEvent<'DeliveryRejected', DeliveryEnded & { readonly reason: RejectReason }>
  | DomainEvent<'DeliveryExpired', DeliveryRef & { readonly expiresAt: string }>
  | DomainEvent<'DeliveryCancelled', DeliveryRef & { readonly reason: CancelReason }>
  | DomainEvent<'DeliverySuppressed', DeliveryRef & { readonly reason: SuppressReason }>
  | DomainEvent<'DeliveryDeadLettered', DeliveryEnded & { readonly reason: RetryReason | UnknownReason }>
  | DomainEvent<'DeliveryDelivered', DeliverySent>
  | DomainEvent<'DeliveryBounced', DeliverySent & { readonly reason: BounceReason }>
  | DomainEvent<'DeliveryOpened', DeliveryRef>
  | DomainEvent<'DeliveryClicked', DeliveryRef>
  | DomainEvent<'ConversionRecorded', ConversionRecorded>;

export interface Content {
  readonly title: string | null;
  readonly body: string;
  readonly html: string | null;
  readonly url: string | null;
}

/** The request as accepted: defaults filled in, the template version pinned. */
export interface NotificationRequested {
  readonly userId: string;
  /** Null: every channel the user can be reached on. */
  readonly channels: readonly Channel[] | null;
  /** Exactly one of content and template. */
  readonly content: Content | null;
  readonly template: TemplateVersion | null;
  readonly data: Readonly<Record<string, unknown>> | null;
  readonly category: string;
  readonly lane: Lane;
  readonly campaign: string | null;
  readonly deliverAt: string | null;
  readonly expiresAt: string | null;
  /** Keyed hash of the input as it was sent, for telling a replay from a conflict. */
  readonly inputHash: string;
}

/** All decisions of one routing, one for each delivery. */
export interface NotificationRouted {
  readonly decisions: readonly Decision[];
  readonly policyVersion: number;
  /** Repeated from the request for whoever only follows routings. */
  readonly expiresAt: string | null;
}

export interface Decision {
  readonly deliveryId: string;
  readonly channel: Channel;
  readonly platform: Platform | null;
  /** Null where there is no address at all. */
  readonly address: string | null;
  readonly outcome: 'QUEUE' | 'SUPPRESS';
  readonly reason: DecisionReason;
  /** The rule that decided, by name. */
  readonly rule: DecisionRule;
  /** What the rule looked at; deciding again on the same inputs gives the same outcome. */
  readonly inputs: Readonly<Record<string, string | boolean | null>>;
}

export const PLATFORMS = ['IOS', 'ANDROID', 'WEB'] as const;
export type Platform = (typeof PLATFORMS)[number];

export const DECISION_REASONS = [
  'DELIVERABLE',
  'NO_ADDRESS',
  /** The user has devices, and every one of their tokens is dead. */
  'NO_ACTIVE_DEVICE',
  /** This service has no provider for the channel. */
  'CHANNEL_SWITCHED_OFF',
  'CHANNEL_OPTED_OUT',
  'CATEGORY_OPTED_OUT',
] as const;
export type DecisionReason = (typeof DECISION_REASONS)[number];
export type DecisionRule = 'provider' | 'reachability' | 'channel-preference' | 'category-preference' | 'default';

export interface DeliveryRef {
  readonly deliveryId: string;
}

interface DeliveryEnded extends DeliveryRef {
  readonly attempt: number;
  readonly raw: string | null;
}

/** The claim: whoever appended this may call the provider until `claimUntil`, and nobody else may. */
export interface DeliveryAttempted extends DeliveryRef {
  readonly attempt: number;
  readonly claimUntil: string;
}

/** What the provider said of one message that it accepted. */
export interface DeliverySent extends DeliveryEnded {
  readonly provider: string;
  readonly providerMessageId: string | null;
  readonly sms?: SmsParts;
  /** A receipt said so, and not the answer to the attempt. */
  readonly byReceipt?: true;
}

/** Certainly not accepted; attempt + 1 is due at `retryAt`. */
export interface DeliveryRetryScheduled extends DeliveryEnded {
  readonly reason: RetryReason;
  readonly retryAt: string;
}

/** Nobody knows whether the provider accepted. Null `retryAt`: it is not tried again by itself. */
export interface DeliveryOutcomeUnknown extends DeliveryEnded {
  readonly reason: UnknownReason;
  readonly retryAt: string | null;
}

/** What a person did in the end, as a client told: a purchase, a sign-up. */
export interface ConversionRecorded {
  /** Which delivery it is put down to; null when nothing was sent. */
  readonly deliveryId: string | null;
  /** The client's own word, for example `purchase`. */
  readonly name: string;
  readonly value: number | null;
  /** Three capital letters, as in ISO 4217. */
  readonly currency: string | null;
  /** When it happened, which may be long before it was told; never before the sending or, where nothing was sent, the request. */
  readonly convertedAt: string;
  /** Keyed hashes of the idempotency key, where one was given, and of the input as it was sent. */
  readonly keyHash: string | null;
  readonly inputHash: string;
}

/** ATTEMPT_IN_DOUBT: an earlier attempt may have reached the provider; no further one will be made. */
export const CANCEL_REASONS = ['REQUESTED', 'ATTEMPT_IN_DOUBT'] as const;
export type CancelReason = (typeof CANCEL_REASONS)[number];

/**
 * Since the routing: DEVICE_GONE, the user's device was removed, moved to another user, got another token, or its token
 * died. ADDRESS_GONE, the user has another e-mail address or phone number, or none.
 */
export const SUPPRESS_REASONS = ['DEVICE_GONE', 'ADDRESS_GONE'] as const;
export type SuppressReason = (typeof SUPPRESS_REASONS)[number];
