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
export const REJECT_REASONS = ['RECIPIENT_REFUSED', 'MESSAGE_REFUSED', 'RENDER_FAILED'] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** Why nobody can tell whether the provider accepted. */
export const UNKNOWN_REASONS = ['NO_ANSWER', 'CONNECTION_LOST', 'CLAIM_RAN_OUT'] as const;
export type UnknownReason = (typeof UNKNOWN_REASONS)[number];

/** What became of one attempt. Data, not an exception: a sender that throws has a bug. `raw` is the provider's own word. */
export type Outcome =
  /** Accepted by the provider; delivered is a receipt's word. */
  | { readonly kind: 'sent'; readonly providerMessageId: string | null; readonly raw: string | null }
  /** Certainly not accepted, worth another attempt. `afterMs`: the provider asked for at least this pause. */
  | {
      readonly kind: 'retry';
      readonly reason: RetryReason;
      readonly afterMs: number | null;
      readonly raw: string | null;
    }
  /** Certainly not accepted, for good. */
  | { readonly kind: 'rejected'; readonly reason: RejectReason; readonly raw: string | null }
  /** The request went out and no answer came back: accepted or not, nobody knows. */
  | { readonly kind: 'unknown'; readonly reason: UnknownReason; readonly raw: string | null };
