import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { updatesOf } from '../../src/events/updates.ts';
import { at, cancelled, DELIVERY, requested, routed, sent } from '../support/given.ts';

const CONVERSION = {
  name: 'purchase',
  value: 12.5,
  currency: 'EUR',
  convertedAt: at(0),
  keyHash: null,
  inputHash: 'hash',
} as const;

describe('the updates of an event', () => {
  it('are one for each decision of a routing, in its order', () => {
    const decisions = fc.array(fc.record({ deliveryId: fc.uuid(), address: fc.string() }), { minLength: 1 });
    fc.assert(
      fc.property(decisions, (all) => {
        const updates = updatesOf(routed(...all).data);
        expect(updates.map(({ deliveryId }) => deliveryId)).toEqual(all.map(({ deliveryId }) => deliveryId));
        expect(updates.map(({ index }) => index)).toEqual([...all.keys()]);
        expect(updates.map(({ hasNext }) => hasNext)).toEqual([...all.keys()].map((index) => index < all.length - 1));
        for (const [index, { detail }] of updates.entries()) {
          expect(detail).toMatchObject({ address: all[index]?.address, outcome: 'QUEUE', policyVersion: 0 });
          expect(Object.keys(detail)).not.toContain('decisions');
        }
      }),
    );
  });

  it.each([
    ['a request', requested(), null],
    ['a cancellation', cancelled, null],
    ['an outcome', sent(), DELIVERY],
    ['an open', { type: 'DeliveryOpened', data: { deliveryId: DELIVERY } }, DELIVERY],
    ['a conversion', { type: 'ConversionRecorded', data: { ...CONVERSION, deliveryId: DELIVERY } }, DELIVERY],
    ['a conversion put down to none', { type: 'ConversionRecorded', data: { ...CONVERSION, deliveryId: null } }, null],
    ['a routing without decisions', { type: 'NotificationRouted', data: { decisions: [], policyVersion: 0 } }, null],
  ])('is one for %s', (_, { data }, deliveryId) => {
    const [update, ...more] = updatesOf(data);
    expect(more).toEqual([]);
    expect(update).toMatchObject({ index: 0, hasNext: false, deliveryId });
    expect({ deliveryId, ...update?.detail }).toEqual({ deliveryId, ...data });
  });
});
