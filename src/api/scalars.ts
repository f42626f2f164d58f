import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { GraphQLDateTime } from 'graphql-scalars';

export { GraphQLJSON as JsonScalar, GraphQLJSONObject as JsonObjectScalar } from 'graphql-scalars';

/** Reads any RFC 3339 time, always answers UTC with milliseconds. */
export const DateTimeScalar = new GraphQLScalarType<Date, Date>({
  ...GraphQLDateTime.toConfig(),
  description: 'RFC 3339, UTC',
});

/** GraphQL's own Int ends at 2^31. */
export const LongScalar = new GraphQLScalarType<number, number>({
  name: 'Long',
  description: 'Integer, exact to 2^53',
  serialize: exactInteger,
  parseValue: exactInteger,
  parseLiteral: (node) => {
    if (node.kind !== Kind.INT) throw new GraphQLError('Long must be an integer', { nodes: node });
    return exactInteger(Number(node.value));
  },
});

export const CursorScalar = new GraphQLScalarType<string, string>({
  name: 'Cursor',
  description:
    'Opaque. Names one update: log, position, and index within the event. A foreign or future cursor is refused ' +
    'with INVALID_CURSOR, one older than what is kept with CURSOR_TOO_OLD.',
  serialize: text,
  parseValue: text,
  parseLiteral: (node) => {
    if (node.kind !== Kind.STRING) throw new GraphQLError('Cursor must be a string', { nodes: node });
    return node.value;
  },
});

function exactInteger(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw new GraphQLError('Long must be an integer between -(2^53 - 1) and 2^53 - 1');
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new GraphQLError('Cursor must be a string');
}
