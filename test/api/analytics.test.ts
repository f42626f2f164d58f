import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/errors.ts';
import { DomainError } from '../../src/errors.ts';
import type { FunnelFigures } from '../../src/projections/funnel-figures.ts';
import { eventually } from '../support/eventually.ts';
import type { TestApi } from './given-api.ts';
import { ask, askSocket, basic, connect, givenApi } from './given-api.ts';
import { COHORT, FUNNEL, listen, liveClient, updateAt } from './live-client.ts';

const FIELDS = `groups {
  key
  dimensions { dimension value }
  stages { stage count fromPrevious fromFirst medianSecondsFromPrevious }
} cursor`;
const ASK = `query ($input: FunnelInput!) { funnel(input: $input) { ${FIELDS} } }`;

const DEFAULTS = {
  stages: ['SENT', 'OPENED'],
  from: new Date('2026-01-01T00:00:00Z'),
  to: new Date('2026-02-01T00:00:00Z'),
  windowSeconds: 604_800,
  channels: null,
  campaign: null,
  category: null,
  unit: 'DELIVERY',
  groupBy: [],
  timeZone: 'UTC',
};

const EVERYTHING = {
  stages: ['REQUESTED', 'QUEUED', 'SENT', 'DELIVERED', 'OPENED', 'CLICKED', 'CONVERTED'],
  from: '2026-01-01T01:00:00+01:00',
  to: '2026-02-01T00:00:00Z',
  windowSeconds: 3_600,
  channels: ['PUSH', 'SMS'],
  campaign: 'spring',
  category: 'offers',
  unit: 'USER',
  groupBy: ['CHANNEL', 'PROVIDER', 'TEMPLATE', 'CAMPAIGN', 'CATEGORY', 'PLATFORM', 'DAY', 'HOUR'],
  timeZone: 'Europe/Berlin',
};

const FIGURES: FunnelFigures = {
  cursor: 'included',
  groups: [
    {
      key: 'EMAIL',
      dimensions: [
        { dimension: 'CHANNEL', value: 'EMAIL' },
        { dimension: 'CAMPAIGN', value: null },
      ],
      stages: [
        { stage: 'SENT', count: 2 ** 40, fromPrevious: null, fromFirst: 1, medianSecondsFromPrevious: null },
        { stage: 'OPENED', count: 0, fromPrevious: 0, fromFirst: 0, medianSecondsFromPrevious: 1.5 },
      ],
    },
    { key: null, dimensions: [], stages: [] },
  ],
};

function given(code: ErrorCode, field: string | null, operation: string): Promise<TestApi> {
  return givenApi().then((api) => {
    api.fake.before = (name) =>
      name === operation ? Promise.reject(new DomainError(code, 'not so', field)) : Promise.resolve();
    return api;
  });
}

