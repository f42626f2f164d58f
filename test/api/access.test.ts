import { describe, expect, it } from 'vitest';
import { readBasic } from '../../src/api/authenticate.ts';
import { createSchema } from '../../src/api/schema.ts';
import { OPERATION_SCOPES } from '../../src/api/scopes.ts';
import { SCOPES } from '../../src/events/clients.ts';
import { eventually } from '../support/eventually.ts';
import { SECRET } from './fake.ts';
import type { TestApi } from './given-api.ts';
import { ask, askSocket, basic, connect, givenApi } from './given-api.ts';

const FUNNEL = '{ stages: [SENT, OPENED], from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z" }';

/** One operation each, with arguments that the edge lets through. */
const OPERATIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Query: {
    head: 'head',
    notification: 'notification(id: "n") { id }',
    user: 'user(id: "a") { id }',
    template: 'template(key: "k") { key }',
    funnel: `funnel(input: ${FUNNEL}) { cursor }`,
    queues: 'queues { name }',
  },
  Mutation: {
    registerUser: 'registerUser(input: { id: "a" }) { id }',
    registerDevice: 'registerDevice(input: { userId: "a", platform: IOS, token: "t" }) { id }',
    removeDevice: 'removeDevice(id: "d")',
    setPreference: 'setPreference(input: { userId: "a", channel: EMAIL, optIn: true }) { id }',
    publishTemplate: 'publishTemplate(input: { key: "k", body: "b" }) { key }',
    requestNotification: 'requestNotification(input: { userId: "a" }) { cursor }',
    requestNotifications: 'requestNotifications(inputs: [{ userId: "a" }]) { cursor }',
    cancelNotification: 'cancelNotification(id: "n") { cancelled }',
    recordConversion: 'recordConversion(input: { notificationId: "n", name: "bought" }) { cursor }',
    registerClient: 'registerClient(input: { tenant: "t", name: "n", scopes: [READ] }) { appKey }',
    rotateClientSecret: 'rotateClientSecret(appKey: "k") { appKey }',
    revokeClient: 'revokeClient(appKey: "k")',
  },
  Subscription: {
    deliveryUpdated: 'deliveryUpdated { cursor }',
    funnelUpdated: `funnelUpdated(input: ${FUNNEL}) { cursor }`,
  },
};

const operations = Object.entries(OPERATIONS).flatMap(([type, fields]) =>
  Object.entries(fields).map(([name, text]) => ({ type, name, query: `${type.toLowerCase()} { ${text} }` })),
);

describe('Scopes', () => {
  it('are named for every operation of the schema and for nothing else', () => {
    const schema = createSchema();
    const fields = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].flatMap((type) =>
      type ? [[type.name, Object.keys(type.getFields()).toSorted()] as const] : [],
    );
    const sorted = Object.entries(OPERATION_SCOPES).map(
      ([type, each]) => [type, Object.keys(each).toSorted()] as const,
    );
    expect(Object.fromEntries(sorted)).toEqual(Object.fromEntries(fields));
    expect(operations).toHaveLength(fields.flatMap(([, names]) => names).length);
  });

  it.each(operations.filter(({ type }) => type !== 'Subscription'))(
    'keep $type.$name from clients that lack the one it needs',
    async ({ type, name, query }) => {
      const api = await givenApi();
      const needed = OPERATION_SCOPES[type]?.[name];
      api.fake.addClient({ appKey: 'lacking', scopes: SCOPES.filter((scope) => scope !== needed) });
      api.fake.addClient({ appKey: 'having', scopes: SCOPES.filter((scope) => scope === needed) });
      const refused = await ask(api, query, {}, basic('lacking'));
      expect(refused.code).toBe('FORBIDDEN');
      expect(refused.errors[0]?.message).toContain(String(needed));
      expect(api.fake.calls).toEqual([]);
      const socket = await connect(api, basic('lacking'));
      const { errors } = await askSocket(socket, 'one', query);
      expect(errors).toEqual(refused.errors);
      expect((await ask(api, query, {}, basic('having'))).code).not.toBe('FORBIDDEN');
    },
  );

  it.each(operations.filter(({ type }) => type === 'Subscription'))(
    'keep $type.$name from clients that lack the one it needs',
    async ({ type, name, query }) => {
      const api = await givenApi();
      const needed = OPERATION_SCOPES[type]?.[name];
      api.fake.addClient({ appKey: 'lacking', scopes: SCOPES.filter((scope) => scope !== needed) });
      api.fake.addClient({ appKey: 'having', scopes: SCOPES.filter((scope) => scope === needed) });
      const { errors } = await askSocket(await connect(api, basic('lacking')), 'one', query);
      const message = `this needs the scope ${String(needed)}`;
      expect(errors).toMatchObject([{ message, path: [name], extensions: { code: 'FORBIDDEN' } }]);
      expect(followed(api)).toBe(0);
      (await connect(api, basic('having'))).subscribe('one', query);
      await eventually(() => {
        expect(followed(api)).toBe(1);
      });
    },
  );
});

