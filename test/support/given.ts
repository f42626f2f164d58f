import type { DeliveryPolicy } from '../../src/commands/delivery-policy.ts';
import { CHANNELS, type Channel, type Lane, type Metadata, type NotificationContext } from '../../src/events/event.ts';
import { foldNotification, type Stored } from '../../src/events/fold.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import type { Decision, NotificationEvent, NotificationRequested } from '../../src/events/notifications.ts';
import { deliveryId } from '../../src/ids.ts';
import { isPhoneNumber } from '../../src/senders/sms-phone.ts';

/** The instant at which stories in tests begin. */
export const T0 = Date.parse('2026-03-01T12:00:00.000Z');

export const NOTIFICATION = '018f3a52-0000-7000-8000-000000000001';
export const ADDRESS = 'ada@example.com';
export const DELIVERY = deliveryId(NOTIFICATION, 'EMAIL', ADDRESS);

/** What the providers of a service tell the commands: there is one for every channel. */
export const PROVIDERS = { channels: CHANNELS, isPhoneNumber } as const;

/** The default rules. */
export const POLICY: DeliveryPolicy = {
  retryDelaysMs: [30_000, 120_000, 600_000],
  doubt: 'RESEND',
  claimMs: 25_000,
  busyMs: 5_000,
};

export function at(ms: number): string {
  return new Date(T0 + ms).toISOString();
}

/** A notification's past, one event after the other; `at` in milliseconds after the beginning. */
export function stored(event: NotificationEvent, atMs = 0, index = 0): Stored {
  const notification: NotificationContext = {
    id: NOTIFICATION,
    userId: 'ada',
    requestedAt: at(0),
    category: 'general',
    lane: 'TRANSACTIONAL',
    campaign: null,
    template: null,
  };
  const metadata: Metadata = {
    schemaVersion: 1,
    tenant: 'default',
    occurredAt: at(atMs),
    correlationId: 'request-1',
    causationId: 'request-1',
    notification,
  };
  return { id: `event-${String(index)}`, ...event, metadata };
}

export function given(...events: readonly NotificationEvent[]): NotificationState {
  const state = foldNotification(events.map((event, index) => stored(event, index, index)));
  if (state === null) throw new Error('a story begins with NotificationRequested');
  return state;
}

export function requested(changes: Partial<NotificationRequested> = {}): NotificationEvent {
  return {
    type: 'NotificationRequested',
    data: {
      userId: 'ada',
      channels: null,
      content: { title: 'Hello', body: 'The first light.', html: null, url: null },
      template: null,
      data: null,
      category: 'general',
      lane: 'TRANSACTIONAL' satisfies Lane,
      campaign: null,
      deliverAt: null,
      expiresAt: null,
      inputHash: 'hash',
      ...changes,
    },
  };
}

export function routed(...decisions: readonly Partial<Decision>[]): NotificationEvent {
  const all = decisions.length === 0 ? [{}] : decisions;
  return {
    type: 'NotificationRouted',
    data: { decisions: all.map((each) => ({ ...queued, ...each })), policyVersion: 0, expiresAt: null },
  };
}

const queued: Decision = {
  deliveryId: DELIVERY,
  channel: 'EMAIL' satisfies Channel,
  platform: null,
  address: ADDRESS,
  outcome: 'QUEUE',
  reason: 'DELIVERABLE',
  rule: 'default',
  inputs: {},
};

export function attempted(attempt = 1, claimUntilMs = 25_000): NotificationEvent {
  return { type: 'DeliveryAttempted', data: { deliveryId: DELIVERY, attempt, claimUntil: at(claimUntilMs) } };
}

export function sent(attempt = 1): NotificationEvent {
  return {
    type: 'DeliverySent',
    data: { deliveryId: DELIVERY, attempt, provider: 'smtp', providerMessageId: '<1@x>', raw: '250 OK' },
  };
}

export function retryScheduled(attempt = 1, retryAtMs = 30_000): NotificationEvent {
  const data = { deliveryId: DELIVERY, attempt, reason: 'PROVIDER_BUSY', raw: '451', retryAt: at(retryAtMs) } as const;
  return { type: 'DeliveryRetryScheduled', data };
}

export function outcomeUnknown(attempt = 1, retryAtMs: number | null = 30_000): NotificationEvent {
  const retryAt = retryAtMs === null ? null : at(retryAtMs);
  const data = { deliveryId: DELIVERY, attempt, reason: 'NO_ANSWER', raw: null, retryAt } as const;
  return { type: 'DeliveryOutcomeUnknown', data };
}

export const cancelled: NotificationEvent = { type: 'NotificationCancelled', data: {} };

/** `count` attempts that failed for now; the next one is number `count` + 1. */
export function failures(count: number): readonly NotificationEvent[] {
  return Array.from({ length: count }, (_, index) => [attempted(index + 1), retryScheduled(index + 1)]).flat();
}