describe('funnel', () => {
  it('answers the figures as they are', async () => {
    const api = await givenApi();
    api.fake.readModels.figures = FIGURES;
    const { data, errors } = await ask(api, ASK, { input: COHORT });
    expect(errors).toEqual([]);
    expect(data).toEqual({ funnel: FIGURES });
  });

  it('fills in the defaults, whichever way something is left out', async () => {
    const api = await givenApi();
    const nulls = { channels: null, campaign: null, category: null, groupBy: null };
    const input = { ...COHORT, ...nulls, windowSeconds: null, unit: null, timeZone: null };
    await ask(api, ASK, { input });
    await ask(api, ASK, { input: COHORT });
    const literal = `{ stages: [SENT, OPENED], from: "${COHORT.from}", to: "${COHORT.to}" }`;
    await ask(api, `{ funnel(input: ${literal}) { cursor } }`);
    const { funnelsAsked } = api.fake.readModels;
    expect(funnelsAsked.map((each) => each.input)).toEqual([DEFAULTS, DEFAULTS, DEFAULTS]);
  });

  it('hands over everything that can be asked, for the tenant of the credentials', async () => {
    const api = await givenApi();
    api.fake.addClient({ appKey: 'analyst', tenant: 'acme', scopes: ['ANALYTICS'] });
    await ask(api, ASK, { input: EVERYTHING }, basic('analyst'));
    const input = { ...EVERYTHING, from: DEFAULTS.from, to: DEFAULTS.to };
    expect(api.fake.readModels.funnelsAsked).toEqual([{ tenant: 'acme', input }]);
  });

  it('keeps empty lists and a window of nothing for the rules to refuse', async () => {
    const api = await givenApi();
    const empty = { stages: [], channels: [], groupBy: [], windowSeconds: 0, timeZone: '' };
    await ask(api, ASK, { input: { ...COHORT, ...empty } });
    expect(api.fake.readModels.funnelsAsked[0]?.input).toMatchObject(empty);
  });

  it.each([
    ['INVALID_FUNNEL', 'timeZone', 'input.timeZone'],
    ['TOO_MANY_GROUPS', 'groupBy', 'input.groupBy'],
    ['FUNNEL_TOO_EXPENSIVE', null, 'input'],
    ['ANALYTICS_UNAVAILABLE', null, undefined],
  ] as const)('is refused with %s', async (code, field, told) => {
    const api = await given(code, field, 'funnel');
    const answer = await ask(api, ASK, { input: COHORT });
    expect({ status: answer.status, data: answer.data }).toEqual({ status: 200, data: null });
    expect(answer.errors[0]?.extensions).toEqual({ code, ...(told !== undefined && { field: told }) });
  });

  it.each([
    ['a stage that there is not', { stages: ['SENT', 'SEEN'] }, 'input.stages[1]'],
    ['no time', { from: 'yesterday' }, 'input.from'],
    ['a window of 100 years', { windowSeconds: 100 * 365 * 86_400 }, 'input.windowSeconds'],
    ['a dimension that there is not', { groupBy: ['MOON'] }, 'input.groupBy[0]'],
  ])('is refused for %s before anybody is asked', async (_what, wrong, field) => {
    const api = await givenApi();
    const { code, errors } = await ask(api, ASK, { input: { ...COHORT, ...wrong } });
    expect({ code, field: errors[0]?.extensions.field }).toEqual({ code: 'BAD_USER_INPUT', field });
    expect(api.fake.readModels.funnelsAsked).toEqual([]);
  });
});

describe('funnelUpdated', () => {
  it('tells the figures at once, and whatever follows', async () => {
    const api = await givenApi();
    api.fake.readModels.figures = FIGURES;
    const client = liveClient(api);
    const listener = listen(
      client,
      `subscription ($input: FunnelInput!) { funnelUpdated(input: $input) { ${FIELDS} } }`,
      {
        input: COHORT,
      },
    );
    await eventually(() => {
      expect(listener.values).toEqual([{ data: { funnelUpdated: FIGURES } }]);
    });
    api.fake.readModels.funnelsFollowed[0]?.stream.push({ groups: [], cursor: 'later' });
    await eventually(() => {
      expect(listener.values[1]).toEqual({ data: { funnelUpdated: { groups: [], cursor: 'later' } } });
    });
  });

  it('works out one answer for all who ask the same of the same figures', async () => {
    const api = await givenApi();
    let reads = 0;
    const counting = {
      cursor: 'counted',
      get groups() {
        reads++;
        return FIGURES.groups;
      },
    };
    api.fake.readModels.figures = counting;
    const client = liveClient(api);
    const listeners = Array.from({ length: 50 }, () => listen(client, FUNNEL, { input: COHORT }));
    const other = listen(client, FUNNEL.replace('key', 'name: key'), { input: COHORT });
    await eventually(() => {
      expect([...listeners, other].map(({ values }) => values.length)).toEqual(new Array(51).fill(1));
    });
    const groups = FIGURES.groups.map(({ key }) => ({ key }));
    for (const { values } of listeners) {
      expect(values).toEqual([{ data: { funnelUpdated: { cursor: 'counted', groups } } }]);
    }
    expect(other.values[0]?.data?.['funnelUpdated']).toMatchObject({
      groups: groups.map(({ key }) => ({ name: key })),
    });
    expect(reads).toBe(2);
  });

  it('hands over the tenant and the whole input', async () => {
    const api = await givenApi();
    api.fake.addClient({ appKey: 'analyst', tenant: 'acme', scopes: ['ANALYTICS'] });
    const socket = await connect(api, basic('analyst'));
    await askSocket(socket, '1', FUNNEL, { input: COHORT });
    await askSocket(socket, '2', FUNNEL, { input: { ...EVERYTHING, unit: null } });
    const { funnelsFollowed } = api.fake.readModels;
    expect(funnelsFollowed.map(({ tenant, input }) => ({ tenant, input }))).toEqual([
      { tenant: 'acme', input: DEFAULTS },
      { tenant: 'acme', input: { ...EVERYTHING, unit: 'DELIVERY', from: DEFAULTS.from, to: DEFAULTS.to } },
    ]);
  });
});

