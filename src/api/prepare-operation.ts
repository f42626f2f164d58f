import type { DocumentNode, ExecutionArgs, GraphQLSchema, OperationDefinitionNode } from 'graphql';
import { getOperationAST, GraphQLError, parse, specifiedRules, validate } from 'graphql';
import type { ErrorCode } from '../errors.ts';
import type { ApiContext } from './context.ts';
import { checkCost } from './cost.ts';
import { checkSource, LIMITS, validationRules } from './limits.ts';
import { refusal } from './refusal.ts';
import { checkSubscriptionRoots } from './subscription-roots.ts';

export interface Operation {
  readonly query: string;
  readonly operationName?: string | null | undefined;
  readonly variables?: Readonly<Record<string, unknown>> | null | undefined;
}

export interface Prepared {
  readonly args: ExecutionArgs;
  readonly operation: OperationDefinitionNode;
}

/** What Apollo does with an operation before it runs, for transports without Apollo: same order, limits and codes. */
export function prepareOperation(
  { schema, development }: { readonly schema: GraphQLSchema; readonly development: boolean },
  { query, operationName, variables }: Operation,
  contextValue: ApiContext,
): Prepared | readonly GraphQLError[] {
  try {
    checkSource(query);
    const document = parseWithCode(query);
    checkSubscriptionRoots(document);
    const errors = validate(schema, document, [...specifiedRules, ...validationRules(development)]);
    if (errors.length > 0) return errors.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED'));
    const operation = chooseOperation(document, operationName);
    checkCost(schema, document, operation, variables ?? {});
    return { args: { schema, document, operationName, variableValues: variables, contextValue }, operation };
  } catch (error) {
    if (error instanceof GraphQLError) return [error];
    throw error;
  }
}

function parseWithCode(query: string): DocumentNode {
  try {
    return parse(query, { maxLexicalTokens: LIMITS.tokens });
  } catch (error) {
    throw error instanceof GraphQLError ? withCode(error, 'GRAPHQL_PARSE_FAILED') : error;
  }
}

function chooseOperation(document: DocumentNode, name: string | null | undefined): OperationDefinitionNode {
  const operation = getOperationAST(document, name);
  if (operation) return operation;
  throw refusal('OPERATION_RESOLUTION_FAILURE', 'the document does not hold exactly the operation asked for');
}

/** A rule that gave its error a code of its own knows better. */
function withCode(error: GraphQLError, code: ErrorCode): GraphQLError {
  const { message, nodes, source, positions, extensions } = error;
  const where = { nodes: nodes ?? null, source: source ?? null, positions: positions ?? null };
  return new GraphQLError(message, { ...where, extensions: { code, ...extensions } });
}
