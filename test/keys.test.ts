import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, looksLikeSecret, newCredentials, openKeys } from '../src/keys.ts';

/** The same value with the fields of every object in another order. */
function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, each]) => [key, shuffled(each)]),
  );
}

/** What is meant to count: fields that are null are not there. */
function meaning(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => meaning(each) ?? null);
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? 0 : value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) => (each == null ? [] : [[key, meaning(each)]])),
  );
}

const json = fc.jsonValue({ maxDepth: 4 });

describe('canonical JSON', () => {
  it('does not depend on the order of fields', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(shuffled(value))).toBe(canonicalJson(value));
      }),
    );
  });

  it('is JSON that means the same, but for the fields that are null', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(meaning(value) ?? null);
      }),
    );
  });

  it('tells two values apart exactly when they mean something else', () => {
    const small = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom<unknown>(null, undefined, 0, 1, '', '0', 'null', true, false),
        fc.array(tie('value'), { maxLength: 2 }),
        fc.dictionary(fc.constantFrom('a', 'b', '__proto__', '"'), tie('value'), { maxKeys: 2 }),
      ),
    })).value;
    fc.assert(
      fc.property(small, small, (a, b) => {
        const same = JSON.stringify(normalForm(meaning(a))) === JSON.stringify(normalForm(meaning(b)));
        expect(canonicalJson(a) === canonicalJson(b)).toBe(same);
      }),
      { numRuns: 2_000 },
    );
  });

  it('keeps the order of lists, and nulls in them', () => {
    expect(canonicalJson([2, 1, null, undefined])).toBe('[2,1,null,null]');
    expect(canonicalJson({ b: [{ y: 1, x: null }], a: undefined })).toBe('{"b":[{"y":1}]}');
  });
});

/** An independent normal form: fields in order, null where nothing is. */
function normalForm(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalForm);
  if (typeof value !== 'object' || value === null) return value ?? null;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { fields: entries.map(([key, each]) => [key, normalForm(each)]) };
}

describe('a generated secret', () => {
  it('carries a checksum that any change of one character breaks', () => {
    fc.assert(
      fc.property(fc.nat(45), fc.constantFrom('0', 'a', 'Z', 'z', '9'), (place, character) => {
        const { appSecret } = newCredentials();
        expect(looksLikeSecret(appSecret)).toBe(true);
        const at = 'hgs_'.length + place;
        const changed = appSecret.slice(0, at) + character + appSecret.slice(at + 1);
        expect(looksLikeSecret(changed)).toBe(changed === appSecret);
      }),
    );
  });

  it('is told from other text by its form', () => {
    const { appKey, appSecret } = newCredentials();
    for (const text of ['', appKey, appSecret.slice(1), `${appSecret}0`, appSecret.toUpperCase(), ` ${appSecret}`]) {
      expect(looksLikeSecret(text)).toBe(false);
    }
  });

  it('never comes twice, and uses every character about equally often', () => {
    const secrets = Array.from({ length: 500 }, () => newCredentials().appSecret);
    expect(new Set(secrets).size).toBe(500);
    const counts = new Map<string, number>();
    for (const character of secrets.flatMap((secret) => Array.from(secret.slice(4, 44)))) {
      counts.set(character, (counts.get(character) ?? 0) + 1);
    }
    expect(counts.size).toBe(62);
    // 20,000 characters, 322.6 each, a standard deviation of 17.8: seven of them on either side.
    for (const count of counts.values()) expect(Math.abs(count - 20_000 / 62)).toBeLessThan(125);
  });
});

describe('keyed hashes', () => {
  const keys = openKeys('secret key one');

  it('depend on the key, the use and each part', () => {
    const others = [
      openKeys('secret key two').secretHash('a', 'b'),
      keys.secretHash('a', 'c'),
      keys.secretHash('ab', ''),
      keys.secretHash('', 'ab'),
      keys.inputHash(['a', 'b']),
      keys.inputHash('a'),
    ];
    expect(new Set([...others, keys.secretHash('a', 'b')]).size).toBe(others.length + 1);
    expect(openKeys('secret key one').secretHash('a', 'b')).toBe(keys.secretHash('a', 'b'));
  });

  it('are the same for ever: those of old are kept in the log', () => {
    const input = { userId: 'ada', lane: 'BULK', data: { b: [1, null, { y: 1, x: null }], a: 'é' }, campaign: null };
    expect(keys.inputHash(input)).toBe('D49MWJ578v8uKzbhvZtxIKaE_dLnqYIxmtPWa3u9wTY');
    expect(keys.secretHash('a', 'b')).toBe('ornwX8hepCuq_On6O0iNTjzCFLSe43lKfiU-w0yqYk8');
  });

  it('of lists of texts depend on every part and on how the text is cut', () => {
    const part = fc.string({ unit: fc.constantFrom('a', '"', ',', '\\', ']', 'é', '\ud800', '\udc00'), maxLength: 3 });
    fc.assert(
      fc.property(part, fc.array(part, { maxLength: 3 }), part, fc.array(part, { maxLength: 3 }), (a, as, b, bs) => {
        const same = JSON.stringify([a, ...as]) === JSON.stringify([b, ...bs]);
        expect(keys.mac(a, ...as).equals(keys.mac(b, ...bs))).toBe(same);
      }),
      { numRuns: 1_000 },
    );
    expect(keys.mac('a')).toHaveLength(32);
    expect(openKeys('secret key two').mac('a').equals(keys.mac('a'))).toBe(false);
  });

  it('are compared as a whole', () => {
    const hash = keys.secretHash('a', 'b');
    expect(keys.sameHash(hash, hash)).toBe(true);
    for (const other of ['', hash.slice(1), `${hash}x`, keys.secretHash('a', 'c')])
      expect(keys.sameHash(hash, other)).toBe(false);
  });
});

