import { describe, expect, it } from 'vitest';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import { openClickhouse } from '../../src/ports/analytics/clickhouse.ts';
import { openFaults } from '../../src/projections/analytics-faults.ts';
import { watchStore, StoreLost } from '../../src/projections/analytics-watch.ts';
import { engineOf, runOn } from '../support/analytics.ts';
import {
  append,
  expectExact,
  messages,
  run,
  untilCaughtUp,
  withStage,
  type Stage,
} from '../support/analytics-stage.ts';
import { openImpostor } from '../support/clickhouse-impostor.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';
import { storedTables, toldTables } from './analytics-tables.ts';

const PATIENCE = { timeoutMs: 30_000 };

/** The engine of the stage as a server, for whoever's log. */
function serverOf(owner: Stage, user: Stage, url?: string): Analytics {
  const { username, password, url: own } = engineOf(owner.analytics);
  return user.use(openClickhouse({ username, password, url: url ?? own }));
}

const FOREIGN =
  'the tables at ANALYTICS_URL belong to another event log; waiting for another database, or for these to be dropped';

describe('two logs with one ClickHouse', { timeout: 90_000 }, () => {
  it('do not empty it for each other; the second has no figures until it is made free', async () => {
    await withStage(async (first) => {
      await withStage(async (second) => {
        await append(first, 0, 20);
        await append(second, 20, 50);
        const one = run(first, {}, { analytics: serverOf(first, first) });
        await untilCaughtUp(first, one);
        let asked = 0;
        const analytics = serverOf(first, second);
        const migrate: Analytics['migrate'] = (log) => {
          asked += 1;
          return analytics.migrate(log);
        };
        const two = run(second, {}, { analytics: { ...analytics, migrate } });
        await eventually(() => expect(asked).toBeGreaterThan(5), PATIENCE);
        expect(two.watermark()).toBeNull();
        // Once in a while only.
        expect(messages(second, 'error')).toEqual([FOREIGN]);
        expect(second.lines.map(({ fields }) => String((fields as { err?: unknown }).err)).join()).toMatch(
          /Name another database there; or, .* drop them/,
        );
        await append(first, 50, 60);
        await untilCaughtUp(first, one);
        await expectExact(first);
        expect(messages(first, 'warn')).toEqual([]);

        await one.stop();
        await runOn(first.analytics, 'TRUNCATE TABLE store');
        await untilCaughtUp(second, two);
        expect(await storedTables(first.analytics)).toEqual(await toldTables(second.log));
        const again = run(first, {}, { analytics: serverOf(first, first) });
        await eventually(() => expect(messages(first, 'error')).toEqual([FOREIGN]), PATIENCE);
        expect(again.watermark()).toBeNull();
        expect(await storedTables(first.analytics)).toEqual(await toldTables(second.log));
      });
    });
  });

  it('fill the embedded one anew, as a log does that was made anew beside it', async () => {
    await withStage(async (first) => {
      await withStage(async (second) => {
        await append(first, 0, 10);
        await append(second, 10, 30);
        const one = run(first);
        await untilCaughtUp(first, one);
        await one.stop();
        const two = run(second, {}, { analytics: first.analytics });
        await untilCaughtUp(second, two);
        expect(await storedTables(first.analytics)).toEqual(await toldTables(second.log));
        expect(messages(second, 'error')).toEqual([]);
      });
    });
  });
});

describe('the writer, while something else answers 200 in the place of ClickHouse', { timeout: 90_000 }, () => {
  it.each(['OK', '<html>hello</html>\n'])('loses, doubles and empties nothing: %j', async (body) => {
    await withStage(async (stage) => {
      const { value: impostor, stop } = await openImpostor(() => engineOf(stage.analytics).url);
      stage.use({ value: impostor, stop });
      await append(stage, 0, 10);
      const ingest = run(stage, {}, { analytics: serverOf(stage, stage, impostor.url) });
      await untilCaughtUp(stage, ingest);
      const before = await storedTables(stage.analytics);
      for (const to of [/^INSERT INTO delivery_events/, /(?:)/]) {
        const answered = impostor.answered();
        impostor.answer({ to, body });
        await append(stage, to.test('') ? 20 : 10, to.test('') ? 30 : 20);
        await eventually(() => expect(impostor.answered()).toBeGreaterThan(answered + 3), PATIENCE);
        if (to.test('')) expect(ingest.watermark()).toBeNull();
        else expect(await storedTables(stage.analytics)).toEqual(before);
        impostor.answer(null);
        await untilCaughtUp(stage, ingest, 30_000);
        await expectExact(stage);
      }
      expect(messages(stage, 'error')).toEqual([]);
      expect(messages(stage, 'info').filter((text) => text === 'analytics is filled from the log')).toHaveLength(1);
    });
  });
});

describe('a look whether the store is there', () => {
  it('takes nothing for a loss but a table or database that is missing, or another id', async () => {
    await withStage(async (stage) => {
      const id = await stage.analytics.migrate();
      const { value: stranger, stop } = openClickhouse({ ...engineOf(stage.analytics), password: 'wrong' });
      let refused = 0;
      const query: Analytics['query'] = async (sql) => {
        try {
          return await stranger.query(sql);
        } finally {
          refused += 1;
        }
      };
      const locked = watchStore({ ...stage.analytics, query }, id, { watchMs: 1 });
      await eventually(() => expect(refused).toBeGreaterThan(3), PATIENCE);
      expect(locked.lost.aborted).toBe(false);
      locked.stop();
      await stop();
      const watch = watchStore(stage.analytics, id, { watchMs: 1 });
      await runOn(stage.analytics, 'DROP TABLE store');
      await eventually(() => expect(watch.lost.reason).toBeInstanceOf(StoreLost), PATIENCE);
      watch.stop();
    });
  });
});

describe('tables that are lost again and again', () => {
  it('are filled after longer and longer pauses, however well it goes in between', () => {
    const limits = { pauseMs: [100, 5_000], longPauseMs: 10_000, reportMs: 0 } as const;
    const levels: string[] = [];
    const logger = { ...SILENT, warn: () => void levels.push('warn'), error: () => void levels.push('error') };
    const faults = openFaults(logger, { ...limits, rows: 1, flushMs: 1, progressMs: 1, idleMs: 1, watchMs: 1 });
    const pauses = Array.from({ length: 9 }, () => {
      const pause = faults.met(new StoreLost('again'));
      faults.over();
      return pause;
    });
    expect(pauses).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    expect(levels).toEqual([...Array.from({ length: 4 }, () => 'warn'), ...Array.from({ length: 5 }, () => 'error')]);
    expect(faults.met(new Error('something else'))).toBe(100);
  });
});
