import { describe, expect, it } from 'vitest';
import { DomainError } from '../../src/errors.ts';
import { createFake } from './fake.ts';
import { ask, basic, givenApi, type TestApi } from './given-api.ts';

const REQUEST = `mutation ($input: RequestNotificationInput!) {
  requestNotification(input: $input) {
    cursor replayed
    notification {
      id userId status category lane campaign requestedAt deliverAt expiresAt
      deliveries { id notificationId channel address status attempts inDoubt sentAt deliveredAt openedAt clickedAt convertedAt }
      timeline { cursor type occurredAt deliveryId detail }
    }
  }
}`;

const REGISTER = 'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id email devices { id } } }';

describe('registerUser', () => {
  it('keeps the difference between what is left out and what is null', async () => {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada', email: 'ada@example.org', phone: null } });
    expect(api.fake.calls[0]?.input).toStrictEqual({ id: 'ada', email: 'ada@example.org', phone: null });
  });

  it('keeps it for literals, and for variables that are not given', async () => {
    const api = await givenApi();
    const query = `mutation ($phone: String, $locale: String) {
      registerUser(input: { id: "ada", email: null, phone: $phone, locale: $locale }) { id }
    }`;
    await ask(api, query, { locale: null });
    expect(api.fake.calls[0]?.input).toStrictEqual({ id: 'ada', email: null, locale: null });
  });

  it('hands over plain data, no instances of schema classes', async () => {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada' } });
    expect(Object.getPrototypeOf(api.fake.calls[0]?.input)).toBe(Object.prototype);
  });

  it('answers the user, who has no devices yet', async () => {
    const api = await givenApi();
    const { data } = await ask(api, REGISTER, { input: { id: 'ada', email: 'ada@example.org' } });
    expect(data).toEqual({ registerUser: { id: 'ada', email: 'ada@example.org', devices: [] } });
  });
});

describe('A device', () => {
  const TOKEN = 'f1Rst-secret:APA91bH-of-the-phone';
  const REGISTER_DEVICE = `mutation ($input: RegisterDeviceInput!) {
    registerDevice(input: $input) { id platform tokenHint active }
  }`;

  async function givenUser(): Promise<TestApi> {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada' } });
    return api;
  }

  it('is answered and listed with the end of its token only', async () => {
    const api = await givenUser();
    const input = { userId: 'ada', deviceId: 'phone', platform: 'IOS', token: TOKEN };
    const device = { id: 'phone', platform: 'IOS', tokenHint: '-phone', active: true };
    const registered = await ask(api, REGISTER_DEVICE, { input });
    expect(registered.data).toEqual({ registerDevice: device });
    const fields = 'devices { id platform tokenHint active }';
    const asked = await ask(api, `{ user(id: "ada") { ${fields} } }`);
    expect(asked.data).toEqual({ user: { devices: [device] } });
    const set = `setPreference(input: { userId: "ada", channel: PUSH, optIn: true }) { ${fields} }`;
    const again = await ask(api, `mutation { ${set} registerUser(input: { id: "ada" }) { ${fields} } }`);
    expect(again.data).toEqual({ setPreference: { devices: [device] }, registerUser: { devices: [device] } });
    for (const { text } of [registered, asked, again]) expect(text).not.toContain(TOKEN.slice(0, -6));
  });

  it('shows nothing of a token that is hardly longer than its end', async () => {
    const api = await givenUser();
    const { data } = await ask(api, REGISTER_DEVICE, { input: { userId: 'ada', platform: 'WEB', token: 'abcd' } });
    expect(data?.['registerDevice']).toMatchObject({ tokenHint: 'cd' });
  });

  it('without an id is handed over without one, whichever way it is left out', async () => {
    const api = await givenUser();
    const input = { userId: 'ada', platform: 'ANDROID', token: TOKEN };
    await ask(api, REGISTER_DEVICE, { input });
    await ask(api, REGISTER_DEVICE, { input: { ...input, deviceId: null } });
    const calls = api.fake.calls.slice(1).map((call) => call.input);
    expect(calls).toStrictEqual([
      { ...input, deviceId: null },
      { ...input, deviceId: null },
    ]);
  });

  it('of an unknown user is refused by the name of the argument', async () => {
    const api = await givenUser();
    const input = { userId: 'nobody', platform: 'IOS', token: TOKEN };
    const { errors, text } = await ask(api, REGISTER_DEVICE, { input });
    expect(errors).toMatchObject([{ extensions: { code: 'USER_NOT_FOUND', field: 'input.userId' } }]);
    expect(text).not.toContain(TOKEN);
  });

  it('is removed once, and by its own tenant only', async () => {
    const api = await givenUser();
    api.fake.addClient({ appKey: 'other', tenant: 'acme' });
    await ask(api, REGISTER_DEVICE, { input: { userId: 'ada', deviceId: 'phone', platform: 'IOS', token: TOKEN } });
    const remove = 'mutation { removeDevice(id: "phone") }';
    expect((await ask(api, remove, {}, basic('other'))).data).toEqual({ removeDevice: false });
    expect((await ask(api, remove)).data).toEqual({ removeDevice: true });
    expect((await ask(api, remove)).data).toEqual({ removeDevice: false });
  });
});

