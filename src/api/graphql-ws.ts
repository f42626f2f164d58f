import type { ExecutionArgs, FormattedExecutionResult, GraphQLFormattedError, GraphQLSchema } from 'graphql';
import { execute, GraphQLError, OperationTypeNode } from 'graphql';
import type { ExecutionResult, OperationResult, Server, SubscribePayload } from 'graphql-ws';
import { CloseCode, makeServer, MessageType, stringifyMessage } from 'graphql-ws';
import { DomainError } from '../errors.ts';
import { SlowSubscriber } from '../projections/live-updates.ts';
import { authenticate } from './authenticate.ts';
import { createContext } from './context.ts';
import type { Drain } from './drain.ts';
import { formatError } from './format-error.ts';
import { type Messages, openMessages } from './messages.ts';
import type { Operations } from './operations.ts';
import { beginSpan, endSpan, spanned } from './operation-spans.ts';
import type { ApiOptions } from './options.ts';
import { prepareOperation } from './prepare-operation.ts';
import { openStream, RefusedSubscription } from './streams.ts';

/** Not of the protocol: a subscriber that reads too slowly is dropped, and told where to resume. */
export const SLOW = 4410;
/** Of a close frame, in bytes. */
const LONGEST_REASON = 123;
const LAST_RECEIVED = 'the last cursor received, if any';

/** What is known of one socket besides its protocol state. */
export interface Connection {
  readonly close: (code: number, reason: string) => void;
  /** Of one message; nothing waits for it to be read. */
  readonly send: (data: string) => void;
  /** Resolves when a message that may be big is to be made; use it at once. Never on a socket that is closing. */
  readonly turn: () => Promise<void>;
  /** As sent in connection_init, once it was found right. */
  authorization: string | null;
  readonly operations: Operations;
}

export interface GraphqlWsOptions extends ApiOptions {
  readonly schema: GraphQLSchema;
  readonly drain: Drain;
  readonly initMs: number;
}

interface Protocol extends GraphqlWsOptions {
  readonly messages: Messages;
}

/** The graphql-transport-ws protocol with our credentials, limits and errors; knows nothing of sockets. */
export function createGraphqlWs(options: GraphqlWsOptions): Server<Connection> {
  const messages = openMessages();
  return messages.readFor(createServer({ ...options, messages }), ({ operations }, id) => {
    operations.complete(id);
  });
}

