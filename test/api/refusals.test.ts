import { GraphQLError } from 'graphql';
import { describe, expect, it } from 'vitest';
import { DomainError } from '../../src/errors.ts';
import type { Answer, TestApi } from './given-api.ts';
import { ask, askSocket, connect, givenApi } from './given-api.ts';

const REQUEST = 'mutation ($i: RequestNotificationInput!) { requestNotification(input: $i) { cursor } }';
const BULK = 'mutation ($all: [RequestNotificationInput!]!) { requestNotifications(inputs: $all) { cursor } }';
const REGISTER = 'mutation ($u: RegisterUserInput!) { registerUser(input: $u) { id } }';

type Outcome = Pick<Answer, 'errors'> & { readonly data?: unknown };
type Transport = (api: TestApi, query: string, variables?: Record<string, unknown>) => Promise<Outcome>;

const transports: readonly (readonly [string, Transport])[] = [
  ['HTTP', (api, query, variables) => ask(api, query, variables)],
  ['WebSocket', async (api, query, variables) => askSocket(await connect(api), 'one', query, variables)],
];

describe.each(transports)('A refusal over %s', (_name, send) => {
  it('of a rule keeps its code and names the argument', async () => {
    const api = await givenApi();
    const { errors, data } = await send(api, REGISTER, { u: { id: 'ada', email: 'a@b.c\nBcc: d@e.f' } });
    expect(data).toBeNull();
    expect(errors[0]?.extensions).toEqual({ code: 'INVALID_EMAIL', field: 'input.email' });
    expect(errors[0]?.path).toEqual(['registerUser']);
  });

  it.each([
    ['an unknown enum value', REQUEST, { i: { userId: 'a', lane: 'SLOW' } }, 'input.lane'],
    ['a missing field', REQUEST, { i: {} }, 'input.userId'],
    ['a missing nested field', REQUEST, { i: { userId: 'a', content: { title: 't' } } }, 'input.content.body'],
    ['a wrong type', REQUEST, { i: { userId: 'a', content: { body: 7 } } }, 'input.content.body'],
    ['a field that does not exist', REQUEST, { i: { userId: 'a', priority: 1 } }, 'input.priority'],
    ['no time', REQUEST, { i: { userId: 'a', deliverAt: 'tomorrow' } }, 'input.deliverAt'],
    ['no object', REQUEST, { i: { userId: 'a', data: [1] } }, 'input.data'],
    ['a variable left out', REQUEST, {}, 'input'],
    ['a variable that is null', REQUEST, { i: null }, 'input'],
    ['an item', BULK, { all: [{ userId: 'a' }, { userId: 'b', channels: ['EMAIL', 'FAX'] }] }, 'inputs[1].channels[1]'],
  ])('of variables names the argument: %s', async (_what, query, variables, field) => {
    const api = await givenApi();
    const { errors, data } = await send(api, query, variables);
    expect(errors[0]?.extensions).toEqual({ code: 'BAD_USER_INPUT', field });
    expect(data).toBeUndefined();
    expect(api.fake.calls).toEqual([]);
  });

  it.each([
    ['an unknown enum value', 'requestNotification(input: { userId: "a", lane: SLOW }) { cursor }', 'input.lane'],
    ['a missing field', 'requestNotification(input: { lane: BULK }) { cursor }', 'input.userId'],
    [
      'a missing nested field',
      'requestNotification(input: { userId: "a", content: {} }) { cursor }',
      'input.content.body',
    ],
    [
      'a wrong type',
      'requestNotification(input: { userId: "a", content: { body: 7 } }) { cursor }',
      'input.content.body',
    ],
    [
      'a field that does not exist',
      'requestNotification(input: { userId: "a", priority: 1 }) { cursor }',
      'input.priority',
    ],
    ['no time', 'requestNotification(input: { userId: "a", expiresAt: 5 }) { cursor }', 'input.expiresAt'],
    ['an argument left out', 'requestNotification { cursor }', 'input'],
    ['an argument that does not exist', 'revokeClient(appKey: "a", force: true)', 'force'],
    ['an item', 'requestNotifications(inputs: [{ userId: "a" }, { userId: [] }]) { cursor }', 'inputs[1].userId'],
  ])('of literals names the argument: %s', async (_what, operation, field) => {
    const api = await givenApi();
    const { errors } = await send(api, `mutation { ${operation} }`);
    expect(errors[0]?.extensions).toEqual({ code: 'GRAPHQL_VALIDATION_FAILED', field });
    expect(api.fake.calls).toEqual([]);
  });

  it.each([
    ['{ head', 'GRAPHQL_PARSE_FAILED'],
    ['{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
    ['query A { head } query B { head }', 'OPERATION_RESOLUTION_FAILURE'],
    ['fragment F on Query { head }', 'GRAPHQL_VALIDATION_FAILED'],
  ])('of %s has a code and blames no argument', async (query, code) => {
    const { errors } = await send(await givenApi(), query);
    expect(errors[0]?.extensions).toEqual({ code });
  });

  it.each([
    ['an error', new Error('stream notification-17 of tenant acme')],
    ['a wrapped error', new GraphQLError('DateTime cannot represent notification-17')],
  ])('never shows what went wrong inside: %s', async (_what, thrown) => {
    const api = await givenApi();
    api.fake.before = (name) => (name === 'user' ? Promise.reject(thrown) : Promise.resolve());
    const { errors } = await send(api, '{ user(id: "a") { id } }');
    const requestId = errors[0]?.extensions.requestId;
    expect(errors).toEqual([
      {
        message: 'Internal server error',
        locations: [{ line: 1, column: 3 }],
        path: ['user'],
        extensions: { code: 'INTERNAL_SERVER_ERROR', requestId },
      },
    ]);
    expect(api.errors).toMatchObject([{ requestId, err: expect.anything() as unknown }]);
    expect(requestId).toMatch(/^request-\d+$/);
  });

  it.each([false, true])('never shows where it went wrong inside, development or not: %s', async (development) => {
    const api = await givenApi({
      development,
      head: () => {
        throw new TypeError('cannot read offset 17 of /var/lib/heliograph');
      },
    });
    const { errors, data } = await send(api, '{ head }');
    expect(data ?? null).toBeNull();
    expect(errors).toHaveLength(1);
    expect(errors[0]?.message).toBe('Internal server error');
    expect(JSON.stringify(errors)).not.toMatch(/offset|heliograph|TypeError|stack|\.ts\b|node_modules/);
    expect(api.errors).toMatchObject([{ err: { message: 'cannot read offset 17 of /var/lib/heliograph' } }]);
  });

  it('does not spell out the schema outside development', async () => {
    const misspelt: readonly (readonly [string, Record<string, unknown>?])[] = [
      ['{ heat }'],
      ['mutation { requestNotification(input: { userId: "a", lane: BULKY }) { cursor } }'],
      [REQUEST, { i: { userId: 'a', lane: 'BULKY' } }],
      [REQUEST, { i: { userId: 'a', campain: 'x' } }],
    ];
    for (const [query, variables] of misspelt) {
      const closed = await send(await givenApi(), query, variables);
      expect(closed.errors[0]?.message).not.toContain('Did you mean');
      const open = await send(await givenApi({ development: true }), query, variables);
      expect(open.errors[0]?.message).toContain('Did you mean');
    }
  });

  it('keeps its message short, whatever the client sent', async () => {
    const { errors } = await send(await givenApi(), REQUEST, { i: 'x'.repeat(100_000) });
    expect(errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
    expect(errors[0]?.message.length).toBeLessThanOrEqual(1_000);
  });
});

describe('Over HTTP', () => {
  it.each([
    [REQUEST, { i: {} }],
    ['{ nothing }', {}],
    ['{ head', {}],
    ['query A { head } query B { head }', {}],
  ])('an operation that never ran has status 400: %s', async (query, variables) => {
    const { status, data } = await ask(await givenApi(), query, variables);
    expect({ status, data }).toEqual({ status: 400, data: undefined });
  });

  it('one that ran and was refused has status 200', async () => {
    const api = await givenApi();
    api.fake.before = (name) =>
      name === 'user' ? Promise.reject(new DomainError('CONFLICT', 'try again')) : Promise.resolve();
    const { status, data, code } = await ask(api, '{ head user(id: "a") { id } }');
    expect({ status, data, code }).toEqual({ status: 200, data: { head: 'cursor-0', user: null }, code: 'CONFLICT' });
  });
});
