/**
 * What every event looks like. Words: a *tenant* owns the data, a *notification* is one request for one recipient,
 * a *delivery* is one notification on one channel to one address.
 */

/** One fact in the past tense. `T` is its type name, `D` what it says. */
export interface DomainEvent<T extends string = string, D = unknown> {
  readonly type: T;
  readonly data: D;
}

/** Describes a fact without being part of it; a projection never has to look anything up. */
export interface Metadata {
  /** Version of the shape of `data`; upcasters in `codec.ts` lift older ones. */
  readonly schemaVersion: number;
  readonly tenant: string;
  /** RFC 3339, UTC, milliseconds; from the injected clock of the process that decided. */
  readonly occurredAt: string;
  /** The request that everything in this chain follows from. */
  readonly correlationId: string;
  /** The event (or, for a command, the request) that led to this one directly. */
  readonly causationId: string;
  /** W3C trace context of the request, where requests are traced. */
  readonly traceparent?: string;
  /** On every event of a notification's stream. */
  readonly notification?: NotificationContext;
  /** On every event that is about one delivery. */
  readonly delivery?: DeliveryContext;
}

export interface NotificationContext {
  readonly id: string;
  readonly userId: string;
  readonly requestedAt: string;
  readonly category: string;
  readonly lane: Lane;
  readonly campaign: string | null;
  readonly template: TemplateVersion | null;
}

export interface DeliveryContext {
  readonly id: string;
  readonly channel: Channel;
  readonly provider: string | null;
}

export interface TemplateVersion {
  readonly key: string;
  readonly version: number;
}

export const CHANNELS = ['PUSH', 'SMS', 'EMAIL'] as const;
export type Channel = (typeof CHANNELS)[number];

/** A transactional delivery never waits behind a bulk one. */
export const LANES = ['TRANSACTIONAL', 'BULK'] as const;
export type Lane = (typeof LANES)[number];

export const SCHEMA_VERSION = 1;
