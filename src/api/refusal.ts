import type { ASTNode } from 'graphql';
import { GraphQLError } from 'graphql';
import type { ErrorCode } from '../errors.ts';

/** A refusal of a whole operation before it runs. */
export function refusal(code: ErrorCode, message: string, node?: ASTNode): GraphQLError {
  // Apollo takes the HTTP status from here and removes it from the answer.
  const extensions = { code, http: { status: 400 } };
  return new GraphQLError(message, { ...(node && { nodes: [node] }), extensions });
}
