import { describe, expect, it } from 'vitest';
import { NO_PLACE, openLimit, OUT_OF_TIME, STOPPED, withoutPlace } from '../../src/senders/limit.ts';

const LONG = 3_600_000;
const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });

describe('the limit of an attempt', () => {
  it('is reached when the caller gives up', () => {
    const caller = new AbortController();
    const limit = openLimit(caller.signal, LONG);
    expect([limit.reached(), limit.signal.aborted]).toEqual([null, false]);
    caller.abort();
    expect([limit.reached(), limit.signal.aborted]).toEqual([STOPPED, true]);
    limit.clear();
  });

  it('is reached at once when the caller has given up before', () => {
    const limit = openLimit(AbortSignal.abort(), LONG);
    expect([limit.reached(), limit.signal.aborted]).toEqual([STOPPED, true]);
    limit.clear();
  });

  it('is reached when the time is over, and that stays the reason', async () => {
    const caller = new AbortController();
    const limit = openLimit(caller.signal, 1);
    await aborted(limit.signal);
    caller.abort();
    expect(limit.reached()).toBe(OUT_OF_TIME);
    expect(withoutPlace(limit)).toBe(NO_PLACE);
    limit.clear();
  });

  it('is no more when the attempt is over', async () => {
    const caller = new AbortController();
    const over = openLimit(caller.signal, 1);
    over.clear();
    const later = openLimit(new AbortController().signal, 5);
    await aborted(later.signal);
    caller.abort();
    expect([over.reached(), over.signal.aborted]).toEqual([null, false]);
    later.clear();
  });

  it('leaves those who had no place stopped when the sender was closed', () => {
    const limit = openLimit(new AbortController().signal, LONG);
    expect(withoutPlace(limit)).toBe(STOPPED);
    limit.clear();
  });
});
