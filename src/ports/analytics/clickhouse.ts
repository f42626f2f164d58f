import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createClient, type ClickHouseClient, type ClickHouseSettings, type ResultSet } from '@clickhouse/client';
import {
  AnalyticsError,
  type Analytics,
  type Cell,
  type InsertBatch,
  type QueryParams,
  type ResultRow,
} from './analytics.ts';
import { analyticsError, checkIsClickhouse, type Operation } from './clickhouse-errors.ts';
import { openTurns } from './clickhouse-turns.ts';
import { QUERY_LIMITS, settingsOf, type QueryLimits } from './clickhouse-settings.ts';
import { migrate, readMigrations, reset, type Store } from './migrations.ts';
import type { Started } from '../../lifecycle.ts';

export { QUERY_LIMITS, type QueryLimits };

export interface ClickhouseAddress {
  /** `http://` or `https://`, host and port. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** `default` unless told otherwise. It must be there. */
  readonly database?: string;
}

export interface ClickhouseOptions {
  readonly limits?: QueryLimits;
  /** How long closing waits for what is under way, in milliseconds. */
  readonly patienceMs?: number;
  /** The cluster whose replicas all hold the tables; null: this server alone. */
  readonly cluster?: string | null;
  /** Until a request is given up, in milliseconds. */
  readonly timeoutMs?: Partial<Timeouts>;
}

const PATIENCE_MS = 2_000;

/** A ClickHouse server over HTTP. Nothing is asked of it before the first call. */
export function openClickhouse(address: ClickhouseAddress, options: ClickhouseOptions = {}): Started<Analytics> {
  const { limits = QUERY_LIMITS, patienceMs = PATIENCE_MS, cluster = null, timeoutMs } = options;
  const client = connectTo(address);
  const value = openAnalyticsOver({
    client: () => Promise.resolve(client),
    close: () => client.close(),
    limits,
    patienceMs,
    isShared: true,
    cluster,
    timeoutMs: { ...TIMEOUT_MS, ...timeoutMs },
  });
  return { value, stop: () => value.close() };
}

/** A client of one address. Whoever makes it closes it. */
export function connectTo({ url, username, password, database = 'default' }: ClickhouseAddress): ClickHouseClient {
  return createClient({
    url,
    username,
    password,
    database,
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
  /** Whether others may have the same tables. */
  readonly isShared: boolean;
  readonly cluster?: string | null;
  readonly timeoutMs?: Timeouts;
}

type Timeouts = Readonly<Record<Operation, number>>;

/** Until a request is given up, from the call on, in milliseconds. Above the limits that the engine is told. */
const TIMEOUT_MS: Timeouts = { query: 30_000, insert: 150_000, statement: 150_000 };

/** So that an insert stays one block, here and in every view target: its rows are taken as one piece or not at all. */
const MAX_ROWS = 1_000_000;

const IDENTIFIER = /^[A-Za-z_]\w*$/;

/** The port over a connection to ClickHouse. */
export function openAnalyticsOver(connection: Connection): Analytics {
  const { limits, isShared, cluster = null } = connection;
  const { ask, close } = openGate(connection);
  const settings = settingsOf(limits, cluster);
  const among = openTurns(MAX_QUERIES);
  const alone = openTurns(1);
  const query = (sql: string, params: QueryParams = {}): Promise<readonly ResultRow[]> =>
    ask('query', (client, abort_signal) =>
      among(async () => {
        const asked = {
          query: sql,
          query_params: params,
          format: 'JSONEachRow',
          clickhouse_settings: settings.query,
          abort_signal,
        } as const;
        const answer = await client.query(asked);
        return rowsOf(answer);
      }, abort_signal),
    );
  const run = (sql: string): Promise<void> =>
    ask('statement', async (client, abort_signal) => {
      const statement = { query: sql, clickhouse_settings: settings.statement, abort_signal };
      checkIsClickhouse((await client.command(statement)).response_headers);
    });
  const insert = (batch: InsertBatch): Promise<void> =>
    ask('insert', (client, signal) => sendBatch(client, batch, { settings: settings.insert, signal }));
  const storeFor = (log: string | null): Store => ({ query, run, insert, cluster, isShared, log });
  return {
    migrate: (log) => alone(async () => migrate(storeFor(log ?? null), await readMigrations())),
    reset: (log) => alone(() => reset(storeFor(log ?? null))),
    insert,
    query,
    close,
  };
}

/** Lets requests through until it is closed, each with its time limit, and tells every failure in the port's terms. */
function openGate({ client, close, patienceMs, timeoutMs = TIMEOUT_MS }: Connection): Gate {
  const underWay = new Set<Promise<unknown>>();
  let closed: Promise<void> | undefined;
  const ask: Gate['ask'] = async (operation, work) => {
    if (closed) throw new AnalyticsError('unavailable', 'the connection to ClickHouse is closed');
    const answer = withinTime(operation, timeoutMs[operation], async (signal) => work(await client(), signal));
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

async function withinTime<T>(
  operation: Operation,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
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

async function rowsOf(answer: ResultSet<'JSONEachRow'>): Promise<readonly ResultRow[]> {
  try {
    checkIsClickhouse(answer.response_headers);
  } catch (error) {
    answer.close();
    throw error;
  }
  return answer.json<ResultRow>();
}

interface Sending {
  readonly settings: ClickHouseSettings;
  readonly signal: AbortSignal;
}

async function sendBatch(client: ClickHouseClient, batch: InsertBatch, { settings, signal }: Sending): Promise<void> {
  const { table, columns, rows, token } = checked(batch);
  const { stream, response_headers } = await client.exec({
    query: `INSERT INTO ${table} (${columns.join(', ')}) FORMAT JSONCompactEachRow`,
    values: Readable.from(lines(rows), { objectMode: false }),
    clickhouse_settings: { ...settings, insert_deduplication_token: token },
    abort_signal: signal,
  });
  // Nothing comes, but until it has been read the connection is not free.
  await finished(stream.resume());
  checkIsClickhouse(response_headers);
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

/** Every failure reaches the caller, who decides what is worth a line. */
class Silent {
  readonly trace = (): void => undefined;
  readonly debug = (): void => undefined;
  readonly info = (): void => undefined;
  readonly warn = (): void => undefined;
  readonly error = (): void => undefined;
}
