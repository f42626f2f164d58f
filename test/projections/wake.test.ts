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

  it('comes when the clock is set forward to its time, and not before', async () => {
    let offset = 0;
    let woken = 0;
    const wake = wakeAt(
      () => {
        woken += 1;
      },
      () => performance.now() + offset,
    );
    wake.at(performance.now() + 3_600_000);
    const looks = performance.now();
    await eventually(() => expect(performance.now() - looks).toBeGreaterThan(100), { pauseMs: 20 });
    expect(woken).toBe(0);
    offset = 3_600_000;
    await eventually(() => expect(woken).toBe(1), { timeoutMs: 20_000, pauseMs: 20 });
    wake.stop();
  });
});
