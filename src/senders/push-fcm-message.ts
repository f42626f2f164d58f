import type { AndroidConfig, ApnsConfig, TokenMessage, WebpushConfig } from 'firebase-admin/messaging';
import type { Message } from './outcome.ts';

/**
 * FCM allows 4,096 bytes of payload (https://firebase.google.com/docs/cloud-messaging/concept-options), and so do APNs
 * and Web Push, each counting another part of it: the rest is for what they add.
 */
export const LARGEST_MESSAGE = 4_000;
/** FCM's longest time to live, four weeks; seconds. */
const LONGEST_TTL = 28 * 24 * 60 * 60;
/** The body keeps so much of the room, where it has as much, before the title is shortened; bytes. */
const BODY_SHARE = 1_000;
/** Bytes. */
const LONG_LINK = 1_000;
const ELLIPSIS = '…';

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * The message for FCM, with the options of the device's own platform only, and the same identity on every attempt: what
 * is shown of a repeated one takes the place of the first. Words that are too long are shortened.
 * @param now Milliseconds since the epoch.
 * @returns null when it is too large even without words.
 */
export function composePush(message: Message, now: number): TokenMessage | null {
  const platform = platformOf(message, now);
  return withWords(message, { data: dataOf(message, platform), ...platform });
}

/** A browser opens the link without the help of an app; a long one stands there only, and leaves room for words. */
function dataOf({ notificationId, deliveryId, url }: Message, { webpush }: Platform): Record<string, string> {
  const ids = { notificationId, deliveryId };
  const isSaid = url === null || (webpush?.fcmOptions?.link !== undefined && bytesOf(url) > LONG_LINK);
  return isSaid ? ids : { ...ids, url: wellFormed(url) };
}

interface Frame extends Platform {
  readonly data: Record<string, string>;
}

/** Null when there is no room for any. */
function withWords(message: Message, frame: Frame): TokenMessage | null {
  const title = message.title === null ? null : wellFormed(message.title);
  const empty = { notification: { ...(title === null ? {} : { title: '' }), body: '' }, ...frame };
  const room = LARGEST_MESSAGE - Buffer.byteLength(JSON.stringify(empty));
  const words = fit({ title, body: wellFormed(message.body) }, room);
  if (words === null) return null;
  const notification = { ...(words.title === null ? {} : { title: words.title }), body: words.body };
  return { token: message.address, notification, ...frame };
}

interface Platform {
  readonly apns?: ApnsConfig;
  readonly android?: AndroidConfig;
  readonly webpush?: WebpushConfig;
}

function platformOf(message: Message, now: number): Platform {
  switch (message.platform) {
    case 'IOS':
      return { apns: apnsOf(message, now) };
    case 'ANDROID':
      return { android: androidOf(message, now) };
    case 'WEB':
      return { webpush: webpushOf(message, now) };
    case null:
      return {};
  }
}

/** https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns */
function apnsOf(message: Message, now: number): ApnsConfig {
  const isUrgent = message.lane === 'TRANSACTIONAL';
  const headers = {
    'apns-push-type': 'alert',
    'apns-priority': isUrgent ? '10' : '5',
    ...(message.expiresAt === null ? {} : { 'apns-expiration': expirationOf(message.expiresAt, now) }),
    ...(Buffer.byteLength(message.notificationId) > 64 ? {} : { 'apns-collapse-id': message.notificationId }),
  };
  return { headers, ...(isUrgent ? { payload: { aps: { sound: 'default' } } } : {}) };
}

/** 0: tried once and not kept. */
function expirationOf(expiresAt: string, now: number): string {
  return String(secondsLeft(expiresAt, now) === 0 ? 0 : Math.floor(Date.parse(expiresAt) / 1000));
}

/**
 * The tag makes a repeated message take the place of the first on the screen. No collapse key: FCM keeps messages of at
 * most four collapse keys for a device that is offline and drops the others.
 */
function androidOf({ lane, notificationId, expiresAt }: Message, now: number): AndroidConfig {
  return {
    priority: lane === 'TRANSACTIONAL' ? 'high' : 'normal',
    ...(expiresAt === null ? {} : { ttl: secondsLeft(expiresAt, now) * 1000 }),
    notification: { tag: notificationId },
  };
}

/** RFC 8030: TTL §5.2, Urgency §5.3, Topic §5.4. FCM takes links over https only. */
function webpushOf({ lane, notificationId, expiresAt, url }: Message, now: number): WebpushConfig {
  const topic = notificationId.replaceAll('-', '');
  const headers = {
    Urgency: lane === 'TRANSACTIONAL' ? 'high' : 'normal',
    ...(expiresAt === null ? {} : { TTL: String(secondsLeft(expiresAt, now)) }),
    ...(/^[\w-]{1,32}$/.test(topic) ? { Topic: topic } : {}),
  };
  const isLink = url !== null && URL.canParse(url) && new URL(url).protocol === 'https:';
  return {
    headers,
    notification: { tag: notificationId },
    ...(isLink ? { fcmOptions: { link: wellFormed(url) } } : {}),
  };
}

function secondsLeft(expiresAt: string, now: number): number {
  return Math.min(LONGEST_TTL, Math.max(0, Math.floor((Date.parse(expiresAt) - now) / 1000)));
}

interface Words {
  readonly title: string | null;
  readonly body: string;
}

/** Shortens the body, and the title where the body would be left with less than its share; null when there is no room. */
function fit({ title, body }: Words, room: number): Words | null {
  const share = Math.min(bytesOf(body), BODY_SHARE, Math.floor(room / 2));
  const shortTitle = title === null ? '' : cut(title, room - share);
  if (shortTitle === null) return null;
  const shortBody = cut(body, room - bytesOf(shortTitle));
  return shortBody === null ? null : { title: title === null ? null : shortTitle, body: shortBody };
}

/** As many whole characters as fit, with an ellipsis where some do not; null when not even that fits. */
function cut(text: string, room: number): string | null {
  if (bytesOf(text) <= room) return text;
  let left = room - bytesOf(ELLIPSIS);
  if (left < 0) return null;
  let end = 0;
  // Every UTF-16 unit takes a byte at least: the last character of this part does not fit, cut up or not.
  for (const { segment } of graphemes.segment(text.slice(0, left + 1))) {
    left -= bytesOf(segment);
    if (left < 0) break;
    end += segment.length;
  }
  return `${text.slice(0, end).trimEnd()}${ELLIPSIS}`;
}

/** In JSON, as UTF-8, without the quotes. */
function bytesOf(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}

/** Half a surrogate pair is no character; FCM would refuse the whole message for it. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}
