import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasEnded } from '../../src/events/delivery.ts';
import { statusOf } from '../../src/events/notification.ts';
import { foldNotification } from '../../src/events/fold.ts';
import type { DeliverySent, NotificationEvent } from '../../src/events/notifications.ts';
import { BOUNCE_REASONS, type BounceReason } from '../../src/events/outcome.ts';
import {
  attempted,
  at,
  cancelled,
  DELIVERY,
  given,
  outcomeUnknown,
  requested,
  retryScheduled,
  routed,
  sent,
  stored,
} from '../support/given.ts';

const rejected: NotificationEvent = {
  type: 'DeliveryRejected',
  data: { deliveryId: DELIVERY, attempt: 1, reason: 'RECIPIENT_REFUSED', raw: '550' },
};
const expired: NotificationEvent = { type: 'DeliveryExpired', data: { deliveryId: DELIVERY, expiresAt: at(1) } };
const ended: NotificationEvent = { type: 'DeliveryCancelled', data: { deliveryId: DELIVERY, reason: 'REQUESTED' } };
const suppressed: NotificationEvent = {
  type: 'DeliverySuppressed',
  data: { deliveryId: DELIVERY, reason: 'DEVICE_GONE' },
};

describe('the status of a notification', () => {
  it.each([
    ['REQUESTED', [requested()]],
    ['SCHEDULED', [requested({ deliverAt: at(60_000) })]],
    ['ROUTED', [requested(), routed()]],
    ['ROUTED', [requested(), routed(), attempted(), outcomeUnknown()]],
    ['COMPLETED', [requested(), routed(), attempted(), sent()]],
    ['COMPLETED', [requested(), routed(), attempted(), rejected]],
    ['COMPLETED', [requested(), routed({ outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT' })]],
    ['CANCELLED', [requested(), cancelled]],
    ['CANCELLED', [requested(), routed(), cancelled, ended]],
    ['COMPLETED', [requested(), routed(), attempted(), cancelled, sent()]],
    ['EXPIRED', [requested(), routed(), expired]],
    // It may have been sent.
    ['COMPLETED', [requested(), routed(), attempted(), outcomeUnknown(), expired]],
  ] as const)('is %s after its story', (status, story) => {
    expect(statusOf(given(...story))).toBe(status);
  });
});

describe('the status of a delivery', () => {
  it.each([
    ['QUEUED', [routed()]],
    ['SUPPRESSED', [routed({ outcome: 'SUPPRESS', reason: 'NO_ADDRESS', address: null })]],
    ['SENDING', [routed(), attempted()]],
    ['SENDING', [routed(), attempted(), outcomeUnknown()]],
    ['RETRYING', [routed(), attempted(), retryScheduled()]],
    ['SENT', [routed(), attempted(), sent()]],
    ['REJECTED', [routed(), attempted(), rejected]],
    ['EXPIRED', [routed(), expired]],
    ['CANCELLED', [routed(), cancelled, ended]],
  ] as const)('is %s after its story', (status, story) => {
    expect(given(requested(), ...story).deliveries.map((each) => each.status)).toEqual([status]);
  });

  it('is SENT once any attempt was accepted, whatever else is recorded before or after', () => {
    const others = [
      attempted(1),
      outcomeUnknown(1),
      attempted(2),
      retryScheduled(2),
      expired,
      ended,
      rejected,
      cancelled,
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(others), fc.nat(others.length), (events, place) => {
        const story = [...events.slice(0, place), sent(1), ...events.slice(place)];
        const [delivery] = given(requested(), routed(), ...story).deliveries;
        expect(delivery?.status).toBe('SENT');
      }),
    );
  });

  it('never leaves an ending except for the news that it was sent', () => {
    const any = fc.constantFrom(
      attempted(1),
      attempted(2),
      outcomeUnknown(1),
      retryScheduled(1),
      expired,
      ended,
      rejected,
    );
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), (events) => {
        let before = given(requested(), routed());
        events.forEach((_, index) => {
          const after = given(requested(), routed(), ...events.slice(0, index + 1));
          const [was, is] = [before.deliveries[0], after.deliveries[0]];
          if (was !== undefined && hasEnded(was)) expect(is?.status).toBe(was.status);
          before = after;
        });
      }),
    );
  });
});

function delivered(attempt = 1): NotificationEvent {
  return { type: 'DeliveryDelivered', data: { ...accepted(attempt), raw: 'delivered' } };
}

function bounced(attempt = 1, reason: BounceReason = 'RECIPIENT_UNREACHABLE'): NotificationEvent {
  return { type: 'DeliveryBounced', data: { ...accepted(attempt), raw: 'undelivered', reason } };
}

function accepted(attempt: number): DeliverySent {
  const providerMessageId = `SM${String(attempt)}`;
  return { deliveryId: DELIVERY, attempt, provider: 'twilio', providerMessageId, raw: 'sent' };
}

