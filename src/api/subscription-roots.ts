import type { DocumentNode, FragmentDefinitionNode, SelectionNode, SelectionSetNode } from 'graphql';
import { GraphQLError, Kind, OperationTypeNode, parse } from 'graphql';
import { fragmentsOf, LIMITS } from './limits.ts';
import { refusal } from './refusal.ts';

/**
 * The field of a subscription stands, whatever the variables say: graphql-js throws where it validates or runs one that
 * may be skipped. To be called before both.
 * @throws GraphQLError GRAPHQL_VALIDATION_FAILED
 */
export function checkSubscriptionRoots(document: DocumentNode): void {
  const { nodes } = fragmentsOf<never>(document);
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    if (definition.operation !== OperationTypeNode.SUBSCRIPTION) continue;
    const skippable = skippableIn(definition.selectionSet, nodes, new Set());
    if (!skippable) continue;
    throw refusal('GRAPHQL_VALIDATION_FAILED', 'the field of a subscription cannot be skipped', skippable);
  }
}

/** For transports that parse out of our sight. What does not parse is left to them. */
export function checkSubscriptionRootsIn(source: unknown): void {
  if (typeof source !== 'string' || !source.includes(OperationTypeNode.SUBSCRIPTION)) return;
  const document = parsed(source);
  if (document) checkSubscriptionRoots(document);
}

function parsed(source: string): DocumentNode | null {
  try {
    return parse(source, { maxLexicalTokens: LIMITS.tokens });
  } catch (error) {
    if (error instanceof GraphQLError) return null;
    throw error;
  }
}

type FragmentNodes = ReadonlyMap<string, FragmentDefinitionNode>;

function skippableIn(
  { selections }: SelectionSetNode,
  fragments: FragmentNodes,
  seen: Set<string>,
): SelectionNode | undefined {
  for (const selection of selections) {
    const inner = innerOf(selection, fragments, seen);
    const found = isSkippable(selection) ? selection : inner && skippableIn(inner, fragments, seen);
    if (found) return found;
  }
  return undefined;
}

function isSkippable({ directives = [] }: SelectionNode): boolean {
  return directives.some(({ name }) => name.value === 'skip' || name.value === 'include');
}

/** What a fragment adds to the level it is spread on; each fragment once. */
function innerOf(selection: SelectionNode, fragments: FragmentNodes, seen: Set<string>): SelectionSetNode | undefined {
  if (selection.kind === Kind.INLINE_FRAGMENT) return selection.selectionSet;
  if (selection.kind !== Kind.FRAGMENT_SPREAD || seen.has(selection.name.value)) return undefined;
  seen.add(selection.name.value);
  return fragments.get(selection.name.value)?.selectionSet;
}
