/**
 * Funnels over 20 million updates: what inserting costs, what a row takes, and each funnel's time beside a plain scan.
 *
 *   node --import ./test/support/ts-loader.mjs bench/funnels.ts [notifications] [seed]
 *
 * Generates the updates of 5 million notifications of 30 days (seeded), inserts them into the embedded engine as the
 * ingester does (batches of 20,000 rows with tokens, all views, flushed to the disk), and asks one tenant that has four
 * fifths of them: right after the inserts, and again once the days are merged as they are after an hour; each with the
 * engine as it is by default (1 GiB, twenty seconds a query) and with 4 GiB and a minute.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session } from 'chdb';
import { openCursors } from '../src/ids.ts';
import { DomainError } from '../src/errors.ts';
import type { ChdbAnalytics, ChdbOptions } from '../src/ports/analytics/chdb.ts';
import { START } from '../src/ports/event-log/event-log.ts';
import { COLUMNS, TABLE } from '../src/projections/analytics-rows.ts';
import { createFunnels } from '../src/projections/funnel.ts';
import type { FunnelInput } from '../src/projections/funnel-input.ts';
import { openTestAnalytics } from '../test/support/analytics.ts';
import { batchesOf, DAYS, FIRST_DAY, TENANT } from './funnels-data.ts';
import { residentMiB } from './resident.ts';

const [notifications = 5_000_000, seed = 1] = process.argv.slice(2).map(Number);
const ROUNDS = 5;
const DEFAULT = { memoryBytes: 2 ** 30 };
const GENEROUS = { memoryBytes: 4 * 2 ** 30, limits: { seconds: 60 } };

const ASKED: Readonly<Record<string, Partial<FunnelInput>>> = {
  'delivery, 6 stages': {},
  'by channel': { groupBy: ['CHANNEL'] },
  'by campaign and provider': { groupBy: ['CAMPAIGN', 'PROVIDER'] },
  'by day, Asia/Kathmandu': { groupBy: ['DAY'], timeZone: 'Asia/Kathmandu' },
  'by hour, one day of 30': {
    groupBy: ['HOUR'],
    from: new Date(FIRST_DAY + 15 * 86_400_000),
    to: new Date(FIRST_DAY + 16 * 86_400_000),
  },
  'e-mail only, window 1 h': { channels: ['EMAIL'], windowSeconds: 3_600 },
  notifications: { unit: 'NOTIFICATION' },
  users: { unit: 'USER' },
};

const SCANS: Readonly<Record<string, string>> = {
  'scan: the columns of deliveries that a funnel reads':
    'SELECT count() FROM deliveries WHERE NOT ignore(steps, queued_ms, sent_ms, delivered_ms, opened_ms, clicked_ms) AND tenant = {tenant:String}',
  'scan: the columns of delivery_events that windowFunnel reads':
    'SELECT count() FROM delivery_events WHERE NOT ignore(delivery_id, occurred_at, type) AND tenant = {tenant:String}',
  'windowFunnel over delivery_events, 6 stages': `SELECT level, count() FROM (
      SELECT delivery_id, windowFunnel(604800000)(toUInt64(toUnixTimestamp64Milli(occurred_at)), bitTest(steps, 0), bitTest(steps, 1),
        bitTest(steps, 2), bitTest(steps, 3), bitTest(steps, 4), bitTest(steps, 5)) AS level
      FROM delivery_events WHERE tenant = {tenant:String} GROUP BY delivery_id) GROUP BY level`,
};

function print(label: string, value: string): void {
  console.log(`${label.padEnd(64)} ${value}`);
}

/**
 * The least of several times, in milliseconds: other work on the machine only adds to it. What is refused costs a round,
 * and goes to `refused`; it may be as little as a merge that was in the way.
 */
async function least(work: () => Promise<unknown>, refused: string[] = []): Promise<number> {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round += 1) {
    const start = performance.now();
    try {
      await work();
      best = Math.min(best, performance.now() - start);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      refused.push(error.code);
    }
  }
  return best;
}

async function figureOf(read: () => Promise<unknown>, base: number): Promise<string> {
  const refused: string[] = [];
  const ms = await least(read, refused);
  const told = refused.length === 0 ? '' : `, ${String(refused.length)} of ${String(ROUNDS)} ${String(refused[0])}`;
  return refused.length === ROUNDS
    ? told.slice(2)
    : `${ms.toFixed(0)} ms, ${(ms / base).toFixed(1)} times the first scan${told}`;
}

