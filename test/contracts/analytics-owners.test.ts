import { ClickHouseError } from '@clickhouse/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { start, type Started } from '../../src/lifecycle.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import type { ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import { analyticsError } from '../../src/ports/analytics/clickhouse-errors.ts';
import { openClickhouse } from '../../src/ports/analytics/clickhouse.ts';
import { engineOf, openTestAnalytics, runOn } from '../support/analytics.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { batchOf, counts, rowsOn } from './analytics.contract.ts';

const FOREIGN = {
  name: 'AnalyticsError',
  kind: 'refused',
  refusal: 'foreign',
  message: expect.stringMatching(/ANALYTICS_URL.*belong to another event log.*another database.*drop them/) as unknown,
};

const NONE = { events: 0, deliveries: 0, updates: 0 };

/** The embedded engine, and two who have it as a server. */
interface Shared {
  readonly engine: ChdbAnalytics;
  readonly one: Analytics;
  readonly other: Analytics;
}

function openShared(): Promise<Started<Shared>> {
  return start(async (scope) => {
    const engine = scope.use(await openTestAnalytics(scope.use(await openTempDir())));
    const connect = (): Analytics => scope.use(openClickhouse(engineOf(engine)));
    return { engine, one: connect(), other: connect() };
  });
}

describe('the tables of a server', () => {
  let started: Started<Shared>;
  let engine: ChdbAnalytics;
  let one: Analytics;
  let other: Analytics;
  const rows = { events: 10, deliveries: 10, updates: 10 };

  beforeEach(async () => {
    started = await openShared();
    ({ engine, one, other } = started.value);
  });
  afterEach(() => started.stop());

  it('are of the log that came first, and any other leaves them alone', async () => {
    const id = await one.migrate('one');
    await one.insert(batchOf(rowsOn(1, 10)));
    await expect(other.migrate('other')).rejects.toMatchObject(FOREIGN);
    await expect(other.reset('other')).rejects.toMatchObject(FOREIGN);
    expect(await counts(engine)).toEqual(rows);
    expect(await one.migrate('one')).toBe(id);
    const next = await one.reset('one');
    expect(next).not.toBe(id);
    await expect(other.migrate('other')).rejects.toMatchObject(FOREIGN);
    expect(await other.migrate('one')).toBe(next);
  });

  it('are of one of two that come at the same time', async () => {
    const answers = await Promise.allSettled([one.migrate('one'), other.migrate('other')]);
    const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
    expect(refused).toMatchObject([FOREIGN]);
    const again = await Promise.allSettled([one.migrate('one'), other.migrate('other')]);
    expect(again).toMatchObject(answers.map(({ status }) => ({ status })));
  });

  it('are free once the id of the store was removed, or all of them', async () => {
    await one.migrate('one');
    await one.insert(batchOf(rowsOn(1, 10)));
    await runOn(engine, 'TRUNCATE TABLE store');
    await other.migrate('other');
    expect(await counts(engine)).toEqual(NONE);
    await expect(one.migrate('one')).rejects.toMatchObject(FOREIGN);
    const views = ['deliveries_from_events', 'activity_hourly_from_events'];
    const tables = ['delivery_events', 'deliveries', 'activity_hourly', 'store', 'store_owners', 'schema_migrations'];
    for (const table of [...views, ...tables]) await runOn(engine, `DROP TABLE ${table}`);
    await one.migrate('one');
    await expect(other.migrate('other')).rejects.toMatchObject(FOREIGN);
  });

  it('made before there was a note of whose they are go on as those of the first that comes', async () => {
    const id = await one.migrate('one');
    await one.insert(batchOf(rowsOn(1, 10)));
    // As the version before left them.
    await runOn(engine, 'DROP TABLE store_owners');
    await runOn(
      engine,
      "ALTER TABLE schema_migrations DELETE WHERE name = '0002-store-owners.sql' SETTINGS mutations_sync = 2",
    );
    const answers = await Promise.allSettled([one.migrate('one'), other.migrate('other')]);
    expect(answers.filter(({ status }) => status === 'fulfilled')).toEqual([{ status: 'fulfilled', value: id }]);
    expect(answers.filter(({ status }) => status === 'rejected')).toMatchObject([{ reason: FOREIGN }]);
    expect(await counts(engine)).toEqual(rows);
  });

  it('are not touched by one that finds files of its own missing there', async () => {
    await one.migrate('one');
    await runOn(
      engine,
      "ALTER TABLE schema_migrations DELETE WHERE name = '0001-deliveries.sql' SETTINGS mutations_sync = 2",
    );
    await runOn(engine, 'DROP VIEW activity_hourly_from_events');
    await expect(other.migrate('other')).rejects.toMatchObject(FOREIGN);
    const views = "SELECT count() AS number FROM system.tables WHERE name = 'activity_hourly_from_events'";
    expect(await engine.query(views)).toEqual([{ number: 0 }]);
    await one.migrate('one');
    expect(await engine.query(views)).toEqual([{ number: 1 }]);
  });
});

describe('the tables of the embedded engine', () => {
  it('are of whoever has its folder', async () => {
    const { value: engine, stop } = await start(async (scope) =>
      scope.use(await openTestAnalytics(scope.use(await openTempDir()))),
    );
    try {
      const id = await engine.migrate('one');
      expect(await engine.migrate('made anew')).toBe(id);
      const next = await engine.reset('made anew');
      expect(next).not.toBe(id);
      expect(await engine.migrate('one')).toBe(next);
    } finally {
      await stop();
    }
  });
});

describe('a refusal', () => {
  it('says when the tables or the database are missing, or the user is not let in, and nothing of other mistakes', async () => {
    const { value, stop } = await openShared();
    try {
      const address = engineOf(value.engine);
      const stranger = openClickhouse({ ...address, password: 'wrong' });
      await expect(stranger.value.migrate('one')).rejects.toMatchObject({ kind: 'refused', refusal: 'denied' });
      // The embedded engine has one database only.
      const noDatabase = new ClickHouseError({
        code: '81',
        type: 'UNKNOWN_DATABASE',
        message: 'Database x does not exist',
      });
      expect(analyticsError(noDatabase, 'query')).toMatchObject({ kind: 'refused', refusal: 'missing' });
      await expect(value.one.query('SELECT 1 FROM nowhere')).rejects.toMatchObject({ refusal: 'missing' });
      await expect(value.one.query('SELEC 1')).rejects.toMatchObject({ kind: 'refused', refusal: null });
      await stranger.stop();
    } finally {
      await stop();
    }
  });
});
