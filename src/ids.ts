import { v4, v5, v7, validate } from 'uuid';

/** Source of names. Random ones are injected so that tests can choose them. */
export interface Ids {
  /** For events and requests: random, nothing can be read off it. */
  readonly random: () => string;
  /** For notifications without an idempotency key: sorts by time. */
  readonly ordered: () => string;
}

export const systemIds: Ids = { random: v4, ordered: v7 };

const NAMESPACE = '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11';

/** UUIDv5 over the length-prefixed parts: the same parts give the same id for ever, and ('a','bc') is not ('ab','c'). */
export function derivedId(...parts: readonly string[]): string {
  const name = parts.map((part) => `${String(Buffer.byteLength(part))}:${part}`).join('');
  // As bytes: uuid throws a URIError on text that holds half a character.
  return v5(Buffer.from(name), NAMESPACE);
}

export function keyedNotificationId(tenant: string, idempotencyKey: string): string {
  return derivedId('notification', tenant, idempotencyKey);
}

/** The same delivery gets the same id in every layer and on every attempt. */
export function deliveryId(notificationId: string, channel: string, address: string | null): string {
  return derivedId('delivery', notificationId, channel, address ?? '');
}

/** Of a device that was registered without an id: the same token is the same device. */
export function tokenDeviceId(tenant: string, token: string): string {
  return derivedId('token-device', tenant, token);
}

/** Whether a text from outside can be the id of a notification at all. */
export function isNotificationId(text: string): boolean {
  return validate(text) && text === text.toLowerCase();
}

export const NOTIFICATION_PREFIX = 'notification-';

/** Ids from outside never shape a stream name: they could be long, hostile or another tenant's. */
export const streamOf = {
  notification: (id: string): string => `${NOTIFICATION_PREFIX}${id}`,
  user: (tenant: string, userId: string): string => `user-${derivedId('user', tenant, userId)}`,
  template: (tenant: string, key: string): string => `template-${derivedId('template', tenant, key)}`,
  client: (appKey: string): string => `client-${derivedId('client', appKey)}`,
  receipt: (...parts: readonly string[]): string => `receipt-${derivedId('receipt', ...parts)}`,
  /** Who may have the device of that id. */
  device: (tenant: string, deviceId: string): string => `device-${derivedId('device', tenant, deviceId)}`,
  /** Who may have the device with that push token. */
  token: (tenant: string, token: string): string => `token-${derivedId('token', tenant, token)}`,
} as const;

/** Names one update for clients: the log, the position in it, and the index within the event. Opaque to them. */
export function cursorOf(logId: string, position: string, index = 0): string {
  return Buffer.from(`${logId}/${position}/${String(index)}`).toString('base64url');
}
