import { hash, randomUUID, timingSafeEqual } from 'node:crypto';
import { parse, v7, validate } from 'uuid';

/** Source of names. Random ones are injected so that tests can choose them. */
export interface Ids {
  /** For events and requests: random, nothing can be read off it. */
  readonly random: () => string;
  /** For notifications without an idempotency key: sorts by time. */
  readonly ordered: () => string;
}

/** Wrapped, because whoever calls it may hand it something: Fastify hands its request to what names it. */
export const systemIds: Ids = { random: () => randomUUID(), ordered: v7 };

const NAMESPACE = parse('5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11');

/** UUIDv5 over the length-prefixed parts: the same parts give the same id for ever, and ('a','bc') is not ('ab','c'). */
export function derivedId(...parts: readonly string[]): string {
  let name = '';
  for (const part of parts) name += `${String(Buffer.byteLength(part))}:${part}`;
  return uuidOf(hash('sha1', namespaced(name), 'hex'));
}

/** Most names are short: these bytes are used again and again, until the next call. */
const short = Buffer.alloc(NAMESPACE.length + 512);
short.set(NAMESPACE);

function namespaced(name: string): Buffer {
  if (name.length * 3 > short.length - NAMESPACE.length) return Buffer.concat([NAMESPACE, Buffer.from(name)]);
  return short.subarray(0, NAMESPACE.length + short.write(name, NAMESPACE.length));
}

/** RFC 9562, section 5.5. By hand because it is made ten times for each notification, and in one call of OpenSSL takes a third of the time. */
function uuidOf(sha1: string): string {
  const variant = '89ab'.charAt(Number.parseInt(sha1.charAt(16), 16) & 3);
  const [third, fourth] = [`5${sha1.slice(13, 16)}`, `${variant}${sha1.slice(17, 20)}`];
  return `${sha1.slice(0, 8)}-${sha1.slice(8, 12)}-${third}-${fourth}-${sha1.slice(20, 32)}`;
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
  /** Bookkeeping of the one who writes ClickHouse. */
  ingest: 'ingest-analytics',
  /** What whoever feeds the queues has counted. */
  queues: 'ingest-queues',
  /** Which process acts for the role of that name. */
  lease: (name: string): string => `lease-${name}`,
  /** Who may have the device with that push token. */
  token: (tenant: string, token: string): string => `token-${derivedId('token', tenant, token)}`,
} as const;

/** A place in the log: an update, or the whole of an event. What is resumed from there comes after it. */
export interface Place {
  readonly position: string;
  /** Of the update within its event, counted from 0. */
  readonly index: number;
  /** When it was recorded; milliseconds since the epoch. */
  readonly at: number;
  /** Where further updates of the same event follow: whose event it is. Null: the event is over with this one. */
  readonly notificationId: string | null;
}

/** Places as clients see them: opaque to them, and none that this service did not hand out. */
export interface Cursors {
  readonly of: (tenant: string, place: Place) => string;
  /** Null when it was changed, or is of another tenant, another log or another SECRET_KEY. */
  readonly read: (tenant: string, cursor: string) => Place | null;
}

const CURSOR_MAC_BYTES = 9;

/** `mac` signs a text; only its first 9 bytes count. */
export function openCursors(logId: string, mac: (...parts: readonly string[]) => Buffer): Cursors {
  const sign = (tenant: string, text: string): Buffer =>
    mac('cursor', logId, tenant, text).subarray(0, CURSOR_MAC_BYTES);
  return {
    of: (tenant, { position, index, at, notificationId }) => {
      const text = [String(index), at.toString(36), notificationId ?? '', position].join('/');
      return Buffer.concat([sign(tenant, text), Buffer.from(text)]).toString('base64url');
    },
    read: (tenant, cursor) => {
      const bytes = Buffer.from(cursor, 'base64url');
      const text = bytes.subarray(CURSOR_MAC_BYTES).toString();
      // Node decodes base64url leniently; written again, only one spelling is left.
      const known = bytes.toString('base64url') === cursor && bytes.length > CURSOR_MAC_BYTES;
      if (!known || !timingSafeEqual(bytes.subarray(0, CURSOR_MAC_BYTES), sign(tenant, text))) return null;
      const [index, at = '', notificationId, ...position] = text.split('/');
      return {
        position: position.join('/'),
        index: Number(index),
        at: parseInt(at, 36),
        notificationId: notificationId === '' ? null : (notificationId ?? null),
      };
    },
  };
}
