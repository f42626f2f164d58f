import { rm } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { metadata } from '../../src/events/metadata.ts';
import { streamOf } from '../../src/ids.ts';
import { AnalyticsError, type Analytics } from '../../src/ports/analytics/analytics.ts';
import { START, type NewEvent } from '../../src/ports/event-log/event-log.ts';
import { emptyBatch } from '../../src/projections/analytics-batch.ts';
import { openStatus } from '../../src/projections/analytics-status.ts';
import { appendStory, storyOf } from '../app/analytics-stories.ts';
import { storedTables } from '../app/analytics-tables.ts';
import {
  append,
  expectExact,
  folderOf,
  messages,
  openEngine,
  plans,
  run,
  SEED,
  untilCaughtUp,
  withStage,
  type Stage,
} from '../support/analytics-stage.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';

/** The engine, and how often it was emptied. */
function countingResets(stage: Stage): { readonly analytics: Analytics; readonly resets: () => number } {
  let resets = 0;
  const reset = (): Promise<string> => {
    resets += 1;
    return stage.analytics.reset();
  };
  return { analytics: { ...stage.analytics, reset }, resets: () => resets };
}

describe('a store that does not hold this log', () => {
  it('because its folder was removed is filled again with the same rows, with progress shown', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 40);
      const first = run(stage, { rows: 100 });
      await untilCaughtUp(stage, first);
      await append(stage, 40, 60);
      await untilCaughtUp(stage, first);
      const was = await storedTables(stage.analytics);
      await first.stop();
      await stage.analytics.close();
      await rm(folderOf(stage), { recursive: true });

      const { value: analytics } = await openEngine(stage);
      stage.lines.length = 0;
      const again = run(stage, { rows: 40, progressMs: 0 }, { analytics });
      const seen = new Set<string>();
      await eventually(
        () => {
          seen.add(again.progress());
          expect(again.watermark()).not.toBeNull();
        },
        { timeoutMs: 20_000 },
      );
      await untilCaughtUp(stage, again);
      expect(await storedTables(analytics)).toEqual(was);
      const progress = stage.lines.filter(({ message }) => message === 'analytics is catching up');
      expect(progress.length).toBeGreaterThan(5);
      const rows = progress.map(({ fields }) => (fields as { rows: number }).rows);
      expect(rows).toEqual(rows.toSorted((a, b) => a - b));
      const ends = stage.lines.filter(({ level }) => level === 'info').map(({ message }) => message);
      expect([ends[0], ends.at(-1)]).toEqual(['analytics is filled from the log', 'analytics has caught up']);
      expect([...seen].filter((text) => /^\d+ updates read, up to 20.*Z \(\d+ %\)$/.test(text))).not.toEqual([]);
    });
  });

  it.each(['another version of the rows', 'another store'])(
    'because it is of %s is emptied and filled again',
    async (what) => {
      await withStage(async (stage) => {
        await append(stage, 0, 30);
        const first = run(stage);
        await untilCaughtUp(stage, first);
        await first.stop();
        const [last] = (await plans(stage)).slice(-1);
        const version = (await plans(stage)).length;
        const other = what === 'another store' ? { store: stage.context.ids.random() } : { projection: 0 };
        const context = metadata({ tenant: '', correlationId: 'c', causationId: 'c' }, stage.clock.now());
        const plan = {
          id: stage.context.ids.random(),
          type: 'AnalyticsBatchPlanned',
          data: { ...last, ...other },
          metadata: context,
        };
        await stage.log.append(streamOf.ingest, [plan], version);
        const { analytics, resets } = countingResets(stage);
        await untilCaughtUp(stage, run(stage, {}, { analytics }));
        expect(resets()).toBe(1);
        await expectExact(stage);
      });
    },
  );
});

