import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createClient, type ClickHouseClient, type ClickHouseSettings } from '@clickhouse/client';
import {
  AnalyticsError,
  type Analytics,
  type Cell,
  type InsertBatch,
  type QueryParams,
  type ResultRow,
} from './analytics.ts';
import { analyticsError, type Operation } from './clickhouse-errors.ts';
import { openTurns } from './clickhouse-turns.ts';
import { migrate, readMigrations, reset, type Store } from './migrations.ts';
import type { Started } from '../../lifecycle.ts';

export interface ClickhouseAddress {
  /** `http://` or `https://`, host and port. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
}

/** What one query may use. */
export interface QueryLimits {
  readonly seconds: number;
  readonly memoryBytes: number;
}

export const QUERY_LIMITS: QueryLimits = { seconds: 20, memoryBytes: 2 ** 30 };

export interface ClickhouseOptions {
  readonly limits?: QueryLimits;
  /** How long closing waits for what is under way, in milliseconds. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 2_000;

/** A ClickHouse server over HTTP. Nothing is asked of it before the first call. */
export function openClickhouse(address: ClickhouseAddress, options: ClickhouseOptions = {}): Started<Analytics> {
  const { limits = QUERY_LIMITS, patienceMs = PATIENCE_MS } = options;
  const client = connectTo(address);
  const value = openAnalyticsOver({
    client: () => Promise.resolve(client),
    close: () => client.close(),
    limits,
    patienceMs,
  });
  return { value, stop: () => value.close() };
}

/** A client of one address. Whoever makes it closes it. */
export function connectTo({ url, username, password }: ClickhouseAddress): ClickHouseClient {
  return createClient({
    url,
    username,
    password,
    // Queries have fewer, so that an insert never waits for one.
    max_open_connections: MAX_QUERIES + 10,
    // The silence after which the socket is given up; the limits below are those of whole requests.
    request_timeout: TIMEOUT_MS.insert,
    use_multipart_params_auto: true,
    keep_alive: { eagerly_destroy_stale_sockets: true },
    application: 'heliograph',
    log: { LoggerClass: Silent },
  });
}

/** Queries at the same time; the others wait here. Twice as many as an engine of two cores can use. */
const MAX_QUERIES = 8;

/** What the port needs of the side that holds the connection. */
export interface Connection {
  /** The client to ask now. @throws AnalyticsError while there is none. */
  readonly client: () => Promise<ClickHouseClient>;
  /** Ends it. Called once, when nothing is under way any more or `patienceMs` have passed. */
  readonly close: () => Promise<void>;
  readonly limits: QueryLimits;
  /** How long closing waits for what is under way, in milliseconds. */
  readonly patienceMs: number;
}

/** Until a request is given up, from the call on, in milliseconds. Above the limits that the engine is told. */
const TIMEOUT_MS: Readonly<Record<Operation, number>> = { query: 30_000, insert: 150_000, statement: 150_000 };

/** So that an insert stays one block, here and in every view target: its rows are taken as one piece or not at all. */
const MAX_ROWS = 1_000_000;

const IDENTIFIER = /^[A-Za-z_]\w*$/;

/** The port over a connection to ClickHouse. */
export function openAnalyticsOver(connection: Connection): Analytics {
  const { ask, close } = openGate(connection);
  const among = openTurns(MAX_QUERIES);
  const alone = openTurns(1);
  const query = (sql: string, params: QueryParams = {}): Promise<readonly ResultRow[]> =>
    ask('query', (client, abort_signal) =>
      among(async () => {
        const clickhouse_settings = querySettings(connection.limits);
        const asked = {
          query: sql,
          query_params: params,
          format: 'JSONEachRow',
          clickhouse_settings,
          abort_signal,
        } as const;
        return (await client.query(asked)).json<ResultRow>();
      }, abort_signal),
    );
  const run = (sql: string): Promise<void> =>
    ask('statement', async (client, abort_signal) => {
      await client.command({ query: sql, clickhouse_settings: STATEMENT_SETTINGS, abort_signal });
    });
  const insert = (batch: InsertBatch): Promise<void> =>
    ask('insert', (client, signal) => sendBatch(client, batch, signal));
  const store: Store = { query, run, insert };
  return {
    migrate: () => alone(async () => migrate(store, await readMigrations())),
    reset: () => alone(() => reset(store)),
    insert,
    query,
    close,
  };
}

/** Lets requests through until it is closed, each with its time limit, and tells every failure in the port's terms. */
function openGate({ client, close, patienceMs }: Connection): Gate {
  const underWay = new Set<Promise<unknown>>();
  let closed: Promise<void> | undefined;
  const ask: Gate['ask'] = async (operation, work) => {
    if (closed) throw new AnalyticsError('unavailable', 'the connection to ClickHouse is closed');
    const answer = withinTime(operation, async (signal) => work(await client(), signal));
    underWay.add(answer);
    try {
      return await answer;
    } catch (error) {
      throw analyticsError(error, operation);
    } finally {
      underWay.delete(answer);
    }
  };
  const end = async (): Promise<void> => {
    await settled(underWay, patienceMs);
    await close();
  };
  return { ask, close: () => (closed ??= end()) };
}

interface Gate {
  readonly ask: <T>(
    operation: Operation,
    work: (client: ClickHouseClient, signal: AbortSignal) => Promise<T>,
  ) => Promise<T>;
  readonly close: () => Promise<void>;
}

async function withinTime<T>(operation: Operation, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const limitMs = TIMEOUT_MS[operation];
  const timer = setTimeout(() => controller.abort(), limitMs);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    const message = `ClickHouse gave no answer to the ${operation} within ${String(limitMs)} ms`;
    throw new AnalyticsError('unavailable', message, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function settled(work: Iterable<Promise<unknown>>, patienceMs: number): Promise<void> {
  const all = Promise.allSettled(work);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  await Promise.race([all, late]);
  clearTimeout(timer);
}

async function sendBatch(client: ClickHouseClient, batch: InsertBatch, abort_signal: AbortSignal): Promise<void> {
  const { table, columns, rows, token } = checked(batch);
  const { stream } = await client.exec({
    query: `INSERT INTO ${table} (${columns.join(', ')}) FORMAT JSONCompactEachRow`,
    values: Readable.from(lines(rows), { objectMode: false }),
    clickhouse_settings: { ...INSERT_SETTINGS, insert_deduplication_token: token },
    abort_signal,
  });
  // Nothing comes, but until it has been read the connection is not free.
  await finished(stream.resume());
}

function checked(batch: InsertBatch): InsertBatch {
  const { table, columns, rows, token } = batch;
  const wrong = [table, ...columns].find((name) => !IDENTIFIER.test(name));
  if (wrong !== undefined) throw new AnalyticsError('refused', `not a name of a table or column: ${wrong}`);
  if (columns.length === 0) throw new AnalyticsError('refused', 'a batch without columns');
  if (rows.length < 1 || rows.length > MAX_ROWS) {
    throw new AnalyticsError('refused', `a batch holds 1 to ${String(MAX_ROWS)} rows, not ${String(rows.length)}`);
  }
  if (token === '') throw new AnalyticsError('refused', 'a batch without a token');
  return batch;
}

/** Encodes piece by piece. A socket on the same machine may take all of them in one turn of the event loop, so it turns here. */
async function* lines(rows: InsertBatch['rows']): AsyncGenerator<string> {
  for (let from = 0; from < rows.length; from += ROWS_A_CHUNK) {
    const chunk = rows.slice(from, from + ROWS_A_CHUNK);
    yield chunk.map((row: readonly Cell[]) => `${JSON.stringify(row)}\n`).join('');
    await nextTurn();
  }
}

const ROWS_A_CHUNK = 200;

const INSERT_SETTINGS: ClickHouseSettings = {
  // The answer says what became of the rows, and a token names exactly these rows.
  async_insert: 0,
  wait_end_of_query: 1,
  insert_deduplicate: 1,
  // Also what views derive: a repetition completes those that an insert did not reach.
  deduplicate_blocks_in_dependent_materialized_views: 1,
  materialized_views_ignore_errors: 0,
  // One block in, one block out of every view: the same rows always get the same numbers under a token.
  input_format_parallel_parsing: 0,
  max_insert_threads: '1',
  max_insert_block_size: '1048449',
  min_insert_block_size_rows: '1048449',
  min_insert_block_size_bytes: '0',
  max_partitions_per_insert_block: '0',
  // A null for a column that has none is a mistake, not a zero.
  input_format_null_as_default: 0,
  max_execution_time: 120,
};

/** What takes long in such a statement is the wait for others to let go of the table. */
const STATEMENT_SETTINGS: ClickHouseSettings = {
  wait_end_of_query: 1,
  max_table_size_to_drop: '0',
  max_execution_time: 120,
  lock_acquire_timeout: 60,
};

function querySettings({ seconds, memoryBytes }: QueryLimits): ClickHouseSettings {
  return {
    readonly: '2',
    // Nothing is sent before the end, so that an error never comes in the middle of an answer.
    wait_end_of_query: 1,
    cancel_http_readonly_queries_on_client_close: 1,
    max_execution_time: seconds,
    max_memory_usage: String(memoryBytes),
    max_threads: 2,
    // Half of what reading a hundred parts took with ClickHouse's own 65,409 rows, in the same time (measured).
    max_block_size: '8192',
    // Nothing goes to the disk: it counts what is being read as well, so that it began with the first block, wrote a file for
    // each and took ten times as long and three times the memory (measured).
    max_bytes_before_external_group_by: '0',
    max_bytes_ratio_before_external_group_by: 0,
    max_bytes_before_external_sort: '0',
    max_bytes_ratio_before_external_sort: 0,
    max_result_rows: '1000000',
    max_result_bytes: String(2 ** 28),
    output_format_json_quote_64bit_integers: 0,
    do_not_merge_across_partitions_select_final: 1,
    // Groups that begin with what the table is ordered by are done one after the other.
    optimize_aggregation_in_order: 1,
  };
}

/** Every failure reaches the caller, who decides what is worth a line. */
class Silent {
  readonly trace = (): void => undefined;
  readonly debug = (): void => undefined;
  readonly info = (): void => undefined;
  readonly warn = (): void => undefined;
  readonly error = (): void => undefined;
}
