import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { linkedTo, withDeadline } from '../../src/projections/signals.ts';
import { withinMs } from '../../src/within.ts';

/** All that a signal keeps: who listens, and what `AbortSignal.any` made of it. */
function keptBy(signal: AbortSignal): number {
  const names = Object.getOwnPropertySymbols(signal).filter((name) => String(name).includes('kDependantSignals'));
  const made = names.map((name) => Reflect.get(signal, name) as ReadonlySet<unknown> | undefined);
  return made.reduce((sum, each) => sum + (each?.size ?? 0), getEventListeners(signal, 'abort').length);
}

describe('a signal that lives as long as the process', () => {
  it('keeps nothing of what waited until it or something else happened', async () => {
    const stopping = new AbortController();
    const { signal, release } = linkedTo(stopping.signal);
    for (let count = 0; count < 20; count += 1) {
      expect(await withinMs(60_000, Promise.resolve(count), signal)).toBe(count);
      expect(await withinMs(0, new Promise(() => undefined), signal)).toBeNull();
      await expect(withinMs(60_000, Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
      expect(await withDeadline(60_000, signal, () => Promise.resolve(count))).toBe(count);
    }
    expect([keptBy(signal), keptBy(stopping.signal)]).toEqual([0, 1]);
    release();
    expect(keptBy(stopping.signal)).toBe(0);
  });

  it('is looked at where AbortSignal.any of this Node leaves its traces', () => {
    const stopping = new AbortController();
    const made = AbortSignal.any([stopping.signal]);
    expect(keptBy(stopping.signal)).toBe(1);
    expect(made.aborted).toBe(false);
  });

  it('ends what waits when it aborts, for its reason', async () => {
    const stopping = new AbortController();
    const linked = linkedTo(new AbortController().signal, stopping.signal);
    const waiting = withinMs(60_000, new Promise(() => undefined), linked.signal);
    const reason = new Error('enough');
    stopping.abort(reason);
    expect(await waiting).toBeNull();
    expect(linked.signal.reason).toBe(reason);
    expect(linkedTo(stopping.signal).signal.reason).toBe(reason);
    expect(await withinMs(60_000, new Promise(() => undefined), stopping.signal)).toBeNull();
  });

  it('gives way to a deadline', async () => {
    const late = withDeadline(
      0,
      new AbortController().signal,
      (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('late'))),
    );
    expect(await late).toBe('late');
  });
});
