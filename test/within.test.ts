import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { withinMs } from '../src/within.ts';

describe('a wait with a limit', () => {
  it('ends with what comes, and with nothing when the time is over or nobody waits any longer', async () => {
    const never = new Promise(() => undefined);
    const { signal } = new AbortController();
    expect(await withinMs(60_000, Promise.resolve('here'))).toBe('here');
    expect(await withinMs(60_000, Promise.resolve('here'), signal)).toBe('here');
    await expect(withinMs(60_000, Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await withinMs(0, never)).toBeNull();
    expect(await withinMs(-1, never, signal)).toBeNull();
    expect(await withinMs(60_000, never, AbortSignal.abort())).toBeNull();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('takes charge of a refusal that comes too late', async () => {
    let refuse = (_: Error): void => undefined;
    const late = new Promise((_, reject) => {
      refuse = reject;
    });
    expect(await withinMs(0, late)).toBeNull();
    refuse(new Error('too late'));
    // An unhandled rejection would fail the run.
    await new Promise(setImmediate);
  });
});
