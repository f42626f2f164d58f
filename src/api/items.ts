import type {
  GraphQLInputField,
  GraphQLInputObjectType,
  GraphQLInputType,
  GraphQLSchema,
  OperationDefinitionNode,
} from 'graphql';
import { getNullableType, isInputObjectType, isInputType, isLeafType, isListType, typeFromAST } from 'graphql';
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
    const long = isInputType(type) ? longList(variables[name], type) : null;
    if (long === null) continue;
    // The place is put as graphql-js puts it: what names the argument to clients reads it from there.
    const message = `there are ${String(long.length)} items at "${name}${long.path}"; at most ${String(MAX_ITEMS)} may be sent`;
    throw refusal('TOO_MANY_ITEMS', message, definition);
  }
}

interface LongList {
  readonly length: number;
  /** From the value that was searched to the list: `[3].channels`. */
  readonly path: string;
}

/** The first list over the limit. Follows the types: what is inside a JSON scalar is nobody's list. */
function longList(value: unknown, declared: GraphQLInputType): LongList | null {
  const type = getNullableType(declared);
  if (isListType(type)) return Array.isArray(value) ? longListOf(value, type.ofType) : longList(value, type.ofType);
  if (!isInputObjectType(type) || typeof value !== 'object' || value === null) return null;
  const given = value as Readonly<Record<string, unknown>>;
  for (const { name, type: inner } of fieldsWithin(type)) {
    const found = Object.hasOwn(given, name) ? longList(given[name], inner) : null;
    if (found) return { ...found, path: `.${name}${found.path}` };
  }
  return null;
}

function longListOf(items: readonly unknown[], type: GraphQLInputType): LongList | null {
  if (items.length > MAX_ITEMS) return { length: items.length, path: '' };
  for (const [index, each] of items.entries()) {
    const found = longList(each, type);
    if (found) return { ...found, path: `[${String(index)}]${found.path}` };
  }
  return null;
}

const within = new WeakMap<GraphQLInputObjectType, readonly GraphQLInputField[]>();

/** Those that can hold a list: most fields are scalars, and a call may have a thousand items. */
function fieldsWithin(type: GraphQLInputObjectType): readonly GraphQLInputField[] {
  const known = within.get(type);
  if (known) return known;
  const fields = Object.values(type.getFields()).filter((field) => !isLeafType(getNullableType(field.type)));
  within.set(type, fields);
  return fields;
}
