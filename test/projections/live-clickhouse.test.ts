import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import { start } from '../../src/lifecycle.ts';
import { AnalyticsError, type Analytics } from '../../src/ports/analytics/analytics.ts';
import { START } from '../../src/ports/event-log/event-log.ts';
import type { Watermark } from '../../src/projections/analytics.ts';
import { COLUMNS, rowsOf, TABLE } from '../../src/projections/analytics-rows.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { everything, withWorld, type World } from '../support/world.ts';
import { ALL, atStart, author, expected, interest, live, seen, steps, subscriber, tight } from './live-world.ts';

let engine: Started<Analytics>;

beforeAll(async () => {
  engine = await start(async (scope) => {
    const folder = scope.use(await openTempDir());
    const analytics = scope.use(await openTestAnalytics(folder));
    await analytics.migrate();
    return analytics;
  });
}, 60_000);

afterAll(() => engine.stop());

let batches = 0;

/** Writes the log's first updates to ClickHouse, up to about that part of it, some of them twice. */
async function fill(world: World, part: number): Promise<Watermark> {
  await engine.value.reset();
  const events = await everything(world);
  const there = events.slice(0, Math.round(events.length * part));
  const rows = there.flatMap(rowsOf);
  for (const some of [rows, rows.filter((_, number) => number % 3 === 0)]) {
    batches += 1;
    const batch = { table: TABLE, columns: COLUMNS, rows: some, token: `live-${String(batches)}` };
    if (some.length > 0) await engine.value.insert(batch);
  }
  return { position: there.at(-1)?.position ?? START, at: 0 };
}

/** ClickHouse, and how often it was asked. */
function counted(
  query: Analytics['query'] = (sql, params) => engine.value.query(sql, params),
): Analytics & { readonly asked: () => number } {
  let asked = 0;
  return {
    ...engine.value,
    query: (sql, params) => {
      asked += 1;
      return query(sql, params);
    },
    asked: () => asked,
  };
}

describe('a subscriber that comes back later than memory reaches', () => {
  it('is told every update once, from ClickHouse, the log and memory', { timeout: 120_000 }, async () => {
    let asked = 0;
    const script = steps(60, 25).filter(({ length }) => length > 20);
    // One notification's stream is read without ClickHouse.
    const wide = interest.map(({ tenant, filter }) => ({ tenant, filter: { ...filter, notificationId: null } }));
    const part = fc.oneof(
      fc.constant(1),
      fc.integer({ min: 1, max: 9 }).map((tenths) => tenths / 10),
    );
    await fc.assert(
      fc.asyncProperty(script, wide, tight, part, async (story, wanted, limits, filled) => {
        await withWorld(async (world) => {
          const writer = author(world, Date.now());
          const half = Math.floor(story.length / 2);
          await writer.write(...story.slice(0, half));
          const analytics = counted();
          const places = { watermark: null as Watermark | null };
          const ingest = { watermark: () => places.watermark };
          const service = await live(world, { limits, analytics, ingest });
          await writer.write(...story.slice(half));
          await seen(service, world);
          places.watermark = await fill(world, filled);
          const reader = subscriber(service, wanted, atStart(world, wanted.tenant));
          const all = await expected(world, wanted);
          for (let count = 1; reader.told.length < all.length; count += 1) {
            await reader.read(Math.min(count, all.length - reader.told.length));
          }
          expect(reader.told).toEqual(all);
          asked += analytics.asked();
        });
      }),
      { numRuns: 20 },
    );
    expect(asked).toBeGreaterThan(10);
  });

  it('is told everything where ClickHouse fails, or is emptied under its hands', async () => {
    await withWorld(async (world) => {
      const service: { watermark: Watermark | null } = { watermark: null };
      const writer = author(world, Date.now());
      await writer.write(...Array.from({ length: 40 }, (_, n) => ({ notification: n % 4, kind: n, delivery: n })));
      const full = await fill(world, 1);
      const failing = counted(() => Promise.reject(new AnalyticsError('too-heavy', 'over its limit')));
      const emptied = counted(async (sql, params) => {
        await engine.value.reset();
        service.watermark = null;
        return engine.value.query(sql, params);
      });
      const wanted = { tenant: 'default', filter: ALL };
      const all = await expected(world, wanted);
      for (const analytics of [failing, emptied]) {
        service.watermark = full;
        const reader = subscriber(
          await live(world, { analytics, ingest: { watermark: () => service.watermark }, limits: { page: 5 } }),
          wanted,
          atStart(world),
        );
        await reader.read(all.length);
        expect(reader.told).toEqual(all);
        expect(analytics.asked()).toBe(1);
      }
    });
  });

  it('is told everything where ClickHouse refuses its question, and others go on from ClickHouse', async () => {
    await withWorld(async (world) => {
      const writer = author(world, Date.now());
      await writer.write(...Array.from({ length: 40 }, (_, n) => ({ notification: n % 4, kind: n, delivery: n })));
      const watermark = await fill(world, 1);
      let refused = 0;
      const analytics = counted((sql, params) => {
        if (params?.['userId'] === undefined) return engine.value.query(sql, params);
        refused += 1;
        return Promise.reject(new AnalyticsError('refused', 'over the size of a query'));
      });
      const service = await live(world, { analytics, ingest: { watermark: () => watermark }, limits: { page: 3 } });
      const hers = { tenant: 'default', filter: { ...ALL, userId: 'ada' } };
      const everything = { tenant: 'default', filter: ALL };
      for (const wanted of [hers, everything]) {
        const all = await expected(world, wanted);
        const reader = subscriber(service, wanted, atStart(world, wanted.tenant));
        await reader.read(all.length);
        expect(reader.told).toEqual(all);
        expect(all.length).toBeGreaterThan(3);
      }
      expect(refused).toBe(1);
      expect(analytics.asked()).toBeGreaterThan(3);
    });
  });
});
