import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DomainError } from '../../src/errors.ts';
import { checkFunnel, FUNNEL_DIMENSIONS, funnelKey, type FunnelInput } from '../../src/projections/funnel-input.ts';
import { INPUT, inputOf, openEngine, questions } from './funnel-given.ts';

const DAY_MS = 86_400_000;

function fieldOfRefusal(changes: Partial<FunnelInput>): string | null {
  try {
    checkFunnel({ ...INPUT, ...changes });
  } catch (error) {
    if (error instanceof DomainError && error.code === 'INVALID_FUNNEL') return error.field;
    throw error;
  }
  return 'nothing';
}

const { from } = INPUT;

function after(ms: number): Date {
  return new Date(from.getTime() + ms);
}

describe('a funnel', () => {
  it.each<[string, keyof FunnelInput, Partial<FunnelInput>]>([
    ['one stage', 'stages', { stages: ['SENT'] }],
    ['no stage', 'stages', { stages: [] }],
    ['a stage twice', 'stages', { stages: ['SENT', 'OPENED', 'SENT'] }],
    ['no window', 'windowSeconds', { windowSeconds: 0 }],
    ['a negative window', 'windowSeconds', { windowSeconds: -1 }],
    ['a window of a part of a second', 'windowSeconds', { windowSeconds: 1.5 }],
    ['a window of no number', 'windowSeconds', { windowSeconds: NaN }],
    ['a window of 100 years', 'windowSeconds', { windowSeconds: 100 * 366 * 86_400 }],
    ['a window a second too long', 'windowSeconds', { windowSeconds: 366 * 86_400 + 1 }],
    ['a beginning that is its end', 'from', { to: from }],
    ['a beginning after its end', 'from', { to: after(-1) }],
    ['a cohort a moment too long', 'to', { to: after(732 * DAY_MS + 1) }],
    ['a beginning that is no time', 'from', { from: new Date(NaN) }],
    ['an end that is no time', 'to', { to: new Date(NaN) }],
    ['a beginning before 1970', 'from', { from: new Date(-1), to: new Date(1) }],
    ['an end in the far future', 'to', { to: new Date('9999-12-31T00:00:00.000Z') }],
    ['no channel', 'channels', { channels: [] }],
    ['a channel twice', 'channels', { channels: ['SMS', 'EMAIL', 'SMS'] }],
    ['an empty campaign', 'campaign', { campaign: '' }],
    ['a long campaign', 'campaign', { campaign: 'x'.repeat(256) }],
    ['a campaign with a control character', 'campaign', { campaign: 'a\0b' }],
    ['a campaign with half a character', 'campaign', { campaign: '\ud83d' }],
    ['an empty category', 'category', { category: '' }],
    ['a long category', 'category', { category: 'x'.repeat(256) }],
    ['a dimension twice', 'groupBy', { groupBy: ['DAY', 'DAY'] }],
    ['five dimensions', 'groupBy', { groupBy: FUNNEL_DIMENSIONS.slice(0, 5) }],
    ['an unknown time zone', 'timeZone', { timeZone: 'Europe/Atlantis' }],
    ['no time zone', 'timeZone', { timeZone: '' }],
    ['an offset for a time zone', 'timeZone', { timeZone: '+01:00' }],
    ['a path for a time zone', 'timeZone', { timeZone: '../../etc/passwd' }],
    ['a time zone that is none', 'timeZone', { timeZone: 'Factory' }],
    ['an unknown time zone that nothing depends on', 'timeZone', { timeZone: 'Nowhere', groupBy: ['CHANNEL'] }],
  ])('is refused with %s', (_, field, changes) => {
    expect(fieldOfRefusal(changes)).toBe(field);
  });

  it.each<[string, Partial<FunnelInput>]>([
    ['stages in any order', { stages: ['OPENED', 'SENT'] }],
    ['the shortest window', { windowSeconds: 1 }],
    ['the longest window', { windowSeconds: 366 * 86_400 }],
    ['the shortest cohort', { to: after(1) }],
    ['the longest cohort', { to: after(732 * DAY_MS) }],
    ['long texts', { campaign: 'x'.repeat(255), category: '😀' }],
    ['four dimensions', { groupBy: FUNNEL_DIMENSIONS.slice(4) }],
  ])('may have %s', (_, changes) => {
    expect(fieldOfRefusal(changes)).toBe('nothing');
  });

  it('has one spelling', () => {
    const by = { groupBy: ['HOUR'] } as const;
    const spelt = (changes: Partial<FunnelInput>) => funnelKey('acme', checkFunnel({ ...INPUT, ...changes }));
    expect(spelt({ ...by, timeZone: 'europe/berlin' })).toBe(spelt({ ...by, timeZone: 'Europe/Berlin' }));
    expect(spelt({ ...by, timeZone: 'Etc/UTC' })).toBe(spelt({ ...by, timeZone: 'UTC' }));
    expect(spelt({ ...by, timeZone: 'Asia/Tokyo' })).not.toBe(spelt({ ...by, timeZone: 'UTC' }));
    expect(spelt({ timeZone: 'Asia/Tokyo' })).toBe(spelt({ timeZone: 'UTC' }));
    expect(spelt({ channels: ['SMS', 'EMAIL'] })).toBe(spelt({ channels: ['EMAIL', 'SMS'] }));
    expect(spelt({ stages: ['SENT', 'OPENED'] })).not.toBe(spelt({ stages: ['OPENED', 'SENT'] }));
    expect(spelt({ groupBy: ['CHANNEL', 'CAMPAIGN'] })).not.toBe(spelt({ groupBy: ['CAMPAIGN', 'CHANNEL'] }));
    expect(spelt({ campaign: 'null' })).not.toBe(spelt({ campaign: null }));
  });

  it('keeps its spelling, and has another key than any other, and than that of another tenant', () => {
    const input = questions.map((question) => checkFunnel(inputOf(question, from.getTime(), 'Asia/Kathmandu')));
    fc.assert(
      fc.property(input, input, (one, other) => {
        expect(checkFunnel(one)).toEqual(one);
        expect(funnelKey('acme', one) === funnelKey('acme', other)).toBe(JSON.stringify(one) === JSON.stringify(other));
        expect(funnelKey('acme', one)).not.toBe(funnelKey('ACME', one));
      }),
    );
  });

  it('has its time zone in a spelling that ClickHouse knows, whatever it was called', async () => {
    const engine = await openEngine();
    try {
      const rows = await engine.value.query('SELECT time_zone FROM system.time_zones');
      const known = new Set(rows.map((row) => String(row['time_zone'])));
      const inClickHouse = (name: string): boolean =>
        known.has(checkFunnel({ ...INPUT, groupBy: ['DAY'], timeZone: name }).timeZone);
      const places = [...known].filter((name) => name !== 'Factory');
      expect(places.length).toBeGreaterThan(500);
      expect(places.filter((name) => !inClickHouse(name))).toEqual([]);
      expect(places.filter((name) => !inClickHouse(name.toLowerCase()))).toEqual([]);
    } finally {
      await engine.stop();
    }
  });
});
