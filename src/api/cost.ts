import type {
  ArgumentNode,
  DocumentNode,
  FieldNode,
  GraphQLNamedType,
  GraphQLSchema,
  OperationDefinitionNode,
  SelectionSetNode,
} from 'graphql';
import { getNamedType, getNullableType, isLeafType, isListType, isObjectType, Kind, typeFromAST } from 'graphql';
import { valueFromASTUntyped } from 'graphql';
import { checkItems, MAX_ITEMS } from './items.ts';
import type { Fragments } from './limits.ts';
import { fragmentsOf, tooComplex } from './limits.ts';

/** Enough for one full bulk request of 1,000 items with deliveries, timeline and errors; not for 41 mutations. */
export const MAX_COST = 5_000;

/** A query reads a stream, a mutation reads, decides and waits for the disk. */
const OPERATION_COST = { query: 10, mutation: 125, subscription: 125 } as const;

/** A funnel has ClickHouse read a whole cohort, and may answer thousands of groups. */
const FUNNEL_COST = 1_200;
const DEARER: Readonly<Record<string, number>> = { funnel: FUNNEL_COST, funnelUpdated: FUNNEL_COST };

interface Walk {
  readonly schema: GraphQLSchema;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly fragments: Fragments<number>;
}

/**
 * To be called before variables are coerced, which costs far more. The document must be valid.
 * @throws GraphQLError TOO_MANY_ITEMS or OPERATION_TOO_COMPLEX
 */
export function checkCost(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  variables: Walk['variables'],
): void {
  checkItems(schema, operation, variables);
  const cost = costOf(schema, document, operation, variables);
  if (cost <= MAX_COST) return;
  throw tooComplex(`the operation costs ${String(cost)}, more than ${String(MAX_COST)}`, operation);
}

/**
 * Operations cost a flat sum, lists of objects one an entry and level, everything else nothing. What multiplies is
 * what the client asks for: the length of a list argument, or `first`.
 */
export function costOf(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  variables: Walk['variables'],
): number {
  const root = schema.getRootType(operation.operation);
  const walk: Walk = { schema, variables, fragments: fragmentsOf(document) };
  const flat = OPERATION_COST[operation.operation];
  return root ? costOfSelections(operation.selectionSet, root, { ...walk, flat }) : 0;
}

interface Level extends Walk {
  /** Added for each field of this level, unless it is dearer. */
  readonly flat: number;
}

function costOfSelections(selectionSet: SelectionSetNode, parent: GraphQLNamedType, level: Level): number {
  let cost = 0;
  for (const selection of selectionSet.selections) {
    if (selection.kind === Kind.FIELD) cost += costOfField(selection, parent, level);
    else if (selection.kind === Kind.FRAGMENT_SPREAD) cost += costOfFragment(selection.name.value, level);
    else cost += costOfSelections(selection.selectionSet, typeOf(selection.typeCondition, level) ?? parent, level);
  }
  return cost;
}

function costOfField(field: FieldNode, parent: GraphQLNamedType, level: Level): number {
  const type = isObjectType(parent) ? parent.getFields()[field.name.value]?.type : undefined;
  const flat = level.flat === 0 ? 0 : (DEARER[field.name.value] ?? level.flat);
  if (type === undefined || isLeafType(getNamedType(type)) || !field.selectionSet) return flat;
  const isList = isListType(getNullableType(type));
  const inner = costOfSelections(field.selectionSet, getNamedType(type), { ...level, flat: 0 });
  return flat + itemsAskedFor(field.arguments ?? [], level.variables) * (inner + (isList ? 1 : 0));
}

/** A fragment always lies on one type, and so always on the same level. */
function costOfFragment(name: string, level: Level): number {
  const { nodes, measured } = level.fragments;
  const node = nodes.get(name);
  const type = typeOf(node?.typeCondition, level);
  if (!node || !type) return 0;
  const cost = measured.get(name) ?? costOfSelections(node.selectionSet, type, level);
  measured.set(name, cost);
  return cost;
}

function typeOf(
  condition: Parameters<typeof typeFromAST>[1] | undefined,
  { schema }: Walk,
): GraphQLNamedType | undefined {
  const type = condition && typeFromAST(schema, condition);
  return type && getNamedType(type);
}

function itemsAskedFor(args: readonly ArgumentNode[], variables: Walk['variables']): number {
  const sizes = args.map(({ name, value }) => {
    const given = valueFromASTUntyped(value, variables);
    if (Array.isArray(given)) return given.length;
    return name.value === 'first' && typeof given === 'number' ? given : 1;
  });
  return Math.min(MAX_ITEMS, Math.max(1, ...sizes));
}