describe('deliveryUpdated', () => {
  const WHOLE = `subscription ($filter: DeliveryFilter, $after: Cursor) {
    deliveryUpdated(filter: $filter, after: $after) {
      cursor notificationId type occurredAt
      delivery {
        id notificationId channel platform address status reason provider providerMessageId attempts inDoubt
        sentAt deliveredAt openedAt clickedAt convertedAt
      }
    }
  }`;

  it('hands over the tenant, the filter and the cursor', async () => {
    const api = await givenApi();
    api.fake.addClient({ appKey: 'reader', tenant: 'acme', scopes: ['READ'] });
    const socket = await connect(api, basic('reader'));
    const filter = { notificationId: 'n', userId: 'ada', campaign: 'spring', channels: ['PUSH', 'EMAIL'] };
    const nothing = { notificationId: null, userId: null, campaign: null, channels: null };
    socket.subscribe('1', WHOLE, { filter, after: 'cursor-7' });
    socket.subscribe('2', WHOLE, { filter: { channels: [], userId: null }, after: null });
    socket.subscribe('3', 'subscription { deliveryUpdated { cursor } }');
    const { deliveriesFollowed } = api.fake.readModels;
    await eventually(() => {
      expect(deliveriesFollowed).toHaveLength(3);
    });
    expect(deliveriesFollowed.map(({ request: { onSlow: _onSlow, ...request } }) => request)).toEqual([
      { tenant: 'acme', filter, after: 'cursor-7' },
      { tenant: 'acme', filter: { ...nothing, channels: [] }, after: null },
      { tenant: 'acme', filter: nothing, after: null },
    ]);
  });

  it('tells the whole delivery, and of a push token its end alone', async () => {
    const api = await givenApi();
    const socket = await connect(api);
    socket.subscribe('1', WHOLE);
    const { deliveriesFollowed } = api.fake.readModels;
    await eventually(() => {
      expect(deliveriesFollowed).toHaveLength(1);
    });
    const times = {
      deliveredAt: '2026-01-02T03:04:06.000Z',
      openedAt: '2026-01-02T03:04:07.000Z',
      clickedAt: '2026-01-02T03:04:08.000Z',
      convertedAt: '2026-01-02T03:04:09.000Z',
    };
    const update = updateAt('a');
    const push = { channel: 'PUSH', platform: 'IOS', address: 'secret-token-abcdef' } as const;
    deliveriesFollowed[0]?.stream.push({ ...update, delivery: { ...update.delivery, ...push, ...times } });
    const { payload } = await socket.next(({ type }) => type === 'next');
    expect(payload).toEqual({
      data: {
        deliveryUpdated: {
          cursor: 'a',
          notificationId: 'n',
          type: 'DeliverySent',
          occurredAt: '2026-01-02T03:04:05.678Z',
          delivery: {
            id: 'delivery-of-n',
            notificationId: 'n',
            ...push,
            address: 'abcdef',
            status: 'SENT',
            reason: null,
            provider: 'smtp',
            providerMessageId: '<1@example.org>',
            attempts: 1,
            inDoubt: true,
            sentAt: '2026-01-02T03:04:05.678Z',
            ...times,
          },
        },
      },
    });
  });
});

