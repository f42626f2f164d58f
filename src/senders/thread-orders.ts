import type { Channel } from '../events/event.ts';
import type { SmtpSenderOptions } from './email-smtp.ts';
import type { Message, Outcome } from './outcome.ts';
import type { FcmSenderOptions } from './push-fcm.ts';
import type { TwilioSenderOptions } from './sms-twilio.ts';

/** Which sender a thread is to open; nothing but plain data, secrets among it. */
export type SenderPlan =
  | { readonly kind: 'fcm'; readonly options: Omit<FcmSenderOptions, 'onFailure'> }
  | { readonly kind: 'smtp'; readonly options: Omit<SmtpSenderOptions, 'onFailure'> }
  | { readonly kind: 'twilio'; readonly options: Omit<TwilioSenderOptions, 'onFailure' | 'statusCallback'> };

/** What a thread is asked for; several at once, in order. */
export type Order =
  | SendOrder
  | { readonly kind: 'abort'; readonly id: number }
  /** Whether it still answers. */
  | { readonly kind: 'ping' }
  /** Finish what is in flight, and close. */
  | { readonly kind: 'stop' };

export interface SendOrder {
  readonly kind: 'send';
  readonly id: number;
  readonly message: Message;
  /** Where the provider is to send receipts of this attempt; null: nowhere. */
  readonly statusCallback: string | null;
}

/** What a thread answers; several at once, in order. */
export type Report =
  | { readonly kind: 'ready'; readonly provider: string; readonly channel: Channel }
  /** The options are unusable. */
  | { readonly kind: 'refused'; readonly error: unknown }
  | Settled
  /** The sender threw: a bug. */
  | { readonly kind: 'threw'; readonly id: number; readonly error: unknown }
  | { readonly kind: 'pong' }
  /** It has nothing open any more. */
  | { readonly kind: 'stopped' };

export interface Settled {
  readonly kind: 'settled';
  readonly id: number;
  readonly outcome: Outcome;
  /** What the sender told `onFailure`. */
  readonly failures: readonly object[];
}
