import type { Platform } from '../events/notifications.ts';
import { badValue, NO_RECIPIENT, type Refusal, TOO_BIG, UNAUTHENTICATED } from './fcm-answers.ts';
import type { OutboxEntry } from './outbox.ts';

/** FCM's limit for the payload (https://firebase.google.com/docs/cloud-messaging/concept-options). */
const LARGEST_MESSAGE = 4_096;

/** The message of a request, or why FCM would not take it. */
export function readMessage(
  authorization: string | undefined,
  body: string,
): { readonly message: object; readonly token: string } | Refusal {
  if (!/^Bearer \S/.test(authorization ?? '')) return UNAUTHENTICATED;
  const message = objectOf(field(parse(body), 'message'));
  const token = textOf(message['token']);
  return token === null || token === '' ? NO_RECIPIENT : (faultOf(message) ?? { message, token });
}

/** What FCM checks of any message, in essence. */
function faultOf(message: object): Refusal | null {
  const data = Object.values(objectOf(field(message, 'data')));
  const wrong = data.findIndex((value) => typeof value !== 'string');
  if (wrong >= 0) return badValue(`message.data[${String(wrong)}].value`, JSON.stringify(data[wrong]));
  const size = Buffer.byteLength(JSON.stringify({ ...message, token: undefined }));
  return size > LARGEST_MESSAGE ? TOO_BIG : null;
}

/** As its recipient gets it. */
export function entryOf(message: object, token: string, receivedAt: string): Omit<OutboxEntry, 'id'> {
  const notification = field(message, 'notification');
  return {
    channel: 'PUSH',
    platform: platformOf(message),
    address: token,
    title: textOf(field(notification, 'title')),
    text: textOf(field(notification, 'body')),
    html: null,
    headers: headersOf(message),
    receivedAt,
  };
}

function platformOf(message: object): Platform | null {
  if (Object.hasOwn(message, 'apns')) return 'IOS';
  if (Object.hasOwn(message, 'android')) return 'ANDROID';
  return Object.hasOwn(message, 'webpush') ? 'WEB' : null;
}

/** Where FCM keeps what belongs to a platform; below that, APNs' and Web Push's own names say it all. */
const CONTAINER =
  /^(?:apns\.(?:headers|payload)|android(?:\.notification)?|webpush\.(?:headers|notification|fcmOptions))\./;

/** Everything that came with the words, flat. */
function headersOf(message: object): Record<string, string> {
  const { token: _token, notification: _notification, ...rest } = objectOf(message);
  const named = leavesOf(rest).map(([path, value]) => [path.replace(CONTAINER, ''), value] as const);
  return Object.fromEntries([['platform', platformOf(message) ?? 'none'], ...named]);
}

function leavesOf(value: object, path = ''): readonly (readonly [path: string, value: string])[] {
  return Object.entries(value).flatMap(([name, each]: [string, unknown]) =>
    typeof each === 'object' && each !== null
      ? leavesOf(each, `${path}${name}.`)
      : [[`${path}${name}`, typeof each === 'string' ? each : JSON.stringify(each)] as const],
  );
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

function field(value: unknown, name: string): unknown {
  return objectOf(value)[name];
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
