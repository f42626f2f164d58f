import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import type { Analytics, Cell, InsertBatch } from '../../src/ports/analytics/analytics.ts';
import type { QueryLimits } from '../../src/ports/analytics/clickhouse.ts';

/** A store under test. */
export interface AnalyticsUnderTest {
  readonly analytics: Analytics;
  /** Runs a statement past the port. @throws when ClickHouse refuses it. */
  readonly run: (sql: string) => Promise<void>;
  /** The same store again, after this one was closed. */
  readonly reopen: () => Promise<Analytics>;
}

/** Opens an empty store, not yet migrated. */
export type OpenAnalytics = (limits: QueryLimits) => Promise<Started<AnalyticsUnderTest>>;

const LIMITS: QueryLimits = { seconds: 1, memoryBytes: 200_000_000 };

/** What every column store promises. */
export function analyticsContract(open: OpenAnalytics): void {
  let started: Started<AnalyticsUnderTest>;
  let analytics: Analytics;
  let run: AnalyticsUnderTest['run'];

  beforeAll(async () => {
    started = await open(LIMITS);
    ({ analytics, run } = started.value);
    await analytics.migrate();
  });
  beforeEach(() => analytics.reset());
  afterAll(() => started.stop());

  describe('inserting', () => {
    it('keeps every column as it was given', async () => {
      const given = { ...ROW, user_id: NASTY, campaign: NASTY, value: 12.5, version: 4_294_967_295, steps: 65_535 };
      const none = { ...ROW, position: '2', value: null, template: '', update_index: 65_535 };
      await analytics.insert(batchOf([given, none]));
      expect(await analytics.query('SELECT * FROM delivery_events ORDER BY position')).toEqual([given, none]);
    });

    it('keeps numbers of 64 bits that come as text, and tells them exactly as text', async () => {
      await analytics.insert(batchOf([ROW]));
      const rows = await analytics.query('SELECT toString(queued_ms) AS queued, sent_ms FROM deliveries');
      expect(rows).toEqual([{ queued: '18446744073709551615', sent_ms: 1_000 }]);
    });

    it('derives deliveries and counts of activity from the rows', async () => {
      await analytics.insert(batchOf([ROW, { ...ROW, position: '2', steps: 16 }]));
      expect(await analytics.query('SELECT steps, sent_ms, opened_ms FROM deliveries FINAL')).toEqual([
        { steps: 20, sent_ms: 1_000, opened_ms: 1_000 },
      ]);
      expect(
        await analytics.query('SELECT toString(hour) AS hour, sum(updates) AS n FROM activity_hourly GROUP BY 1'),
      ).toEqual([{ hour: `${DAY} 10:00:00`, n: 2 }]);
    });

    it('keeps many rows in one piece', async () => {
      await analytics.insert(batchOf(rowsOn(1, 100_000)));
      const parts = await analytics.query(
        "SELECT table, count() AS parts, sum(rows) AS rows FROM system.parts WHERE active AND table IN ('delivery_events', 'deliveries') GROUP BY table ORDER BY table",
      );
      expect(parts).toEqual([
        { table: 'deliveries', parts: 1, rows: 100_000 },
        { table: 'delivery_events', parts: 1, rows: 100_000 },
      ]);
    });

    it.each([
      ['an unknown table', { table: 'nowhere' }],
      ['an unknown column', { columns: COLUMNS.map((name) => (name === 'steps' ? 'stairs' : name)) }],
      ['a table that is no name', { table: 'delivery_events (tenant) VALUES' }],
      ['a column that is no name', { columns: ['tenant) --'] }],
      ['no rows', { rows: [] }],
      ['no columns', { columns: [] }],
      ['no token', { token: '' }],
      ['a row that is too short', { rows: [cells(ROW), cells(ROW).slice(1)] }],
      ['a cell of another type', { rows: [...rowsOn(1, 2_000).map(cells), cells({ ...ROW, version: 'four' })] }],
      ['nothing where something must be', { rows: [cells(ROW), cells({ ...ROW, reason: null })] }],
      ['a number that does not fit', { rows: [cells(ROW), cells({ ...ROW, requested_at: 'yesterday' })] }],
    ] as const)('refuses %s and keeps nothing of it', async (_, wrong) => {
      await expect(analytics.insert({ ...batchOf([ROW]), ...wrong })).rejects.toMatchObject({
        name: 'AnalyticsError',
        kind: 'refused',
      });
      expect(await counts(analytics)).toEqual(EMPTY);
      await analytics.insert(batchOf([ROW]));
    });

    it('refuses more rows than stay in one piece', async () => {
      const rows = Array.from({ length: 1_000_001 }, () => []);
      await expect(analytics.insert({ ...batchOf([ROW]), rows })).rejects.toMatchObject({ kind: 'refused' });
    });
  });

  describe('inserting a token again', () => {
    it('keeps the same rows once, in everything derived from them as well', async () => {
      const batch = batchOf(rowsOn(1, 1_000));
      for (let time = 0; time < 3; time += 1) await analytics.insert(batch);
      await Promise.all([analytics.insert(batch), analytics.insert(batch)]);
      expect(await counts(analytics)).toEqual({ events: 1_000, deliveries: 1_000, updates: 1_000 });
    });

    it('keeps nothing of other rows', async () => {
      const batch = batchOf(rowsOn(1, 10));
      await analytics.insert(batch);
      await analytics.insert({ ...batch, rows: rowsOn(1, 10, 'other').map(cells) });
      expect(await analytics.query("SELECT count() AS n FROM delivery_events WHERE user_id LIKE 'other%'")).toEqual([
        { n: 0 },
      ]);
      expect(await counts(analytics)).toEqual({ events: 10, deliveries: 10, updates: 10 });
    });

    it('keeps the same rows twice under two tokens', async () => {
      const rows = rowsOn(1, 10);
      await analytics.insert(batchOf(rows));
      await analytics.insert(batchOf(rows));
      expect(await counts(analytics)).toEqual({ events: 20, deliveries: 20, updates: 20 });
    });

    it('knows the token in each of many days', async () => {
      const batch = batchOf(rowsOn(20, 800));
      await analytics.insert(batch);
      await analytics.insert(batch);
      expect(await counts(analytics)).toEqual({ events: 800, deliveries: 800, updates: 800 });
    });

    it('remembers it over other batches', async () => {
      const first = batchOf(rowsOn(1, 10));
      await analytics.insert(first);
      for (const row of rowsOn(1, 30, 'other')) await analytics.insert(batchOf([row]));
      await analytics.insert(first);
      expect((await counts(analytics)).updates).toBe(40);
      expect(await analytics.query('SELECT count() AS n FROM delivery_events')).toEqual([{ n: 40 }]);
    });

    it.each(['before', 'zzz_after'])('completes what a failing view cut short: %s', async (view) => {
      const batch = batchOf(rowsOn(3, 300));
      await run(`CREATE MATERIALIZED VIEW ${view} TO activity_hourly AS
        SELECT tenant, throwIf(1, 'on purpose') AS updates FROM delivery_events`);
      try {
        await expect(analytics.insert(batch)).rejects.toMatchObject({ name: 'AnalyticsError' });
      } finally {
        await run(`DROP VIEW ${view}`);
      }
      const partly = await counts(analytics);
      expect(partly.events).toBe(300);
      expect(partly.updates).toBeLessThan(300);
      await analytics.insert(batch);
      await analytics.insert(batch);
      expect(await counts(analytics)).toEqual({ events: 300, deliveries: 300, updates: 300 });
    });
  });

  describe('asking', () => {
    it('answers no rows with none', async () => {
      expect(await analytics.query('SELECT tenant FROM delivery_events')).toEqual([]);
    });

    it('tells integers exactly up to 2^53, and null', async () => {
      const sql =
        'SELECT toUInt64({big:UInt64}) AS big, toInt64(-9007199254740992) AS small, NULL AS nothing, 1.5 AS half';
      expect(await analytics.query(sql, { big: 2 ** 53 })).toEqual([
        { big: 2 ** 53, small: -(2 ** 53), nothing: null, half: 1.5 },
      ]);
    });

    it('takes any text as a parameter, alone and in lists', async () => {
      const text = fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.string(),
        fc.constantFrom(NASTY, "['a','b']", '\\N', 'NULL', '{x:String}'),
      );
      const property = fc.asyncProperty(text, fc.array(text), async (one, many) => {
        const rows = await analytics.query(
          'SELECT {one:String} AS one, {many:Array(String)} AS many, {one:String} IN {with:Array(String)} AS found',
          {
            one,
            many,
            with: [...many, one],
          },
        );
        expect(rows).toEqual([{ one, many, found: 1 }]);
      });
      await fc.assert(property, { numRuns: 150 });
    });

    it('takes parameters of other types, thousands of them, and leaves alone what only looks like one', async () => {
      const sql = `SELECT {at:DateTime64(3, 'UTC')} AS at, {id:UUID} AS id, {real:Float64} AS real, length({ids:Array(UUID)}) AS ids,
        '{at:String} ; -- ' AS text /* {gone:String}; */ -- {gone:String};
        LIMIT {limit:UInt32}`;
      const id = randomUUID();
      const ids = Array.from({ length: 5_000 }, () => randomUUID());
      const rows = await analytics.query(sql, { at: '2026-02-03 04:05:06.789', id, real: 0.1, ids, limit: 1 });
      expect(rows).toEqual([{ at: '2026-02-03 04:05:06.789', id, real: 0.1, ids: 5_000, text: '{at:String} ; -- ' }]);
    });

    it('answers many at the same time, each with its own', async () => {
      const numbers = Array.from({ length: 60 }, (_, index) => index);
      const asked = numbers.map((n) =>
        analytics.query('SELECT {n:UInt32} AS n, {text:String} AS text', { n, text: String(n) }),
      );
      expect(await Promise.all(asked)).toEqual(numbers.map((n) => [{ n, text: String(n) }]));
    });

    it('lets no insert wait behind queries', async () => {
      const order: string[] = [];
      const queries = Array.from({ length: 60 }, (_, index) =>
        analytics.query('SELECT sleep(0.02)').then(() => order.push(String(index))),
      );
      await analytics.insert(batchOf([ROW])).then(() => order.push('insert'));
      await Promise.all(queries);
      expect(order.indexOf('insert')).toBeLessThan(order.length - 1);
    });

    it('turns away a thousand more than it can answer at once', async () => {
      const queries = Array.from({ length: 1_100 }, () => analytics.query('SELECT 1'));
      const answers = await Promise.allSettled(queries);
      const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
      expect(refused.length).toBeGreaterThan(0);
      expect(answers.length - refused.length).toBeGreaterThanOrEqual(1_000);
      for (const reason of refused) expect(reason).toMatchObject({ name: 'AnalyticsError', kind: 'unavailable' });
    });

    it.each([
      ['that is none', 'SELEC 1'],
      ['of an unknown table', 'SELECT * FROM nowhere'],
      ['without the value of a parameter', 'SELECT {missing:String}'],
      ['that removes', 'DROP TABLE delivery_events'],
      ['that empties', 'TRUNCATE TABLE delivery_events'],
      ['with a second statement behind it', 'SELECT 1; DROP TABLE delivery_events'],
      ['with a second statement before it', 'DROP TABLE delivery_events; SELECT 1'],
      ['that inserts', 'INSERT INTO delivery_events SELECT * FROM delivery_events'],
    ])('refuses a query %s, and nothing changes', async (_, sql) => {
      await analytics.insert(batchOf([ROW]));
      await expect(analytics.query(sql)).rejects.toMatchObject({ name: 'AnalyticsError', kind: 'refused' });
      expect(await counts(analytics)).toEqual({ events: 1, deliveries: 1, updates: 1 });
    });

    it.each([
      ['time', 'SELECT count() FROM numbers(1e12) WHERE sipHash64(number) = 1'],
      ['memory', 'SELECT length(groupArray(number)) FROM numbers(1e9)'],
      ['rows to answer', 'SELECT number FROM numbers(1000001)'],
    ])('cuts off a query that needs too much %s, and serves the others', async (_, sql) => {
      const heavy = expect(analytics.query(sql)).rejects.toMatchObject({ name: 'AnalyticsError', kind: 'too-heavy' });
      expect(await analytics.query('SELECT {n:UInt8} AS n', { n: 1 })).toEqual([{ n: 1 }]);
      await heavy;
      // Nothing of what it had answered until then is left for those who come afterwards, wherever they are served.
      for (let n = 2; n < 10; n += 1) {
        const rows = await analytics.query('SELECT {n:UInt8} AS n', { n });
        expect([rows.length, rows[0]]).toEqual([1, { n }]);
      }
    });

    it('gives each its own answer, whoever fails beside it and before it', async () => {
      const failing = ['SELECT number FROM numbers(1000001)', 'SELECT throwIf(number = 500000) FROM numbers(1e6)'];
      const asked = Array.from({ length: 60 }, (_, n) =>
        n % 3 === 0
          ? analytics.query(failing[n % 2] ?? '').then(
              () => ['answered'],
              () => ['failed'],
            )
          : analytics.query('SELECT {n:UInt8} AS n', { n }),
      );
      const answers = (await Promise.all(asked)).map((rows) => `${String(rows.length)} ${JSON.stringify(rows[0])}`);
      expect(answers).toEqual(asked.map((_, n) => (n % 3 === 0 ? '1 "failed"' : `1 {"n":${String(n)}}`)));
    });
  });

  describe('the store', () => {
    it('has one id as long as it has its tables', async () => {
      const ids = await Promise.all([analytics.migrate(), analytics.migrate(), analytics.migrate()]);
      expect(new Set(ids).size).toBe(1);
      expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
    });

    it('is empty after a reset, has another id, and knows none of the tokens', async () => {
      const before = await analytics.migrate();
      const batch = batchOf(rowsOn(3, 30));
      await analytics.insert(batch);
      const after = await analytics.reset();
      expect(after).not.toBe(before);
      expect(await analytics.migrate()).toBe(after);
      expect(await counts(analytics)).toEqual(EMPTY);
      await analytics.insert(batch);
      expect(await counts(analytics)).toEqual({ events: 30, deliveries: 30, updates: 30 });
    });

    it('is emptied by the next migration when a reset was cut short', async () => {
      const before = await analytics.migrate();
      await analytics.insert(batchOf([ROW]));
      await run('TRUNCATE TABLE store');
      expect(await analytics.migrate()).not.toBe(before);
      expect(await counts(analytics)).toEqual(EMPTY);
    });

    it('is another one when its tables were dropped', async () => {
      const before = await analytics.migrate();
      const dropped = ['deliveries_from_events', 'activity_hourly_from_events', 'delivery_events', 'deliveries'];
      for (const table of [...dropped, 'activity_hourly', 'store', 'schema_migrations'])
        await run(`DROP TABLE ${table}`);
      expect(await analytics.migrate()).not.toBe(before);
      await analytics.insert(batchOf([ROW]));
      expect(await counts(analytics)).toEqual({ events: 1, deliveries: 1, updates: 1 });
    });

    it('completes a migration that was cut short', async () => {
      const before = await analytics.migrate();
      await run('DROP TABLE activity_hourly_from_events');
      await run('TRUNCATE TABLE schema_migrations');
      expect(await analytics.migrate()).toBe(before);
      await analytics.insert(batchOf([ROW]));
      expect(await counts(analytics)).toEqual({ events: 1, deliveries: 1, updates: 1 });
    });

    it('refuses tables of a newer version', async () => {
      await markAsApplied(analytics, '9999-of-the-future.sql');
      await expect(analytics.migrate()).rejects.toMatchObject({
        kind: 'refused',
        message: expect.stringMatching(/newer version.*9999-of-the-future\.sql/) as unknown,
      });
      await run('TRUNCATE TABLE schema_migrations');
      await analytics.migrate();
    });

    it('refuses a migration that was changed afterwards', async () => {
      await run('TRUNCATE TABLE schema_migrations');
      await markAsApplied(analytics, '0001-deliveries.sql');
      await expect(analytics.migrate()).rejects.toMatchObject({
        kind: 'refused',
        message: expect.stringMatching(/0001-deliveries\.sql has changed/) as unknown,
      });
      await run('TRUNCATE TABLE schema_migrations');
      await analytics.migrate();
    });
  });

  describe('closing', () => {
    it('waits for what is under way, rejects everything afterwards, and keeps rows, id and tokens', async () => {
      const own = await open(LIMITS);
      try {
        const id = await own.value.analytics.migrate();
        const batch = batchOf(rowsOn(2, 20_000));
        const inserted = own.value.analytics.insert(batch);
        const asked = own.value.analytics.query('SELECT 1 AS one');
        await own.value.analytics.close();
        await inserted;
        expect(await asked).toEqual([{ one: 1 }]);
        await expectClosed(own.value.analytics);
        const again = await own.value.reopen();
        expect(await again.migrate()).toBe(id);
        await again.insert(batch);
        expect(await counts(again)).toEqual({ events: 20_000, deliveries: 20_000, updates: 20_000 });
        await again.close();
      } finally {
        await own.stop();
      }
    });
  });
}

