import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { start } from '../../src/lifecycle.ts';
import type { InsertBatch, ResultRow } from '../../src/ports/analytics/analytics.ts';
import { onCluster } from '../../src/ports/analytics/clickhouse-cluster.ts';
import { QUERY_LIMITS, settingsOf } from '../../src/ports/analytics/clickhouse-settings.ts';
import { openClickhouse } from '../../src/ports/analytics/clickhouse.ts';
import { migrate, readMigrations, reset, type Store } from '../../src/ports/analytics/migrations.ts';
import { askEngine, engineOf, openTestAnalytics } from '../support/analytics.ts';
import { openTempDir, withTempDir } from '../support/temp-dir.ts';
import { tsCommand } from '../support/ts-child.ts';
import { batchOf, counts, rowsOn } from './analytics.contract.ts';

const CHILD = new URL('./analytics-cluster-child.ts', import.meta.url);
const PATH = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

/** A server of which only the bookkeeping is there, and that says yes to everything: for what is asked of it. */
interface Recorder extends Store {
  readonly statements: string[];
}

function recorder(cluster: string | null, shards = 1): Recorder {
  const statements: string[] = [];
  const inserted: InsertBatch[] = [];
  const query = (sql: string): Promise<readonly ResultRow[]> => {
    if (sql.includes('system.clusters')) return Promise.resolve([{ shards }]);
    if (sql.includes('FROM store')) return Promise.resolve(idOf(inserted));
    if (sql.includes('FROM schema_migrations')) return Promise.resolve(appliedOf(inserted));
    const isThere = statements.some((statement) => statement.includes('schema_migrations'));
    return Promise.resolve(isThere ? [{ engine: cluster === null ? 'MergeTree' : 'ReplicatedMergeTree' }] : []);
  };
  const run = (sql: string): Promise<void> => {
    statements.push(sql);
    return Promise.resolve();
  };
  const insert = (batch: InsertBatch): Promise<void> => {
    inserted.push(batch);
    return Promise.resolve();
  };
  return { statements, query, run, insert, cluster, isShared: true, log: null };
}

function idOf(inserted: readonly InsertBatch[]): readonly ResultRow[] {
  const last = inserted.findLast(({ table }) => table === 'store');
  return last === undefined ? [] : [{ text: last.rows[0]?.[0], owner: '' }];
}

function appliedOf(inserted: readonly InsertBatch[]): readonly ResultRow[] {
  return inserted
    .filter(({ table }) => table === 'schema_migrations')
    .map(({ rows }) => ({ name: rows[0]?.[0], checksum: rows[0]?.[1] }));
}

/** Everything that is asked of an empty server, up to its first emptying. */
async function statementsFor(cluster: string | null): Promise<readonly string[]> {
  const store = recorder(cluster);
  await migrate(store, await readMigrations());
  await reset(store);
  return store.statements;
}

