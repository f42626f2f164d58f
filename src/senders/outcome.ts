import type { Channel, Lane } from '../events/event.ts';
import type { Platform } from '../events/notifications.ts';
import type { Outcome } from '../events/outcome.ts';

export type { Outcome };

/** One message to one address, rendered; what a sender gets. */
export interface Message {
  readonly tenant: string;
  readonly notificationId: string;
  /** Names the request in the log; the provider is not told. */
  readonly requestId?: string;
  /** Nor is it told this. */
  readonly traceparent?: string;
  /** Also the identity that providers are given: the same for every attempt at this delivery. */
  readonly deliveryId: string;
  readonly channel: Channel;
  readonly lane: Lane;
  /** E-mail address, phone number or push token. */
  readonly address: string;
  /** Of the device, for PUSH. */
  readonly platform: Platform | null;
  /** Counted from 1; receipts name it. */
  readonly attempt: number;
  readonly title: string | null;
  readonly body: string;
  readonly html: string | null;
  /** The page or deep link that the message leads to. */
  readonly url: string | null;
  /** When the request was accepted, RFC 3339; the date of the message, the same for every attempt. */
  readonly requestedAt: string;
  /** Worth nothing to the recipient from then on, RFC 3339; null: always worth something. */
  readonly expiresAt: string | null;
}

export interface Sender {
  /** Name of the provider as it appears in deliveries, for example `smtp`. */
  readonly provider: string;
  readonly channel: Channel;
  /**
   * Hands the message to the provider once; never retries by itself. When `signal` aborts it settles at once:
   * `unknown` if the message may have gone out, else `retry`.
   */
  readonly send: (message: Message, signal: AbortSignal) => Promise<Outcome>;
}
