import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openOutage, type Log, type Outage } from '../src/log.ts';

const MINUTE_MS = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

function open(): { readonly outage: Outage; readonly told: readonly string[] } {
  const told: string[] = [];
  const at =
    (level: string) =>
    (fields: object, message: string): void => {
      told.push(`${level} ${message} ${JSON.stringify(fields)}`);
    };
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  return { outage: openOutage(log, { failed: 'away', well: 'back' }), told };
}

/** A failure every second. */
function fail({ met }: Outage, seconds: number): void {
  for (let second = 0; second < seconds; second += 1) {
    met({ n: 1 });
    vi.advanceTimersByTime(1_000);
  }
}

describe('an outage', () => {
  it('is told at once, then once a minute and louder, and once when it is over', () => {
    const { outage, told } = open();
    outage.over({});
    fail(outage, 121);
    outage.over({ n: 1 });
    outage.over({ n: 1 });
    expect(told).toEqual([
      'warn away {"n":1,"failures":1}',
      'error away {"n":1,"failures":61}',
      'error away {"n":1,"failures":121}',
      'info back {"n":1}',
    ]);
  });

  it('that comes and goes is told no more often', () => {
    const { outage, told } = open();
    for (let round = 0; round < 59; round += 1) {
      fail(outage, 1);
      outage.over({});
    }
    expect(told).toEqual(['warn away {"n":1,"failures":1}', 'info back {}']);
    vi.advanceTimersByTime(1_000);
    fail(outage, 1);
    expect(told.at(-1)).toBe('warn away {"n":1,"failures":1}');
    expect(told).toHaveLength(3);
  });

  it('is another one after a minute without a failure', () => {
    const { outage, told } = open();
    fail(outage, 2);
    vi.advanceTimersByTime(MINUTE_MS);
    fail(outage, 1);
    expect(told).toEqual(['warn away {"n":1,"failures":1}', 'warn away {"n":1,"failures":1}']);
  });
});
