import { maxHeaderSize } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { fastify } from 'fastify';
import { DomainError } from '../errors.ts';
import { MAX_BODY } from './big-bodies.ts';
import type { Drain } from './drain.ts';
import { refuseSocket, sendError, setCommonHeaders } from './http-refusals.ts';
import type { Api, ApiOptions, ApiTimings } from './options.ts';
import { isReceiptPath, RECEIPT_METHODS } from './receipts.ts';

/** What each path without parameters answers to. */
const METHODS: Readonly<Record<string, string>> = {
  '/graphql': 'GET, POST',
  '/sandbox': 'GET',
  '/sandbox/outbox': 'GET',
};

/** What those who look after a process ask it, to the last; nothing of it needs credentials, and nothing tells of people. */
const HEALTH: Readonly<Record<string, string>> = { '/healthz': 'GET', '/metrics': 'GET', '/readyz': 'GET' };

/** What a path answers to; undefined where there is nothing. */
type Methods = (path: string) => string | undefined;

export function methodsOf({ receipts }: Pick<ApiOptions, 'receipts'>): Methods {
  return (path) => (receipts && isReceiptPath(path) ? RECEIPT_METHODS : (METHODS[path] ?? HEALTH[path]));
}

/** Of a process that answers no clients. */
export const methodsOfHealth: Methods = (path) => HEALTH[path];

export interface HttpOptions extends Pick<ApiOptions, 'development' | 'log' | 'newId' | 'observe'> {
  readonly methods: Methods;
}

/** An HTTP server without routes, on which every answer, whatever went wrong, is JSON in GraphQL's form. */
export function createHttp(options: HttpOptions, timings: ApiTimings, drain: Drain): FastifyInstance {
  const { headersMs, requestMs, keepAliveMs } = timings;
  const { methods } = options;
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY,
    // Node bounds the whole head of a request; what is in a path is judged by whoever it is for.
    routerOptions: { maxParamLength: maxHeaderSize },
    genReqId: options.newId,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    requestTimeout: requestMs,
    keepAliveTimeout: keepAliveMs,
    http: { headersTimeout: headersMs, connectionsCheckingInterval: Math.min(headersMs, 5_000) },
    clientErrorHandler: (error, socket) => {
      refuseSocket(socket, error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400, options.newId());
    },
    frameworkErrors: (error, request, reply) => {
      sendError(options, error, request, reply);
    },
  });
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', drain.enter());
    done(admit(request, reply, drain, methods));
  });
  app.addHook('onResponse', (request, reply, done) => {
    options.observe.httpTook(reply.elapsedTime / 1_000, request.routeOptions.url ?? '', reply.statusCode);
    done();
  });
  app.setErrorHandler((error, request, reply) => sendError(options, error, request, reply));
  return app;
}

/** The first thing to happen to a request: its common headers, and whether it gets any further. */
function admit(request: FastifyRequest, reply: FastifyReply, drain: Drain, methods: Methods): DomainError | undefined {
  setCommonHeaders(request, reply);
  const path = request.url.split('?', 1)[0] ?? '';
  if (drain.begun() && HEALTH[path] === undefined) {
    reply.header('connection', 'close');
    return new DomainError('SHUTTING_DOWN', 'this process is stopping');
  }
  return request.is404 ? nothingHere(path, request.method, reply, methods(path)) : undefined;
}

function nothingHere(path: string, method: string, reply: FastifyReply, allowed: string | undefined): DomainError {
  if (allowed === undefined) return new DomainError('NOT_FOUND', 'there is nothing at this path');
  reply.header('allow', allowed);
  return new DomainError('METHOD_NOT_ALLOWED', `${path} answers to ${allowed}, not to ${method}`);
}

/** Lets requests under way end. */
export async function letFinish(drain: Drain, drainMs: number): Promise<void> {
  drain.begin();
  await drain.idle(drainMs);
  // What ended last has still to be written.
  await new Promise((resolve) => setImmediate(resolve));
}

export async function close(app: FastifyInstance): Promise<void> {
  const closed = app.close();
  app.server.closeAllConnections();
  await closed;
}

export function describe(
  bound: AddressInfo | string | null,
  { host, publicUrl }: Pick<ApiOptions, 'host' | 'publicUrl'>,
): Api {
  if (bound === null || typeof bound === 'string') throw new Error('the server listens on no port');
  const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  const listening = `http://${reachable}:${String(bound.port)}`;
  return { url: publicUrl ?? listening, listening };
}