describe('a store that is lost while nothing happens', () => {
  it('is filled again, and there is no watermark until it is', async () => {
    await withStage(
      async (stage) => {
        await append(stage, 0, 10);
        const seen: unknown[] = [];
        const analytics: Analytics = {
          ...stage.analytics,
          migrate: () => {
            seen.push(ingest.watermark());
            return stage.analytics.migrate();
          },
        };
        const ingest = run(stage, { watchMs: 5 }, { analytics });
        await untilCaughtUp(stage, ingest);
        const store = (await plans(stage)).at(-1)?.store;
        await rm(folderOf(stage), { recursive: true });
        await eventually(
          async () => {
            expect((await plans(stage)).at(-1)?.store).not.toBe(store);
            expect(ingest.watermark()).not.toBeNull();
          },
          { timeoutMs: 20_000 },
        );
        await untilCaughtUp(stage, ingest);
        await expectExact(stage);
        expect(seen.length).toBeGreaterThan(1);
        expect(seen.every((watermark) => watermark === null)).toBe(true);
        expect(messages(stage, 'warn')).toContain('the tables of ClickHouse were removed or replaced');
        const fills = stage.lines.filter(({ message }) => message === 'analytics is filled from the log');
        expect(fills.map(({ fields }) => fields)).toMatchObject([
          { reason: 'no batch is on record' },
          { reason: 'the tables are others than those written last' },
        ]);
      },
      { watchMs: 10 },
    );
  });
});

/** Work that waits until it is let through. */
function gate(): { readonly reached: Promise<void>; readonly pass: () => Promise<void>; readonly open: () => void } {
  let arrive = (): void => undefined;
  let open = (): void => undefined;
  const reached = new Promise<void>((resolve) => (arrive = resolve));
  const opened = new Promise<void>((resolve) => (open = resolve));
  const pass = (): Promise<void> => {
    arrive();
    return opened;
  };
  return { reached, pass, open: () => open() };
}

describe('the watermark after an insert that failed', () => {
  it('is gone until the tables are known to be the same, and then what it was', async () => {
    await withStage(async (stage) => {
      const [migrating, inserting] = [gate(), gate()];
      let failed = false;
      const analytics: Analytics = {
        ...stage.analytics,
        migrate: async () => {
          if (failed) await migrating.pass();
          return stage.analytics.migrate();
        },
        insert: async (batch) => {
          if (failed) await inserting.pass();
          else if ((await plans(stage)).length > 1) {
            failed = true;
            throw new AnalyticsError('unavailable', 'no luck');
          }
          return stage.analytics.insert(batch);
        },
      };
      await append(stage, 0, 5);
      const ingest = run(stage, {}, { analytics });
      await untilCaughtUp(stage, ingest);
      const before = ingest.watermark();
      await appendStory(stage.log, storyOf(SEED, 5, stage.clock.now()));
      await migrating.reached;
      expect([before === null, ingest.watermark()]).toEqual([false, null]);
      migrating.open();
      await inserting.reached;
      expect(ingest.watermark()).toEqual(before);
      inserting.open();
      await untilCaughtUp(stage, ingest);
      await expectExact(stage);
    });
  });
});

describe('a writer that starts over', () => {
  it('ends whoever else writes before it empties the tables', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 5);
      let inserts = 0;
      const insert: Analytics['insert'] = (batch) => {
        inserts += 1;
        return stage.analytics.insert(batch);
      };
      const rival = run(stage, { longPauseMs: 3_600_000 }, { analytics: { ...stage.analytics, insert } });
      await untilCaughtUp(stage, rival);
      const before = inserts;
      const emptying = gate();
      const analytics: Analytics = {
        ...stage.analytics,
        // So that the last batch does not seem whole.
        query: (sql, params) =>
          sql.includes('sum(updates)') ? Promise.resolve([]) : stage.analytics.query(sql, params),
        reset: async () => {
          await emptying.pass();
          return stage.analytics.reset();
        },
      };
      const ingest = run(stage, {}, { analytics });
      await emptying.reached;
      await append(stage, 5, 6);
      await eventually(() =>
        expect(messages(stage, 'warn')).toEqual(['another process writes ClickHouse as well; waiting']),
      );
      expect(inserts).toBe(before);
      await rival.stop();
      emptying.open();
      await untilCaughtUp(stage, ingest);
      await expectExact(stage);
    });
  });

  it('and dies before it has emptied them is succeeded by one that starts over', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 5);
      const first = run(stage);
      await untilCaughtUp(stage, first);
      await first.stop();
      const emptying = gate();
      const query: Analytics['query'] = (sql, params) =>
        sql.includes('sum(updates)') ? Promise.resolve([]) : stage.analytics.query(sql, params);
      const second = run(
        stage,
        {},
        { analytics: { ...stage.analytics, query, reset: () => emptying.pass().then(() => '') } },
      );
      await emptying.reached;
      await second.stop();
      expect((await stage.log.last(streamOf.ingest))?.type).toBe('AnalyticsStartedOver');
      const { analytics, resets } = countingResets(stage);
      await append(stage, 5, 10);
      await untilCaughtUp(stage, run(stage, {}, { analytics }));
      expect(resets()).toBe(1);
      await expectExact(stage);
    });
  });
});

