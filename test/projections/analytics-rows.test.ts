import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Metadata } from '../../src/events/event.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import { updatesOf } from '../../src/events/updates.ts';
import type { Position, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { COLUMNS, END_OF_TIME, rowsOf } from '../../src/projections/analytics-rows.ts';
import { storyOf } from '../app/analytics-stories.ts';
import { toldRows } from '../app/analytics-tables.ts';
import * as given from '../support/given.ts';

const NONE = '00000000-0000-0000-0000-000000000000';

function recorded(event: { type: string; data: unknown }, metadata: Partial<Metadata> = {}): RecordedEvent {
  const stored = given.stored(event as NotificationEvent, 1_500);
  const context = { ...stored.metadata, ...metadata };
  return { ...stored, metadata: context, stream: 'notification-x', version: 3, position: '0007' as Position };
}

function ofDelivery(type: string, more: object = {}, provider: string | null = 'smtp'): RecordedEvent {
  const delivery = { id: given.DELIVERY, channel: 'EMAIL', provider } as const;
  return recorded({ type, data: { deliveryId: given.DELIVERY, ...more } }, { delivery });
}

/** Rows as objects. */
function named(event: RecordedEvent): readonly Record<string, unknown>[] {
  return rowsOf(event).map((row) => Object.fromEntries(COLUMNS.map((column, index) => [column, row[index]])));
}

describe('the rows of an event', () => {
  it('are one with everything that is known of the notification', () => {
    const { notification } = recorded(given.requested()).metadata;
    if (notification === undefined) throw new Error('no notification');
    const context = { ...notification, campaign: 'spring', template: { key: 'welcome', version: 4 } };
    expect(named(recorded(given.requested(), { notification: context }))).toEqual([
      {
        tenant: 'default',
        requested_at: '2026-03-01 12:00:00.000',
        notification_id: given.NOTIFICATION,
        delivery_id: NONE,
        user_id: 'ada',
        channel: '',
        platform: '',
        provider: '',
        campaign: 'spring',
        category: 'general',
        template: 'welcome',
        template_version: 4,
        type: 'NotificationRequested',
        reason: '',
        steps: 1,
        occurred_at: '2026-03-01 12:00:01.500',
        recorded_at: '2026-03-01 12:00:01.500',
        conversion: '',
        value: null,
        currency: '',
        version: 3,
        position: '0007',
        update_index: 0,
      },
    ]);
  });

  it('of a routing are one a decision, with its platform', () => {
    const event = given.routed(
      { channel: 'PUSH', platform: 'IOS' },
      { deliveryId: given.NOTIFICATION, channel: 'SMS', outcome: 'SUPPRESS', reason: 'NO_ADDRESS' },
    );
    expect(named(recorded(event))).toMatchObject([
      {
        delivery_id: given.DELIVERY,
        channel: 'PUSH',
        platform: 'IOS',
        reason: 'DELIVERABLE',
        steps: 3,
        update_index: 0,
      },
      {
        delivery_id: given.NOTIFICATION,
        channel: 'SMS',
        platform: '',
        reason: 'NO_ADDRESS',
        steps: 1,
        update_index: 1,
      },
    ]);
  });

  it.each([
    ['DeliveryAttempted', 0],
    ['DeliverySent', 4],
    ['DeliveryRetryScheduled', 0],
    ['DeliveryOutcomeUnknown', 0],
    ['DeliveryHeld', 0],
    ['DeliveryRejected', 0],
    ['DeliveryExpired', 0],
    ['DeliveryCancelled', 0],
    ['DeliverySuppressed', 0],
    ['DeliveryDeadLettered', 0],
    ['DeliveryDelivered', 12],
    ['DeliveryBounced', 4],
    ['DeliveryOpened', 16],
    ['DeliveryClicked', 32],
    ['SomethingOfNextYear', 0],
    ['constructor', 0],
  ])('of %s prove %i', (type, steps) => {
    expect(named(ofDelivery(type, { reason: 'WHY' }))).toMatchObject([
      { type, steps, reason: 'WHY', delivery_id: given.DELIVERY, channel: 'EMAIL', provider: 'smtp', platform: '' },
    ]);
    expect(named(ofDelivery(type, {}, null))).toMatchObject([{ provider: '', reason: '' }]);
  });

  it('of a conversion are dated by when it happened', () => {
    const data = { name: 'purchase', value: 12.5, currency: 'EUR', convertedAt: given.at(-250) };
    expect(named(ofDelivery('ConversionRecorded', data))).toMatchObject([
      { steps: 64, occurred_at: '2026-03-01 11:59:59.750', conversion: 'purchase', value: 12.5, currency: 'EUR' },
    ]);
    const plain = { deliveryId: null, name: 'sign-up', value: null, currency: null, convertedAt: given.at(0) };
    expect(named(recorded({ type: 'ConversionRecorded', data: plain }))).toMatchObject([
      { delivery_id: NONE, channel: '', conversion: 'sign-up', value: null, currency: '' },
    ]);
  });

  it('have the time of the event, however many others came before it', () => {
    const times = Array.from({ length: 5_000 }, (_, n) => new Date(given.T0 + 977 * n));
    for (const time of [...times, ...times.toReversed()]) {
      const [row] = named(recorded(given.cancelled, { occurredAt: time.toISOString() }));
      expect(row?.['recorded_at']).toBe(time.toISOString().slice(0, -1).replace('T', ' '));
    }
  });

  it('have no half characters', () => {
    const [row] = named(ofDelivery('DeliveryRejected', { reason: 'a\uD83D\uD83D\uDE00b\uDE00' }));
    expect(row?.['reason']).toBe('a\uFFFD\u{1F600}b\uFFFD');
  });

  it('are none where it is not about a notification', () => {
    const { notification: _, ...metadata } = recorded(given.cancelled).metadata;
    expect(rowsOf({ ...recorded({ type: 'UserRegistered', data: { userId: 'ada' } }), metadata })).toEqual([]);
  });

  it('cannot be made of what ClickHouse could not hold', () => {
    const { notification } = recorded(given.requested()).metadata;
    if (notification === undefined) throw new Error('no notification');
    const conversion = { name: 'x', value: null, currency: null };
    for (const event of [
      recorded(given.requested(), { occurredAt: 'yesterday' }),
      recorded(given.requested(), { occurredAt: '1969-12-31T23:59:59.999Z' }),
      recorded(given.requested(), { notification: { ...notification, id: 'n-1' } }),
      recorded(given.requested(), { notification: { ...notification, template: { key: 'k', version: -1 } } }),
      ofDelivery('DeliverySent', { deliveryId: 'somewhere' }),
      ofDelivery('ConversionRecorded', { ...conversion, convertedAt: '+010000-01-01T00:00:00.000Z' }),
      ofDelivery('ConversionRecorded', { ...conversion, convertedAt: new Date(END_OF_TIME).toISOString() }),
      recorded(given.requested(), { notification: { ...notification, requestedAt: '2105-01-01T00:00:00.000Z' } }),
    ]) {
      expect(() => rowsOf(event)).toThrow();
    }
  });

  it('are as many as its updates, of the same deliveries and in the same order, and say what the event says', () => {
    const seeds = fc.record({ seed: fc.nat(), index: fc.nat(1_000) });
    const today = Date.parse('2026-11-20T00:00:00.000Z');
    fc.assert(
      fc.property(seeds, ({ seed, index }) => {
        const { stream, events } = storyOf(seed, index, today);
        for (const [count, event] of events.entries()) {
          const whole = { ...event, stream, version: count + 1, position: '0001' as Position };
          const updates = updatesOf(event.data);
          expect(named(whole).map((row) => [row['update_index'], row['delivery_id']])).toEqual(
            updates.map((update) => [update.index, update.deliveryId ?? NONE]),
          );
          expect(named(whole).map(inOtherWords)).toEqual(toldRows(whole));
        }
      }),
    );
  });
});

function inOtherWords({
  requested_at,
  notification_id,
  delivery_id,
  occurred_at,
  recorded_at,
  ...rest
}: Record<string, unknown>): object {
  return {
    ...rest,
    requested: requested_at,
    notification: notification_id,
    delivery: delivery_id,
    occurred: occurred_at,
    recorded: recorded_at,
  };
}
