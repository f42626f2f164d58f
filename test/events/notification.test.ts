import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasEnded, type DeliveryState } from '../../src/events/delivery.ts';
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

type Engagement = 'DeliveryOpened' | 'DeliveryClicked' | 'ConversionRecorded';

function engaged(type: Engagement, deliveryId: string | null = DELIVERY, convertedAt = at(0)): NotificationEvent {
  if (type === 'ConversionRecorded') {
    const data = { deliveryId, name: 'purchase', value: null, currency: null, convertedAt };
    return { type, data: { ...data, keyHash: null, inputHash: 'hash' } };
  }
  return { type, data: { deliveryId: deliveryId ?? '' } };
}

const opened = engaged('DeliveryOpened');
const clicked = engaged('DeliveryClicked');

/** All of a delivery but what its recipient did. */
function withoutEngagement(delivery: DeliveryState | undefined): unknown {
  const { openedAt: _1, lastOpenedAt: _2, clickedAt: _3, lastClickedAt: _4, convertedAt: _5, ...rest } = delivery ?? {};
  return rest;
}

describe('what the recipient did', () => {
  it('is known by its first and its last time, in whatever order it is told', () => {
    const kinds = { DeliveryOpened: ['openedAt', 'lastOpenedAt'], DeliveryClicked: ['clickedAt', 'lastClickedAt'] };
    const any = fc.record({ type: fc.constantFrom('DeliveryOpened', 'DeliveryClicked'), ms: fc.nat(9_999_999) });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 8 }), (told) => {
        const events = told.map(({ type, ms }, index) => stored(engaged(type), ms, index + 2));
        const state = foldNotification([stored(requested()), stored(routed(), 0, 1), ...events]);
        for (const [type, [first = '', last = '']] of Object.entries(kinds)) {
          const times = told.filter((each) => each.type === type).map(({ ms }) => at(ms));
          const sorted = times.toSorted();
          expect(state?.deliveries[0]).toMatchObject({ [first]: sorted[0] ?? null, [last]: sorted.at(-1) ?? null });
        }
      }),
    );
  });

  it('in the end counts from when it happened, and not from when it was told', () => {
    const story = [requested(), routed(), ...[9, 5, 7].map((ms) => engaged('ConversionRecorded', DELIVERY, at(ms)))];
    expect(given(...story).deliveries[0]).toMatchObject({ convertedAt: at(5), clickedAt: null, openedAt: null });
  });

  it('is not known before it did anything', () => {
    const nothing = { openedAt: null, lastOpenedAt: null, clickedAt: null, lastClickedAt: null, convertedAt: null };
    expect(given(requested(), routed(), attempted(), sent()).deliveries[0]).toMatchObject(nothing);
  });

  it('is told of one delivery, and changes no other; a conversion may be put down to none', () => {
    const other = `${DELIVERY.slice(0, -1)}0`;
    const both = routed({}, { deliveryId: other });
    const before = given(requested(), both);
    for (const event of [opened, clicked, engaged('ConversionRecorded')]) {
      const after = given(requested(), both, event);
      expect(after.deliveries[1]).toEqual(before.deliveries[1]);
      expect(after.deliveries[0]).not.toEqual(before.deliveries[0]);
    }
    for (const about of [null, 'unknown']) {
      const after = given(requested(), both, engaged('ConversionRecorded', about));
      expect(after.deliveries).toEqual(before.deliveries);
    }
  });

  it('changes nothing of how the delivery and the notification stand, wherever in their story it comes', () => {
    const ours = fc.subarray([
      attempted(1),
      outcomeUnknown(1),
      attempted(2),
      retryScheduled(2),
      attempted(3),
      rejected,
      sent(1),
      delivered(1),
      bounced(3),
      suppressed,
      expired,
      cancelled,
      ended,
    ]);
    const any = fc.constantFrom(opened, clicked, engaged('ConversionRecorded'), engaged('ConversionRecorded', null));
    fc.assert(
      fc.property(ours, fc.array(fc.tuple(any, fc.nat(13)), { maxLength: 8 }), (own, told) => {
        const at0 = (events: readonly NotificationEvent[]) => events.map((event, index) => stored(event, 0, index));
        const mixed = own.flatMap((event, index) => [
          ...told.filter(([, at]) => at === index).map(([each]) => each),
          event,
        ]);
        const rest = told.filter(([, place]) => place >= own.length).map(([each]) => each);
        const plain = foldNotification(at0([requested(), routed(), ...own]));
        const full = foldNotification(at0([requested(), routed(), ...mixed, ...rest]));
        if (plain === null || full === null) throw new Error('a story begins with NotificationRequested');
        expect(withoutEngagement(full.deliveries[0])).toEqual(withoutEngagement(plain.deliveries[0]));
        expect([statusOf(full), full.routed, full.cancelled]).toEqual([statusOf(plain), plain.routed, plain.cancelled]);
      }),
      { numRuns: 500 },
    );
  });

  it('before the routing is known of no delivery', () => {
    expect(given(requested(), engaged('ConversionRecorded', null)).deliveries).toEqual([]);
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
