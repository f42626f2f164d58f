import { describe, expect, it } from 'vitest';
import { retryAfterMs } from '../../src/senders/retry-after.ts';

const NOW = Date.parse('2026-03-01T12:00:00.000Z');

describe('the pause that a vendor asks for', () => {
  it.each([
    ['1', 1_000],
    [' 90 ', 90_000],
    ['3600', 3_600_000],
    ['604800', 3_600_000],
    ['9'.repeat(400), 3_600_000],
    ['Sun, 01 Mar 2026 12:00:30 GMT', 30_000],
    ['Sunday, 01-Mar-26 12:01:00 GMT', 60_000],
    ['Tue, 01 Dec 2026 12:00:00 GMT', 3_600_000],
    ['Sun, 01 Mar 2026 11:59:59 GMT', null],
    ['0', null],
    ['-5', null],
    ['1.5', null],
    ['soon', null],
    ['soon GMT', null],
    ['', null],
    [null, null],
  ])('%j is a pause of %j ms', (header, expected) => {
    expect(retryAfterMs(header, NOW)).toBe(expected);
  });
});
