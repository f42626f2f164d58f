import type { GraphQLField, GraphQLFieldResolver, GraphQLObjectType, GraphQLSchema } from 'graphql';
import { DomainError } from '../errors.ts';
import type { Scope } from '../events/clients.ts';
import type { ApiContext } from './context.ts';

/** What each operation needs. One that is not listed here keeps the schema from being built. */
export const OPERATION_SCOPES: Readonly<Record<string, Readonly<Record<string, Scope>>>> = {
  Query: {
    head: 'READ',
    notification: 'READ',
    user: 'READ',
    template: 'READ',
    funnel: 'ANALYTICS',
    queues: 'OPERATE',
  },
  Mutation: {
    registerUser: 'SEND',
    registerDevice: 'SEND',
    removeDevice: 'SEND',
    setPreference: 'SEND',
    publishTemplate: 'SEND',
    requestNotification: 'SEND',
    requestNotifications: 'SEND',
    cancelNotification: 'SEND',
    recordConversion: 'SEND',
    registerClient: 'ADMIN',
    rotateClientSecret: 'ADMIN',
    revokeClient: 'ADMIN',
  },
  Subscription: {
    deliveryUpdated: 'READ',
    funnelUpdated: 'ANALYTICS',
  },
};

/** Puts the scope check before the resolver of every operation. */
export function guardOperations(schema: GraphQLSchema): void {
  for (const type of [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()]) {
    if (type) guardFields(type);
  }
}

function guardFields(type: GraphQLObjectType<unknown, unknown>): void {
  for (const field of Object.values(type.getFields())) {
    const scope = OPERATION_SCOPES[type.name]?.[field.name];
    if (scope === undefined) throw new Error(`no scope is named for ${type.name}.${field.name}`);
    guardField(field, scope);
  }
}

type Resolver = GraphQLFieldResolver<unknown, unknown>;

function guardField(field: GraphQLField<unknown, unknown>, scope: Scope): void {
  const { resolve, subscribe } = field;
  const guarded =
    (inner: Resolver): Resolver =>
    (source, args, context, info) => {
      requireScope((context as ApiContext).caller.scopes, scope);
      return inner(source, args, context, info);
    };
  if (resolve) Object.assign(field, { resolve: guarded(resolve) });
  if (subscribe) Object.assign(field, { subscribe: guarded(subscribe) });
}

/** @throws DomainError FORBIDDEN */
export function requireScope(scopes: readonly Scope[], needed: Scope): void {
  if (!scopes.includes(needed)) throw new DomainError('FORBIDDEN', `this needs the scope ${needed}`);
}