describe('what providers said of a delivery', () => {
  it.each([
    ['DELIVERED', null, [sent(), delivered()]],
    ['DELIVERED', null, [delivered()]],
    ['BOUNCED', 'RECIPIENT_UNREACHABLE', [sent(), bounced()]],
    ['BOUNCED', 'CARRIER_FAILED', [bounced(1), bounced(2, 'CARRIER_FAILED')]],
    ['DELIVERED', null, [bounced(), delivered()]],
    ['SENT', null, [bounced(1), sent(2)]],
    ['DELIVERED', null, [bounced(1), delivered(2)]],
    ['DELIVERED', null, [ended, delivered()]],
    ['BOUNCED', 'RECIPIENT_UNREACHABLE', [expired, bounced()]],
  ] as const)('makes it %s', (status, reason, facts) => {
    const [delivery] = given(requested(), routed(), attempted(1), outcomeUnknown(1), attempted(2), ...facts).deliveries;
    expect(delivery).toMatchObject({ status, reason });
    expect(statusOf(given(requested(), routed(), attempted(), ...facts))).toBe('COMPLETED');
  });

  it('says which attempts arrived, and since when', () => {
    const story = [requested(), routed(), attempted(), delivered(2), delivered(1), delivered(2)];
    const [delivery] = given(...story).deliveries;
    expect(delivery).toMatchObject({ delivered: [1, 2], accepted: [1, 2], deliveredAt: at(3), sentAt: at(3) });
  });

  it('is known by the name that the provider gave the first message that it accepted', () => {
    const nameless = { type: 'DeliverySent', data: { ...accepted(1), providerMessageId: null } } as const;
    for (const facts of [
      [nameless, delivered(1), delivered(2)],
      [delivered(2), nameless, delivered(1)],
      [delivered(1), nameless, delivered(2)],
    ]) {
      const [delivery] = given(requested(), routed(), ...facts).deliveries;
      expect(delivery).toMatchObject({ provider: 'twilio', providerMessageId: 'SM1' });
    }
    const [unnamed] = given(requested(), routed(), delivered(2), nameless).deliveries;
    expect(unnamed?.providerMessageId).toBeNull();
  });

  it('means the same in any order and however often it is said, among our own events in the order of the log', () => {
    const ours = fc.subarray([
      attempted(1),
      outcomeUnknown(1),
      attempted(2),
      retryScheduled(2),
      attempted(3),
      outcomeUnknown(3, null),
      rejected,
      suppressed,
      expired,
      cancelled,
      ended,
    ]);
    const attempt = fc.integer({ min: 1, max: 3 });
    const any = fc.oneof(
      attempt.map((each) => ({ type: 'DeliverySent', data: accepted(each) }) as const),
      attempt.map((each) => delivered(each)),
      attempt.map((each) => bounced(each, BOUNCE_REASONS[each])),
    );
    const said = fc.array(fc.tuple(any, fc.nat(10)), { maxLength: 10 });
    fc.assert(
      fc.property(ours, said, (own, facts) => {
        const before = (place: number): readonly NotificationEvent[] =>
          facts.filter(([, each]) => each === place).map(([fact]) => fact);
        const mixed = [...own.flatMap((event, index) => [...before(index), event])];
        const rest = facts.filter(([, each]) => each >= own.length).map(([fact]) => fact);
        const sorted = facts.map(([fact]) => fact).toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
        const unique = sorted.filter((fact, index) => nameOf(fact) !== nameOf(sorted[index - 1]));
        expect(meaningOf([...mixed, ...rest])).toEqual(meaningOf([...own, ...unique]));
      }),
      { numRuns: 1_000 },
    );
  });
});

function nameOf(event: NotificationEvent | undefined): string {
  return JSON.stringify(event);
}

/** All of a delivery that has no time in it and is not about the attempt that runs. */
function meaningOf(events: readonly NotificationEvent[]): unknown {
  const [delivery] = given(requested(), routed(), ...events).deliveries;
  if (delivery === undefined) throw new Error('no delivery');
  const { status, reason, provider, providerMessageId, inDoubt, doubtful, sent: on, accepted: by } = delivery;
  const { delivered: arrived, bounces, sentAt, deliveredAt, retryAt } = delivery;
  const times = { sent: sentAt !== null, delivered: deliveredAt !== null, retry: retryAt !== null };
  return { status, reason, provider, providerMessageId, inDoubt, doubtful, on, by, arrived, bounces, times };
}

describe('the fold of a notification', () => {
  it('passes over events of types it does not know', () => {
    const known = [stored(requested(), 0, 0), stored(routed(), 1, 1)];
    const unknown = { ...stored(cancelled, 2, 2), type: 'SomethingFromTheFuture', data: { anything: true } };
    expect(foldNotification([...known, unknown])?.deliveries).toEqual(foldNotification(known)?.deliveries);
  });

  it('knows nothing of a stream that does not begin with the request', () => {
    expect(foldNotification([stored(routed(), 1, 1)])).toBeNull();
  });
});
