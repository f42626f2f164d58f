import { describe, expect, it } from 'vitest';
import { AnalyticsError, type Analytics, type QueryParams } from '../../src/ports/analytics/analytics.ts';
import type { Position } from '../../src/ports/event-log/event-log.ts';
import { emptyBatch, insertOf, planOf, type Batch } from '../../src/projections/analytics-batch.ts';
import { isWhole } from '../../src/projections/analytics-check.ts';
import { rowsOf } from '../../src/projections/analytics-rows.ts';
import * as given from '../support/given.ts';
import { openTestAnalytics, runOn } from '../support/analytics.ts';
import type { ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import { withTempDir } from '../support/temp-dir.ts';

const DAY_MS = 86_400_000;
const NOW = Date.now();

/** An engine whose queries may use that much memory. */
async function withEngine(memoryBytes: number, work: (analytics: ChdbAnalytics) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const limits = { memoryBytes, seconds: 10 };
    const { value: analytics, stop } = await openTestAnalytics(folder, { limits });
    try {
      await analytics.migrate();
      await work(analytics);
    } finally {
      await stop();
    }
  });
}

/** Requests of so many days up to yesterday, recorded today. Several of a day are of one moment. */
function batchOver(days: number, aDay: number): Batch {
  const events = Array.from({ length: days * aDay }, (_, index) => {
    const requestedAt = new Date(NOW - (1 + Math.floor(index / aDay)) * DAY_MS).toISOString();
    const id = `${String(index).padStart(8, '0')}-0000-4000-8000-000000000000`;
    const { metadata, ...event } = given.stored(given.requested(), 0);
    const { notification } = metadata;
    if (notification === undefined) throw new Error('no notification');
    const position = `1${String(index).padStart(15, '0')}` as Position;
    const occurredAt = new Date(NOW).toISOString();
    const about = { ...metadata, occurredAt, notification: { ...notification, id, requestedAt } };
    return { ...event, metadata: about, stream: `notification-${id}`, version: 1, position };
  });
  return { ...emptyBatch('1' as Position), to: '2' as Position, rows: events.flatMap(rowsOf) };
}

/** Limits the times that one question may be about, in milliseconds, and notes the spans that it answers. */
function narrow(real: Analytics, widest: number): { readonly analytics: Analytics; readonly spans: number[] } {
  const spans: number[] = [];
  const query = (sql: string, params: QueryParams = {}): ReturnType<Analytics['query']> => {
    const [first, last] = ['first', 'last'].map((name) => Date.parse(`${String(params[name]).replace(' ', 'T')}Z`));
    const span = Number(last) - Number(first);
    if (span > widest) return Promise.reject(new AnalyticsError('too-heavy', 'too much'));
    if (span >= 0) spans.push(span);
    return real.query(sql, params);
  };
  return { analytics: { ...real, query }, spans };
}

const MIB = 2 ** 20;

describe('whether a batch over many days is whole', () => {
  it('is found out with the memory of a question about few of them', () =>
    withEngine(8 * MIB, async (analytics) => {
      const batch = batchOver(40, 50);
      const plan = planOf(batch, 'store', 0);
      await analytics.insert(insertOf(batch, plan));
      expect(await isWhole(analytics, batch, plan, NOW)).toBe(true);
      const day = new Date(NOW - 20 * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
      await runOn(analytics, `ALTER TABLE deliveries DROP PARTITION '${day}'`);
      expect(await isWhole(analytics, batch, plan, NOW)).toBe(false);
    }));

  it('is asked moment by moment where more is too heavy, and not at all where that is', () =>
    withEngine(512 * MIB, async (real) => {
      const batch = batchOver(5, 3);
      const plan = planOf(batch, 'store', 0);
      await real.insert(insertOf(batch, plan));
      const { analytics, spans } = narrow(real, 0);
      expect(await isWhole(analytics, batch, plan, NOW)).toBe(true);
      expect(spans).toEqual(Array.from({ length: 2 * 5 }, () => 0));
      await runOn(
        real,
        `ALTER TABLE delivery_events UPDATE user_id = 'zoe' WHERE position = (SELECT max(position) FROM delivery_events) SETTINGS mutations_sync = 2`,
      );
      expect(await isWhole(analytics, batch, plan, NOW)).toBe(false);
      await expect(isWhole(narrow(real, -1).analytics, batch, plan, NOW)).rejects.toMatchObject({ kind: 'too-heavy' });
    }));
});
