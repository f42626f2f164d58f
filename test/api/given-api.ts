import { once } from 'node:events';
import { afterEach } from 'vitest';
import { WebSocket } from 'ws';
import type { ApiOptions } from '../../src/api/options.ts';
import { openApi } from '../../src/api/server.ts';
import type { Fake } from './fake.ts';
import { createFake, SECRET, UNOBSERVED } from './fake.ts';

export interface TestApi {
  /** Where it listens. */
  readonly url: string;
  /** Where clients are told to reach it. */
  readonly publicUrl: string;
  readonly port: number;
  readonly fake: Fake;
  /** Messages logged as warnings. */
  readonly warnings: string[];
  /** What was logged as an error. */
  readonly errors: object[];
  readonly stop: () => Promise<void>;
}

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** A server on a free port of loopback, stopped after the test; the client `key` may do everything. */
export async function givenApi(options: Partial<ApiOptions> = {}): Promise<TestApi> {
  const fake = createFake();
  fake.addClient({ appKey: 'key' });
  const errors: object[] = [];
  const warnings: string[] = [];
  const started = await openApi({
    host: '127.0.0.1',
    port: 0,
    publicUrl: null,
    development: false,
    commands: fake.commands,
    queries: fake.queries,
    funnels: fake.readModels.funnels,
    funnelUpdates: fake.readModels.funnelUpdates,
    deliveryUpdates: fake.readModels.deliveryUpdates,
    queues: () => Promise.resolve([{ name: 'email.bulk', depth: 2 ** 40, retrying: 0, dead: 0, oldestSeconds: 1.5 }]),
    head: () => Promise.resolve('cursor-0'),
    ready: () => ({ ready: true, reasons: [] }),
    sandbox: null,
    receipts: null,
    ...UNOBSERVED,
    log: { error: (fields) => errors.push(fields), warn: (_fields, message) => warnings.push(message) },
    newId: countingIds(),
    ...options,
  });
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= started.stop());
  stops.push(stop);
  const { url: publicUrl, listening } = started.value;
  return { url: listening, publicUrl, port: Number(new URL(listening).port), fake, errors, warnings, stop };
}

function countingIds(): () => string {
  let last = 0;
  return () => `request-${String(++last)}`;
}

export function basic(appKey = 'key', appSecret = SECRET): string {
  return `Basic ${Buffer.from(`${appKey}:${appSecret}`).toString('base64')}`;
}

export interface GraphqlError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: { readonly code: string; readonly field?: string; readonly requestId?: string };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly data: Record<string, unknown> | null | undefined;
  readonly errors: readonly GraphqlError[];
  /** Of the first error. */
  readonly code: string | undefined;
  readonly field: string | undefined;
}

/** POSTs an operation as a client would. */
export function ask(
  { url }: Pick<TestApi, 'url'>,
  query: string,
  variables?: Record<string, unknown>,
  authorization: string | null = basic(),
): Promise<Answer> {
  return fetchAnswer(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(authorization !== null && { authorization }) },
    body: JSON.stringify({ query, variables }),
  });
}

export async function fetchAnswer(url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, init);
  const text = await response.text();
  const body = text === '' ? {} : (JSON.parse(text) as { data?: Answer['data']; errors?: GraphqlError[] });
  const errors = body.errors ?? [];
  const { code, field } = errors[0]?.extensions ?? {};
  return { status: response.status, headers: response.headers, text, data: body.data, errors, code, field };
}

export interface Message {
  readonly type: string;
  readonly id?: string;
  readonly payload?: unknown;
}

export interface TestSocket {
  readonly ws: WebSocket;
  readonly messages: Message[];
  readonly send: (message: object | string) => void;
  readonly subscribe: (id: string, query: string, variables?: Record<string, unknown>) => void;
  /** The first message that fits, now or later. */
  readonly next: (fits: (message: Message) => boolean) => Promise<Message>;
  readonly closed: Promise<number>;
}

/** Opens a WebSocket and keeps what it hears. Rejects when the server refuses the upgrade. */
export async function openSocket(
  { port }: Pick<TestApi, 'port'>,
  {
    protocol = 'graphql-transport-ws',
    headers = {},
  }: { readonly protocol?: string | null; readonly headers?: Record<string, string> } = {},
): Promise<TestSocket> {
  const ws = new WebSocket(`ws://127.0.0.1:${String(port)}/graphql`, protocol === null ? [] : [protocol], { headers });
  const messages: Message[] = [];
  ws.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString()) as Message));
  const closed = new Promise<number>((resolve) => ws.once('close', resolve));
  stops.push(() => {
    ws.terminate();
    return Promise.resolve();
  });
  await once(ws, 'open');
  const send = (message: object | string): void => {
    ws.send(typeof message === 'string' ? message : JSON.stringify(message));
  };
  return {
    ws,
    messages,
    send,
    subscribe: (id, query, variables) => {
      send({ type: 'subscribe', id, payload: { query, variables } });
    },
    next: async (fits) => {
      for (;;) {
        const found = messages.find(fits);
        if (found) return found;
        await once(ws, 'message', { signal: AbortSignal.timeout(5_000) });
      }
    },
    closed,
  };
}

/** A socket that is ready for operations. */
export async function connect(api: TestApi, authorization = basic()): Promise<TestSocket> {
  const socket = await openSocket(api);
  socket.send({ type: 'connection_init', payload: { authorization } });
  await socket.next(({ type }) => type === 'connection_ack');
  return socket;
}

/** The answer to one operation over a WebSocket. */
export async function askSocket(
  socket: TestSocket,
  id: string,
  query: string,
  variables?: Record<string, unknown>,
): Promise<{ readonly data?: unknown; readonly errors: readonly GraphqlError[] }> {
  socket.subscribe(id, query, variables);
  const { type, payload } = await socket.next((message) => message.id === id && message.type !== 'complete');
  if (type === 'error') return { errors: payload as GraphqlError[] };
  return { errors: [], ...(payload as { data?: unknown; errors?: GraphqlError[] }) };
}
