// Decorators write through reflect-metadata: it comes before every decorated class.
import 'reflect-metadata';
import type { GraphQLSchema } from 'graphql';
import { lexicographicSortSchema, printSchema } from 'graphql';
import type { PubSub } from 'type-graphql';
import { buildSchemaSync } from 'type-graphql';
import { AnalyticsResolver } from './analytics.resolver.ts';
import { ClientsResolver } from './clients.resolver.ts';
import { ConversionsResolver } from './conversions.resolver.ts';
import { LiveResolver } from './live.resolver.ts';
import { NotificationsResolver } from './notifications.resolver.ts';
import { QueuesResolver } from './queues.resolver.ts';
import { guardOperations } from './scopes.ts';
import { TemplatesResolver } from './templates.resolver.ts';
import { UsersResolver } from './users.resolver.ts';

/** The schema of all domains. Opens nothing: resolvers take everything from their context. */
export function createSchema(): GraphQLSchema {
  const schema = buildSchemaSync({
    resolvers: [
      NotificationsResolver,
      ConversionsResolver,
      LiveResolver,
      AnalyticsResolver,
      UsersResolver,
      TemplatesResolver,
      ClientsResolver,
      QueuesResolver,
    ],
    validate: false,
    pubSub: NO_TOPICS,
  });
  guardOperations(schema);
  return schema;
}

/** type-graphql asks for one wherever there are subscriptions, even if all of them bring their own stream. */
const NO_TOPICS: PubSub = { publish: refuseTopic, subscribe: refuseTopic };

function refuseTopic(): never {
  throw new Error('subscriptions follow read models, not topics');
}

/** The schema as text, always in the same order. */
export function printedSchema(): string {
  return `${printSchema(lexicographicSortSchema(createSchema()))}\n`;
}
