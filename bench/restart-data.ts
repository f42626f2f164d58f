import { randomUUID } from 'node:crypto';
import type { Metadata, NotificationContext } from '../src/events/event.ts';
import { deliveryId, streamOf } from '../src/ids.ts';
import type { EventLog, NewEvent } from '../src/ports/event-log/event-log.ts';

/** A notification by e-mail that was sent and delivered. */
export const EVENTS_EACH = 5;
/** Notifications for each user. */
const EACH_USER = 10;
/** Appends under way at once: enough to fill the group commits. */
const AT_ONCE = 800;

const TENANT = 'default';

/** Appends that many notifications, from number `from` on, and their users; told of each thousand. */
export async function fill(
  log: EventLog,
  from: number,
  count: number,
  told: (done: number) => void = () => undefined,
): Promise<void> {
  let next = from;
  const append = async (): Promise<void> => {
    for (let number = next++; number < from + count; number = next++) {
      if (number % EACH_USER === 0) await register(log, userOf(number));
      const id = randomUUID();
      await log.append(streamOf.notification(id), storyOf(id, userOf(number), timeOf(number)), 0);
      if ((number - from) % 1_000 === 999) told(number - from + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, append));
}

function userOf(number: number): string {
  return `user-${String(Math.floor(number / EACH_USER))}`;
}

/** A hundred a second, so that a million are three hours. */
function timeOf(number: number): number {
  return Date.parse('2026-11-01T00:00:00.000Z') + number * 10;
}

async function register(log: EventLog, userId: string): Promise<void> {
  const data = { userId, email: `${userId}@example.com`, phone: null, locale: 'en', timeZone: 'Europe/Berlin' };
  const metadata = stamp(timeOf(0), randomUUID());
  const event = { id: randomUUID(), type: 'UserRegistered', data, metadata };
  await log.append(streamOf.user(TENANT, userId), [event], 0);
}

function stamp(at: number, correlationId: string): Metadata {
  const occurredAt = new Date(at).toISOString();
  return { schemaVersion: 1, tenant: TENANT, occurredAt, correlationId, causationId: correlationId };
}

function storyOf(id: string, userId: string, at: number): readonly NewEvent[] {
  const address = `${userId}@example.com`;
  const delivery = deliveryId(id, 'EMAIL', address);
  const requestedAt = new Date(at).toISOString();
  const notification: NotificationContext = {
    id,
    userId,
    requestedAt,
    category: 'orders',
    lane: 'TRANSACTIONAL',
    campaign: null,
    template: null,
  };
  const content = {
    title: 'Your order',
    body: 'It left our house this morning and comes tomorrow.',
    html: null,
    url: null,
  };
  const common = { channels: null, content, template: null, data: null, category: 'orders', lane: 'TRANSACTIONAL' };
  const queued = {
    channel: 'EMAIL',
    platform: null,
    address,
    outcome: 'QUEUE',
    reason: 'DELIVERABLE',
    rule: 'default',
  };
  const told: readonly (readonly [string, object])[] = [
    ['NotificationRequested', { userId, ...common, campaign: null, deliverAt: null, expiresAt: null, inputHash: id }],
    [
      'NotificationRouted',
      { decisions: [{ deliveryId: delivery, ...queued, inputs: {} }], policyVersion: 0, expiresAt: null },
    ],
    ['DeliveryAttempted', { deliveryId: delivery, attempt: 1, claimUntil: new Date(at + 25_000).toISOString() }],
    [
      'DeliverySent',
      { deliveryId: delivery, attempt: 1, provider: 'smtp', providerMessageId: `<${id}@x>`, raw: '250 OK' },
    ],
    ['DeliveryDelivered', { deliveryId: delivery, attempt: 1, provider: 'smtp', providerMessageId: null, raw: '' }],
  ];
  return told.map(([type, data], index) => ({
    id: randomUUID(),
    type,
    data,
    metadata: {
      ...stamp(at + index * 50, id),
      notification,
      ...(index > 1 && { delivery: { id: delivery, channel: 'EMAIL' as const, provider: 'smtp' } }),
    },
  }));
}
