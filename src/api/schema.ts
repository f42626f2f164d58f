// Decorators write through reflect-metadata: it comes before every decorated class.
import 'reflect-metadata';
import type { GraphQLSchema } from 'graphql';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { buildSchemaSync } from 'type-graphql';
import { ClientsResolver } from './clients.resolver.ts';
import { NotificationsResolver } from './notifications.resolver.ts';
import { QueuesResolver } from './queues.resolver.ts';
import { guardOperations } from './scopes.ts';
import { TemplatesResolver } from './templates.resolver.ts';
import { UsersResolver } from './users.resolver.ts';

/** The schema of all domains. Opens nothing: resolvers take everything from their context. */
export function createSchema(): GraphQLSchema {
  const schema = buildSchemaSync({
    resolvers: [NotificationsResolver, UsersResolver, TemplatesResolver, ClientsResolver, QueuesResolver],
    validate: false,
  });
  guardOperations(schema);
  return schema;
}

/** The schema as text, always in the same order. */
export function printedSchema(): string {
  return `${printSchema(lexicographicSortSchema(createSchema()))}\n`;
}
