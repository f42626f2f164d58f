import fc from 'fast-check';
import { v5 } from 'uuid';
import { describe, expect, it } from 'vitest';
import {
  deliveryId,
  derivedId,
  isNotificationId,
  keyedNotificationId,
  openCursors,
  streamOf,
  systemIds,
  type Place,
} from '../src/ids.ts';
import { openKeys } from '../src/keys.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('a derived id', () => {
  it('is the same for the same parts, for ever', () => {
    expect(derivedId('user', 'default', 'ada')).toBe('5c89f256-97e2-5567-b774-069760d9d00f');
    expect(derivedId('user', 'défault', '😀')).toBe('a7768cca-b1e4-5ac1-8846-ded18679f37f');
  });

  it('is a UUIDv5, whoever makes it', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 8 }), { maxLength: 4 }), (parts) => {
        const name = parts.map((part) => `${String(Buffer.byteLength(part))}:${part}`).join('');
        expect(derivedId(...parts)).toBe(v5(Buffer.from(name), '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11'));
      }),
    );
  });

  it('is one for names of any length, whatever was named before', () => {
    const long = ['x'.repeat(170), 'x'.repeat(171), 'é😀'.repeat(300), 'x'.repeat(100_000)];
    for (const part of [...long, 'ada', '', ...long.toReversed()]) {
      const name = Buffer.from(`${String(Buffer.byteLength(part))}:${part}`);
      expect(derivedId(part)).toBe(v5(name, '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11'));
    }
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

describe('a cursor', () => {
  const keys = openKeys('secret key one');
  const LOG = 'b0b5a3f6-52a3-4b5e-8e2b-2f4f3c1d0a99';
  const cursors = openCursors(LOG, keys.mac);
  const some: Place = {
    position: '0000000000000042',
    index: 1,
    at: Date.parse('2026-03-01T12:00:00.000Z'),
    notificationId: '018f3a52-0000-7000-8000-000000000001',
  };
  const position = fc.oneof(
    fc.constant(''),
    fc.nat().map(String),
    fc.string({ unit: 'grapheme' }),
    fc.constant('C:1/P:2'),
  );
  const place: fc.Arbitrary<Place> = fc.record({
    position,
    index: fc.nat(),
    at: fc.oneof(fc.maxSafeNat(), fc.integer({ max: 0 })),
    notificationId: fc.option(fc.uuid()),
  });

  it('names a place, in the alphabet of base64url', () => {
    fc.assert(
      fc.property(place, (named) => {
        const cursor = cursors.of('acme', named);
        expect(cursor).toMatch(/^[\w-]+$/);
        expect(cursors.read('acme', cursor)).toEqual(named);
        expect(cursors.of('acme', named)).toBe(cursor);
      }),
    );
    expect(cursors.of('acme', some).length).toBeLessThanOrEqual(100);
  });

  it('is another for another place', () => {
    fc.assert(
      fc.property(place, place, (a, b) => {
        expect(cursors.of('acme', a) === cursors.of('acme', b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });

  it.each([
    ['in the middle of an event', some],
    ['at the end of one', { ...some, notificationId: null }],
  ])('%s is broken by any change of one character, and has no second spelling', (_, named) => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= .%\u0000\u00e9';
    const cursor = cursors.of('acme', named);
    for (const at of Array.from(cursor).keys()) {
      for (const character of alphabet) {
        const changed = cursor.slice(0, at) + character + cursor.slice(at + 1);
        if (changed !== cursor) expect(cursors.read('acme', changed)).toBeNull();
      }
    }
    const others = [`${cursor}=`, `${cursor}==`, ` ${cursor}`, `${cursor}\n`, cursor.slice(1), cursor.slice(0, -1)];
    for (const other of others) expect(cursors.read('acme', other)).toBeNull();
  });

  it('is not any other text, of whatever length', () => {
    for (const text of ['', 'x', '0000000000000042', 'A'.repeat(12), 'A'.repeat(1_000_000)]) {
      expect(cursors.read('acme', text)).toBeNull();
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String()), (text) => {
        expect(cursors.read('acme', text)).toBeNull();
      }),
    );
  });

  it('of another tenant, of another log, of another key or of any other use of this one is worth nothing', () => {
    const cursor = cursors.of('acme', some);
    expect(cursors.read('globex', cursor)).toBeNull();
    expect(openCursors('another log', keys.mac).read('acme', cursor)).toBeNull();
    expect(openCursors(LOG, openKeys('secret key two').mac).read('acme', cursor)).toBeNull();
    const text = Buffer.from(cursor, 'base64url').subarray(9);
    for (const mac of [
      keys.mac('receipt', LOG, 'acme', text.toString()),
      keys.mac('cursor', LOG, 'acme' + text.toString()),
    ]) {
      expect(cursors.read('acme', Buffer.concat([mac.subarray(0, 9), text]).toString('base64url'))).toBeNull();
    }
    const own = Buffer.concat([keys.mac('cursor', LOG, 'acme', text.toString()).subarray(0, 9), text]).toString(
      'base64url',
    );
    expect(own).toBe(cursor);
  });
});
