import { getIntrospectionQuery, getOperationAST, parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { costOf, MAX_COST } from '../../src/api/cost.ts';
import { LIMITS } from '../../src/api/limits.ts';
import { createSchema } from '../../src/api/schema.ts';
import type { GraphqlError, TestApi } from './given-api.ts';
import { ask, askSocket, connect, givenApi } from './given-api.ts';

interface Outcome {
  readonly data?: unknown;
  readonly errors: readonly GraphqlError[];
}
type Transport = (api: TestApi, query: string, variables?: Record<string, unknown>) => Promise<Outcome>;

const transports: readonly (readonly [string, Transport])[] = [
  [
    'HTTP',
    async (api, query, variables) => {
      const answer = await ask(api, query, variables);
      if (answer.data === undefined) expect(answer.status).toBe(400);
      return answer;
    },
  ],
  ['WebSocket', async (api, query, variables) => askSocket(await connect(api), 'one', query, variables)],
];

const times = (count: number, text: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => text(index)).join(' ');

const nested = (depth: number): string => (depth === 1 ? '{ id }' : `{ notification ${nested(depth - 1)} }`);

const BULK =
  'mutation ($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { error { code } } }';
const CIRCLE = '{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }';

const aliased = (count: number): string => `{ ${times(count, (index) => `a${String(index)}: head`)} }`;
const directives = (count: number): string => `{ head ${times(count, () => '@include(if: true)')} }`;
const registering = (count: number): string =>
  `mutation { ${times(count, (index) => `m${String(index)}: registerUser(input: { id: "a" }) { id }`)} }`;

describe.each(transports)('Over %s, an operation', (_name, send) => {
  async function refusalOf(query: string, variables?: Record<string, unknown>): Promise<readonly string[]> {
    const api = await givenApi();
    const { errors, data } = await send(api, query, variables);
    expect(data).toBeUndefined();
    expect(api.fake.calls).toEqual([]);
    return errors.map(({ extensions }) => extensions.code);
  }

  async function wordsOf(query: string, variables?: Record<string, unknown>): Promise<readonly string[]> {
    return (await send(await givenApi(), query, variables)).errors.map(({ message }) => message);
  }

  it('that is over a limit is told how far', async () => {
    expect(await wordsOf(aliased(16))).toEqual(['the operation has 16 aliases, more than 15']);
    expect(await wordsOf(directives(51))).toContain('the operation has 51 directives, more than 50');
    expect(await wordsOf(nested(11))).toContain('the operation has a depth of 11, more than 10');
    const many = { inputs: new Array(1_001).fill({}) };
    expect(await wordsOf(BULK, many)).toEqual(['there are 1001 items at "inputs"; at most 1000 may be sent']);
  });

  it.each([
    ['items', BULK, { inputs: new Array(1_001).fill({ userId: 'a' }) }, 'inputs'],
    ['items that are nothing like items', BULK, { inputs: new Array(60_000).fill(7) }, 'inputs'],
    ['items under another name', BULK.replaceAll('$inputs', '$all'), { all: new Array(1_001).fill({}) }, 'inputs'],
    ['channels', BULK, { inputs: [{}, { channels: new Array(1_001).fill('EMAIL') }] }, 'inputs[1].channels'],
    ['channels of the one item sent', BULK, { inputs: { channels: new Array(1_001).fill('FAX') } }, 'inputs.channels'],
  ])('with over 1,000 %s is refused before they are read', async (_what, query, variables, field) => {
    const api = await givenApi();
    const { errors, data } = await send(api, query, variables);
    expect(errors.map(({ extensions }) => extensions)).toEqual([{ code: 'TOO_MANY_ITEMS', field }]);
    expect(data).toBeUndefined();
    expect(api.fake.calls).toEqual([]);
  });

  it('takes 1,000 items, and longer lists as data of a template', async () => {
    const api = await givenApi();
    const long = { userId: 'a', data: { list: new Array(1_001).fill(1) } };
    expect((await send(api, BULK, { inputs: [long] })).errors).toEqual([]);
    expect((await send(api, BULK, { inputs: new Array(1_000).fill({ userId: 'a' }) })).errors).toEqual([]);
    expect(api.fake.calls).toHaveLength(2);
  });

  it('that is too deep is refused', async () => {
    // Only unknown fields go that deep: both rules speak.
    expect(await refusalOf(nested(LIMITS.depth + 1))).toContain('OPERATION_TOO_COMPLEX');
    expect(await refusalOf(nested(LIMITS.depth))).not.toContain('OPERATION_TOO_COMPLEX');
  });

  it('has at most 15 aliases, those of its fragments counted each time', async () => {
    expect(await refusalOf(aliased(16))).toEqual(['OPERATION_TOO_COMPLEX']);
    expect((await send(await givenApi(), aliased(15))).errors).toEqual([]);
    const spread = `{ ...A ...A } fragment A on Query ${aliased(8)}`;
    expect(await refusalOf(spread)).toEqual(['OPERATION_TOO_COMPLEX']);
  });

  it('has at most 50 directives', async () => {
    expect(await refusalOf(directives(51))).toContain('OPERATION_TOO_COMPLEX');
    const spread = `{ ...A } fragment A on Query { ${times(13, (index) => `f${String(index)}: head ${times(4, () => '@a')}`)} }`;
    expect(await refusalOf(spread)).toContain('OPERATION_TOO_COMPLEX');
    expect((await send(await givenApi(), '{ head @include(if: true) @skip(if: false) }')).errors).toEqual([]);
  });

  it('has at most 2,000 tokens', async () => {
    expect(await refusalOf(`{ ${times(2_000, () => 'head')} }`)).toEqual(['OPERATION_TOO_COMPLEX']);
    const channels = times(1_970, () => 'EMAIL');
    const query = `mutation { requestNotifications(inputs: [{ userId: "a", channels: [${channels}] }]) { cursor } }`;
    expect((await send(await givenApi(), query)).errors).toEqual([]);
  });

  it('has a document of at most 512 Ki characters', async () => {
    expect(await refusalOf(`{ head } # ${'x'.repeat(LIMITS.source)}`)).toEqual(['OPERATION_TOO_COMPLEX']);
  });

  it('cannot ask for the same field thousands of times', async () => {
    expect(await refusalOf(`{ ${times(1_990, () => 'head')} }`)).toEqual(['GRAPHQL_VALIDATION_FAILED']);
    expect(await refusalOf(`{ ${times(10_000, () => 'head')} }`)).toEqual(['OPERATION_TOO_COMPLEX']);
  });

  it('cannot carry 50 mutations', async () => {
    expect(await refusalOf(registering(50))).toEqual(['OPERATION_TOO_COMPLEX']);
  });

  it('costs more the more items it carries', async () => {
    const query = `mutation ($inputs: [RequestNotificationInput!]!) {
      ${times(5, (index) => `m${String(index)}: requestNotifications(inputs: $inputs) { cursor }`)}
    }`;
    const item = { userId: 'a', content: { body: 'x' } };
    expect(await refusalOf(query, { inputs: new Array(1_000).fill(item) })).toEqual(['OPERATION_TOO_COMPLEX']);
    expect((await send(await givenApi(), query, { inputs: [item] })).errors).toEqual([]);
  });

  it('cannot hide in fragments that contain themselves', async () => {
    const cycle = '{ ...A } fragment A on Query { head ...B } fragment B on Query { ...A }';
    expect(await refusalOf(cycle)).toContain('GRAPHQL_VALIDATION_FAILED');
  });

  it('cannot grow by fragments that double', async () => {
    const fragments = times(
      100,
      (i) => `fragment F${String(i)} on Query { ...F${String(i + 1)} ...F${String(i + 1)} }`,
    );
    const query = `{ ...F0 } ${fragments} fragment F100 on Query { a: head }`;
    expect(await refusalOf(query)).toEqual(['OPERATION_TOO_COMPLEX']);
  });

  it.each([
    ['the schema', '{ __schema { queryType { name } } }'],
    ['a type', '{ __type(name: "User") { name } }'],
    ['it through a fragment', '{ ...A } fragment A on Query { __schema { types { name } } }'],
    ['it as tools do', getIntrospectionQuery()],
    ['it in circles', CIRCLE],
  ])('cannot introspect outside development: %s', async (_what, query) => {
    expect(new Set(await refusalOf(query))).toEqual(new Set(['GRAPHQL_VALIDATION_FAILED']));
  });

  it('can read the schema in development, but not in circles', async () => {
    const api = await givenApi({ development: true });
    expect((await send(api, getIntrospectionQuery())).errors).toEqual([]);
    const { errors } = await send(await givenApi({ development: true }), CIRCLE);
    expect(errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
  });
});

describe('The cost of an operation', () => {
  const schema = createSchema();

  function cost(query: string, variables: Record<string, unknown> = {}): number {
    const document = parse(query);
    const operation = getOperationAST(document);
    if (!operation) throw new Error('no operation');
    return costOf(schema, document, operation, variables);
  }

  it('is flat for what runs once', () => {
    expect(cost('{ head }')).toBe(10);
    expect(cost('{ head user(id: "a") { id email preferences { channel } } }')).toBe(21);
    expect(cost('mutation { revokeClient(appKey: "a") }')).toBe(125);
    expect(cost('subscription { deliveryUpdated { cursor delivery { id } } }')).toBe(125);
  });

  it('lets one operation have four funnels computed, and not five', () => {
    const funnels = (count: number): string =>
      `query ($i: FunnelInput!) { ${times(count, (index) => `f${String(index)}: funnel(input: $i) { groups { stages { count } } }`)} }`;
    expect(cost(funnels(4))).toBeLessThanOrEqual(MAX_COST);
    expect(cost(funnels(5))).toBeGreaterThan(MAX_COST);
    expect(cost('subscription ($i: FunnelInput!) { funnelUpdated(input: $i) { cursor } }')).toBeLessThan(MAX_COST);
  });

  it('multiplies with the length of a list argument, literal or variable', () => {
    const query =
      'mutation ($i: [RequestNotificationInput!]!) { requestNotifications(inputs: $i) { notification { timeline { type } } } }';
    expect(cost(query, { i: [{}, {}, {}] })).toBe(125 + 3 * 2);
    expect(cost(query.replace('inputs: $i', 'inputs: [{}, {}]'))).toBe(125 + 2 * 2);
  });

  it('leaves room for 1,000 items with everything asked for, and not for twice that', () => {
    const all = 'notification { deliveries { id } timeline { type } } error { code }';
    const query = `mutation ($i: [I!]!) { requestNotifications(inputs: $i) { ${all} } }`;
    const one = cost(query, { i: new Array(1_000).fill({}) });
    expect(one).toBeLessThanOrEqual(MAX_COST);
    expect(2 * one).toBeGreaterThan(MAX_COST);
  });

  it('is the same through fragments', () => {
    const plain = 'mutation { requestNotifications(inputs: [{}, {}]) { notification { timeline { type } } } }';
    const spread = `mutation { ... on Mutation { requestNotifications(inputs: [{}, {}]) { ...R } } }
      fragment R on RequestNotificationResult { notification { ... { timeline { type } } } }`;
    expect(cost(spread)).toBe(cost(plain));
  });
});
