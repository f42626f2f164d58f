import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deliveryId, derivedId, isNotificationId, keyedNotificationId, streamOf, systemIds } from '../src/ids.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('a derived id', () => {
  it('is the same for the same parts, for ever', () => {
    expect(derivedId('user', 'default', 'ada')).toBe('5c89f256-97e2-5567-b774-069760d9d00f');
    expect(derivedId('user', 'défault', '😀')).toBe('a7768cca-b1e4-5ac1-8846-ded18679f37f');
  });

  it('is another for other parts, however the same text is cut', () => {
    const part = fc.string({ unit: fc.constantFrom('a', ':', '1', '2', '3', 'é', '😀'), maxLength: 4 });
    const parts = fc.array(part, { maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        expect(derivedId(...a) === derivedId(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 3_000 },
    );
    expect(derivedId('a', 'bc')).not.toBe(derivedId('ab', 'c'));
    expect(derivedId('1:a')).not.toBe(derivedId('a'));
    expect(derivedId('a', '')).not.toBe(derivedId('a'));
  });

  it('is a UUID whatever the parts hold, and never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 3 }), (parts) => {
        expect(derivedId(...parts)).toMatch(UUID);
      }),
    );
    expect(derivedId('\ud800')).toMatch(UUID);
  });
});

describe('names of streams', () => {
  it('hold nothing that came from outside', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (tenant, id) => {
        for (const kind of ['user', 'template'] as const) {
          const name = streamOf[kind](tenant, id);
          expect(name.slice(0, kind.length + 1)).toBe(`${kind}-`);
          expect(name.slice(kind.length + 1)).toMatch(UUID);
        }
      }),
    );
  });

  it('are different for each kind, tenant and id', () => {
    const names = [
      streamOf.user('a', 'b'),
      streamOf.user('b', 'a'),
      streamOf.user('a', 'c'),
      streamOf.template('a', 'b'),
      streamOf.client('a'),
      streamOf.notification(keyedNotificationId('a', 'b')),
      streamOf.notification(deliveryId('a', 'b', null)),
    ];
    expect(new Set(names.map((name) => name.slice(name.indexOf('-')))).size).toBe(names.length);
  });
});

describe('a delivery’s id', () => {
  it('depends on notification, channel and address', () => {
    const ids = [
      deliveryId('n', 'EMAIL', 'a'),
      deliveryId('n', 'EMAIL', 'b'),
      deliveryId('n', 'SMS', 'a'),
      deliveryId('m', 'EMAIL', 'a'),
      deliveryId('n', 'EMAIL', null),
    ];
    expect(new Set(ids).size).toBe(ids.length);
    expect(deliveryId('n', 'EMAIL', 'a')).toBe(ids[0]);
  });
});

describe('the id of a notification', () => {
  it('is recognised in every form in which it is made', () => {
    for (const id of [systemIds.ordered(), keyedNotificationId('default', 'key')])
      expect(isNotificationId(id)).toBe(true);
  });

  it('is not taken for what is none', () => {
    const id = '01a1fb65-e054-740b-b29d-54d1209ff3c5';
    expect(isNotificationId(id)).toBe(true);
    for (const text of ['', 'x', `${id} `, `${id}\n`, id.toUpperCase(), `{${id}}`, id.slice(1), '../../etc']) {
      expect(isNotificationId(text)).toBe(false);
    }
  });

  it('sorts by the time it was made at', () => {
    const ids = Array.from({ length: 200 }, () => systemIds.ordered());
    expect(ids.toSorted()).toEqual(ids);
  });
});
