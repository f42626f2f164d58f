import { describe, expect, it } from 'vitest';
import { cancelNotification, cancelOutcome } from '../../src/commands/cancel-notification.ts';
import { metadata } from '../../src/events/metadata.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import type { DeliveryEvent, NotificationEvent } from '../../src/events/notifications.ts';
import {
  attempted,
  cancelled,
  DELIVERY,
  given,
  outcomeUnknown,
  requested,
  retryScheduled,
  routed,
  sent,
  T0,
} from '../support/given.ts';

const STAMP = metadata({ tenant: 'default', correlationId: 'request-2', causationId: 'request-2' }, T0);
const HELD: DeliveryEvent = { type: 'DeliveryHeld', data: { deliveryId: DELIVERY, reason: 'NO_ANSWER' } };

function cancel(state: NotificationState): readonly { type: string; data: unknown }[] {
  return cancelNotification(state, STAMP, T0).map(({ event }) => event);
}

/** What a caller is told after the cancellation was recorded. */
function outcomesAfter(...past: readonly NotificationEvent[]): readonly string[] {
  const events = cancel(given(...past)) as readonly NotificationEvent[];
  return given(...past, ...events).deliveries.map(cancelOutcome);
}

describe('cancelling', () => {
  it('before the routing leaves nothing to be routed', () => {
    expect(cancel(given(requested()))).toEqual([cancelled]);
  });

  it.each([
    ['a queued delivery', [requested(), routed()], 'CANCELLED'],
    ['a delivery that waits for its retry', [requested(), routed(), attempted(), retryScheduled()], 'CANCELLED'],
    ['a sent delivery', [requested(), routed(), attempted(), sent()], 'TOO_LATE'],
    ['a delivery that is being sent', [requested(), routed(), attempted()], 'IN_DOUBT'],
    ['a delivery in doubt', [requested(), routed(), attempted(), outcomeUnknown()], 'IN_DOUBT'],
    ['a held delivery', [requested(), routed(), attempted(), outcomeUnknown(1, null), HELD], 'IN_DOUBT'],
    ['a suppressed delivery', [requested(), routed({ outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT' })], 'CANCELLED'],
  ] as const)('%s has a definite outcome', (_, past, outcome) => {
    expect(outcomesAfter(...past)).toEqual([outcome]);
  });

  it('ends what no attempt runs for, and leaves a running attempt to end by itself', () => {
    expect(cancel(given(requested(), routed())).map(({ type }) => type)).toEqual([
      'NotificationCancelled',
      'DeliveryCancelled',
    ]);
    expect(cancel(given(requested(), routed(), attempted())).map(({ type }) => type)).toEqual([
      'NotificationCancelled',
    ]);
  });

  it('says so where an earlier attempt may have reached the provider', () => {
    const [, ending] = cancel(given(requested(), routed(), attempted(), outcomeUnknown()));
    expect(ending?.data).toEqual({ deliveryId: DELIVERY, reason: 'ATTEMPT_IN_DOUBT' });
  });

  it('again, or after everything has ended, records nothing', () => {
    expect(cancel(given(requested(), cancelled))).toEqual([]);
    expect(cancel(given(requested(), routed(), attempted(), sent()))).toEqual([]);
  });
});
