/** Notifications that live through everything that can happen to one, the same for the same seed. */
import type { Channel, Metadata } from '../../src/events/event.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { derivedId, streamOf } from '../../src/ids.ts';
import type { EventLog, NewEvent } from '../../src/ports/event-log/event-log.ts';
import { randomFrom } from '../support/random.ts';

export interface Story {
  readonly stream: string;
  readonly events: readonly NewEvent[];
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const PROVIDERS: Readonly<Record<Channel, readonly string[]>> = {
  PUSH: ['fcm'],
  SMS: ['twilio', 'sms-b'],
  EMAIL: ['smtp', 'email-b'],
};

/** What a delivery goes through after its routing: the rest of the data of an event of that type. */
const HAPPENINGS: readonly (readonly [string, object])[] = [
  ['DeliveryAttempted', { attempt: 1, claimUntil: '2026-01-01T00:00:00.000Z' }],
  ['DeliverySent', { attempt: 1, provider: 'p', providerMessageId: 'm', raw: null }],
  ['DeliverySent', { attempt: 2, provider: 'p', providerMessageId: null, raw: null, byReceipt: true }],
  ['DeliveryRetryScheduled', { attempt: 1, raw: null, reason: 'PROVIDER_BUSY', retryAt: '2026-01-01T00:00:00.000Z' }],
  ['DeliveryOutcomeUnknown', { attempt: 1, raw: null, reason: 'NO_ANSWER', retryAt: null }],
  ['DeliveryHeld', { reason: 'NO_ANSWER' }],
  ['DeliveryRejected', { attempt: 1, raw: '550', reason: 'RECIPIENT_REFUSED' }],
  ['DeliveryExpired', { expiresAt: '2026-01-01T00:00:00.000Z' }],
  ['DeliveryCancelled', { reason: 'REQUESTED' }],
  ['DeliverySuppressed', { reason: 'DEVICE_GONE' }],
  ['DeliveryDeadLettered', { attempt: 4, raw: null, reason: 'PROVIDER_UNREACHABLE' }],
  ['DeliveryDelivered', { attempt: 1, provider: 'p', providerMessageId: 'm', raw: 'delivered' }],
  ['DeliveryBounced', { attempt: 1, provider: 'p', providerMessageId: 'm', raw: '30005', reason: 'CARRIER_FAILED' }],
  ['DeliveryOpened', {}],
  ['DeliveryClicked', {}],
  // Of a version of this service that does not exist yet.
  ['DeliveryTeleported', { reason: 'TUNNELLED' }],
];

/** Notification number `index` of a seed. The days on which they are requested end with `today`, in milliseconds since the epoch. */
export function storyOf(seed: number, index: number, today: number): Story {
  const random = randomFrom(seed * 1_000_003 + index);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const id = derivedId('story', String(seed), String(index));
  const requestedAt = Math.floor(today - Math.floor(random() * 4) * DAY - random() * HOUR);
  const base = contextOf(pick, id, requestedAt);
  let count = 0;
  const event = (type: string, data: object, more: Partial<Metadata> = {}): NewEvent => {
    count += 1;
    // Mostly forwards, now and then before the request: clocks differ.
    const occurredAt = new Date(requestedAt + Math.floor((random() - 0.02) * 3 * HOUR)).toISOString();
    return { id: derivedId(id, String(count)), type, data, metadata: { ...base, occurredAt, ...more } };
  };
  const deliveries = Array.from({ length: Math.floor(random() * 4) }, (_, number) => ({
    id: derivedId(id, 'delivery', String(number)),
    channel: pick(CHANNELS),
    outcome: random() < 0.8 ? 'QUEUE' : 'SUPPRESS',
  }));
  const decisions = deliveries.map(({ id: deliveryId, channel, outcome }) => ({
    ...{ deliveryId, channel, outcome, address: 'somewhere', rule: 'default', inputs: {} },
    platform: channel === 'PUSH' ? pick(['IOS', 'ANDROID', 'WEB']) : null,
    reason: outcome === 'QUEUE' ? 'DELIVERABLE' : 'NO_ADDRESS',
  }));
  const happenings = deliveries.flatMap(({ id: deliveryId, channel }) =>
    Array.from({ length: Math.floor(random() * 7) }, () => {
      const [type, data] = pick(HAPPENINGS);
      const provider = random() < 0.2 ? null : pick(PROVIDERS[channel]);
      return event(type, { deliveryId, ...data }, { delivery: { id: deliveryId, channel, provider } });
    }),
  );
  const conversions = Array.from({ length: Math.floor(random() * 1.5) }, () => {
    const delivery = random() < 0.3 ? undefined : deliveries[0];
    const data = {
      deliveryId: delivery?.id ?? null,
      name: pick(['purchase', 'sign-up']),
      value: pick([null, 0, 12.5, 1e-9, -3]),
      currency: pick([null, 'EUR']),
      convertedAt: new Date(requestedAt + Math.floor((random() - 0.3) * DAY)).toISOString(),
      ...{ keyHash: null, inputHash: 'hash' },
    };
    const about = delivery && { delivery: { id: delivery.id, channel: delivery.channel, provider: null } };
    return event('ConversionRecorded', data, about);
  });
  return {
    stream: streamOf.notification(id),
    events: [
      event(
        'NotificationRequested',
        { userId: 'whoever', reason: 7 },
        { occurredAt: new Date(requestedAt).toISOString() },
      ),
      ...(random() < 0.1 ? [event('NotificationCancelled', {})] : []),
      event('NotificationRouted', { decisions, policyVersion: 0, expiresAt: null }),
      ...[...happenings, ...conversions].toSorted(() => random() - 0.5),
    ],
  };
}

function contextOf(pick: <T>(from: readonly T[]) => T, id: string, requestedAt: number): Metadata {
  return {
    schemaVersion: 1,
    tenant: pick(['acme', 'globex', 'umbrella']),
    occurredAt: '',
    correlationId: 'c',
    causationId: 'c',
    notification: {
      id,
      userId: pick(['ada', 'grace', 'édith "the" \\ \u{1f680}', 'half \ud800']),
      requestedAt: new Date(requestedAt).toISOString(),
      category: pick(['general', 'news']),
      lane: 'BULK',
      campaign: pick([null, 'spring', 'autumn']),
      template: pick([null, { key: 'welcome', version: 3 }]),
    },
  };
}

/** Appends the stories from number `from` to before `to`, many at once and each in several pieces, so that they mix. */
export async function appendStories(
  log: EventLog,
  seed: number,
  range: readonly [number, number],
  today: number,
): Promise<void> {
  let [next] = range;
  const hands = Array.from({ length: 8 }, async () => {
    while (next < range[1]) {
      next += 1;
      await appendStory(log, storyOf(seed, next - 1, today));
    }
  });
  await Promise.all(hands);
}

/** What of it is not in the log yet. */
export async function appendStory(log: EventLog, { stream, events }: Story): Promise<void> {
  let version = (await log.read(stream)).length;
  while (version < events.length) {
    const piece = events.slice(version, version + 3);
    version = (await log.append(stream, piece, version)).version;
  }
}