function createServer(options: Protocol): Server<Connection> {
  return makeServer<Record<string, unknown>, Connection>({
    connectionInitWaitTimeout: options.initMs,
    jsonMessageReviver: options.messages.revive,
    onConnect: ({ connectionParams, extra }) => connect(options, connectionParams?.['authorization'], extra),
    onSubscribe: ({ extra }, id, payload) => subscribe(options, extra, id, payload),
    subscribe: (args) => spanned(askings.get(args), () => openStream(args, () => turnOf(args))),
    execute: executeInPlace,
    onOperation: (...[{ extra }, id, payload, , result]) => unlessOver(extra.operations, id, payload, result),
    onNext: async (...[{ extra }, id, payload, , result]) => {
      await extra.operations.unlessSuperseded(id, payload);
      return formatResult(options, payload, result);
    },
    onError: async ({ extra }, id, payload, errors) => {
      await extra.operations.unlessSuperseded(id, payload);
      extra.operations.end(id, payload);
      return format(options, payload, errors.flatMap(causesOf));
    },
    onComplete: async ({ extra }, id, payload) => {
      await extra.operations.unlessSuperseded(id, payload);
      extra.operations.end(id, payload);
    },
    onClose: ({ extra }) => {
      extra.operations.endAll();
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

/** Names an operation in events, errors and the log. */
const requestIds = new WeakMap<SubscribePayload, string>();

interface Asking {
  readonly connection: Connection;
  readonly payload: SubscribePayload;
  readonly type: OperationTypeNode;
}

/** Who asked, and how. */
const askings = new WeakMap<ExecutionArgs, Asking>();

async function turnOf(args: ExecutionArgs): Promise<void> {
  await askings.get(args)?.connection.turn();
}

/** What nobody waits for any more is answered with nothing, which goes nowhere. */
async function executeInPlace(args: ExecutionArgs): Promise<ExecutionResult> {
  const asking = askings.get(args);
  if (asking?.type === OperationTypeNode.QUERY) {
    const isWanted = await asking.connection.operations.place(asking.payload);
    if (!isWanted) {
      endSpan(asking.payload, asking.type);
      return {};
    }
  }
  const result = await spanned(asking, () => execute(args));
  // One text at a time: several big ones at once would be more than may wait.
  await turnOf(args);
  return result;
}

async function subscribe(
  options: Protocol,
  connection: Connection,
  id: string,
  payload: SubscribePayload,
): Promise<readonly GraphQLError[] | ExecutionArgs> {
  const { operations } = connection;
  requestIds.set(payload, options.newId());
  try {
    const prepared = await prepare(options, connection, id, payload);
    if (!('args' in prepared)) return await refused(prepared);
    askings.set(prepared.args, { connection, payload, type: prepared.operation.operation });
    return prepared.args;
  } catch (error) {
    if (error instanceof DomainError && error.code === 'UNAUTHENTICATED') {
      connection.close(CloseCode.Forbidden, 'Forbidden');
    }
    return await refused([asGraphqlError(error)], !(error instanceof DomainError));
  }

  // Where its client has completed it meanwhile, nothing of ours is called for it again.
  async function refused(errors: readonly GraphQLError[], isFault = false): Promise<readonly GraphQLError[]> {
    endSpan(payload, undefined, isFault);
    await operations.unlessSuperseded(id, payload);
    operations.end(id, payload);
    return errors;
  }
}

async function prepare(
  options: Protocol,
  connection: Connection,
  id: string,
  payload: SubscribePayload,
): Promise<ReturnType<typeof prepareOperation>> {
  const { operations, authorization } = connection;
  const since = performance.now();
  operations.begin(id, payload);
  if (options.drain.begun()) throw new DomainError('SHUTTING_DOWN', 'this process is stopping');
  const requestId = requestIds.get(payload) ?? '';
  const known = await authenticate(options.queries, authorization, requestId);
  const caller = { ...known, ...beginSpan(options, payload, { requestId, since }) };
  const dropSlow = (cursor: string): void => {
    drop(options, connection, { id, payload, cursor });
  };
  const context = createContext(options, caller, payload.variables ?? {}, dropSlow);
  const prepared = prepareOperation(options, payload, context);
  if (!('args' in prepared)) return prepared;
  // A stop waits for queries and mutations; subscriptions never end by themselves.
  if (prepared.operation.operation === OperationTypeNode.SUBSCRIPTION) options.messages.checkSubscription(payload);
  else operations.track(payload, options.drain.enter());
  return prepared;
}

/** The client learns it twice: whoever reads the subscription from an error, whoever reads the connection from its end. */
function drop(
  options: GraphqlWsOptions,
  connection: Connection,
  { id, payload, cursor }: { readonly id: string; readonly payload: SubscribePayload; readonly cursor: string },
): void {
  const errors = [...format(options, payload, [asGraphqlError(new SlowSubscriber(cursor))])];
  connection.send(stringifyMessage({ id, type: MessageType.Error, payload: errors }));
  connection.close(SLOW, slowReason(cursor));
}

/**
 * A cursor that does not fit is left out: half of one is none, and the client was given it before. Null: of no
 * subscription in particular.
 */
export function slowReason(cursor: string | null): string {
  const reason = `slow; resume after ${cursor ?? LAST_RECEIVED}`;
  return Buffer.byteLength(reason) <= LONGEST_REASON ? reason : slowReason(null);
}

/** Closes what an operation opened after its client had completed it and used its id again. */
async function unlessOver(
  operations: Operations,
  id: string,
  payload: SubscribePayload,
  result: OperationResult,
): Promise<void> {
  const opened = await result;
  if (operations.isSuperseded(payload) && isStream(opened)) await opened.return();
  await operations.unlessSuperseded(id, payload);
}

function isStream(result: unknown): result is { readonly return: () => Promise<unknown> } {
  return typeof result === 'object' && result !== null && 'return' in result && typeof result.return === 'function';
}

/** These end an operation that never ran, or a subscription that broke. */
function causesOf(error: GraphQLError): readonly GraphQLError[] {
  return error.originalError instanceof RefusedSubscription ? error.originalError.errors : [error];
}

function formatResult(
  options: GraphqlWsOptions,
  payload: SubscribePayload,
  { data, errors }: ExecutionResult,
): FormattedExecutionResult {
  return {
    ...(data !== undefined && { data }),
    ...(errors && { errors: format(options, payload, errors) }),
  };
}

function format(
  { development, log, observe, newId }: GraphqlWsOptions,
  payload: SubscribePayload,
  errors: readonly GraphQLError[],
): readonly GraphQLFormattedError[] {
  const requestId = requestIds.get(payload) ?? newId();
  return errors.map((error) => formatError(error, { development, log, observe, requestId }));
}

function asGraphqlError(error: unknown): GraphQLError {
  const originalError = error instanceof Error ? error : new Error(String(error));
  return new GraphQLError(originalError.message, { originalError });
}
