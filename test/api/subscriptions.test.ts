import { GraphQLObjectType, GraphQLSchema, GraphQLString, parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { slowReason } from '../../src/api/graphql-ws.ts';
import { openStream } from '../../src/api/streams.ts';
import { DomainError } from '../../src/errors.ts';
import type { DeliveryUpdate } from '../../src/projections/live-updates.ts';
import { SlowSubscriber } from '../../src/projections/live-updates.ts';
import { eventually } from '../support/eventually.ts';
import type { TestApi, TestSocket } from './given-api.ts';
import { ask, askSocket, connect, fetchAnswer, basic, givenApi } from './given-api.ts';
import { COHORT, DELIVERIES, FUNNEL, listen, liveClient, updateAt } from './live-client.ts';

/** The streams of a server once it has opened so many. */
async function streams(api: TestApi, count: number): Promise<TestApi['fake']['readModels']['deliveriesFollowed']> {
  const { deliveriesFollowed } = api.fake.readModels;
  await eventually(() => {
    expect(deliveriesFollowed).toHaveLength(count);
  });
  return deliveriesFollowed;
}

async function nothingOpen(api: TestApi): Promise<void> {
  await eventually(() => {
    expect(api.fake.readModels.open()).toBe(0);
  });
}

/** A subscriber that waits for its first update. */
async function givenWaiting(api: TestApi): Promise<TestSocket> {
  const socket = await connect(api);
  socket.subscribe('1', DELIVERIES);
  const [followed] = await streams(api, 1);
  await eventually(() => {
    expect(followed?.stream.isWaiting()).toBe(true);
  });
  return socket;
}

describe('A subscription', () => {
  it('reaches the client that pages use, and ends when that completes it', async () => {
    const api = await givenApi();
    const client = liveClient(api);
    const listener = listen(client, DELIVERIES);
    const [followed] = await streams(api, 1);
    followed?.stream.push(updateAt('a'), updateAt('b'));
    const told = ['a', 'b'].map((cursor) => ({ data: { deliveryUpdated: { cursor, type: 'DeliverySent' } } }));
    await eventually(() => {
      expect(listener.values).toEqual(told);
    });
    expect(followed?.stream.isOpen()).toBe(true);
    listener.complete();
    await nothingOpen(api);
    expect([listener.errors, api.errors]).toEqual([[], []]);
  });

  it('knows nothing of another one on the same socket', async () => {
    const api = await givenApi();
    const client = liveClient(api);
    const [left, right] = [listen(client, DELIVERIES), listen(client, DELIVERIES)];
    const [first, second] = await streams(api, 2);
    left.complete();
    await eventually(() => {
      expect(first?.stream.isOpen()).toBe(false);
    });
    second?.stream.push(updateAt('b'));
    await eventually(() => {
      expect(right.values).toHaveLength(1);
    });
    second?.stream.fail(new DomainError('UNAVAILABLE', 'no answer'));
    await eventually(() => {
      expect(right.errors).toHaveLength(1);
    });
    expect([left.values, left.errors, client.closed]).toEqual([[], [], []]);
  });

  it('ends while it waits: when the client completes it', async () => {
    const api = await givenApi();
    const socket = await givenWaiting(api);
    socket.send({ type: 'complete', id: '1' });
    await nothingOpen(api);
    expect((await askSocket(socket, '2', '{ head }')).errors).toEqual([]);
    expect(socket.messages.filter(({ id }) => id === '1')).toEqual([]);
  });

  it.each(['close', 'terminate'] as const)('ends while it waits: when the socket is gone by %s', async (how) => {
    const api = await givenApi();
    const socket = await givenWaiting(api);
    socket.ws[how]();
    await nothingOpen(api);
    expect(api.errors).toEqual([]);
  });

  it('ends while it waits: when the client is revoked', async () => {
    const api = await givenApi({ timings: { recheckMs: 20 } });
    const socket = await givenWaiting(api);
    api.fake.revoke('key');
    expect(await socket.closed).toBe(4403);
    await nothingOpen(api);
  });

  it('ends while it waits: when the server stops', async () => {
    const api = await givenApi();
    const socket = await givenWaiting(api);
    await api.stop();
    expect(await socket.closed).toBe(1001);
    expect(api.fake.readModels.open()).toBe(0);
    expect(api.errors).toEqual([]);
  });

  it('is not begun any more while the server stops', async () => {
    const api = await givenApi();
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    api.fake.before = (name) => (name === 'user' ? held : Promise.resolve());
    const socket = await givenWaiting(api);
    socket.subscribe('held', '{ user(id: "a") { id } }');
    await askSocket(socket, 'after', '{ head }');
    const stopped = api.stop();
    expect((await askSocket(socket, '2', DELIVERIES)).errors[0]?.extensions.code).toBe('SHUTTING_DOWN');
    release();
    await stopped;
    expect(api.fake.readModels.deliveriesFollowed).toHaveLength(1);
    expect(api.fake.readModels.open()).toBe(0);
  });

  it('that the client completed before it had begun is closed as soon as it has', async () => {
    const api = await givenApi();
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    api.fake.before = (name) => (name === 'deliveryUpdated' ? held : Promise.resolve());
    const socket = await connect(api);
    socket.subscribe('1', DELIVERIES);
    socket.send({ type: 'complete', id: '1' });
    await askSocket(socket, '2', '{ head }');
    release();
    await streams(api, 1);
    await nothingOpen(api);
    expect(socket.messages.filter(({ id }) => id === '1')).toEqual([]);
  });

  it.each([1, 2, 3])('is not taken for the one before with the same id, %i of them at once', async (before) => {
    const api = await givenApi();
    const socket = await connect(api);
    for (let round = 0; round < before; round++) {
      socket.subscribe('same', DELIVERIES);
      socket.send({ type: 'complete', id: 'same' });
    }
    socket.subscribe('same', DELIVERIES);
    const followed = await streams(api, before + 1);
    await eventually(() => {
      expect(api.fake.readModels.open()).toBe(1);
    });
    for (const { stream } of followed) stream.push(updateAt('a'));
    await socket.next(({ type }) => type === 'next');
    await askSocket(socket, 'other', '{ head }');
    expect(socket.messages.filter(({ id }) => id === 'same')).toHaveLength(1);
    socket.send({ type: 'complete', id: 'same' });
    await nothingOpen(api);
  });

  it('is not taken for one that waited under the same id a moment ago', async () => {
    const api = await givenApi();
    const socket = await givenWaiting(api);
    // In one piece, so that the server reads both before it does anything else.
    socket.ws.pause();
    socket.send({ type: 'complete', id: '1' });
    socket.subscribe('1', DELIVERIES);
    socket.ws.resume();
    const [first, second] = await streams(api, 2);
    await eventually(() => {
      expect(first?.stream.isOpen()).toBe(false);
    });
    second?.stream.push(updateAt('b'));
    await socket.next(({ type }) => type === 'next');
    expect(socket.messages.filter(({ id }) => id === '1').map(({ type }) => type)).toEqual(['next']);
  });
});

describe('One update', () => {
  /** One that counts how often an answer is made of it. */
  function counted(cursor: string): { readonly update: DeliveryUpdate; readonly answers: () => number } {
    let answers = 0;
    const { type, ...rest } = updateAt(cursor);
    const update = {
      ...rest,
      get type() {
        answers++;
        return type;
      },
    };
    return { update, answers: () => answers };
  }

  it('is answered once for all who ask the same, wherever they began and whatever they look for', async () => {
    const api = await givenApi();
    const client = liveClient(api);
    const listeners = Array.from({ length: 90 }, (_, index) => {
      const variables = { after: `cursor-${String(index)}`, filter: { userId: index % 2 ? 'ada' : null } };
      return listen(client, DELIVERIES, variables);
    });
    const { update, answers } = counted('a');
    for (const { stream } of await streams(api, 90)) stream.push(update);
    await eventually(() => {
      expect(listeners.map(({ values }) => values)).toEqual(
        new Array(90).fill([{ data: { deliveryUpdated: { cursor: 'a', type: 'DeliverySent' } } }]),
      );
    });
    expect(answers()).toBe(1);
  });

  it('is answered to each as asked: by documents, operations and variables in what is asked for', async () => {
    const api = await givenApi();
    const client = liveClient(api);
    const query = `subscription ($with: Boolean!) { deliveryUpdated { cursor type @include(if: $with) } }`;
    const told = [
      listen(client, query, { with: true }),
      listen(client, query, { with: false }),
      listen(client, query.replace('cursor', 'name: cursor'), { with: false }),
      listen(
        client,
        'subscription ($with: Boolean!) { ...S } fragment S on Subscription { deliveryUpdated { cursor type @skip(if: $with) } }',
        { with: true },
      ),
    ];
    for (const { stream } of await streams(api, 4)) stream.push(updateAt('a'));
    await eventually(() => {
      expect(told.map(({ values }) => values[0]?.data?.['deliveryUpdated'])).toEqual([
        { cursor: 'a', type: 'DeliverySent' },
        { cursor: 'a' },
        { name: 'a' },
        { cursor: 'a' },
      ]);
    });
  });

  it('keeps few answers, however many ways there are to ask', async () => {
    const WAYS = 1_000;
    const { update, answers } = counted('a');
    const answerTo = givenAnswers(update);
    for (let way = 0; way < WAYS; way++) await answerTo(way);
    expect(answers()).toBe(WAYS);
    // Newest first, so that none makes room for one that was kept.
    for (let way = WAYS - 1; way >= 0; way--) await answerTo(way);
    const kept = 2 * WAYS - answers();
    expect(kept).toBeGreaterThanOrEqual(1);
    expect(kept).toBeLessThanOrEqual(8);
  });

  it('keeps its answers no longer than until many others were answered', async () => {
    const first = counted('first');
    const answerTo = givenAnswers(first.update);
    await answerTo(0);
    await answerTo(0);
    expect(first.answers()).toBe(1);
    for (let index = 0; index < 1_000; index++) await givenAnswers(updateAt(String(index)))(0);
    await answerTo(0);
    expect(first.answers()).toBe(2);
  });
});

/** What is answered of `update` to whoever asks in one of as many ways as there are numbers. */
function givenAnswers(update: DeliveryUpdate): (way: number) => Promise<unknown> {
  const fields = { cursor: { type: GraphQLString }, type: { type: GraphQLString } };
  const deliveryUpdated = {
    type: new GraphQLObjectType({ name: 'DeliveryUpdate', fields }),
    subscribe: async function* () {
      yield await Promise.resolve(update);
    },
    resolve: (value: unknown) => value,
  };
  const query = new GraphQLObjectType({ name: 'Query', fields: { head: { type: GraphQLString } } });
  const subscription = new GraphQLObjectType({ name: 'Subscription', fields: { deliveryUpdated } });
  const schema = new GraphQLSchema({ query, subscription });
  return async (way) => {
    const document = parse(`subscription { deliveryUpdated { name${String(way)}: type } }`);
    const stream = await openStream({ schema, document }, () => Promise.resolve());
    return stream[Symbol.asyncIterator]().next();
  };
}

describe('A subscription that is refused', () => {
  const refusals: readonly (readonly [string, string, string, object])[] = [
    ['INVALID_CURSOR', 'deliveryUpdated', DELIVERIES, { code: 'INVALID_CURSOR', field: 'after' }],
    ['CURSOR_TOO_OLD', 'deliveryUpdated', DELIVERIES, { code: 'CURSOR_TOO_OLD', field: 'after' }],
    ['TOO_MANY_SUBSCRIPTIONS', 'deliveryUpdated', DELIVERIES, { code: 'TOO_MANY_SUBSCRIPTIONS' }],
    ['UNAVAILABLE', 'deliveryUpdated', DELIVERIES, { code: 'UNAVAILABLE' }],
    ['ANALYTICS_UNAVAILABLE', 'funnelUpdated', FUNNEL, { code: 'ANALYTICS_UNAVAILABLE' }],
    ['TOO_MANY_SUBSCRIPTIONS', 'funnelUpdated', FUNNEL, { code: 'TOO_MANY_SUBSCRIPTIONS' }],
    ['TOO_MANY_GROUPS', 'funnelUpdated', FUNNEL, { code: 'TOO_MANY_GROUPS', field: 'input' }],
    ['FUNNEL_TOO_EXPENSIVE', 'funnelUpdated', FUNNEL, { code: 'FUNNEL_TOO_EXPENSIVE', field: 'input' }],
  ];

  it.each(refusals)('with %s by %s ends with that alone, and the socket stays', async (code, name, query, expected) => {
    const api = await givenApi();
    const refusal = new DomainError(code as DomainError['code'], 'not so');
    api.fake.before = (called) => (called === name ? Promise.reject(refusal) : Promise.resolve());
    const socket = await connect(api);
    const { errors } = await askSocket(socket, '1', query, { input: COHORT });
    expect(errors.map(({ message, extensions }) => ({ message, extensions }))).toEqual([
      { message: 'not so', extensions: expected },
    ]);
    await askSocket(socket, '2', '{ head }');
    expect(socket.messages.filter(({ id }) => id === '1').map(({ type }) => type)).toEqual(['error']);
    await nothingOpen(api);
  });

  it('names the field inside the argument', async () => {
    const api = await givenApi();
    const refusal = new DomainError('INVALID_FUNNEL', 'one stage', 'stages');
    api.fake.before = (name) => (name === 'funnelUpdated' ? Promise.reject(refusal) : Promise.resolve());
    const { errors } = await askSocket(await connect(api), '1', FUNNEL, { input: COHORT });
    expect(errors[0]?.extensions).toEqual({ code: 'INVALID_FUNNEL', field: 'input.stages' });
  });

  it('when the read model refuses without a promise is refused all the same', async () => {
    const refuse = (): never => {
      throw new DomainError('TOO_MANY_SUBSCRIPTIONS', 'no more');
    };
    const api = await givenApi({ funnelUpdates: { follow: refuse }, deliveryUpdates: { follow: refuse } });
    const socket = await connect(api);
    for (const query of [FUNNEL, DELIVERIES]) {
      const { errors } = await askSocket(socket, query, query, { input: COHORT });
      expect(errors[0]?.extensions).toEqual({ code: 'TOO_MANY_SUBSCRIPTIONS' });
    }
  });

  it('for its variables names every one', async () => {
    const api = await givenApi();
    const input = { ...COHORT, stages: ['SENT', 'SEEN'], windowSeconds: 100 * 365 * 86_400 };
    const { errors } = await askSocket(await connect(api), '1', FUNNEL, { input });
    expect(errors.map(({ extensions }) => extensions)).toEqual([
      { code: 'BAD_USER_INPUT', field: 'input.stages[1]' },
      { code: 'BAD_USER_INPUT', field: 'input.windowSeconds' },
    ]);
    expect(api.fake.readModels.funnelsFollowed).toEqual([]);
  });

  it('later, ends with the error, and the socket stays', async () => {
    const api = await givenApi();
    const socket = await givenWaiting(api);
    const [followed] = api.fake.readModels.deliveriesFollowed;
    followed?.stream.push(updateAt('a'));
    followed?.stream.fail(new DomainError('CURSOR_TOO_OLD', 'no longer kept'));
    const error = await socket.next(({ type }) => type === 'error');
    expect(error).toMatchObject({ id: '1', payload: [{ extensions: { code: 'CURSOR_TOO_OLD', field: 'after' } }] });
    await nothingOpen(api);
    expect((await askSocket(socket, '2', '{ head }')).errors).toEqual([]);
    expect(socket.messages.filter(({ id }) => id === '1').map(({ type }) => type)).toEqual(['next', 'error']);
  });

  it.each([
    ['in a variable', DELIVERIES, { filter: { userId: 'x'.repeat(33_000) } }],
    ['in a variable that it does not use', DELIVERIES, { junk: 'x'.repeat(33_000) }],
    ['in the document', `${DELIVERIES}${' '.repeat(33_000)}`, {}],
    ['for a funnel', FUNNEL, { input: { ...COHORT, campaign: 'x'.repeat(33_000) } }],
  ])('for a message of more than 32,768 characters is told so: %s', async (_what, query, variables) => {
    const api = await givenApi();
    const socket = await connect(api);
    const { errors } = await askSocket(socket, '1', query, variables);
    const message = 'the message of a subscription has more than 32,768 characters';
    expect(errors).toEqual([{ message, extensions: { code: 'PAYLOAD_TOO_LARGE' } }]);
    expect(api.fake.readModels.open()).toBe(0);
    expect((await askSocket(socket, '2', '{ head }', { junk: 'x'.repeat(33_000) })).errors).toEqual([]);
    socket.subscribe('3', query, { input: COHORT, filter: { userId: 'x'.repeat(32_000) } });
    if (query !== DELIVERIES) return;
    const [followed] = await streams(api, 1);
    expect(followed?.request.filter.userId).toHaveLength(32_000);
  });

  it('never shows what went wrong inside', async () => {
    const api = await givenApi();
    const socket = await givenWaiting(api);
    api.fake.readModels.deliveriesFollowed[0]?.stream.fail(new Error('cannot read /var/lib/heliograph'));
    const { payload } = await socket.next(({ type }) => type === 'error');
    const requestId = expect.stringMatching(/^request-\d+$/) as unknown;
    expect(payload).toEqual([
      { message: 'Internal server error', extensions: { code: 'INTERNAL_SERVER_ERROR', requestId } },
    ]);
    expect(api.errors).toMatchObject([{ requestId }]);
    await nothingOpen(api);
  });

  it.each([
    ['skipped', 'subscription { deliveryUpdated @skip(if: true) { cursor } }'],
    ['perhaps skipped', 'subscription ($v: Boolean!) { deliveryUpdated @include(if: $v) { cursor } }'],
    [
      'skipped by a fragment',
      'subscription { ...S @skip(if: true) } fragment S on Subscription { deliveryUpdated { cursor } }',
    ],
    [
      'skipped in a fragment',
      'subscription { ...S } fragment S on Subscription { ... { deliveryUpdated @skip(if: true) { cursor } } }',
    ],
    ['one of two', `subscription { deliveryUpdated { cursor } again: deliveryUpdated { cursor } }`],
    ['introspection', 'subscription { __typename }'],
  ])('for a field that is %s has a code, on both transports', async (_what, query) => {
    const api = await givenApi();
    const overHttp = await ask(api, query, { v: false });
    expect({ status: overHttp.status, code: overHttp.code }).toEqual({
      status: 400,
      code: 'GRAPHQL_VALIDATION_FAILED',
    });
    const { errors } = await askSocket(await connect(api), '1', query, { v: false });
    expect(errors).toEqual(overHttp.errors);
    expect(api.errors).toEqual([]);
  });

  it.each([DELIVERIES, FUNNEL])('over HTTP says where to go instead', async (query) => {
    const api = await givenApi();
    const { status, code, errors, data } = await ask(api, query, { input: COHORT });
    expect({ status, code, data }).toEqual({ status: 400, code: 'BAD_REQUEST', data: undefined });
    expect(errors[0]?.message).toContain('WebSocket');
    const url = `${api.url}/graphql?query=${encodeURIComponent(query)}`;
    const got = await fetchAnswer(url, { headers: { authorization: basic(), 'apollo-require-preflight': '1' } });
    expect({ status: got.status, code: got.code }).toEqual({ status: 405, code: 'METHOD_NOT_ALLOWED' });
    expect(api.fake.readModels.open()).toBe(0);
  });

  it('does not keep the query beside it in a document from being answered', async () => {
    const query = `query Q { head } ${DELIVERIES.replace('subscription', 'subscription S')}`;
    const api = await givenApi();
    const headers = { 'content-type': 'application/json', authorization: basic() };
    const body = JSON.stringify({ query, operationName: 'Q' });
    const { data } = await fetchAnswer(`${api.url}/graphql`, { method: 'POST', headers, body });
    expect(data).toEqual({ head: 'cursor-0' });
  });
});

describe('Many subscriptions on one socket', () => {
  const MANY = 10_000;
  const patience = { timeoutMs: 20_000 };

  it('are 100 at once; the rest is refused', async () => {
    const api = await givenApi();
    const socket = await connect(api);
    for (let index = 0; index < MANY; index++) socket.subscribe(String(index), DELIVERIES);
    await eventually(() => {
      expect(socket.messages.filter(({ type }) => type === 'error')).toHaveLength(MANY - 100);
    }, patience);
    const codes = socket.messages.flatMap(({ type, payload }) =>
      type === 'error' ? (payload as { extensions: { code: string } }[]).map(({ extensions }) => extensions.code) : [],
    );
    expect(new Set(codes)).toEqual(new Set(['TOO_MANY_OPERATIONS']));
    expect(api.fake.readModels.open()).toBe(100);
    socket.send({ type: 'complete', id: '7' });
    await eventually(() => {
      expect(api.fake.readModels.open()).toBe(99);
    });
    expect((await askSocket(socket, 'later', '{ head }')).errors).toEqual([]);
    socket.ws.terminate();
    await nothingOpen(api);
  });

  it.each([
    ['ids of their own', (index: number) => String(index)],
    ['one and the same id', () => 'same'],
  ])('completed at once leave nothing behind, with %s', async (_what, idOf) => {
    const api = await givenApi();
    const socket = await connect(api);
    for (let index = 0; index < MANY; index++) {
      socket.subscribe(idOf(index), DELIVERIES);
      socket.send({ type: 'complete', id: idOf(index) });
    }
    socket.send({ type: 'ping' });
    await socketPong(socket);
    await eventually(() => {
      expect(api.fake.readModels.open()).toBe(0);
    }, patience);
    for (let index = 0; index < 100; index++) socket.subscribe(`again-${String(index)}`, DELIVERIES);
    await eventually(() => {
      expect(api.fake.readModels.open()).toBe(100);
    }, patience);
    expect(api.errors).toEqual([]);
  });

  it('one after the other leave nothing behind', async () => {
    const api = await givenApi();
    const client = liveClient(api);
    const keep = listen(client, DELIVERIES);
    await streams(api, 1);
    for (let round = 0; round < MANY / 50; round++) {
      const listeners = Array.from({ length: 50 }, () => listen(client, DELIVERIES));
      await streams(api, 1 + 50 * (round + 1));
      for (const { complete } of listeners) complete();
      await eventually(() => {
        expect(api.fake.readModels.open()).toBe(1);
      });
    }
    expect([keep.isDone(), keep.errors, client.closed, api.errors]).toEqual([false, [], [], []]);
  }, 30_000);
});

async function socketPong(socket: TestSocket): Promise<void> {
  await eventually(
    () => {
      expect(socket.messages.some(({ type }) => type === 'pong')).toBe(true);
    },
    { timeoutMs: 20_000 },
  );
}

describe('A subscriber that reads too slowly', () => {
  it('hears where to resume, twice, and its connection is closed', async () => {
    const api = await givenApi();
    const client = liveClient(api);
    const [slow, other] = [listen(client, DELIVERIES), listen(client, FUNNEL, { input: COHORT })];
    const [followed] = await streams(api, 1);
    followed?.stream.push(updateAt('a'));
    followed?.stream.fail(new SlowSubscriber('a'));
    await eventually(() => {
      expect(client.closed).toEqual([{ code: 4410, reason: 'slow; resume after a' }]);
    });
    const message = 'the subscriber read too slowly; resume after a';
    expect(slow.values).toHaveLength(1);
    expect(slow.errors).toEqual([[{ message, extensions: { code: 'SLOW_SUBSCRIBER' } }]]);
    expect(other.errors).toMatchObject([{ code: 4410 }]);
    await nothingOpen(api);
    expect(api.errors).toEqual([]);
  });

  it('is closed even if nobody asks for its next update, and is not waited for', async () => {
    const api = await givenApi({ timings: { pingMs: 50 } });
    const socket = await givenWaiting(api);
    const [followed] = api.fake.readModels.deliveriesFollowed;
    const address = 'x'.repeat(1_000_000);
    const big = { ...updateAt('a'), delivery: { ...updateAt('a').delivery, address } };
    socket.ws.pause();
    socket.subscribe('2', 'subscription { deliveryUpdated { delivery { address } } }');
    const [, second] = await streams(api, 2);
    second?.stream.push(...Array.from({ length: 1_000 }, () => big));
    await eventually(() => {
      expect(second?.stream.taken()).toBeGreaterThan(0);
    });
    followed?.request.onSlow?.('a');
    // The pings end what the client does not let end.
    await nothingOpen(api);
    expect(second?.stream.taken()).toBeLessThan(50);
    expect((await ask(api, '{ head }')).status).toBe(200);
    socket.ws.resume();
    expect([1006, 4410]).toContain(await socket.closed);
    expect(api.errors).toEqual([]);
  });

  it('costs no more than one update of each subscription, however much there is', async () => {
    const api = await givenApi({ timings: { pingMs: 100 } });
    const socket = await givenWaiting(api);
    const [followed] = api.fake.readModels.deliveriesFollowed;
    socket.ws.pause();
    const big = { ...updateAt('a'), type: 'x'.repeat(100_000) };
    followed?.stream.push(...Array.from({ length: 2_000 }, () => big));
    await nothingOpen(api);
    // What the sockets of both sides hold, and not what there was.
    expect(followed?.stream.taken()).toBeLessThan(500);
    socket.ws.resume();
    expect(await socket.closed).toBe(1006);
  });

  it('is told its cursor in a reason that fits a close frame', () => {
    const reasons = ['a'.repeat(104), 'a'.repeat(105), 'ü'.repeat(60)].map(slowReason);
    expect(reasons).toEqual([
      `slow; resume after ${'a'.repeat(104)}`,
      'slow; resume after the last cursor received, if any',
      'slow; resume after the last cursor received, if any',
    ]);
    for (const reason of reasons) expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(123);
  });
});
