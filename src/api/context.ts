import type { GraphQLResolveInfo, ValueNode } from 'graphql';
import { Kind, valueFromASTUntyped } from 'graphql';
import type { Caller, Commands, Queries } from '../commands/commands.ts';
import type { ErrorCode } from '../errors.ts';
import { DomainError } from '../errors.ts';
import type { ApiOptions } from './options.ts';

/** All that resolvers get besides their arguments, made anew for every operation. */
export interface ApiContext {
  readonly caller: Caller;
  readonly commands: Commands;
  readonly queries: Queries;
  readonly funnels: ApiOptions['funnels'];
  readonly funnelUpdates: ApiOptions['funnelUpdates'];
  readonly deliveryUpdates: ApiOptions['deliveryUpdates'];
  readonly queues: ApiOptions['queues'];
  readonly head: ApiOptions['head'];
  /** As the client sent them, before coercion. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** Closes the connection of a subscriber that reads too slowly; null where there is none to close. */
  readonly dropSlow: ((cursor: string) => void) | null;
}

type Services = Omit<ApiContext, 'caller' | 'variables' | 'dropSlow'>;

export function createContext(
  { commands, queries, funnels, funnelUpdates, deliveryUpdates, queues, head }: Services,
  caller: Caller,
  variables: ApiContext['variables'],
  dropSlow: ApiContext['dropSlow'] = null,
): ApiContext {
  const readModels = { funnels, funnelUpdates, deliveryUpdates, queues, head };
  return { caller, commands, queries, ...readModels, variables, dropSlow };
}

/** They say how this service is, whatever the client asked. */
const NOBODYS_FAULT: ReadonlySet<ErrorCode> = new Set([
  'ANALYTICS_UNAVAILABLE',
  'CONFLICT',
  'SHUTTING_DOWN',
  'TOO_MANY_SUBSCRIPTIONS',
  'UNAVAILABLE',
]);

/** Runs a command whose refusals name fields of the argument `argument`: clients get the whole path. */
export async function within<T>(argument: string, command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    throw error instanceof DomainError && !NOBODYS_FAULT.has(error.code) ? error.within(argument) : error;
  }
}

/** An argument as the client sent it: enums as words, defaults not filled in, what was left out absent. */
export function argumentAsSent(argument: string, info: GraphQLResolveInfo, { variables }: ApiContext): unknown {
  const node = info.fieldNodes[0]?.arguments?.find(({ name }) => name.value === argument);
  return node === undefined ? undefined : valueAsSent(node.value, { ...operationDefaults(info), ...variables });
}

/** The defaults of the operation's own variables are part of what the client sent. */
function operationDefaults({ operation }: GraphQLResolveInfo): ApiContext['variables'] {
  const definitions = operation.variableDefinitions ?? [];
  return Object.fromEntries(
    definitions.flatMap(({ variable, defaultValue }) =>
      defaultValue === undefined ? [] : [[variable.name.value, valueFromASTUntyped(defaultValue)]],
    ),
  );
}

/** Walks the document only, never into the variables: those may nest deeper than the stack. */
function valueAsSent(node: ValueNode, variables: ApiContext['variables']): unknown {
  if (node.kind === Kind.LIST) return node.values.map((each) => valueAsSent(each, variables) ?? null);
  if (node.kind === Kind.VARIABLE) return variables[node.name.value];
  if (node.kind !== Kind.OBJECT) return valueFromASTUntyped(node);
  const entries = node.fields.map(({ name, value }) => [name.value, valueAsSent(value, variables)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