async function expectClosed(analytics: Analytics): Promise<void> {
  const closed = { name: 'AnalyticsError', kind: 'unavailable' };
  await expect(analytics.query('SELECT 1')).rejects.toMatchObject(closed);
  await expect(analytics.insert(batchOf([ROW]))).rejects.toMatchObject(closed);
  await expect(analytics.migrate()).rejects.toMatchObject(closed);
  await expect(analytics.reset()).rejects.toMatchObject(closed);
  await analytics.close();
}

function markAsApplied(analytics: Analytics, name: string): Promise<void> {
  const row = [name, 'another checksum', '2026-01-01 00:00:00.000'];
  return analytics.insert({
    table: 'schema_migrations',
    columns: ['name', 'checksum', 'applied_at'],
    rows: [row],
    token: randomUUID(),
  });
}

export interface Counts {
  readonly events: number;
  readonly deliveries: number;
  readonly updates: number;
}

const EMPTY: Counts = { events: 0, deliveries: 0, updates: 0 };

/** Rows as they lie there, without the removal of duplicates that reading with FINAL does. */
export async function counts(analytics: Analytics): Promise<Counts> {
  const [row] = await analytics.query(`SELECT (SELECT count() FROM delivery_events) AS events,
    (SELECT count() FROM deliveries) AS deliveries, (SELECT sum(updates) FROM activity_hourly) AS updates`);
  return row as unknown as Counts;
}

