import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readable } from '../../src/senders/raw.ts';

describe("a provider's own word", () => {
  it.each([
    [[400, 21211, null], 'not a number', '400 21211 not a number'],
    [['ECONNRESET'], null, 'ECONNRESET'],
    [[], '250 2.0.0\r\n\tOK  queued\0', '250 2.0.0 OK queued'],
    [[null], null, null],
    [[], ' \n ', null],
  ])('of codes %j and words %j is %j', (codes, words, expected) => {
    expect(readable(codes, words, [])).toBe(expected);
  });

  it('is shown without what nobody may read, but with its codes', () => {
    const hidden = ['', 'a.b', '400', /https?:\/\/\S+/g];
    expect(readable([400], 'a.b axb https://x.example/1 http://y a.b', hidden)).toBe('400 *** axb *** *** ***');
  });

  it('is one line of at most 300 characters that shows no secret, whatever it is', () => {
    const text = fc.string({ unit: 'binary', maxLength: 400 });
    const secret = fc.stringMatching(/^[a-z]{8,20}$/);
    const property = fc.property(text, secret, text, (before, hidden, after) => {
      const line = readable([], before + hidden + after, [hidden]) ?? '';
      expect(line.length).toBeLessThanOrEqual(300);
      expect(line).not.toMatch(/\p{Cc}/u);
      expect(line).not.toContain(hidden);
    });
    fc.assert(property);
  });
});
