import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { RawInsertFormat } from 'chdb';
import { stopping, type Lane } from './chdb-lanes.ts';
import {
  insertTarget,
  isRead,
  notSupported,
  oneStatement,
  Refusal,
  withSettings,
  type Settings,
} from './chdb-statement.ts';

export interface EngineHttpOptions {
  readonly password: string;
  /** Inserts and statements that change something. */
  readonly writer: Lane;
  readonly readers: Lane;
  /** Told when the engine has failed inside and refuses everything from now on. */
  readonly onBroken: (reason: string) => void;
}

export interface EngineHttp {
  readonly server: Server;
  /** Takes no more requests. Resolves when those under way have been answered. */
  readonly stop: () => Promise<void>;
}

/** 1,000,000 rows are well below; more would not fit into memory besides the engine. */
const MAX_BODY = 512 * 2 ** 20;

/** As a server has it for addresses (`http_max_uri_size`). */
const MAX_HEADER = 2 ** 20;

/** As much of ClickHouse's HTTP interface as its official client uses, in front of the embedded engine. */
export function openEngineHttp(options: EngineHttpOptions): EngineHttp {
  const state = { open: true };
  const server = createServer({ maxHeaderSize: MAX_HEADER, keepAliveTimeout: 60_000 }, (request, response) => {
    void answer(request, response, options, state)
      .catch((error: unknown) => complaint(error, options))
      .then((reply) => send(response, reply, state))
      .catch(() => response.destroy());
  });
  return {
    server,
    stop: () => {
      state.open = false;
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

interface State {
  readonly open: boolean;
}

interface Reply {
  readonly status: number;
  readonly body: Uint8Array | string;
  readonly headers: Readonly<Record<string, string>>;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: EngineHttpOptions,
  state: State,
): Promise<Reply> {
  const url = addressOf(request);
  if (url.pathname === '/ping') return { status: 200, body: 'Ok.\n', headers: {} };
  if (!isAllowed(request.headers.authorization, options.password)) throw wrongPassword();
  if (url.pathname !== '/') throw new Refusal(404, 48, 'NOT_IMPLEMENTED', `There is no handle ${url.pathname}`);
  if (!state.open) throw stopping();
  const asked = await readRequest(request, url);
  const reply = await execute(asked, options, goneSignal(response));
  if (asked.queryId === undefined || !/^[\w-]+$/.test(asked.queryId)) return reply;
  return { ...reply, headers: { ...reply.headers, 'x-clickhouse-query-id': asked.queryId } };
}

function addressOf({ url = '/' }: IncomingMessage): URL {
  try {
    return new URL(url, 'http://engine');
  } catch {
    throw new Refusal(400, 36, 'BAD_ARGUMENTS', 'The address is not well-formed');
  }
}

/** In ClickHouse's terms, from which the client takes code and type. */
function complaint(error: unknown, { onBroken }: EngineHttpOptions): Reply {
  const message = error instanceof Error ? error.message : String(error);
  if (isBroken(message)) onBroken(message);
  const code = /^Code: (\d+)\./.exec(message)?.[1];
  const body = code === undefined ? `Code: 1002. DB::Exception: ${message}. (UNKNOWN_EXCEPTION)` : message;
  const status = error instanceof Refusal ? error.status : 500;
  return { status, body: `${body}\n`, headers: { 'x-clickhouse-exception-code': code ?? '1002' } };
}

/**
 * Whether a message of the engine says that it has failed inside. Messages quote what was asked, so that the words alone
 * say nothing: they count as the whole of one, or where the engine itself has nothing to quote.
 */
export function isBroken(message: string): boolean {
  if (/^Code: 236\. DB::Exception: The server is shutting down due to a fatal error\b/.test(message)) return true;
  return !/^Code: \d+\./.test(message) && /\bfatal error\b/i.test(message);
}

function send(response: ServerResponse, { status, body, headers }: Reply, { open }: State): void {
  // A connection that stays open holds up the end; and the rest of a body that was refused would pass for a request.
  const ending = open && response.req.complete ? {} : { connection: 'close' };
  response.writeHead(status, { 'content-type': 'text/plain; charset=UTF-8', ...headers, ...ending }).end(body);
}

/** Compares hashes: of equal length whatever was sent. */
function isAllowed(header: string | undefined, password: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = `Basic ${Buffer.from(`default:${password}`).toString('base64')}`;
  return timingSafeEqual(hash(header ?? ''), hash(expected));
}

function wrongPassword(): Refusal {
  const message = 'default: Authentication failed: password is incorrect, or there is no user with such name';
  return new Refusal(403, 516, 'AUTHENTICATION_FAILED', message);
}

/** Aborted when the asker has gone before the answer. */
function goneSignal(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => controller.abort());
  if (response.closed) controller.abort();
  return controller.signal;
}

interface Asked {
  readonly statement: string;
  readonly settings: Settings;
  /** Rows to insert; null when the body was the statement. */
  readonly rows: Buffer | null;
  readonly queryId: string | undefined;
}

/** What a server does with the answer, not the engine with the query. */
const HTTP_ONLY = new Set([
  'wait_end_of_query',
  'buffer_size',
  'enable_http_compression',
  'send_progress_in_http_headers',
]);

/** What has a meaning on a server that would be missed here. */
const NOT_HERE = ['session_id', 'session_timeout', 'session_check', 'role', 'compress', 'decompress', 'quota_key'];

async function readRequest(request: IncomingMessage, url: URL): Promise<Asked> {
  if (request.method !== 'POST') throw notSupported(`the method ${String(request.method)}`);
  if (request.headers['content-encoding'] !== undefined) throw notSupported('compressed bodies');
  const fields = new Map(url.searchParams);
  refuseUnsupported(fields);
  const body = await readBody(request);
  const type = request.headers['content-type'] ?? '';
  if (type.startsWith('multipart/form-data')) {
    for (const [name, value] of await formFields(body, type)) fields.set(name, value);
    return toAsked(fields, null);
  }
  if (fields.has('query')) return toAsked(fields, body);
  return toAsked(fields.set('query', body.toString()), null);
}

function refuseUnsupported(fields: ReadonlyMap<string, string>): void {
  const unsupported = NOT_HERE.find((name) => fields.has(name));
  if (unsupported !== undefined) throw notSupported(unsupported);
  if ((fields.get('database') ?? 'default') !== 'default') throw notSupported('other databases than default');
}

function toAsked(fields: ReadonlyMap<string, string>, rows: Buffer | null): Asked {
  const params = new Map<string, string>();
  const settings = new Map<string, string>();
  for (const [name, value] of fields) {
    if (name.startsWith('param_')) params.set(name.slice('param_'.length), value);
    else if (!HTTP_ONLY.has(name) && !['query', 'query_id', 'database'].includes(name)) settings.set(name, value);
  }
  const statement = oneStatement(fields.get('query') ?? '', params);
  return { statement, settings, rows, queryId: fields.get('query_id') };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) throw tooLarge();
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(): Refusal {
  return new Refusal(413, 307, 'TOO_MANY_BYTES', `The body is larger than ${String(MAX_BODY)} bytes`);
}

/** Parameters that are too long for an address come as a form, together with the query. */
async function formFields(body: Buffer, type: string): Promise<readonly (readonly [string, string])[]> {
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
  return [...form].flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as const] : []));
}

