import { readdir, readFile } from 'node:fs/promises';
import { buildSchema, findBreakingChanges, isObjectType } from 'graphql';
import { describe, expect, it } from 'vitest';
import { createSchema, printedSchema } from '../src/api/schema.ts';

const SCHEMA = new URL('../schema/', import.meta.url);

/** The parts build on each other in number order; a later one may extend an earlier one's types. */
async function contract(): Promise<string> {
  const folder = new URL('contract/', SCHEMA);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.graphql')).toSorted();
  const parts = await Promise.all(names.map((name) => readFile(new URL(name, folder), 'utf8')));
  return parts.join('\n');
}

describe('The schema', () => {
  it('is checked in as it is emitted', async () => {
    const checkedIn = await readFile(new URL('schema.graphql', SCHEMA), 'utf8');
    expect(printedSchema() === checkedIn, 'schema/schema.graphql is out of date: run `npm run schema`').toBe(true);
  });

  it('breaks nothing that the contract promises', async () => {
    const promised = buildSchema(await contract());
    expect(Object.keys(promised.getMutationType()?.getFields() ?? {})).toContain('requestNotification');
    expect(findBreakingChanges(promised, buildSchema(printedSchema()))).toEqual([]);
  });

  it('has resolvers for operations only: fields are read, or called, where they lie', () => {
    const schema = createSchema();
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
    const types = Object.values(schema.getTypeMap()).filter((type) => isObjectType(type));
    const data = types.filter((type) => !type.name.startsWith('__') && !roots.includes(type));
    expect(data.map(({ name }) => name)).toContain('Notification');
    const resolved = data.flatMap((type) => Object.values(type.getFields()).filter(({ resolve }) => resolve));
    expect(resolved.map(({ name }) => name)).toEqual([]);
  });

  it('says of times that they are UTC and of longs how exact they are', () => {
    expect(printedSchema()).toContain('"""RFC 3339, UTC"""\nscalar DateTime');
    expect(printedSchema()).toContain('"""Integer, exact to 2^53"""\nscalar Long');
  });
});