describe('recordConversion', () => {
  const RECORD = `mutation ($input: RecordConversionInput!) {
    recordConversion(input: $input) { delivery { id notificationId } cursor replayed }
  }`;

  async function givenNotification(): Promise<{ readonly api: TestApi; readonly notificationId: string }> {
    const api = await givenApi();
    const { data } = await ask(
      api,
      `mutation { registerUser(input: { id: "ada" }) { id }
        requestNotification(input: { userId: "ada", content: { body: "x" } }) { notification { id } } }`,
    );
    const { notification } = data?.['requestNotification'] as { notification: { id: string } };
    api.fake.calls.splice(0);
    return { api, notificationId: notification.id };
  }

  it('answers the delivery that it was put down to', async () => {
    const { api, notificationId } = await givenNotification();
    const { data, errors } = await ask(api, RECORD, { input: { notificationId, name: 'bought' } });
    expect(errors).toEqual([]);
    const delivery = { id: `delivery-of-${notificationId}`, notificationId };
    expect(data).toEqual({ recordConversion: { delivery, cursor: 'cursor-2', replayed: false } });
  });

  it('answers no delivery where there is none', async () => {
    const { api, notificationId } = await givenNotification();
    const { data } = await ask(api, RECORD, { input: { notificationId, deliveryId: 'another', name: 'bought' } });
    expect(data).toMatchObject({ recordConversion: { delivery: null } });
  });

  it('hands over what was sent, with null for what was not', async () => {
    const { api, notificationId } = await givenNotification();
    const least = { notificationId, name: 'bought' };
    const all = {
      ...least,
      idempotencyKey: 'k',
      deliveryId: 'd',
      value: 12.5,
      currency: 'EUR',
      occurredAt: '2026-01-02T03:04:05Z',
    };
    await ask(api, RECORD, { input: least });
    await ask(api, RECORD, { input: all });
    const nothing = { idempotencyKey: null, deliveryId: null, value: null, currency: null, occurredAt: null };
    expect(api.fake.calls.map(({ input }) => input)).toEqual([
      { ...least, ...nothing, asSent: least },
      { ...all, occurredAt: new Date(all.occurredAt), asSent: all },
    ]);
  });

  it('of an unknown notification names the argument', async () => {
    const { api } = await givenNotification();
    const { errors } = await ask(api, RECORD, { input: { notificationId: 'none', name: 'bought' } });
    expect(errors[0]?.extensions).toEqual({ code: 'NOTIFICATION_NOT_FOUND', field: 'input.notificationId' });
  });

  it.each(['UNAVAILABLE', 'CONFLICT'] as const)('blames no argument for %s', async (code) => {
    const api = await given(code, null, 'recordConversion');
    const { errors } = await ask(api, RECORD, { input: { notificationId: 'n', name: 'bought' } });
    expect(errors[0]?.extensions).toEqual({ code });
  });
});

describe('A delivery', () => {
  it('tells when it was opened, clicked and converted first', async () => {
    const api = await givenApi();
    const request = 'requestNotification(input: { userId: "ada", content: { body: "x" } }) { notification { id } }';
    const { data } = await ask(api, `mutation { registerUser(input: { id: "ada" }) { id } ${request} }`);
    const { notification } = data?.['requestNotification'] as { notification: { id: string } };
    const { id } = notification;
    const view = await api.fake.queries.notification('default', id);
    const times = { openedAt: '2026-01-02T03:04:07.000Z', clickedAt: '2026-01-02T03:04:08.000Z', convertedAt: null };
    const deliveries = view?.state.deliveries.map((each) => ({ ...each, ...times })) ?? [];
    if (view) Object.assign(view.state, { deliveries });
    const fields = 'deliveries { openedAt clickedAt convertedAt }';
    const asked = await ask(api, `{ notification(id: "${id}") { ${fields} } }`);
    expect(asked.data).toEqual({ notification: { deliveries: [times] } });
  });
});