describe('requestNotification', () => {
  it('answers the whole notification', async () => {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada' } });
    const deliverAt = '2030-01-01T01:00:00+01:00';
    const { data, errors } = await ask(api, REQUEST, { input: { userId: 'ada', content: { body: 'x' }, deliverAt } });
    expect(errors).toEqual([]);
    const { notification, ...rest } = data?.['requestNotification'] as { notification: { id: string } };
    expect(rest).toEqual({ cursor: 'cursor-1', replayed: false });
    expect(notification).toMatchObject({
      userId: 'ada',
      status: 'COMPLETED',
      category: 'general',
      lane: 'TRANSACTIONAL',
      requestedAt: '2026-01-02T03:04:05.678Z',
      deliverAt: '2030-01-01T00:00:00.000Z',
      expiresAt: null,
      deliveries: [
        { notificationId: notification.id, channel: 'EMAIL', status: 'SENT', inDoubt: true, deliveredAt: null },
      ],
      timeline: [{ type: 'NotificationRequested', occurredAt: '2026-01-02T03:04:05.678Z', detail: {} }],
    });
  });

  it('takes null as left out and fills in the defaults', async () => {
    const api = await givenApi();
    const nulls = { idempotencyKey: null, channels: null, template: null, data: null, category: null, lane: null };
    await ask(api, REQUEST, { input: { userId: 'ada', content: { body: 'x', title: null }, ...nulls } });
    expect(api.fake.calls[0]?.input).toMatchObject({
      idempotencyKey: null,
      channels: null,
      content: { title: null, body: 'x', html: null, url: null },
      template: null,
      data: null,
      category: 'general',
      lane: 'TRANSACTIONAL',
      campaign: null,
      deliverAt: null,
      expiresAt: null,
    });
  });

  it('hands over what the client sent, without defaults, whichever way it was sent', async () => {
    const api = await givenApi();
    const sent = { userId: 'ada', lane: 'BULK', content: { body: 'x' }, data: { n: 1.5, list: [1, null] } };
    await ask(api, REQUEST, { input: sent });
    const literal = '{ userId: "ada", lane: BULK, content: { body: "x" }, data: { n: 1.5, list: [1, null] } }';
    await ask(api, `mutation { requestNotification(input: ${literal}) { cursor } }`);
    const mixed = `mutation ($lane: Lane = BULK, $user: ID!, $body: String!, $data: JSONObject, $none: String) {
      requestNotification(
        input: { userId: $user, lane: $lane, content: { body: $body, title: $none }, data: $data, campaign: $none }
      ) { cursor }
    }`;
    await ask(api, mixed, { user: 'ada', body: 'x', data: sent.data });
    const asSent = api.fake.calls.map(({ input }) => (input as { asSent: unknown }).asSent);
    expect(asSent).toStrictEqual([sent, sent, sent]);
  });

  it('survives data that nests deeper than any stack', async () => {
    const api = await givenApi();
    const depth = 100_000;
    const data = `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    const body = `{"query":${JSON.stringify(REQUEST)},"variables":{"input":{"userId":"ada","data":${data}}}}`;
    const headers = { 'content-type': 'application/json', authorization: basic() };
    const response = await fetch(`${api.url}/graphql`, { method: 'POST', headers, body });
    expect(await response.text()).toContain('USER_NOT_FOUND');
    expect(api.errors).toEqual([]);
  });

  it('knows the caller from the credentials and the request from its id', async () => {
    const api = await givenApi();
    api.fake.addClient({ appKey: 'other', tenant: 'acme', scopes: ['SEND'] });
    const { headers } = await ask(api, REGISTER, { input: { id: 'ada' } }, basic('other'));
    const correlationId = headers.get('x-request-id');
    expect(correlationId).toMatch(/^request-\d+$/);
    expect(api.fake.calls[0]?.caller).toEqual({ tenant: 'acme', appKey: 'other', scopes: ['SEND'], correlationId });
  });
});

describe('requestNotifications', () => {
  const BULK = `mutation ($inputs: [RequestNotificationInput!]!) {
    requestNotifications(inputs: $inputs) {
      notification { id deliveries { id } timeline { type } } cursor replayed error { code message field }
    }
  }`;
  const input = { userId: 'ada', content: { body: 'x' } };

  it('answers one result an item, in order; a bad item fails alone and is named', async () => {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada' } });
    const { data, errors } = await ask(api, BULK, { inputs: [input, { ...input, userId: 'nobody' }, input] });
    expect(errors).toEqual([]);
    const accepted = { notification: {}, cursor: 'cursor-1', replayed: false, error: null };
    const error = { code: 'USER_NOT_FOUND', message: 'no user nobody', field: 'inputs[1].userId' };
    expect(data?.['requestNotifications']).toMatchObject([
      accepted,
      { notification: null, cursor: null, replayed: null, error },
      accepted,
    ]);
  });

  it('makes neither cursors nor timelines for who does not ask for them', async () => {
    const { commands } = createFake();
    const unasked = (): never => {
      throw new Error('nobody asked for this');
    };
    const api = await givenApi({
      commands: {
        ...commands,
        requestNotifications: async (caller, inputs) =>
          (await commands.requestNotifications(caller, inputs)).map((result) =>
            result instanceof DomainError
              ? result
              : { ...result, notification: { ...result.notification, timeline: unasked }, cursor: unasked },
          ),
      },
    });
    await ask(api, REGISTER, { input: { id: 'ada' } });
    const select = (fields: string): string =>
      `mutation ($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { ${fields} } }`;
    const { data, errors } = await ask(api, select('notification { status } error { code }'), { inputs: [input] });
    expect([errors, data?.['requestNotifications']]).toMatchObject([
      [],
      [{ notification: { status: 'COMPLETED' }, error: null }],
    ]);
    expect((await ask(api, select('cursor'), { inputs: [input] })).errors).toHaveLength(1);
  });

  it('takes 1,000 items with everything asked for', async () => {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada' } });
    const { data, errors } = await ask(api, BULK, { inputs: new Array(1_000).fill(input) });
    expect(errors).toEqual([]);
    expect(data?.['requestNotifications']).toHaveLength(1_000);
  });

  it.each([1_001, 20_000])('refuses %i items', async (count) => {
    const api = await givenApi();
    const { data, errors } = await ask(api, BULK, { inputs: new Array(count).fill(input) });
    expect(data).toBeUndefined();
    expect(errors).toMatchObject([{ extensions: { code: 'TOO_MANY_ITEMS', field: 'inputs' } }]);
  });

  it('hands over each item as it was sent, a single one without its list too', async () => {
    const api = await givenApi();
    const other = { ...input, lane: 'BULK' };
    await ask(api, BULK, { inputs: [input, other] });
    await ask(api, 'mutation { requestNotifications(inputs: { userId: "ada", content: { body: "x" } }) { cursor } }');
    const asSent = api.fake.calls.map((call) => (call.input as { asSent: unknown }[]).map((each) => each.asSent));
    expect(asSent).toStrictEqual([[input, other], [input]]);
  });
});

describe('What is asked by id', () => {
  const GET = 'query ($id: ID!) { notification(id: $id) { id } }';
  const CANCEL = `mutation ($id: ID!) {
    cancelNotification(id: $id) { cancelled deliveries { outcome delivery { id status } } notification { id } }
  }`;

  async function givenNotification(): Promise<{
    readonly api: Awaited<ReturnType<typeof givenApi>>;
    readonly id: string;
  }> {
    const api = await givenApi();
    api.fake.addClient({ appKey: 'other', tenant: 'acme' });
    await ask(api, REGISTER, { input: { id: 'ada' } });
    const { data } = await ask(api, REQUEST, { input: { userId: 'ada', content: { body: 'x' } } });
    return { api, id: (data?.['requestNotification'] as { notification: { id: string } }).notification.id };
  }

  it('is found by its own tenant', async () => {
    const { api, id } = await givenNotification();
    expect((await ask(api, GET, { id })).data).toEqual({ notification: { id } });
    const { data } = await ask(api, CANCEL, { id });
    expect(data?.['cancelNotification']).toEqual({
      cancelled: false,
      deliveries: [{ outcome: 'TOO_LATE', delivery: { id: `delivery-of-${id}`, status: 'SENT' } }],
      notification: { id },
    });
  });

  it('is to another tenant exactly as if it did not exist', async () => {
    const { api, id } = await givenNotification();
    const answers = async (which: string): Promise<unknown> => {
      const got = await ask(api, GET, { id: which }, basic('other'));
      const cancelled = await ask(api, CANCEL, { id: which }, basic('other'));
      return [got.status, got.text, cancelled.status, cancelled.text.replaceAll(which, '<id>')];
    };
    expect(await answers(id)).toEqual(await answers('00000000-0000-4000-8000-000000000000'));
    expect((await ask(api, GET, { id }, basic('other'))).data).toEqual({ notification: null });
    const { errors } = await ask(api, CANCEL, { id }, basic('other'));
    expect(errors).toMatchObject([{ extensions: { code: 'NOTIFICATION_NOT_FOUND', field: 'id' } }]);
  });

  it('is null where there is none: users, templates and versions', async () => {
    const api = await givenApi();
    await ask(api, 'mutation { publishTemplate(input: { key: "hi", body: "x" }) { version } }');
    const query = `{ head user(id: "no") { id } none: template(key: "no") { version }
      newest: template(key: "hi") { version } missing: template(key: "hi", version: 2) { version } }`;
    const { data } = await ask(api, query);
    expect(data).toEqual({ head: 'cursor-0', user: null, none: null, newest: { version: 1 }, missing: null });
  });
});

describe('Clients and queues', () => {
  it('rotates with a day of grace unless told otherwise', async () => {
    const api = await givenApi();
    const query = `mutation { a: rotateClientSecret(appKey: "key") { appSecret }
      b: rotateClientSecret(appKey: "key", graceSeconds: null) { appSecret }
      c: rotateClientSecret(appKey: "key", graceSeconds: 0) { appSecret } }`;
    await ask(api, query);
    const grace = api.fake.calls.map(({ input }) => (input as { graceSeconds: number }).graceSeconds);
    expect(grace).toEqual([86_400, 86_400, 0]);
  });

  it('registers and revokes', async () => {
    const api = await givenApi();
    const register = 'mutation { registerClient(input: { tenant: "acme", name: "n", scopes: READ }) { appKey } }';
    const { data } = await ask(api, register);
    const { appKey } = data?.['registerClient'] as { appKey: string };
    expect((await ask(api, '{ head }', {}, basic(appKey))).status).toBe(200);
    await ask(api, 'mutation ($appKey: String!) { revokeClient(appKey: $appKey) }', { appKey });
    expect((await ask(api, '{ head }', {}, basic(appKey))).status).toBe(401);
  });

  it('counts jobs beyond 32 bits', async () => {
    const api = await givenApi();
    const { data } = await ask(api, '{ queues { name depth oldestSeconds } }');
    expect(data).toEqual({ queues: [{ name: 'email.bulk', depth: 2 ** 40, oldestSeconds: 1.5 }] });
  });
});

describe('What the contract has and this version does not', () => {
  it.each([['publishTemplate(input: { key: "k", body: "b", locale: "de" }) { version }', 'input.locale']])(
    'refuses %s',
    async (operation, field) => {
      const api = await givenApi();
      const { errors } = await ask(api, `mutation { ${operation} }`);
      expect(errors).toMatchObject([{ extensions: { code: 'NOT_YET_SUPPORTED', field } }]);
      expect(api.fake.calls).toEqual([]);
    },
  );

  it.each(['PUSH', 'SMS', 'EMAIL'])('takes a template for %s', async (channel) => {
    const api = await givenApi();
    const publish = `mutation { publishTemplate(input: { key: "k", body: "b", channel: ${channel} }) { version } }`;
    expect((await ask(api, publish)).data).toEqual({ publishTemplate: { version: 1 } });
    expect(api.fake.calls[0]?.input).toMatchObject({ channel, locale: null });
  });

  it('records preferences for every channel', async () => {
    const api = await givenApi();
    await ask(api, REGISTER, { input: { id: 'ada' } });
    const { errors } = await ask(
      api,
      'mutation { setPreference(input: { userId: "ada", channel: SMS, optIn: false }) { id } }',
    );
    expect(errors).toEqual([]);
    expect(api.fake.calls[1]?.input).toEqual({ userId: 'ada', channel: 'SMS', category: null, optIn: false });
  });
});
