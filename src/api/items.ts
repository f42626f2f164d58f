import type { GraphQLInputType, GraphQLSchema, OperationDefinitionNode } from 'graphql';
import { getNullableType, isInputObjectType, isInputType, isListType, typeFromAST } from 'graphql';
import { refusal } from './refusal.ts';

/** Of any list in the variables. Lists in the document are short: an item is a token at least. */
export const MAX_ITEMS = 1_000;

/**
 * Counts the items of lists in variables as the client sent them, because to coerce them blocks for long.
 * @throws GraphQLError TOO_MANY_ITEMS
 */
export function checkItems(
  schema: GraphQLSchema,
  { variableDefinitions = [] }: OperationDefinitionNode,
  variables: Readonly<Record<string, unknown>>,
): void {
  for (const definition of variableDefinitions) {
    const name = definition.variable.name.value;
    const type = typeFromAST(schema, definition.type);
    const long = isInputType(type) ? longList(variables[name], type, name) : null;
    if (long === null) continue;
    // The place is put as graphql-js puts it: what names the argument to clients reads it from there.
    const message = `there are ${String(long.length)} items at "${long.path}"; at most ${String(MAX_ITEMS)} may be sent`;
    throw refusal('TOO_MANY_ITEMS', message, definition);
  }
}

interface LongList {
  readonly length: number;
  readonly path: string;
}

/** The first list over the limit. Follows the types: what is inside a JSON scalar is nobody's list. */
function longList(value: unknown, declared: GraphQLInputType, path: string): LongList | null {
  const type = getNullableType(declared);
  if (isListType(type)) {
    if (!Array.isArray(value)) return longList(value, type.ofType, path);
    if (value.length > MAX_ITEMS) return { length: value.length, path };
    return first(value.map((each, index) => () => longList(each, type.ofType, `${path}[${String(index)}]`)));
  }
  if (!isInputObjectType(type) || typeof value !== 'object' || value === null) return null;
  const given = new Map<string, unknown>(Object.entries(value));
  const fields = Object.values(type.getFields());
  return first(fields.map((field) => () => longList(given.get(field.name), field.type, `${path}.${field.name}`)));
}

function first(searches: readonly (() => LongList | null)[]): LongList | null {
  for (const search of searches) {
    const found = search();
    if (found) return found;
  }
  return null;
}
