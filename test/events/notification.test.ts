import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasEnded, statusOf } from '../../src/events/notification.ts';
import { foldNotification } from '../../src/events/fold.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
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