describe('the token of an attempt', () => {
  const keys = openKeys('secret key one');
  const attempt = fc.record({
    notificationId: fc.uuid(),
    deliveryId: fc.uuid(),
    attempt: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 2 ** 32 - 1 })),
  });
  const some = {
    notificationId: '018f3a52-0000-7000-8000-000000000001',
    deliveryId: '9b2b6a3e-35a1-5f0a-8c1d-0123456789ab',
    attempt: 1,
  };

  it('names the attempt, as one segment of a path that needs no encoding', () => {
    fc.assert(
      fc.property(attempt, (named) => {
        const token = keys.receiptToken(named);
        expect(token).toMatch(/^[\w-]{72}$/);
        expect(keys.readReceiptToken(token)).toEqual(named);
        expect(keys.receiptToken(named)).toBe(token);
      }),
    );
  });

  it('is broken by any change of one character, and has no second spelling', () => {
    const token = keys.receiptToken(some);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= .%\u0000\u00e9';
    for (const place of Array.from(token).keys()) {
      for (const character of alphabet) {
        const changed = token.slice(0, place) + character + token.slice(place + 1);
        if (changed !== token) expect(keys.readReceiptToken(changed)).toBeNull();
      }
    }
  });

  it('is not any other text, of whatever length', () => {
    const token = keys.receiptToken(some);
    const wrong = [
      '',
      token.slice(0, -1),
      token.slice(1),
      `${token}=`,
      `${token}A`,
      ` ${token}`,
      `${token}\n`,
      token + token,
      encodeURIComponent(`${token}/`),
      Buffer.from(token, 'base64url').toString('base64'),
      Buffer.from(token, 'base64url').toString('hex'),
      'A'.repeat(72),
      '_'.repeat(72),
      'A'.repeat(1_000_000),
    ];
    for (const text of wrong.filter((each) => each !== token)) expect(keys.readReceiptToken(text)).toBeNull();
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ minLength: 72, maxLength: 72 })), (text) => {
        expect(keys.readReceiptToken(text)).toBeNull();
      }),
    );
  });

  it('of another key, or of any other use of this one, is worth nothing', () => {
    expect(openKeys('secret key two').readReceiptToken(keys.receiptToken(some))).toBeNull();
    const named = Buffer.from(keys.receiptToken(some), 'base64url').subarray(0, 36);
    for (const hash of [
      keys.inputHash(named.toString('base64url')),
      keys.secretHash('receipt', named.toString('base64url')),
    ]) {
      const forged = Buffer.concat([named, Buffer.from(hash, 'base64url').subarray(0, 18)]).toString('base64url');
      expect(forged).toHaveLength(72);
      expect(keys.readReceiptToken(forged)).toBeNull();
    }
  });

  it.each([
    ['a notification', { ...some, notificationId: 'n-1' }],
    ['a delivery', { ...some, deliveryId: some.deliveryId.slice(1) }],
    [
      'an id in capitals, which would come back in small letters',
      { ...some, deliveryId: some.deliveryId.toUpperCase() },
    ],
    ['an id with a line below it', { ...some, deliveryId: `${some.deliveryId}\n` }],
    ['attempt 0', { ...some, attempt: 0 }],
    ['half an attempt', { ...some, attempt: 1.5 }],
    ['no number', { ...some, attempt: NaN }],
    ['an attempt beyond 32 bits', { ...some, attempt: 2 ** 32 }],
  ])('is not made for %s', (_, named) => {
    expect(() => keys.receiptToken(named)).toThrow(RangeError);
  });
});
