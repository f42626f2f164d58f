import { Readable } from 'node:stream';
import type { ApolloServerPlugin, HTTPGraphQLResponse } from '@apollo/server';
import { ApolloServer, HeaderMap } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { GraphQLSchema, OperationDefinitionNode } from 'graphql';
import { OperationTypeNode } from 'graphql';
import type { Started } from '../lifecycle.ts';
import { authenticate } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { createContext } from './context.ts';
import { openDocumentStore } from './document-store.ts';
import { checkCost } from './cost.ts';
import { formatError } from './format-error.ts';
import { checkSource, LIMITS, validationRules } from './limits.ts';
import type { ApiOptions } from './options.ts';
import { refusal } from './refusal.ts';
import { checkSubscriptionRootsIn } from './subscription-roots.ts';

export type GraphqlHandler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** Answers GraphQL over HTTP. */
export async function openGraphqlHttp(options: ApiOptions, schema: GraphQLSchema): Promise<Started<GraphqlHandler>> {
  const apollo = createApollo(options, schema);
  await apollo.start();
  const handle: GraphqlHandler = async (request, reply) => {
    const known = await authenticate(options.queries, request.headers.authorization, request.id);
    const caller = { ...known, ...traced(options, request, reply) };
    checkSource(sourceOf(request));
    checkSubscriptionRootsIn(sourceOf(request));
    const context = createContext(options, caller, variablesOf(request.body));
    const response = await apollo.executeHTTPGraphQLRequest({
      httpGraphQLRequest: toApollo(request),
      context: () => Promise.resolve(context),
    });
    return send(reply, response);
  };
  return { value: handle, stop: () => apollo.stop() };
}

/** The span ends with the answer, whatever that is. */
function traced(
  { trace }: ApiOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): { readonly traceparent?: string } {
  const header = request.headers['traceparent'];
  const { method, id: requestId } = request;
  const span = trace(typeof header === 'string' ? header : undefined, {
    method,
    requestId,
    elapsedMs: reply.elapsedTime,
  });
  if (span.traceparent === undefined) return {};
  reply.raw.once('close', () => span.end(reply.statusCode));
  return { traceparent: span.traceparent };
}

function createApollo({ development, log, observe }: ApiOptions, schema: GraphQLSchema): ApolloServer<ApiContext> {
  // Apollo formats errors without saying whose they are. Not an AsyncLocalStorage: from its first use on it slows down
  // every promise of the process, by a tenth of all its work.
  const requests = new WeakMap<object, string>();
  const noteWhose: ApolloServerPlugin<ApiContext> = {
    requestDidStart: () =>
      Promise.resolve({
        didEncounterErrors: ({ errors, contextValue }) => {
          for (const error of errors) requests.set(error, contextValue.caller.correlationId);
          return Promise.resolve();
        },
      }),
  };
  const requestOf = (error: unknown): string => (error instanceof Error ? (requests.get(error) ?? '') : '');
  return new ApolloServer<ApiContext>({
    documentStore: openDocumentStore(),
    schema,
    // Not read from the environment, and nothing that Apollo does in development is wanted.
    nodeEnv: 'production',
    // Our own rule decides, the same one as on WebSockets.
    introspection: true,
    validationRules: validationRules(development),
    parseOptions: { maxLexicalTokens: LIMITS.tokens },
    persistedQueries: false,
    stopOnTerminationSignals: false,
    includeStacktraceInErrorResponses: false,
    formatError: (_formatted, error) => formatError(error, { development, log, observe, requestId: requestOf(error) }),
    plugins: [admission, noteWhose, ...SWITCHED_OFF],
    logger: toApolloLog(log),
  });
}

/** What is checked before an operation runs. */
const admission: ApolloServerPlugin<ApiContext> = {
  requestDidStart: () =>
    Promise.resolve({
      didResolveOperation: ({ schema, document, operation, contextValue }) => {
        // Without an operation there is nothing to run, and execution says so.
        if (operation) {
          refuseSubscription(operation);
          checkCost(schema, document, operation, contextValue.variables);
        }
        return Promise.resolve();
      },
    }),
};

/** One answer cannot hold what never ends. @throws GraphQLError BAD_REQUEST */
function refuseSubscription(operation: OperationDefinitionNode): void {
  if (operation.operation !== OperationTypeNode.SUBSCRIPTION) return;
  throw refusal('BAD_REQUEST', 'subscriptions run on a WebSocket to this path, with graphql-transport-ws', operation);
}

/** Some of these would start by themselves when Apollo's environment variables are set. */
const SWITCHED_OFF: readonly ApolloServerPlugin[] = [
  ApolloServerPluginCacheControlDisabled(),
  ApolloServerPluginInlineTraceDisabled(),
  ApolloServerPluginLandingPageDisabled(),
  ApolloServerPluginSchemaReportingDisabled(),
  ApolloServerPluginUsageReportingDisabled(),
];

function toApolloLog(log: ApiOptions['log']): NonNullable<ConstructorParameters<typeof ApolloServer>[0]['logger']> {
  const ignore = (): void => undefined;
  const to = (write: (fields: object, message: string) => void) => (message: unknown) => {
    write({ apollo: String(message) }, 'Apollo Server reports');
  };
  return { debug: ignore, info: ignore, warn: to(log.warn.bind(log)), error: to(log.error.bind(log)) };
}

function sourceOf({ method, body, url }: FastifyRequest): unknown {
  if (method === 'GET') return new URLSearchParams(searchOf(url)).get('query');
  return isRecord(body) ? body['query'] : undefined;
}

/** GET runs queries only, and only mutations need to know what was sent. */
function variablesOf(body: unknown): ApiContext['variables'] {
  const variables = isRecord(body) ? body['variables'] : undefined;
  return isRecord(variables) ? variables : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function searchOf(url: string): string {
  const start = url.indexOf('?');
  return start < 0 ? '' : url.slice(start);
}

function toApollo({ method, headers, body, url }: FastifyRequest): {
  readonly method: string;
  readonly headers: HeaderMap;
  readonly search: string;
  readonly body: unknown;
} {
  const map = new HeaderMap();
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) map.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  return { method, headers: map, search: searchOf(url), body };
}

function send(reply: FastifyReply, { status, headers, body }: HTTPGraphQLResponse): FastifyReply {
  reply.code(status ?? 200).headers(Object.fromEntries(headers));
  return reply.send(body.kind === 'complete' ? body.string : Readable.from(body.asyncIterator));
}
