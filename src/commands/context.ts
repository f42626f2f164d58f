import type { Caller } from './commands.ts';
import type { Metadata } from '../events/event.ts';
import type { About } from '../events/metadata.ts';
import { metadata } from '../events/metadata.ts';
import type { TemplateVariant } from '../events/templates.ts';
import type { Channel } from '../events/event.ts';
import type { Cursors, Ids } from '../ids.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';

/** What the commands are given by the composition root. */
export interface CommandContext {
  readonly log: EventLog;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly ids: Ids;
  readonly keys: Keys;
  readonly cursors: Cursors;
  readonly templates: TemplateEngine;
  /** Channels that there is a provider for. */
  readonly channels: readonly Channel[];
  /** Whether a text can be a phone number in E.164 form at all. */
  readonly isPhoneNumber: (text: string) => boolean;
  /** A fault of ours that only one part of an answer shows: for the log. */
  readonly reportFault: (error: unknown, correlationId: string) => void;
}

/** Everything that needs SECRET_KEY. */
export interface Keys {
  /** Keyed hash for telling whether two inputs are the same without keeping either. */
  readonly inputHash: (input: unknown) => string;
  readonly secretHash: (appKey: string, appSecret: string) => string;
  /** Compares in constant time. */
  readonly sameHash: (a: string, b: string) => boolean;
  /** Signs a list of texts; the first says what for, so that no value can stand in for another. */
  readonly mac: (label: string, ...parts: readonly string[]) => Buffer;
  readonly newCredentials: () => { readonly appKey: string; readonly appSecret: string };
  /**
   * Names an attempt in the address that its receipts go to, so that nobody else can: 72 characters of the alphabet of
   * base64url, the same for the same attempt.
   * @throws RangeError when an id is not a UUID in lower case, or the attempt not an integer from 1 to 2^32 - 1.
   */
  readonly receiptToken: (attempt: AttemptRef) => string;
  /** The attempt that a token names; null for every text that `receiptToken` never answered. */
  readonly readReceiptToken: (token: string) => AttemptRef | null;
}

/** One attempt at one delivery. */
export interface AttemptRef {
  readonly notificationId: string;
  readonly deliveryId: string;
  /** Counted from 1. */
  readonly attempt: number;
}

/** What a decision asks of the template language. */
export interface TemplateEngine {
  /** Null when the variant is usable. */
  readonly check: (variant: TemplateVariant) => TemplateProblem | null;
  /**
   * Whether the variant for this channel can be rendered with this data; null when it can. Subtracts the time that it
   * took from the budget, and renders nothing more once that is used up.
   */
  readonly tryRender: (
    variants: readonly TemplateVariant[],
    channel: Channel,
    data: Readonly<Record<string, unknown>>,
    budget: RenderBudget,
  ) => Promise<RenderProblem | null>;
}

/** What one call may spend on rendering, shared by all its items. */
export interface RenderBudget {
  /** Tenants take turns at rendering. */
  readonly tenant: string;
  /** Milliseconds. */
  leftMs: number;
}

export interface TemplateProblem {
  readonly field: 'title' | 'body' | 'html';
  readonly message: string;
}

export interface RenderProblem {
  readonly kind: 'no-variant' | 'missing-variable' | 'unrenderable';
  readonly variable: string | null;
  readonly message: string;
}

/** For the first event of a chain: the request itself is the cause. */
export function requestMetadata(caller: Caller, now: number, about?: About): Metadata {
  const { tenant, correlationId, traceparent } = caller;
  return metadata({ tenant, correlationId, causationId: correlationId, traceparent }, now, about);
}