describe('people on call are told', () => {
  it('once in a process of an event without a row, however often it is read', async () => {
    await withStage(async (stage) => {
      const { stream, events } = storyOf(SEED, 0, stage.clock.now());
      const broken = (event: NewEvent): NewEvent => ({
        ...event,
        metadata: { ...event.metadata, occurredAt: 'never' },
      });
      await appendStory(stage.log, {
        stream,
        events: events.map((event, index) => (index === 1 ? broken(event) : event)),
      });
      let failures = 3;
      const insert: Analytics['insert'] = (batch) => {
        failures -= 1;
        return failures < 0
          ? stage.analytics.insert(batch)
          : Promise.reject(new AnalyticsError('unavailable', 'no luck'));
      };
      await untilCaughtUp(stage, run(stage, {}, { analytics: { ...stage.analytics, insert } }));
      expect(messages(stage, 'error')).toEqual(['an event has no row that ClickHouse can hold']);
    });
  });

  it('that the check of the last batch is too heavy, and not that rows were refused', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 5);
      const first = run(stage);
      await untilCaughtUp(stage, first);
      await first.stop();
      const query: Analytics['query'] = (sql, params) =>
        sql.includes('known')
          ? Promise.reject(new AnalyticsError('too-heavy', 'no'))
          : stage.analytics.query(sql, params);
      run(stage, {}, { analytics: { ...stage.analytics, query } });
      await eventually(() =>
        expect(messages(stage, 'error')).toEqual([
          'the check whether the last batch is whole is too heavy for ClickHouse; trying again',
        ]),
      );
    });
  });
});

describe('the progress', () => {
  it('is told with a share where it is known how many rows there were before', () => {
    const stage = { lines: [] as { message: string; fields: object }[] };
    const info = (fields: object, message: string): void => void stage.lines.push({ message, fields });
    const now = Date.parse('2026-03-01T12:00:00.000Z');
    const status = openStatus({ logger: { ...SILENT, info }, now: () => now }, { progressMs: 3_600_000 });
    expect(status.progress()).toBe('nothing has been read yet');
    const batch = { ...emptyBatch(START), rows: [['row'], ['row']] };
    status.committed({ ...batch, at: now - 900_000 }, false);
    expect(status.progress()).toBe('2 updates read, up to 2026-03-01T11:45:00.000Z');
    status.startedOver({ reason: 'moved', expected: 6 });
    expect(status.progress()).toBe('nothing has been read yet');
    status.committed({ ...batch, at: now - 250_000 }, false);
    expect(status.progress()).toBe('2 updates read, up to 2026-03-01T11:55:50.000Z (33 %)');
    for (let more = 0; more < 5; more += 1) status.committed({ ...batch, at: now - 250_000 }, false);
    expect(status.progress()).toBe('12 updates read, up to 2026-03-01T11:55:50.000Z (99 %)');
    status.committed({ ...batch, at: now }, true);
    status.committed({ ...batch, at: now }, true);
    expect(stage.lines).toEqual([
      { message: 'analytics is filled from the log', fields: { projection: 'analytics', reason: 'moved' } },
      {
        message: 'analytics has caught up',
        fields: { projection: 'analytics', rows: 14, seconds: expect.any(Number) as number },
      },
    ]);
  });
});
