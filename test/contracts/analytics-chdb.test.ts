import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import type { Log } from '../../src/log.ts';
import type { InsertBatch } from '../../src/ports/analytics/analytics.ts';
import { isBroken } from '../../src/ports/analytics/chdb-http.ts';
import { EngineFolderInUse, EngineMissing, type ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import { askEngine, ENGINE_SCRIPT, openTestAnalytics, runOn } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { openTempDir, withTempDir } from '../support/temp-dir.ts';
import { startTs } from '../support/ts-child.ts';
import { batchOf, counts, ROW, rowsOn } from './analytics.contract.ts';

const HEAVY = 'SELECT count() AS n FROM numbers(1e13) WHERE sipHash64(number) = 1';

/** A migrated engine in a fresh folder. */
async function withEngine(
  work: (analytics: ChdbAnalytics, folder: string) => Promise<void>,
  options: Parameters<typeof openTestAnalytics>[1] = {},
): Promise<void> {
  await withTempDir(async (folder) => {
    const { value: analytics, stop } = await openTestAnalytics(folder, options);
    try {
      await analytics.migrate();
      await work(analytics, folder);
    } finally {
      await stop();
    }
  });
}

function pidOf(analytics: ChdbAnalytics): number {
  const pid = analytics.engine()?.pid;
  if (pid === undefined) throw new Error('the engine is down');
  return pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A dead orphan keeps its number until somebody reaps it.
  return process.platform !== 'linux' || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'));
}

/** Waits until the engine works on a statement that has `text` in it. */
function untilRunning(analytics: ChdbAnalytics, text: string): Promise<void> {
  return eventually(async () => {
    const sql =
      'SELECT count() AS n FROM system.processes WHERE position(query, {text:String}) > 0 AND query NOT LIKE {own:String}';
    expect(await analytics.query(sql, { text, own: '%system.processes%' })).toEqual([{ n: 1 }]);
  });
}

/** As the ingest does it: the same batch again until it is in. Answers how often it had to. */
async function insertSurely(analytics: ChdbAnalytics, batch: InsertBatch): Promise<number> {
  for (let failures = 0; ; failures += 1) {
    try {
      await analytics.insert(batch);
      return failures;
    } catch (error) {
      expect(error).toMatchObject({ name: 'AnalyticsError', kind: 'unavailable' });
    }
  }
}

describe('an engine that dies', () => {
  it(
    'doubles nothing of batches that are sent again under their tokens, and lacks at most what it was putting in place',
    () =>
      withEngine(async (analytics) => {
        const kills = fc.sample(fc.nat(12), { numRuns: 8 });
        let failures = 0;
        let before = { events: 0, updates: 0 };
        for (const [round, queries] of kills.entries()) {
          const batch = batchOf(rowsOn(2, 1_000, `round ${String(round)}`));
          const inserted = insertSurely(analytics, batch);
          // Their number is the clock by which it is killed.
          for (let query = 0; query < queries; query += 1) await analytics.query('SELECT 1');
          process.kill(pidOf(analytics), 'SIGKILL');
          const failed = await inserted;
          const { events, updates } = await eventually(() => counts(analytics));
          // A token is noted and its rows are put in place under one lock: one table's rows of one partition.
          expect(events - before.events).toBeOneOf(failed > 0 ? [1_000, 500] : [1_000]);
          expect(updates - before.updates).toBeOneOf(failed > 0 ? [1_000, 0] : [1_000]);
          before = { events, updates };
          failures += failed;
        }
        expect(failures).toBeGreaterThan(0);
        const [{ n } = {}] = await analytics.query('SELECT count() AS n FROM deliveries FINAL');
        expect(n).toBe(1_000);
      }),
    60_000,
  );

  it('fails the query that it was at as unavailable, and answers the next one from a new process', () => {
    const warnings: string[] = [];
    const log: Log = { ...SILENT, warn: (_, text) => void warnings.push(text) };
    return withEngine(
      async (analytics) => {
        const first = pidOf(analytics);
        const heavy = expect(analytics.query(HEAVY)).rejects.toMatchObject({
          name: 'AnalyticsError',
          kind: 'unavailable',
        });
        await untilRunning(analytics, 'sipHash64');
        process.kill(first, 'SIGKILL');
        await heavy;
        expect(await eventually(() => analytics.query('SELECT 1 AS one'))).toEqual([{ one: 1 }]);
        expect(pidOf(analytics)).not.toBe(first);
        expect(warnings).toContain('the analytics engine ended; starting it again');
      },
      { log },
    );
  });

  it('lets calls wait while it is being started again', () =>
    withEngine(async (analytics) => {
      process.kill(pidOf(analytics), 'SIGKILL');
      await eventually(() => expect(analytics.engine()).toBeNull());
      const batch = batchOf([ROW]);
      await Promise.all([analytics.insert(batch), analytics.query('SELECT 1'), analytics.migrate()]);
      expect(await counts(analytics)).toEqual({ events: 1, deliveries: 1, updates: 1 });
    }));

  it('pays no attention to a Ctrl-C', () =>
    withEngine(async (analytics) => {
      const first = pidOf(analytics);
      process.kill(first, 'SIGINT');
      expect(await analytics.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
      expect(pidOf(analytics)).toBe(first);
    }));
});

describe('stopping', () => {
  it('does not wait for a heavy query beyond its patience, and leaves no process', () =>
    withTempDir(async (folder) => {
      const { value: analytics, stop } = await openTestAnalytics(folder, { stopMs: 600, limits: { seconds: 60 } });
      const engine = pidOf(analytics);
      const heavy = expect(analytics.query(HEAVY)).rejects.toMatchObject({ kind: 'unavailable' });
      await untilRunning(analytics, 'sipHash64');
      await stop();
      await heavy;
      expect(isAlive(engine)).toBe(false);
    }));

  it('kills an engine that does not react, and waits for none of its answers', () =>
    withTempDir(async (folder) => {
      const { value: analytics, stop } = await openTestAnalytics(folder, { stopMs: 600 });
      const engine = pidOf(analytics);
      process.kill(engine, 'SIGSTOP');
      const asked = expect(analytics.query('SELECT 1')).rejects.toMatchObject({ kind: 'unavailable' });
      await stop();
      await asked;
      expect(isAlive(engine)).toBe(false);
    }));

  it('kills an engine that hangs as it is started again, and turns away who waits for it', () =>
    withTempDir(async (folder) => {
      const mark = JSON.stringify(join(folder, 'started'));
      const engine = await scriptIn(folder, [
        'process.stdout.write("here\\n");',
        'process.on("disconnect", () => process.exit());',
        `const again = existsSync(${mark});`,
        `writeFileSync(${mark}, '');`,
        `if (!again) await import(${JSON.stringify(ENGINE_SCRIPT)});`,
      ]);
      const pids: number[] = [];
      const debug: Log['debug'] = (fields, text) => {
        if (text === 'here' && 'engine' in fields) pids.push(Number(fields.engine));
      };
      const { value: analytics, stop } = await openTestAnalytics(join(folder, 'data'), {
        engine,
        log: { ...SILENT, debug },
        patienceMs: 60_000,
        stopMs: 600,
      });
      process.kill(pidOf(analytics), 'SIGKILL');
      const hanging = await eventually(() => {
        expect(pids).toHaveLength(2);
        return Number(pids[1]);
      });
      const asked = expect(analytics.query('SELECT 1')).rejects.toMatchObject({ kind: 'unavailable' });
      expect(isAlive(hanging)).toBe(true);
      await stop();
      await asked;
      expect(isAlive(hanging)).toBe(false);
    }));

  it('ends an engine that is being started again', () =>
    withTempDir(async (folder) => {
      const { value: analytics, stop } = await openTestAnalytics(folder);
      process.kill(pidOf(analytics), 'SIGKILL');
      await eventually(() => expect(analytics.engine()).toBeNull());
      await stop();
      const again = await openTestAnalytics(folder, { patienceMs: 0 });
      await again.stop();
    }));
});

describe('the folder of an engine', () => {
  it('is refused to a second one, which names it, and the first goes on', () =>
    withEngine(async (analytics, folder) => {
      const second = openTestAnalytics(folder, { patienceMs: 300 });
      await expect(second).rejects.toThrow(EngineFolderInUse);
      await expect(second).rejects.toThrow(folder);
      expect(await analytics.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    }));

  it('is free a moment after its holder was killed, whose engine ends with it', () =>
    withTempDir(async (folder) => {
      const holder = startTs(new URL('../support/analytics-holder.ts', import.meta.url), [folder]);
      const [line] = (await once(createInterface({ input: holder.stdout }), 'line')) as [string];
      const { engine, id } = JSON.parse(line) as { readonly engine: number; readonly id: string };
      expect(isAlive(engine)).toBe(true);
      holder.kill('SIGKILL');
      const { value: analytics, stop } = await openTestAnalytics(folder);
      try {
        expect(isAlive(engine)).toBe(false);
        expect(await analytics.migrate()).toBe(id);
      } finally {
        await stop();
      }
    }));
});

describe('starting', () => {
  it('fails clearly where there is no build of chdb', () =>
    withTempDir(async (folder) => {
      const engine = await scriptIn(folder, [reporting({ kind: 'missing', message: 'no chdb' })]);
      await expect(openTestAnalytics(join(folder, 'data'), { engine })).rejects.toThrow(EngineMissing);
    }));

  it.each([
    ['ends at once', `process.stderr.write('out of luck\\n', () => process.exit(3));`, /exit code 3: out of luck/],
    ['cannot open its folder', reporting({ kind: 'failed', message: 'rotten' }), /rotten/],
    [
      'finds a file that it cannot open',
      reporting({ kind: 'failed', message: 'Code: 76. DB::Exception: Too many open files. (CANNOT_OPEN_FILE)' }),
      /Too many open files/,
    ],
    ['does not answer', 'process.on("disconnect", () => process.exit());', /takes long to start/],
  ])('goes on behind when the engine %s, and calls are unavailable', (_, script, expected) =>
    withTempDir(async (folder) => {
      const engine = await scriptIn(folder, [script]);
      const errors: string[] = [];
      const log: Log = { ...SILENT, error: (fields, text) => void errors.push(`${text} ${errorIn(fields)}`) };
      const options = { engine, log, patienceMs: 100, startMs: 500, stopMs: 600 };
      const { value: analytics, stop } = await openTestAnalytics(join(folder, 'data'), options);
      try {
        await expect(analytics.query('SELECT 1')).rejects.toMatchObject({
          name: 'AnalyticsError',
          kind: 'unavailable',
        });
        expect(analytics.engine()).toBeNull();
        await eventually(() => expect(errors).toContainEqual(expect.stringMatching(expected)));
      } finally {
        await stop();
      }
    }),
  );

  it('comes to life when what kept it from starting is gone', () =>
    withTempDir(async (folder) => {
      await mkdir(join(folder, 'status'));
      const errors: string[] = [];
      const log: Log = { ...SILENT, error: (fields) => void errors.push(errorIn(fields)) };
      const { value: analytics, stop } = await openTestAnalytics(folder, { log });
      try {
        expect(analytics.engine()).toBeNull();
        expect(errors[0]).toContain('CANNOT_OPEN_FILE');
        await rmdir(join(folder, 'status'));
        expect(await analytics.migrate()).toMatch(/^[0-9a-f-]{36}$/);
      } finally {
        await stop();
      }
    }));
});

/** An engine of our own making. */
async function scriptIn(folder: string, lines: readonly string[]): Promise<string> {
  const path = join(folder, 'engine.mjs');
  await writeFile(path, ["import { existsSync, writeFileSync } from 'node:fs';", ...lines].join('\n'));
  return path;
}

function reporting(report: object): string {
  return `process.once('message', () => process.send(${JSON.stringify(report)}));`;
}

const SILENT: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

function errorIn(fields: object): string {
  return 'err' in fields ? String(fields.err) : '';
}

describe('the engine at work', () => {
  let started: Started<ChdbAnalytics>;
  let analytics: ChdbAnalytics;
  let folder: Started<string>;

  beforeAll(async () => {
    folder = await openTempDir();
    started = await openTestAnalytics(folder.value, { limits: { seconds: 2 } });
    analytics = started.value;
    await analytics.migrate();
  });
  afterAll(async () => {
    await started.stop();
    await folder.stop();
  });

  it('does not hold up the event loop of its parent, neither by a heavy query nor by a large batch', async () => {
    let ticks = 0;
    const clock = setInterval(() => (ticks += 1), 1);
    try {
      await expect(analytics.query(HEAVY)).rejects.toMatchObject({ kind: 'too-heavy' });
      expect(ticks).toBeGreaterThan(100);
      const batch = batchOf(rowsOn(1, 50_000));
      ticks = 0;
      await analytics.insert(batch);
      expect(ticks).toBeGreaterThan(20);
    } finally {
      clearInterval(clock);
    }
  });

  it('answers a small query with parameters while a heavy one with parameters runs', async () => {
    const order: string[] = [];
    const heavy = analytics
      .query(`${HEAVY} AND {busy:String} != ''`, { busy: 'busy' })
      .catch(() => order.push('heavy'));
    await untilRunning(analytics, "'busy'");
    await analytics.query('SELECT {n:UInt8} AS n', { n: 1 });
    order.push('light');
    await heavy;
    expect(order).toEqual(['light', 'heavy']);
  });

  it('lets no setting of one request stick to the next', async () => {
    await askEngine(analytics, 'SELECT 1', '/?max_threads=1&max_block_size=77');
    const values =
      "SELECT getSetting('max_threads') AS threads, getSetting('max_block_size') AS block, getSetting('readonly') AS readonly";
    for (let session = 0; session < 4; session += 1) {
      expect(await analytics.query(values)).toMatchObject([{ threads: 2, readonly: 2 }]);
      expect((await analytics.query(values))[0]?.['block']).not.toBe(77);
    }
    await runOn(
      analytics,
      'CREATE TABLE IF NOT EXISTS plain (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100',
    );
    await analytics.insert({ table: 'plain', columns: ['n'], rows: [[1]], token: 'one' });
    await runOn(analytics, 'TRUNCATE TABLE plain');
    const raw = await askEngine(
      analytics,
      '[2]\n',
      `/?query=${encodeURIComponent('INSERT INTO plain (n) FORMAT JSONCompactEachRow')}`,
    );
    expect(raw.status).toBe(200);
    expect(await analytics.query('SELECT n FROM plain')).toEqual([{ n: 2 }]);
  });

  it('turns away what is too many to wait', async () => {
    const statements = Array.from({ length: 130 }, () => askEngine(analytics, 'SELECT sleep(0.02)'));
    const answers = await Promise.all(statements);
    const codes = new Set(answers.map((answer) => answer.headers.get('x-clickhouse-exception-code')));
    expect(codes).toEqual(new Set([null, '202']));
    await Promise.all(answers.map((answer) => answer.text()));
  });

  it('outlives texts that read like its own end', async () => {
    const engine = pidOf(analytics);
    for (const text of ['fatal error', 'The server is shutting down due to a fatal error']) {
      await expect(analytics.query('SELECT throwIf(1, {text:String})', { text })).rejects.toThrow(text);
      const batch = { table: 'delivery_events', columns: ['campaign', 'notification_id'], token: randomUUID() };
      await expect(analytics.insert({ ...batch, rows: [[text, text]] })).rejects.toMatchObject({ kind: 'refused' });
    }
    expect(await analytics.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(pidOf(analytics)).toBe(engine);
  });

  it.each([
    ['Code: 236. DB::Exception: The server is shutting down due to a fatal error. (ABORTED)', true],
    ['The server is shutting down due to a fatal error', true],
    ['Fatal error: no more memory', true],
    ["Code: 395. DB::Exception: fatal error: while executing 'throwIf'. (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)", false],
    ['Code: 395. DB::Exception: The server is shutting down due to a fatal error. (ABORTED)', false],
    ['Unknown format', false],
  ])('takes %j for its end: %s', (message, expected) => {
    expect(isBroken(message)).toBe(expected);
  });

  it('ends a statement that comes without a limit of its own', async () => {
    const values = "SELECT getSetting('max_execution_time') AS seconds";
    for (let session = 0; session < 4; session += 1) {
      expect(await (await askEngine(analytics, values)).text()).toBe('240\n');
    }
  });

  it('serves only who knows the password', async () => {
    const { url = '' } = analytics.engine() ?? {};
    for (const authorization of [
      '',
      'Basic ZGVmYXVsdDo=',
      `Basic ${Buffer.from('default:wrong').toString('base64')}`,
      'Bearer x',
    ]) {
      const response = await fetch(url, { method: 'POST', body: 'SELECT 1', headers: { authorization } });
      expect(response.status).toBe(403);
      expect(response.headers.get('x-clickhouse-exception-code')).toBe('516');
      expect(await response.text()).toContain('(AUTHENTICATION_FAILED)');
    }
    const client = createClient({
      url,
      username: 'default',
      password: 'wrong',
      log: { level: ClickHouseLogLevel.OFF },
    });
    await expect(client.query({ query: 'SELECT 1' })).rejects.toMatchObject({
      code: '516',
      type: 'AUTHENTICATION_FAILED',
    });
    await client.close();
  });

  it.each([
    ['/?session_id=mine', 'SELECT 1', '48'],
    ['/?role=admin', 'SELECT 1', '48'],
    ['/?compress=1', 'SELECT 1', '48'],
    ['/?database=system', 'SELECT 1', '48'],
    ['/elsewhere', 'SELECT 1', '48'],
    ['/', 'INSERT INTO store VALUES (generateUUIDv4(), now64())', '48'],
    ['/', '/**/ INSERT INTO store SELECT generateUUIDv4(), now64()', '48'],
    ['/', 'WITH now64() AS at INSERT INTO store SELECT generateUUIDv4(), at', '48'],
    ['/', 'SYSTEM STOP MERGES', '48'],
    ['/', '-- harmless\nSET max_threads = 1', '48'],
    ['/', 'USE system', '48'],
    ['/', '# what is this', '48'],
    ['/', "SELECT 'a\0b'", '62'],
    ['/?param_a=%5C0', 'SELECT {a:Identifier}', '62'],
    ['/?query=INSERT+INTO+store+VALUES', '(generateUUIDv4(), now64())', '48'],
    ['/?query=SELECT+1', 'rows', '48'],
    ['/?query=INSERT+INTO+store+FORMAT+Nonsense', 'rows', '1002'],
    ['/?query=INSERT+INTO+store+FORMAT+JSONEachRow&nonsense=1', '{}', '115'],
    ['/?nonsense=1', 'SELECT 1', '115'],
    ['/?max_threads%3D1%2C+a=1', 'SELECT 1', '115'],
    ['/?max_threads=many', 'SELECT 1', '27'],
    ['/', '', '62'],
    ['/', ' ; ', '62'],
    ['/', 'SELECT 1; SELECT 2', '62'],
    ['/', "SELECT 'open", '62'],
    ['/', 'SELECT {a:String}', '456'],
    ['/?param_b=1', 'SELECT {a:String}', '456'],
    ['/?param_a=1', 'SELECT * FROM {a:Identifier}', '60'],
  ])('answers %s with %j by the code that ClickHouse has for it', async (path, body, code) => {
    const response = await askEngine(analytics, body, path);
    expect([response.headers.get('x-clickhouse-exception-code'), await response.text()]).toEqual([
      code,
      expect.stringMatching(new RegExp(`^Code: ${code}\\. DB::Exception: [^]+\\([A-Z_]+\\)`)),
    ]);
  });

  it('outlives other methods, compressed and endless bodies, addresses without end and what is no HTTP', async () => {
    const engine = pidOf(analytics);
    const { url = '', username = '', password = '' } = analytics.engine() ?? {};
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    expect((await fetch(url, { headers: { authorization } })).status).toBe(501);
    expect((await fetch(url, { method: 'PUT', body: 'SELECT 1', headers: { authorization } })).status).toBe(501);
    const packed = await fetch(url, {
      method: 'POST',
      body: 'x',
      headers: { authorization, 'content-encoding': 'gzip' },
    });
    expect(packed.status).toBe(501);
    expect(
      (await fetch(`${url}/?a=${'x'.repeat(2 ** 21)}`, { method: 'POST', headers: { authorization } })).status,
    ).toBe(431);
    const head = (length: string): string =>
      `POST / HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\ncontent-length: ${length}\r\n\r\nSELECT`;
    expect(await talk(url, head('99999999999'))).toContain('413');
    expect(await talk(url, 'HELO there\r\n\r\n')).toContain('400');
    expect(await talk(url, 'GET // HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    const split = await askEngine(analytics, 'SELECT 1', '/?query_id=a%0D%0Ab');
    expect([split.status, split.headers.get('x-clickhouse-query-id')]).toEqual([200, null]);
    const { port } = new URL(url);
    const gone = connect(Number(port), '127.0.0.1');
    gone.end(head('100'));
    await once(gone.resume(), 'close');
    expect(await analytics.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(pidOf(analytics)).toBe(engine);
  });

  describe('through the official client', () => {
    let client: ClickHouseClient;

    beforeAll(() => {
      client = createClient({
        ...addressOf(analytics),
        compression: { response: true },
        log: { level: ClickHouseLogLevel.OFF },
      });
    });
    afterAll(() => client.close());

    it('answers pings', async () => {
      expect(await client.ping()).toEqual({ success: true });
    });

    it('inserts objects, and answers in the formats there are', async () => {
      await client.command({ query: 'CREATE TABLE objects (a UInt32, b String) ENGINE = MergeTree ORDER BY a' });
      const values = [
        { a: 1, b: 'eins' },
        { a: 2, b: 'zwei' },
      ];
      const { summary } = await client.insert({ table: 'objects', values, format: 'JSONEachRow' });
      expect(summary).toMatchObject({ written_rows: '2' });
      await client.insert({
        table: 'objects',
        values: [[3, 'drei']],
        columns: ['a', 'b'],
        format: 'JSONCompactEachRow',
      });
      await client.insert({ table: 'objects', values: [], format: 'JSONEachRow' });
      const query = 'SELECT a, b FROM objects ORDER BY a';
      expect(await (await client.query({ query })).json()).toMatchObject({
        data: [...values, { a: 3, b: 'drei' }],
        rows: 3,
      });
      expect(await (await client.query({ query, format: 'CSV' })).text()).toBe('1,"eins"\n2,"zwei"\n3,"drei"\n');
      expect(await (await client.query({ query: `${query} -- all;`, format: 'TabSeparated' })).text()).toBe(
        '1\teins\n2\tzwei\n3\tdrei\n',
      );
    });

    it('tells code and type of an error', async () => {
      await expect(client.query({ query: 'SELECT nope' })).rejects.toMatchObject({
        code: '47',
        type: 'UNKNOWN_IDENTIFIER',
      });
      await expect(client.insert({ table: 'nowhere', values: [{}] })).rejects.toMatchObject({
        code: '60',
        type: 'UNKNOWN_TABLE',
      });
    });

    it('passes on the id of a query', async () => {
      const query_id = randomUUID();
      const { response_headers } = await client.query({ query: 'SELECT 1', query_id });
      expect(response_headers['x-clickhouse-query-id']).toBe(query_id);
    });
  });
});

function addressOf(analytics: ChdbAnalytics): {
  readonly url: string;
  readonly username: string;
  readonly password: string;
} {
  const { url = '', username = '', password = '' } = analytics.engine() ?? {};
  return { url, username, password };
}

/** Sends bytes and collects what comes back until the other side ends. */
async function talk(url: string, text: string): Promise<string> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(text);
  let answer = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString();
  return answer;
}