/** Of every kind of character that some layer gives a meaning to. */
const NASTY = `tab\t newline\n return\r quote' double" back\\slash \\n \\' tick\` dollar$1 $$ percent%41 plus+ {a:String} nul\0 é 漢 😀`;

/** Recent enough that its rows do not expire while the test runs. */
const DAY = new Date(Date.now() - 5 * 86_400_000).toISOString().slice(0, 10);

export const ROW = {
  tenant: 'acme',
  requested_at: `${DAY} 10:11:12.123`,
  notification_id: '0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b',
  delivery_id: '11111111-2222-5333-8444-555555555555',
  user_id: 'user-1',
  channel: 'email',
  platform: 'web',
  provider: 'smtp',
  campaign: 'spring',
  category: 'offers',
  template: 'hello',
  template_version: 3,
  type: 'DeliverySent',
  reason: 'because',
  steps: 4,
  occurred_at: `${DAY} 10:11:13.123`,
  recorded_at: `${DAY} 10:11:13.223`,
  conversion: '',
  value: null,
  currency: 'EUR',
  version: 7,
  position: '1',
  update_index: 0,
} satisfies Row;

type Row = Readonly<Record<string, Cell>>;

const COLUMNS = Object.keys(ROW);

function cells(row: Row): readonly Cell[] {
  return COLUMNS.map((name) => row[name] ?? null);
}

/** Under a token that nobody else has. */
export function batchOf(rows: readonly Row[]): InsertBatch {
  return { table: 'delivery_events', columns: COLUMNS, rows: rows.map(cells), token: randomUUID() };
}

/** Rows of `count` deliveries, spread over as many days as `days`; all of one hour of activity. */
export function rowsOn(days: number, count: number, name = 'user'): readonly Row[] {
  const last = Date.parse(`${DAY}T10:00:00.000Z`);
  return Array.from({ length: count }, (_, index) => {
    const day = new Date(last - (index % days) * 86_400_000).toISOString().slice(0, 10);
    const id = index.toString(16).padStart(12, '0');
    return {
      ...ROW,
      requested_at: `${day} 10:11:12.123`,
      delivery_id: `11111111-2222-5333-8444-${id}`,
      user_id: `${name}-${String(index)}`,
      position: `${name} ${String(index).padStart(12, '0')}`,
    };
  });
}
