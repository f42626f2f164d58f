import type { GraphQLResolveInfo, ValueNode } from 'graphql';
import { Kind, valueFromASTUntyped } from 'graphql';
import type { Caller, Commands, Queries } from '../commands/commands.ts';
import { DomainError } from '../errors.ts';
import type { ApiOptions } from './options.ts';

/** All that resolvers get besides their arguments, made anew for every operation. */
export interface ApiContext {
  readonly caller: Caller;
  readonly commands: Commands;
  readonly queries: Queries;
  readonly queues: ApiOptions['queues'];
  readonly head: ApiOptions['head'];
  /** As the client sent them, before coercion. */
  readonly variables: Readonly<Record<string, unknown>>;
}

type Services = Pick<ApiOptions, 'commands' | 'queries' | 'queues' | 'head'>;

export function createContext(
  { commands, queries, queues, head }: Services,
  caller: Caller,
  variables: ApiContext['variables'],
): ApiContext {
  return { caller, commands, queries, queues, head, variables };
}

/** Runs a command whose refusals name fields of the argument `argument`: clients get the whole path. */
export async function within<T>(argument: string, command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    throw error instanceof DomainError ? error.within(argument) : error;
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
