/** Why a provider certainly did not accept, though another attempt may succeed. */
export const RETRY_REASONS = [
  'PROVIDER_UNREACHABLE',
  'PROVIDER_BUSY',
  'PROVIDER_AUTH',
  'RECIPIENT_BUSY',
  'SENDER_STOPPED',
  /** No free connection to the provider: the message was not offered. */
  'SENDER_BUSY',
  'SENDER_FAILED',
] as const;
export type RetryReason = (typeof RETRY_REASONS)[number];

/** Whether it was us who did not get to offer the message: that takes no place of the retry schedule. */
export function isOurs(reason: RetryReason | UnknownReason): boolean {
  return OURS.has(reason);
}

const OURS: ReadonlySet<string> = new Set<RetryReason>(['SENDER_STOPPED', 'SENDER_BUSY']);

/** Why no further attempt can succeed. */
export const REJECT_REASONS = [
  'RECIPIENT_REFUSED',
  /** The recipient told the provider to send nothing more from us. */
  'RECIPIENT_OPTED_OUT',
  /** The push token is dead: the app was removed, or it has another token now. */
  'DEVICE_UNREGISTERED',
  'MESSAGE_REFUSED',
  'MESSAGE_TOO_LONG',
  'RENDER_FAILED',
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** Why a message that its provider accepted did not arrive. */
export const BOUNCE_REASONS = [
  /** Switched off, out of range, a landline. */
  'RECIPIENT_UNREACHABLE',
  'RECIPIENT_REFUSED',
  /** Taken for spam, or against the rules of a carrier. */
  'MESSAGE_FILTERED',
  'CARRIER_FAILED',
  'PROVIDER_FAILED',
] as const;
export type BounceReason = (typeof BOUNCE_REASONS)[number];

/** Why nobody can tell whether the provider accepted. */
export const UNKNOWN_REASONS = [
  'NO_ANSWER',
  'CONNECTION_LOST',
  /** It answered that it failed, which does not say that it did nothing. */
  'PROVIDER_FAILED',
  'CLAIM_RAN_OUT',
] as const;
export type UnknownReason = (typeof UNKNOWN_REASONS)[number];

/** What became of one attempt. Data, not an exception: a sender that throws has a bug. `raw` is the provider's own word. */
export type Outcome =
  /** Accepted by the provider; delivered is a receipt's word. */
  | {
      readonly kind: 'sent';
      readonly providerMessageId: string | null;
      readonly raw: string | null;
      readonly sms?: SmsParts;
    }
  /** Certainly not accepted, worth another attempt. `afterMs`: the provider asked for at least this pause. */
  | {
      readonly kind: 'retry';
      readonly reason: RetryReason;
      readonly afterMs: number | null;
      readonly raw: string | null;
    }
  /** Certainly not accepted, for good. */
  | { readonly kind: 'rejected'; readonly reason: RejectReason; readonly raw: string | null }
  /** The request went out, and no answer tells whether it was accepted. `afterMs`: at least this pause before a resend. */
  | {
      readonly kind: 'unknown';
      readonly reason: UnknownReason;
      readonly afterMs?: number | null;
      readonly raw: string | null;
    };

/** What a text message is billed by (3GPP TS 23.038 and 23.040). */
export interface SmsParts {
  readonly encoding: 'GSM-7' | 'UCS-2';
  readonly segments: number;
}

/** What a provider told of a message after it had accepted it. Receipts come late, twice, in any order, or never. */
export interface Receipt {
  readonly notificationId: string;
  readonly deliveryId: string;
  /** The attempt that the message was made by. */
  readonly attempt: number;
  readonly provider: string;
  readonly providerMessageId: string | null;
  readonly verdict: ReceiptVerdict;
  /** The provider's own word: status and error code. */
  readonly raw: string;
}

export type ReceiptVerdict =
  /** On its way; proves that the provider accepted it. */
  | { readonly kind: 'accepted' }
  | { readonly kind: 'delivered' }
  | { readonly kind: 'bounced'; readonly reason: BounceReason };
