import type { Channel, Lane } from '../events/event.ts';
import type { ClientState, Scope } from '../events/clients.ts';
import type { DeliveryState } from '../events/delivery.ts';
import type { NotificationState } from '../events/notification.ts';
import type { Content, Platform } from '../events/notifications.ts';
import type { Device, Preference, UserState } from '../events/users.ts';
import type { DomainError } from '../errors.ts';

/** Who asks: from the credentials, never from an argument. */
export interface Caller {
  readonly tenant: string;
  readonly appKey: string;
  readonly scopes: readonly Scope[];
  /** Names this request in events and log lines. */
  readonly correlationId: string;
  /** Of this request's span, where requests are traced. */
  readonly traceparent?: string;
}

/**
 * What may happen. Every function decides on the caller's tenant alone, appends before it answers, and rejects with
 * a `DomainError` that names the field (relative to its input) when a rule refuses; nothing is appended then.
 */
export interface Commands {
  registerUser(caller: Caller, input: RegisterUser): Promise<UserState>;
  setPreference(caller: Caller, input: SetPreference): Promise<UserState>;
  /** Takes the device away from whoever had its id or its token. */
  registerDevice(caller: Caller, input: RegisterDevice): Promise<Device>;
  /** Whether there was such a device. */
  removeDevice(caller: Caller, id: string): Promise<boolean>;
  publishTemplate(caller: Caller, input: PublishTemplate): Promise<PublishedTemplate>;
  requestNotification(caller: Caller, input: RequestNotification): Promise<Requested>;
  /** One result an item, in order; an item that is refused fails alone. @throws DomainError TOO_MANY_ITEMS over 1,000. */
  requestNotifications(
    caller: Caller,
    inputs: readonly RequestNotification[],
  ): Promise<readonly (Requested | DomainError)[]>;
  cancelNotification(caller: Caller, id: string): Promise<Cancelled>;
  /** The same idempotency key for the same notification records it once. */
  recordConversion(caller: Caller, input: RecordConversion): Promise<ConversionTold>;
  registerClient(caller: Caller, input: RegisterClient): Promise<ClientCredentials>;
  rotateClientSecret(caller: Caller, appKey: string, graceSeconds: number): Promise<ClientCredentials>;
  revokeClient(caller: Caller, appKey: string): Promise<boolean>;
}

/** By-id reads: they fold streams, so that an answer is never behind a write. Null = unknown to this tenant. */
export interface Queries {
  notification(tenant: string, id: string): Promise<NotificationView | null>;
  user(tenant: string, id: string): Promise<UserState | null>;
  /** The newest version, or the one asked for. */
  template(tenant: string, key: string, version: number | null): Promise<PublishedTemplate | null>;
  /** The client that these credentials belong to; null when they are wrong, in the same time as when the key is unknown. */
  authenticate(appKey: string, appSecret: string): Promise<ClientState | null>;
}

/** Undefined = left as it is, null = removed. */
export interface RegisterUser {
  readonly id: string;
  readonly email?: string | null;
  readonly phone?: string | null;
  readonly locale?: string | null;
  readonly timeZone?: string | null;
}

export interface SetPreference extends Preference {
  readonly userId: string;
}

export interface RegisterDevice {
  readonly userId: string;
  /** Null: derived from the token. */
  readonly deviceId: string | null;
  readonly platform: Platform;
  readonly token: string;
}

export interface PublishTemplate {
  readonly key: string;
  readonly locale: string | null;
  readonly channel: Channel | null;
  readonly title: string | null;
  readonly body: string;
  readonly html: string | null;
}

export interface PublishedTemplate {
  readonly key: string;
  readonly version: number;
}

export interface RequestNotification {
  readonly idempotencyKey: string | null;
  readonly userId: string;
  readonly channels: readonly Channel[] | null;
  readonly content: Content | null;
  readonly template: { readonly key: string; readonly version: number | null } | null;
  readonly data: Readonly<Record<string, unknown>> | null;
  readonly category: string;
  readonly lane: Lane;
  readonly campaign: string | null;
  readonly deliverAt: Date | null;
  readonly expiresAt: Date | null;
  /** The input before defaults were filled in: two requests with the same key are the same if this is. JSON-like. */
  readonly asSent: unknown;
}

export interface Requested {
  readonly notification: NotificationView;
  /** Of the last update that the answer includes; signed when it is asked for. */
  readonly cursor: () => string;
  readonly replayed: boolean;
}

export interface Cancelled {
  /** Nothing was or will be sent. */
  readonly cancelled: boolean;
  readonly deliveries: readonly { readonly delivery: DeliveryState; readonly outcome: CancelOutcome }[];
  readonly notification: NotificationView;
}

/** CANCELLED: nothing was or will be sent. TOO_LATE: it was sent. IN_DOUBT: it may have been, and will not be tried again. */
export type CancelOutcome = 'CANCELLED' | 'TOO_LATE' | 'IN_DOUBT';

export interface RecordConversion {
  /** Counts within the notification: another one may have the same. */
  readonly idempotencyKey: string | null;
  readonly notificationId: string;
  /** Null: the delivery clicked last, else opened last, else sent last. */
  readonly deliveryId: string | null;
  readonly name: string;
  readonly value: number | null;
  readonly currency: string | null;
  /** Null: now. */
  readonly occurredAt: Date | null;
  /** The input before defaults were filled in. JSON-like. */
  readonly asSent: unknown;
}

export interface ConversionTold {
  /** Null when nothing of the notification was sent. */
  readonly delivery: { readonly notificationId: string; readonly state: DeliveryState } | null;
  /** Of the update that records it. */
  readonly cursor: string;
  readonly replayed: boolean;
}

export interface NotificationView {
  readonly state: NotificationState;
  /** Its story, made when it is asked for: hardly anybody does, and each of its cursors is signed. */
  readonly timeline: () => readonly TimelineEntry[];
}

export interface TimelineEntry {
  readonly cursor: string;
  readonly type: string;
  readonly occurredAt: string;
  readonly deliveryId: string | null;
  /** What the event says, without content and template data. */
  readonly detail: unknown;
}

export interface RegisterClient {
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
}

/** The secret is handed out here and never again. */
export interface ClientCredentials {
  readonly appKey: string;
  readonly appSecret: string;
}
