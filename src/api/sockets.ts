import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { GraphQLSchema } from 'graphql';
import type { Server as GraphqlServer } from 'graphql-ws';
import { CloseCode, handleProtocols } from 'graphql-ws';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import type { Started } from '../lifecycle.ts';
import type { Drain } from './drain.ts';
import type { Connection } from './graphql-ws.ts';
import { createGraphqlWs, isWelcome, SLOW, slowReason } from './graphql-ws.ts';
import { MAX_BODY, MAX_STRANGERS_BODY } from './big-bodies.ts';
import { refuseSocket } from './http-refusals.ts';
import { openOperations } from './operations.ts';
import type { ApiOptions, ApiTimings } from './options.ts';
import type { Outbox } from './outbox.ts';
import { MAX_STRANGERS_WAITING, MAX_WAITING, openOutbox } from './outbox.ts';

/** For the closing handshake, in milliseconds. */
const CLOSE_PATIENCE = 1_000;

interface Setting {
  readonly options: ApiOptions;
  readonly timings: ApiTimings;
  readonly drain: Drain;
  readonly schema: GraphQLSchema;
}

interface Socket {
  readonly ws: WebSocket;
  readonly connection: Connection;
  readonly outbox: Outbox;
  /** Since the last ping it has said something that only a living peer says. */
  alive: boolean;
}

/** Serves GraphQL on WebSockets at /graphql of `server`. `stop` closes them with 1001. */
export function openSockets(server: HttpServer, { options, timings, drain, schema }: Setting): Started<void> {
  const wss = new WebSocketServer({ noServer: true, maxPayload: MAX_BODY, handleProtocols });
  const graphql = createGraphqlWs({ ...options, schema, drain, initMs: timings.initMs });
  const sockets = new Set<Socket>();
  server.on('upgrade', (request, stream, head) => {
    stream.on('error', () => stream.destroy());
    const status = refusalStatus(request, options, drain);
    if (status !== null) refuseSocket(stream, status, options.newId());
    else
      wss.handleUpgrade(request, stream, head, (ws) => {
        serve(ws, graphql, sockets, options);
      });
  });
  const pings = setInterval(() => {
    for (const socket of sockets) ping(socket, options.log);
  }, timings.pingMs);
  const rechecks = setInterval(() => {
    void recheck(sockets, options);
  }, timings.recheckMs);
  const stop = async (): Promise<void> => {
    clearInterval(pings);
    clearInterval(rechecks);
    await Promise.all([...sockets].map(sayGoodbye));
    wss.close();
  };
  return { value: undefined, stop };
}

/** Null: welcome. Programs send no Origin; pages do, and must come from where this server is. */
function refusalStatus(
  { url, headers }: IncomingMessage,
  { publicUrl }: ApiOptions,
  drain: Drain,
): 403 | 404 | 503 | null {
  if (drain.begun()) return 503;
  if (url?.split('?', 1)[0] !== '/graphql') return 404;
  const { origin, host } = headers;
  if (origin === undefined) return null;
  const isPublic = publicUrl !== null && origin === new URL(publicUrl).origin;
  const isOurs = URL.canParse(origin) && new URL(origin).host === host;
  return isPublic || isOurs ? null : 403;
}

function serve(ws: WebSocket, graphql: GraphqlServer<Connection>, sockets: Set<Socket>, options: ApiOptions): void {
  const { log, observe } = options;
  const isStranger = (): boolean => connection.authorization === null;
  const outbox = openOutbox(ws, {
    limit: () => (isStranger() ? MAX_STRANGERS_WAITING : MAX_WAITING),
    onFull: (bytes) => {
      log.warn({ bytes }, 'a WebSocket client reads less than it asks for');
      outbox.cut(SLOW, slowReason(null));
    },
  });
  const { send, turn } = outbox;
  const close: Connection['close'] = (code, reason) => {
    // A stranger may let wait what it likes.
    if (isStranger()) outbox.cut(code, reason);
    else outbox.close(code, reason);
  };
  const connection: Connection = {
    ...{ close, turn },
    send: (data) => void send(data),
    authorization: null,
    operations: openOperations(),
  };
  const socket: Socket = { ws, connection, outbox, alive: true };
  const fail = (err: unknown): void => {
    log.error({ err }, 'a WebSocket failed');
    close(CloseCode.InternalServerError, 'Internal server error');
  };
  sockets.add(socket);
  observe.socketsOpen(sockets.size);
  const onMessage = (handle: (data: string) => Promise<void>): void => {
    ws.on('message', (data) => {
      const text = textOf(data);
      // Reading JSON blocks everybody: strangers get to send no more of it than over HTTP.
      if (isStranger() && text.length > MAX_STRANGERS_BODY) close(1009, 'Message too big');
      else handle(text).catch(fail);
    });
  };
  const closed = graphql.opened({ protocol: ws.protocol, send, close, onMessage }, connection);
  ws.on('pong', () => {
    // One that is closing has until the end of the pings' patience to finish that, whatever it says.
    if (!outbox.isClosing()) socket.alive = true;
  });
  // Broken frames and frames over the limit: ws itself closes with the code that says so.
  ws.on('error', (err) => {
    log.warn({ err }, 'a WebSocket client broke the protocol');
  });
  ws.on('close', (code, reason) => {
    sockets.delete(socket);
    observe.socketsOpen(sockets.size);
    closed(code, reason.toString()).catch(fail);
  });
}

function textOf(data: Buffer | ArrayBuffer | Buffer[]): string {
  return Buffer.isBuffer(data)
    ? data.toString()
    : Buffer.concat([data].flat().map((part) => new Uint8Array(part))).toString();
}

/** Whoever is at a long message answers a ping late. While that gets on, it says as much as an answer. */
function ping(socket: Socket, log: ApiOptions['log']): void {
  const { ws, outbox } = socket;
  const beat = outbox.beat();
  if (beat === 'moving' && !outbox.isClosing()) socket.alive = true;
  if (beat === 'stuck') log.warn({ bytes: ws.bufferedAmount }, 'a WebSocket client does not read');
  if (beat === 'stuck' || !socket.alive) {
    ws.terminate();
    return;
  }
  socket.alive = false;
  ws.ping();
}

/** Cuts off clients that were revoked, or whose secret ran out, since they connected. */
async function recheck(sockets: ReadonlySet<Socket>, options: ApiOptions): Promise<void> {
  try {
    const all = new Set([...sockets].map(({ connection }) => connection.authorization));
    for (const authorization of all) {
      if (authorization === null || (await isWelcome(options, authorization))) continue;
      const theirs = [...sockets].filter(({ connection }) => connection.authorization === authorization);
      theirs.forEach(({ connection }) => {
        connection.close(CloseCode.Forbidden, 'Forbidden');
      });
    }
  } catch (err) {
    options.log.warn({ err }, 'the clients behind open WebSockets could not be checked');
  }
}

/** Resolves once it is closed, by force if need be. */
function sayGoodbye({ ws, connection }: Socket): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => {
      ws.terminate();
    }, CLOSE_PATIENCE);
    ws.once('close', () => {
      clearTimeout(force);
      resolve();
    });
    connection.close(1001, 'Going away');
  });
}