describe('the tables on a cluster', () => {
  it('are made, changed and emptied on all replicas, replicated, and remember as many tokens', async () => {
    const [alone, together] = [await statementsFor(null), await statementsFor('notify')];
    expect(together).toHaveLength(alone.length);
    for (const [index, statement] of together.entries()) {
      const before = alone[index] ?? '';
      expect(statement.match(/ ON CLUSTER 'notify'/g)).toHaveLength(1);
      expect(statement.endsWith(' SYNC')).toBe(before.startsWith('TRUNCATE'));
      expect(withoutCluster(statement)).toBe(before);
    }
    const tables = together.filter((statement) => statement.startsWith('CREATE TABLE'));
    expect(tables.map((statement) => /ENGINE = (\w+)\(/.exec(statement)?.[1])).toEqual([
      ...['ReplicatedMergeTree', 'ReplicatedReplacingMergeTree', 'ReplicatedAggregatingMergeTree'],
      ...['ReplicatedSummingMergeTree', 'ReplicatedMergeTree', 'ReplicatedMergeTree'],
    ]);
    expect(tables.filter((statement) => statement.includes(' replicated_deduplication_window = 10000,'))).toHaveLength(
      3,
    );
    expect(together.join('\n')).not.toContain('non_replicated');
  });

  it('parse, statement by statement, and each says what it said before', () =>
    withEngine(async ({ ask }) => {
      for (const statement of await statementsFor('notify')) {
        expect(await ask(`EXPLAIN AST ${statement}`)).toMatch(/^(Create|Truncate)Query/);
        const formatted = await ask(`SELECT formatQuerySingleLine(${quoted(statement)}) FORMAT TSVRaw`);
        expect(formatted).toMatch(/^(CREATE|TRUNCATE) .* ON CLUSTER notify\b/);
        expect(await ask(`SELECT formatQuerySingleLine(${quoted(withoutCluster(formatted))}) FORMAT TSVRaw`)).toBe(
          await ask(`SELECT formatQuerySingleLine(${quoted(withoutCluster(statement))}) FORMAT TSVRaw`),
        );
      }
    }));

  it('are made by an engine with a coordinator, with all of their settings', () =>
    withTempDir(async (folder) => {
      const creates = (await statementsFor('notify')).filter((statement) => statement.startsWith('CREATE'));
      const local = creates.map((statement) => statement.replace(" ON CLUSTER 'notify'", ''));
      const wrong = (local[1] ?? '')
        .replace('IF NOT EXISTS delivery_events', 'other')
        .replace('fsync_after', 'sync_after');
      const answers = await runWithCoordinator(folder, [...local, wrong]);
      expect(answers.slice(0, -1)).toEqual(local.map(() => null));
      expect(answers.at(-1)).toMatch(/UNKNOWN_SETTING/);
    }));

  it('are not asked for again once they are there: a replica that is away would be waited for', async () => {
    const store = recorder('notify');
    await migrate(store, await readMigrations());
    const once = store.statements.length;
    await migrate(store, await readMigrations());
    expect(store.statements).toHaveLength(once);
  });

  it('are made where they are missing once nothing is on record as applied, on a replica that was added', async () => {
    const statements = await statementsFor('notify');
    const creates = statements.filter((statement) => statement.startsWith('CREATE'));
    expect(creates[0]).toContain('schema_migrations');
    for (const statement of creates) expect(statement).toMatch(/^CREATE (TABLE|MATERIALIZED VIEW) IF NOT EXISTS /);
  });

  it.each([
    [0, /is not known to the server/],
    [3, /has 3 shards; one is needed/],
  ])('are refused where the cluster has %i shards', async (shards, message) => {
    const refused = { name: 'AnalyticsError', kind: 'refused', message: expect.stringMatching(message) as unknown };
    const store = recorder('notify', shards);
    await expect(migrate(store, await readMigrations())).rejects.toMatchObject(refused);
    expect(store.statements).toEqual([]);
  });

  it('know views, columns and removals, and refuse what they do not know', () => {
    expect(onCluster('CREATE MATERIALIZED VIEW IF NOT EXISTS a TO b AS SELECT 1', 'c')).toBe(
      "CREATE MATERIALIZED VIEW IF NOT EXISTS a ON CLUSTER 'c' TO b AS SELECT 1",
    );
    expect(onCluster('ALTER TABLE a ADD COLUMN IF NOT EXISTS b String', 'c')).toBe(
      "ALTER TABLE a ON CLUSTER 'c' ADD COLUMN IF NOT EXISTS b String",
    );
    expect(onCluster('DROP VIEW IF EXISTS a', 'c')).toBe("DROP VIEW IF EXISTS a ON CLUSTER 'c' SYNC");
    expect(onCluster('CREATE TABLE a (b Int8) ENGINE = MergeTree ORDER BY b', 'c')).toBe(
      `CREATE TABLE a ON CLUSTER 'c' (b Int8) ENGINE = ReplicatedMergeTree(${PATH}) ORDER BY b`,
    );
    expect(() => onCluster('SYSTEM FLUSH LOGS', 'c')).toThrow(/no statement for a cluster/);
  });

  it('are not made by a server that knows no such cluster; inserts and queries of replicas it understands', () =>
    withEngine(async ({ ask, connect }) => {
      const analytics = connect('notify');
      await expect(analytics.migrate()).rejects.toMatchObject({
        kind: 'refused',
        message: expect.stringMatching(/cluster notify, named by ANALYTICS_CLUSTER, is not known/) as unknown,
      });
      await connect(null).migrate();
      await expect(analytics.migrate()).rejects.toMatchObject({
        kind: 'refused',
        message: expect.stringMatching(/tables are not replicated, and ANALYTICS_CLUSTER names a cluster/) as unknown,
      });
      const batch = batchOf(rowsOn(2, 100));
      await analytics.insert(batch);
      await analytics.insert(batch);
      expect(await counts(analytics)).toEqual({ events: 100, deliveries: 100, updates: 100 });
      expect(await ask('SELECT count() FROM delivery_events')).toBe('100');
    }));
});

describe('what ClickHouse is told', () => {
  it('does not rest on the defaults of a server', () => {
    const { insert } = settingsOf(QUERY_LIMITS, null);
    expect(insert).toMatchObject({
      async_insert: 0,
      insert_deduplicate: 1,
      deduplicate_blocks_in_dependent_materialized_views: 1,
      materialized_views_ignore_errors: 0,
    });
    expect(insert.insert_quorum).toBe(undefined);
  });

  it('is, on a cluster, to answer when a majority has it, and only for what is whole', () => {
    const { query, insert, statement } = settingsOf(QUERY_LIMITS, 'notify');
    expect(insert).toMatchObject({ async_insert: 0, insert_quorum: 'auto', insert_quorum_parallel: 0 });
    expect(query).toMatchObject({ readonly: '2', select_sequential_consistency: '1' });
    expect(statement).toMatchObject({ distributed_ddl_output_mode: 'throw', alter_sync: '2' });
  });
});

/** The statement as it was for one server. */
function withoutCluster(statement: string): string {
  return statement
    .replace(/ ON CLUSTER '?notify'?/, '')
    .replace(/ SYNC$/, '')
    .replace(`Replicated`, '')
    .replace(`(${PATH})`, '')
    .replace(
      / replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = \d+/,
      ' non_replicated_deduplication_window = 10000',
    )
    .replace(
      / replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = \d+/,
      ' non_replicated_deduplication_window = 1000',
    );
}

function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, String.raw`\$&`)}'`;
}

interface WithEngine {
  readonly ask: (sql: string) => Promise<string>;
  readonly connect: (cluster: string | null) => ReturnType<typeof openClickhouse>['value'];
}

async function withEngine(work: (given: WithEngine) => Promise<void>): Promise<void> {
  const { value, stop } = await start(async (scope): Promise<WithEngine> => {
    const server = scope.use(await openTestAnalytics(scope.use(await openTempDir())));
    const ask = async (sql: string): Promise<string> => {
      const response = await askEngine(server, sql);
      const answer = await response.text();
      if (!response.ok) throw new Error(`${sql}\n${answer}`);
      return answer.trim();
    };
    const connect: WithEngine['connect'] = (cluster) => scope.use(openClickhouse(engineOf(server), { cluster }));
    return { ask, connect };
  });
  try {
    await work(value);
  } finally {
    await stop();
  }
}

async function runWithCoordinator(folder: string, statements: readonly string[]): Promise<readonly (string | null)[]> {
  const [command, ...args] = tsCommand(CHILD, [folder]);
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(statements));
  return JSON.parse(await text(child.stdout)) as (string | null)[];
}
