import { createHash, randomUUID } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { AnalyticsError, type Analytics } from './analytics.ts';

/** As much of ClickHouse as migrations need. */
export interface Store extends Pick<Analytics, 'query' | 'insert'> {
  /** Runs one statement that answers nothing. */
  readonly run: (sql: string) => Promise<void>;
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

/** Applies what is missing and answers the id of the store. A file that was applied in part only is applied again. */
export async function migrate(store: Store, migrations: readonly Migration[]): Promise<string> {
  await store.run(BOOKKEEPING);
  const applied = await appliedTo(store);
  refuseUnknown(applied, migrations);
  for (const migration of migrations) await apply(store, migration, applied.get(migration.name));
  return (await idOf(store)) ?? (await renew(store));
}

/** Empties the tables and draws a new id. */
export async function reset(store: Store): Promise<string> {
  await store.run('TRUNCATE TABLE store');
  return renew(store);
}

/*
 * A store without an id is one whose emptying was cut short, or that is new: the old id goes first and the new one comes
 * last, so that no id ever stands for rows that are not all there.
 */
async function renew(store: Store): Promise<string> {
  for (const table of TABLES) await store.run(`TRUNCATE TABLE IF EXISTS ${table}`);
  const id = randomUUID();
  await store.insert({ table: 'store', columns: ['id', 'made_at'], rows: [[id, now()]], token: id });
  return (await idOf(store)) ?? id;
}

async function idOf(store: Store): Promise<string | null> {
  const [row] = await store.query('SELECT toString(id) AS text FROM store ORDER BY made_at, id LIMIT 1');
  return row === undefined ? null : String(row['text']);
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
  for (const statement of statements) await store.run(statement);
  await store.insert({
    table: 'schema_migrations',
    columns: ['name', 'checksum', 'applied_at'],
    rows: [[name, checksum, now()]],
    token: `${name}:${checksum}`,
  });
}

function now(): string {
  return new Date().toISOString().replace('T', ' ').replace('Z', '');
}
