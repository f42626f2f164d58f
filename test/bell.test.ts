import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { openBell } from '../src/bell.ts';

describe('a bell', () => {
  it('wakes all who wait, and keeps who comes later waiting', async () => {
    const { ring, next } = openBell();
    const woken: string[] = [];
    const waiting = ['one', 'other'].map((name) => next({}).then(() => woken.push(name)));
    ring();
    await Promise.all(waiting);
    const later = next({}).then(() => woken.push('later'));
    await new Promise(setImmediate);
    expect(woken).toEqual(['one', 'other']);
    ring();
    await later;
  });

  it('wakes again whoever waits anew each time that it rings', async () => {
    const { ring, next } = openBell();
    let times = 0;
    const wait = async (): Promise<void> => {
      for (; times < 3; times += 1) await next({});
    };
    const waiting = wait();
    for (let count = 0; count < 3; count += 1) {
      ring();
      await new Promise(setImmediate);
    }
    await waiting;
    expect(times).toBe(3);
  });

  it('lets go whoever has waited long enough, or whose signal aborts or has aborted, and the signal keeps nothing of it', async () => {
    const { ring, next } = openBell();
    const { signal } = new AbortController();
    await next({ ms: 0, signal });
    await next({ signal: AbortSignal.abort() });
    const stopping = new AbortController();
    const stopped = next({ ms: 60_000, signal: stopping.signal });
    stopping.abort();
    await stopped;
    const rung = next({ signal });
    ring();
    await rung;
    expect([signal, stopping.signal].map((each) => getEventListeners(each, 'abort').length)).toEqual([0, 0]);
  });
});