async function execute(asked: Asked, { writer, readers }: EngineHttpOptions, gone: AbortSignal): Promise<Reply> {
  const { statement, settings, rows } = asked;
  if (statement === '') throw new Refusal(400, 62, 'SYNTAX_ERROR', 'Syntax error: Empty query');
  if (rows !== null && rows.length > 0) return insertRows(asked, rows, writer, gone);
  const lane = isRead(statement) ? readers : writer;
  const sql = withSettings(statement, settings);
  const result = await lane.run((session) => session.queryAsync(sql, { format: 'TabSeparated' }), gone);
  const counts = { result_rows: result.rowsRead, result_bytes: result.bytesRead };
  return { status: 200, body: result.bytes(), headers: summary(counts, result.elapsed) };
}

function summary(counts: Readonly<Record<string, number>>, elapsed: number): Reply['headers'] {
  const all = { ...counts, elapsed_ns: Math.round(elapsed * 1e9) };
  const texts = Object.entries(all).map(([name, count]) => [name, String(count)]);
  return { 'x-clickhouse-summary': JSON.stringify(Object.fromEntries(texts)) };
}

async function insertRows(
  { statement, settings }: Asked,
  rows: Buffer,
  writer: Lane,
  gone: AbortSignal,
): Promise<Reply> {
  const { format, ...target } = insertTarget(statement);
  const insert = {
    ...target,
    values: rows,
    // The binding checks it against its list.
    format: format as RawInsertFormat,
    settings: Object.fromEntries(settings),
  };
  const done = await writer.run((session) => session.insert(insert), gone);
  const counts = { written_rows: done.rowsWritten, written_bytes: done.bytesWritten };
  return { status: 200, body: '', headers: summary(counts, done.elapsed) };
}
