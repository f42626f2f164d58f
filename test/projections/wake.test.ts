import { describe, expect, it } from 'vitest';
import { wakeAt } from '../../src/projections/wake.ts';
import { eventually } from '../support/eventually.ts';

describe('a wake-up', () => {
  it('does not come any more once it was stopped', async () => {
    let woken = 0;
    const wake = wakeAt(() => {
      woken += 1;
    }, Date.now);
    wake.at(Date.now() + 5);
    wake.stop();
    wake.at(Date.now());
    wake.now();
    await new Promise<void>((resolve) => {
      wakeAt(resolve, Date.now).at(Date.now() + 20);
    });
    expect(woken).toBe(0);
  });

  it('comes at the earliest time asked for, and once', async () => {
    const times: number[] = [];
    const wake = wakeAt(() => times.push(1), Date.now);
    wake.at(Date.now() + 60_000);
    wake.at(Date.now() + 1);
    wake.at(Date.now() + 90_000);
    wake.at(null);
    await eventually(() => {
      expect(times).toEqual([1]);
    });
    wake.now();
    wake.now();
    await eventually(() => {
      expect(times).toEqual([1, 1]);
    });
    wake.stop();
  });
});