async function fill(analytics: ChdbAnalytics): Promise<void> {
  let [rows, inserting, most] = [0, 0, 0];
  const start = performance.now();
  for (const batch of batchesOf(notifications, seed)) {
    const before = performance.now();
    await analytics.insert({ table: TABLE, columns: COLUMNS, rows: batch, token: `bench-${String(rows)}` });
    const took = performance.now() - before;
    inserting += took;
    most = Math.max(most, took);
    rows += batch.length;
  }
  const seconds = (performance.now() - start) / 1_000;
  print('rows inserted', rows.toLocaleString('en'));
  print('rows a second, generating included', Math.round(rows / seconds).toLocaleString('en'));
  print('rows a second, inserting alone', Math.round((rows * 1_000) / inserting).toLocaleString('en'));
  print('longest insert of 20,000 rows', `${String(Math.round(most))} ms`);
  print('engine, right after', await residentMiB(analytics));
}

async function sizes(analytics: ChdbAnalytics): Promise<void> {
  const sql = `SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, count() AS parts FROM system.parts
    WHERE active AND database = currentDatabase() AND table IN ('delivery_events', 'deliveries', 'activity_hourly') GROUP BY table ORDER BY table`;
  for (const { table, rows, bytes, parts } of await analytics.query(sql)) {
    const each = (Number(bytes) / Number(rows)).toFixed(1);
    print(
      `size of ${String(table)}`,
      `${Number(rows).toLocaleString('en')} rows, ${each} bytes a row, ${String(parts)} parts`,
    );
  }
}

async function scan(analytics: ChdbAnalytics): Promise<void> {
  for (const [name, sql] of Object.entries(SCANS)) {
    const ms = await least(() => analytics.query(sql, { tenant: TENANT }));
    print(name, `${ms.toFixed(0)} ms`);
  }
}

async function ask(analytics: ChdbAnalytics): Promise<void> {
  const base = await least(() =>
    analytics.query(SCANS['scan: the columns of deliveries that a funnel reads'] ?? '', { tenant: TENANT }),
  );
  const ingest = { watermark: () => ({ position: START, at: 0 }), progress: () => '' };
  const cursors = openCursors('bench', () => Buffer.alloc(9));
  const funnels = createFunnels({ analytics, ingest, cursors, now: Date.now });
  for (const [name, changes] of Object.entries(ASKED)) {
    const input: FunnelInput = {
      stages: ['REQUESTED', 'QUEUED', 'SENT', 'DELIVERED', 'OPENED', 'CLICKED'],
      from: new Date(FIRST_DAY),
      to: new Date(FIRST_DAY + DAYS * 86_400_000),
      windowSeconds: 604_800,
      channels: null,
      campaign: null,
      category: null,
      unit: 'DELIVERY',
      groupBy: [],
      timeZone: 'UTC',
      ...changes,
    };
    print(`funnel: ${name}`, await figureOf(() => funnels.read(TENANT, input), base));
  }
  print('engine', await residentMiB(analytics));
}

/** What an hour without inserts does to a day. Needs the folder for itself. */
async function mergeDays(path: string): Promise<void> {
  const session = new Session(path, { connectionArgs: [`--max_server_memory_usage=${String(GENEROUS.memoryBytes)}`] });
  for (const table of ['deliveries', 'delivery_events', 'activity_hourly']) {
    await session.queryAsync(`OPTIMIZE TABLE ${table} FINAL`);
  }
  session.close();
}

async function withEngine(
  path: string,
  options: Pick<ChdbOptions, 'memoryBytes' | 'limits'>,
  work: (analytics: ChdbAnalytics) => Promise<void>,
): Promise<void> {
  const { value, stop } = await openTestAnalytics(path, options);
  await value.migrate();
  await work(value);
  await stop();
}

async function measure(path: string, when: string): Promise<void> {
  console.log(`\n${when}, the engine as it is by default`);
  await withEngine(path, DEFAULT, async (analytics) => {
    await sizes(analytics);
    await ask(analytics);
  });
  console.log(`\n${when}, 4 GiB and a minute a query`);
  await withEngine(path, GENEROUS, async (analytics) => {
    await scan(analytics);
    await ask(analytics);
  });
}

const folder = await mkdtemp(join(tmpdir(), 'heliograph-bench-'));
const path = join(folder, 'analytics');
try {
  await withEngine(path, DEFAULT, async (analytics) => {
    print('engine, idle', await residentMiB(analytics));
    await fill(analytics);
  });
  await measure(path, 'Right after the inserts');
  await mergeDays(path);
  await measure(path, 'With every day merged');
} finally {
  await rm(folder, { recursive: true, force: true });
}