function followed({ fake }: TestApi): number {
  return fake.readModels.deliveriesFollowed.length + fake.readModels.funnelsFollowed.length;
}

describe('Credentials', () => {
  const wrong: readonly (readonly [string, string | null])[] = [
    ['missing', null],
    ['empty', ''],
    ['a wrong secret', basic('key', 'wrong')],
    ['an unknown key', basic('unknown')],
    ['a key alone', `Basic ${btoa('key')}`],
    ['no base64', 'Basic !!!'],
    ['another scheme', `Bearer ${SECRET}`],
    ['not encoded', `Basic key:${SECRET}`],
  ];

  async function refusal(api: TestApi, authorization: string | null): Promise<unknown> {
    const { status, headers, text } = await ask(api, '{ head }', {}, authorization);
    return { status, challenge: headers.get('www-authenticate'), type: headers.get('content-type'), text };
  }

  it.each(wrong)('get one and the same answer: %s', async (_what, authorization) => {
    const api = await givenApi();
    const error = {
      message: 'The appKey or the appSecret is wrong, revoked or missing.',
      extensions: { code: 'UNAUTHENTICATED' },
    };
    expect(await refusal(api, authorization)).toEqual({
      status: 401,
      challenge: 'Basic realm="heliograph"',
      type: 'application/json; charset=utf-8',
      text: JSON.stringify({ errors: [error] }),
    });
  });

  it('are never read from a URL', async () => {
    const api = await givenApi();
    const query = `appKey=key&appSecret=${SECRET}&authorization=${encodeURIComponent(basic())}`;
    expect((await ask({ url: `${api.url}/graphql?${query}#` }, '{ head }', {}, null)).status).toBe(401);
    const response = await fetch(`${api.url}/graphql?${query}&query={head}`, {
      headers: { 'apollo-require-preflight': '1' },
    });
    expect(response.status).toBe(401);
  });

  it('guard introspection and __typename, too', async () => {
    const api = await givenApi({ development: true });
    expect((await ask(api, '{ __typename }', {}, null)).status).toBe(401);
    expect((await ask(api, '{ __schema { queryType { name } } }', {}, null)).status).toBe(401);
  });

  it('stop working on the next request once they are revoked', async () => {
    const api = await givenApi();
    api.fake.addClient({ appKey: 'soon-gone' });
    expect((await ask(api, '{ head }', {}, basic('soon-gone'))).status).toBe(200);
    api.fake.revoke('soon-gone');
    expect((await ask(api, '{ head }', {}, basic('soon-gone'))).status).toBe(401);
  });

  it('that cannot be checked are nobody’s business', async () => {
    const api = await givenApi();
    api.fake.before = () => Promise.reject(new Error('log is gone: /var/lib/data'));
    const { status, code, text } = await ask(api, '{ head }');
    expect({ status, code }).toEqual({ status: 500, code: 'INTERNAL_SERVER_ERROR' });
    expect(text).not.toContain('log is gone');
    expect(api.errors).toHaveLength(1);
  });

  it('may hold colons in the secret, and any Unicode', () => {
    expect(readBasic(basic('key', 'a:b:ü🏃'))).toEqual({ appKey: 'key', appSecret: 'a:b:ü🏃' });
    expect(readBasic(`basic ${btoa('key:')}`)).toEqual({ appKey: 'key', appSecret: '' });
    expect(readBasic(`Basic ${btoa(':secret')}`)).toBeNull();
    expect(readBasic(undefined)).toBeNull();
    expect(readBasic([basic()])).toBeNull();
  });
});
