import type { FastifyInstance } from 'fastify';
import type { Scope, Started } from '../lifecycle.ts';
import { start } from '../lifecycle.ts';
import { bigBodiesOfClientsOnly } from './big-bodies.ts';
import type { Drain } from './drain.ts';
import { openDrain } from './drain.ts';
import { isForPeople, sendGraphiql } from './graphiql.ts';
import { openGraphqlHttp } from './graphql-http.ts';
import { addHealth } from './health.ts';
import { close, createHttp, describe, letFinish, methodsOf } from './http.ts';
import type { Api, ApiOptions, ApiTimings } from './options.ts';
import { DEFAULT_TIMINGS } from './options.ts';
import { addPages } from './pages.ts';
import { addReceipts } from './receipts.ts';
import { createSchema } from './schema.ts';
import { openSockets } from './sockets.ts';

/**
 * Opens the edge: GraphQL over HTTP and WebSocket, receipts, health and the sandbox's pages, on one port.
 *
 * `stop` refuses what is new with SHUTTING_DOWN, lets requests under way finish for up to `drainMs`, closes
 * WebSockets with 1001, and then the port.
 */
export function openApi(options: ApiOptions): Promise<Started<Api>> {
  return start(async (scope) => {
    const timings = { ...DEFAULT_TIMINGS, ...options.timings };
    const drain = openDrain();
    const app = createHttp({ ...options, methods: methodsOf(options) }, timings, drain);
    scope.use({ value: undefined, stop: () => close(app) });
    await addRoutes(app, options, { scope, drain, timings });
    scope.use({ value: undefined, stop: () => letFinish(drain, timings.drainMs) });
    await app.listen({ host: options.host, port: options.port });
    return describe(app.server.address(), options);
  });
}

interface Running {
  readonly scope: Scope;
  readonly drain: Drain;
  readonly timings: ApiTimings;
}

async function addRoutes(app: FastifyInstance, options: ApiOptions, { scope, drain, timings }: Running): Promise<void> {
  const schema = createSchema();
  const graphql = scope.use(await openGraphqlHttp(options, schema));
  addHealth(app, options, drain);
  addPages(app, options);
  await addReceipts(app, options, () => describe(app.server.address(), options).url);
  app.route({
    method: ['GET', 'POST'],
    url: '/graphql',
    preParsing: bigBodiesOfClientsOnly(options),
    handler: (request, reply) =>
      options.development && isForPeople(request) ? sendGraphiql(reply) : graphql(request, reply),
  });
  scope.use(openSockets(app.server, { options, timings, drain, schema }));
}
