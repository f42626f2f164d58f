import { createHash, randomUUID } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { AnalyticsError, type Analytics } from './analytics.ts';
import { checkCluster, onCluster } from './clickhouse-cluster.ts';

/** As much of ClickHouse as migrations need. */
export interface Store extends Pick<Analytics, 'query' | 'insert'> {
  /** Runs one statement that answers nothing. */
  readonly run: (sql: string) => Promise<void>;
  /** Whose replicas all hold the tables; null: one server does. */
  readonly cluster: string | null;
  /** Whether others may have the same tables. */
  readonly isShared: boolean;
  /** The event log that fills them; null: nobody says. */
  readonly log: string | null;
}

/** One file of `schema/analytics`. Every statement may be run again. */
export interface Migration {
  readonly name: string;
  readonly statements: readonly string[];
  /** Of the statements; comments may change. */
  readonly checksum: string;
}

/** Beside `src` and `dist`. */
const FOLDER = new URL('../../../schema/analytics/', import.meta.url);

/** What `reset` empties; the target tables of views as well, they do not follow. */
const TABLES = ['delivery_events', 'deliveries', 'activity_hourly'];

const BOOKKEEPING = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY name
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1`;

/** The files in the order of their names. */
export async function readMigrations(folder: URL = FOLDER): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name) => toMigration(name, await readFile(new URL(encodeURIComponent(name), folder), 'utf8'))),
  );
}

/** Statements end with a semicolon at the end of a line; lines that start with two dashes are comments. */
export function toMigration(name: string, text: string): Migration {
  const code = text.split(/\r?\n/).filter((line) => !/^\s*--/.test(line));
  const statements = code
    .join('\n')
    .split(/;[ \t]*(?:\n|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
  return { name, statements, checksum: createHash('sha256').update(statements.join(';\n')).digest('hex') };
}

/** The file that made room for whose the tables are. */
const OWNERS = '0002-store-owners.sql';

/**
 * Applies what is missing and answers the id of the store. A file that was applied in part only is applied again.
 * @throws AnalyticsError `foreign`, before anything changes, when another log has the tables.
 */
export async function migrate(store: Store, migrations: readonly Migration[]): Promise<string> {
  const isThere = await hasBookkeeping(store);
  if (store.cluster !== null) await checkCluster(store, store.cluster);
  const applied = isThere ? await appliedTo(store) : new Map<string, string>();
  refuseUnknown(applied, migrations);
  if (applied.has(OWNERS)) refuseForeign(store, await found(store));
  // What is there already is not asked for again: a statement for a cluster needs all of its replicas.
  if (migrations.some(({ name }) => !applied.has(name))) await run(store, BOOKKEEPING);
  for (const migration of migrations) await apply(store, migration, applied.get(migration.name));
  const present = await found(store);
  return present === null ? renew(store) : claim(store, present);
}

/** Everything that changes tables goes this way. */
function run(store: Store, statement: string): Promise<void> {
  return store.run(store.cluster === null ? statement : onCluster(statement, store.cluster));
}

/** @throws AnalyticsError where the tables are replicated and ought not to be, or the other way round. */
async function hasBookkeeping({ query, cluster }: Store): Promise<boolean> {
  const sql = "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'";
  const [row] = await query(sql);
  if (row === undefined) return false;
  const isReplicated = String(row['engine']).startsWith('Replicated');
  if (isReplicated === (cluster !== null)) return true;
  const found = isReplicated
    ? 'replicated, and ANALYTICS_CLUSTER names no'
    : 'not replicated, and ANALYTICS_CLUSTER names a';
  throw new AnalyticsError(
    'refused',
    `The analytics tables are ${found} cluster. Set that right, or use another database.`,
  );
}

/** Empties the tables and draws a new id. @throws AnalyticsError `foreign` when another log has them. */
export async function reset(store: Store): Promise<string> {
  refuseForeign(store, await found(store));
  await run(store, 'TRUNCATE TABLE store');
  return renew(store);
}

/*
 * A store without an id is one whose emptying was cut short, or that is new: the old id goes first and the new one comes
 * last, so that no id ever stands for rows that are not all there.
 */
async function renew(store: Store): Promise<string> {
  for (const table of TABLES) await run(store, `TRUNCATE TABLE IF EXISTS ${table}`);
  const id = randomUUID();
  if (store.log !== null) await own(store, id, store.log);
  await store.insert({ table: 'store', columns: ['id', 'made_at'], rows: [[id, now()]], token: id });
  // Somebody else's, where that one was a little earlier.
  const present = await found(store);
  refuseForeign(store, present);
  return present?.id ?? id;
}

/** Tables that nobody's id stands by, of a version that noted none, are of the first log that comes. */
async function claim(store: Store, present: Found): Promise<string> {
  if (present.log === '' && store.log !== null) {
    await own(store, present.id, store.log);
    refuseForeign(store, await found(store));
  } else {
    refuseForeign(store, present);
  }
  return present.id;
}

function own({ insert }: Store, id: string, log: string): Promise<void> {
  const columns = ['store', 'log', 'claimed_at'];
  return insert({ table: 'store_owners', columns, rows: [[id, log, now()]], token: randomUUID() });
}

interface Found {
  readonly id: string;
  /** Empty: nobody's. */
  readonly log: string;
}

async function found({ query }: Store): Promise<Found | null> {
  const [row] = await query(`SELECT toString(s.id) AS text, ifNull(o.log, '') AS owner
    FROM store AS s LEFT JOIN store_owners AS o ON o.store = s.id
    ORDER BY s.made_at, s.id, o.claimed_at, o.log LIMIT 1`);
  return row === undefined ? null : { id: String(row['text']), log: String(row['owner']) };
}

/** The embedded engine has one owner at a time; a log that was made anew fills its tables again. */
function refuseForeign({ isShared, log }: Store, present: Found | null): void {
  if (!isShared || log === null || present === null || present.log === '' || present.log === log) return;
  throw new AnalyticsError(
    'refused',
    'The analytics tables in the database that ANALYTICS_URL names belong to another event log: to another Heliograph, or ' +
      'to this one before its log was made anew. Name another database there; or, if nobody writes these tables any more, ' +
      'drop them or empty the table `store`: they are filled again from this log.',
    { refusal: 'foreign' },
  );
}

async function appliedTo(store: Store): Promise<ReadonlyMap<string, string>> {
  const rows = await store.query('SELECT name, any(checksum) AS checksum FROM schema_migrations GROUP BY name');
  return new Map(rows.map((row) => [String(row['name']), String(row['checksum'])]));
}

function refuseUnknown(applied: ReadonlyMap<string, string>, migrations: readonly Migration[]): void {
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = [...applied.keys()].filter((name) => !known.has(name)).sort();
  if (unknown.length === 0) return;
  throw new AnalyticsError(
    'refused',
    `The analytics tables were made by a newer version of Heliograph (${unknown.join(', ')}). ` +
      'Start that version, or drop the tables: they are filled again from the log.',
  );
}

async function apply(store: Store, migration: Migration, applied: string | undefined): Promise<void> {
  const { name, statements, checksum } = migration;
  if (applied === checksum) return;
  if (applied !== undefined) {
    throw new AnalyticsError(
      'refused',
      `schema/analytics/${name} has changed since it was applied. Put it back and write the change as another file, ` +
        'or drop the analytics tables: they are filled again from the log.',
    );
  }
  for (const statement of statements) await run(store, statement);
  await store.insert({
    table: 'schema_migrations',
    columns: ['name', 'checksum', 'applied_at'],
    rows: [[name, checksum, now()]],
    // Not the same for the same file: what was emptied is to be filled again.
    token: randomUUID(),
  });
}

function now(): string {
  return new Date().toISOString().replace('T', ' ').replace('Z', '');
}
