import { describe, expect, it } from 'vitest';
import { changesTo } from '../../src/projections/changes.ts';

const state = new Map<string, unknown>([['kept', 0]]);
const below = { get: (key: readonly (string | number)[]) => state.get(key.join('/')) };

describe('changes to a state', () => {
  it('are seen above it, the last one of each key', () => {
    const changes = changesTo(below);
    changes.put(['a', 1], 1);
    changes.put(['a', 1], 2);
    changes.del(['kept']);
    expect([changes.get(['a', 1]), changes.get(['kept'])]).toEqual([2, undefined]);
    expect(changes.list()).toEqual([{ put: ['a', 1], value: 2 }, { del: ['kept'] }]);
  });

  it('of an attempt that throws are taken back, and no others', () => {
    const changes = changesTo(below);
    changes.put(['before'], 1);
    changes.attempt(() => {
      changes.put(['well'], 1);
    });
    const failing = (): void => {
      changes.put(['before'], 2);
      changes.del(['before']);
      changes.put(['new'], 1);
      changes.put(['new'], 2);
      changes.del(['kept']);
      throw new Error('cannot be folded');
    };
    expect(() => {
      changes.attempt(failing);
    }).toThrow('cannot be folded');
    expect(changes.list()).toEqual([
      { put: ['before'], value: 1 },
      { put: ['well'], value: 1 },
    ]);
    expect(changes.get(['kept'])).toBe(0);
  });

  it.each([
    ['an empty key', []],
    ['a number that has no order', [Number.NaN]],
    ['half a character', ['\ud800']],
    ['a key too long', ['x'.repeat(2_000)]],
  ])('refuse %s, which no state could keep', (_, key) => {
    const changes = changesTo(below);
    expect(() => {
      changes.put(key, 1);
    }).toThrow(RangeError);
    expect(changes.list()).toEqual([]);
  });

  it.each([undefined, Number.NaN, { a: [undefined] }, { a: new Date(0) }, new Map(), 1n])(
    'refuse %s, which no state could give back',
    (value) => {
      const changes = changesTo(below);
      expect(() => {
        changes.put(['a'], value);
      }).toThrow(TypeError);
      expect(changes.list()).toEqual([]);
    },
  );
});
