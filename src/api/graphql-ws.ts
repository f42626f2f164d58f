import type { ExecutionArgs, FormattedExecutionResult, GraphQLFormattedError, GraphQLSchema } from 'graphql';
import { GraphQLError, OperationTypeNode } from 'graphql';
import type { Context, ExecutionResult, Server, SubscribePayload } from 'graphql-ws';
import { CloseCode, makeServer } from 'graphql-ws';
import { DomainError } from '../errors.ts';
import { authenticate } from './authenticate.ts';
import { createContext } from './context.ts';
import type { Drain } from './drain.ts';
import { formatError } from './format-error.ts';
import type { ApiOptions } from './options.ts';
import { prepareOperation } from './prepare-operation.ts';

/** Under way at once on one socket. */
const MAX_OPERATIONS = 100;

/** What is known of one socket besides its protocol state. */
export interface Connection {
  readonly close: (code: number, reason: string) => void;
  /** As sent in connection_init, once it was found right. */
  authorization: string | null;
  /** Under way, by the client's own id. */
  readonly operations: Map<string, { readonly requestId: string; readonly leave: () => void }>;
}

type SocketContext = Context<Record<string, unknown>, Connection>;

export interface GraphqlWsOptions extends ApiOptions {
  readonly schema: GraphQLSchema;
  readonly drain: Drain;
  readonly initMs: number;
}

/** The graphql-transport-ws protocol with our credentials, limits and errors; knows nothing of sockets. */
export function createGraphqlWs(options: GraphqlWsOptions): Server<Connection> {
  return makeServer<Record<string, unknown>, Connection>({
    connectionInitWaitTimeout: options.initMs,
    onConnect: ({ connectionParams, extra }) => connect(options, connectionParams?.['authorization'], extra),
    onSubscribe: (context, id, payload) => subscribe(options, context, id, payload),
    onNext: (...[{ extra }, id, , , result]) => formatResult(options, extra, id, result),
    onError: ({ extra }, id, _payload, errors) => formatErrors(options, extra, id, errors),
    onComplete: ({ extra }, id) => {
      ended(extra, id);
    },
    onClose: ({ extra }) => {
      for (const id of extra.operations.keys()) ended(extra, id);
    },
  });
}

/** False closes with 4403. */
async function connect(options: ApiOptions, authorization: unknown, connection: Connection): Promise<boolean> {
  if (typeof authorization !== 'string' || !(await isWelcome(options, authorization))) return false;
  connection.authorization = authorization;
  return true;
}

/** @throws when the credentials could not be checked. */
export async function isWelcome({ queries }: Pick<ApiOptions, 'queries'>, authorization: string): Promise<boolean> {
  try {
    await authenticate(queries, authorization, '');
    return true;
  } catch (error) {
    if (error instanceof DomainError) return false;
    throw error;
  }
}

async function subscribe(
  options: GraphqlWsOptions,
  { extra }: SocketContext,
  id: string,
  payload: SubscribePayload,
): Promise<readonly GraphQLError[] | ExecutionArgs> {
  const requestId = options.newId();
  // Left over where a client has completed an operation early and uses its id again.
  ended(extra, id);
  extra.operations.set(id, { requestId, leave: () => undefined });
  try {
    admit(options.drain, extra);
    const caller = await authenticate(options.queries, extra.authorization, requestId);
    const prepared = prepareOperation(options, payload, createContext(options, caller, payload.variables ?? {}));
    if ('args' in prepared) {
      if (prepared.operation.operation !== OperationTypeNode.SUBSCRIPTION) track(options.drain, extra, id, requestId);
      return prepared.args;
    }
    return prepared;
  } catch (error) {
    if (error instanceof DomainError && error.code === 'UNAUTHENTICATED') extra.close(CloseCode.Forbidden, 'Forbidden');
    return [asGraphqlError(error)];
  }
}

function admit(drain: Drain, { operations }: Connection): void {
  if (drain.begun()) throw new DomainError('SHUTTING_DOWN', 'this process is stopping');
  if (operations.size <= MAX_OPERATIONS) return;
  throw new DomainError('TOO_MANY_OPERATIONS', `more than ${String(MAX_OPERATIONS)} operations at once on this socket`);
}

/** A stop waits for queries and mutations; subscriptions never end by themselves. */
function track(drain: Drain, { operations }: Connection, id: string, requestId: string): void {
  operations.set(id, { requestId, leave: drain.enter() });
}

function ended({ operations }: Connection, id: string): void {
  operations.get(id)?.leave();
  operations.delete(id);
}

function formatResult(
  options: GraphqlWsOptions,
  connection: Connection,
  id: string,
  { data, errors }: ExecutionResult,
): FormattedExecutionResult {
  return {
    ...(data !== undefined && { data }),
    ...(errors && { errors: format(options, connection, id, errors) }),
  };
}

/** These end an operation that never ran, or a subscription that broke. */
function formatErrors(
  options: GraphqlWsOptions,
  connection: Connection,
  id: string,
  errors: readonly GraphQLError[],
): readonly GraphQLFormattedError[] {
  const formatted = format(options, connection, id, errors);
  ended(connection, id);
  return formatted;
}

function format(
  { development, log, newId }: GraphqlWsOptions,
  { operations }: Connection,
  id: string,
  errors: readonly GraphQLError[],
): readonly GraphQLFormattedError[] {
  const requestId = operations.get(id)?.requestId ?? newId();
  return errors.map((error) => formatError(error, { development, log, requestId }));
}

function asGraphqlError(error: unknown): GraphQLError {
  const originalError = error instanceof Error ? error : new Error(String(error));
  return new GraphQLError(originalError.message, { originalError });
}
