import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Caller, ConversionTold, RecordConversion } from '../../src/commands/commands.ts';
import { createCommands } from '../../src/commands/create.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import { DomainError } from '../../src/errors.ts';
import { statusOf } from '../../src/events/notification.ts';
import type { Decision, DeliverySent, NotificationEvent } from '../../src/events/notifications.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import {
  at,
  attempted,
  cancelled,
  DELIVERY,
  NOTIFICATION,
  outcomeUnknown,
  POLICY,
  requested,
  routed,
  sent,
  stored,
  T0,
} from '../support/given.ts';
import { CALLER, requestFor } from '../support/pipeline.ts';
import { ACCEPT } from '../support/provider.ts';
import { clockAt, crashing, everything, registered, takingTurns, withWorld, type World } from '../support/world.ts';

const OTHER: Caller = { ...CALLER, tenant: 'other' };
const UNKNOWN = '018f3a52-0000-7000-8000-000000000009';
const [A, B, C] = [DELIVERY, ...['b', 'c'].map((end) => `${DELIVERY.slice(0, -1)}${end}`)] as [string, string, string];
const MINUTE_MS = 60_000;

/** The clock stands an hour after the beginning of the story. */
const NOW_MS = 60 * MINUTE_MS;

function inAnHour(work: (world: World) => Promise<void>): Promise<void> {
  return withWorld(work, clockAt(T0 + NOW_MS));
}

/** Puts a notification's past into the log as it is; each event a minute after the one before, or when it says. */
async function past({ log }: World, ...events: readonly (NotificationEvent | At)[]): Promise<void> {
  const stream = streamOf.notification(NOTIFICATION);
  const before = (await log.read(stream)).length;
  const recorded = events.map((each, index) => {
    const { event, ms } = 'event' in each ? each : { event: each, ms: (before + index) * MINUTE_MS };
    return { ...stored(event, ms), id: systemIds.random() };
  });
  await log.append(stream, recorded, before);
}

interface At {
  readonly event: NotificationEvent;
  readonly ms: number;
}

function sentTo(deliveryId: string, ms = 0): At {
  const data: DeliverySent = { deliveryId, attempt: 1, provider: 'smtp', providerMessageId: null, raw: null };
  return { event: { type: 'DeliverySent', data }, ms };
}

function did(type: 'DeliveryOpened' | 'DeliveryClicked', deliveryId: string, ms: number): At {
  return { event: { type, data: { deliveryId } }, ms };
}

const three: NotificationEvent = routed(...[A, B, C].map((deliveryId): Partial<Decision> => ({ deliveryId })));

function inputOf(changes: Partial<RecordConversion> = {}): RecordConversion {
  const input = {
    idempotencyKey: null,
    notificationId: NOTIFICATION,
    deliveryId: null,
    name: 'purchase',
    value: 12.5,
    currency: 'EUR',
    occurredAt: null,
    ...changes,
  };
  return { ...input, asSent: changes.asSent ?? input };
}

function convert(
  { commands }: Pick<World, 'commands'>,
  changes: Partial<RecordConversion> = {},
  caller = CALLER,
): Promise<ConversionTold> {
  return commands.recordConversion(caller, inputOf(changes));
}

/** Nothing may be appended by what is refused. */
async function refusal({ log }: World, act: () => Promise<unknown>): Promise<object> {
  const before = await log.head();
  const error: unknown = await act().then(
    () => new Error('it was accepted'),
    (reason: unknown) => reason,
  );
  expect(await log.head()).toBe(before);
  if (!(error instanceof DomainError)) throw error;
  return { code: error.code, field: error.field, message: error.message };
}

async function conversions(world: Pick<World, 'log'>): Promise<readonly unknown[]> {
  return (await everything(world, ['ConversionRecorded'])).map(({ data }) => data);
}

describe('a conversion', () => {
  it('is recorded in the notification’s stream with all that was said of it, and shown in its story', async () => {
    await inAnHour(async (world) => {
      await past(world, requested({ campaign: 'spring' }), routed(), attempted(), sent());
      const occurredAt = new Date(T0 + 30 * MINUTE_MS);
      const told = await convert(world, { occurredAt }, { ...CALLER, correlationId: 'request-2' });
      const event = (await world.log.read(streamOf.notification(NOTIFICATION))).at(-1);
      expect(event).toMatchObject({
        type: 'ConversionRecorded',
        data: { deliveryId: A, name: 'purchase', value: 12.5, currency: 'EUR', convertedAt: at(30 * MINUTE_MS) },
        metadata: {
          tenant: 'default',
          occurredAt: at(NOW_MS),
          correlationId: 'request-2',
          causationId: 'request-2',
          notification: { id: NOTIFICATION, userId: 'ada' },
          delivery: { id: A, channel: 'EMAIL', provider: 'smtp' },
        },
      });
      const view = await world.queries.notification('default', NOTIFICATION);
      expect(view?.timeline().at(-1)).toMatchObject({ cursor: told.cursor, deliveryId: A });
      expect(JSON.stringify(view?.timeline())).not.toMatch(/Hash/);
      expect(view?.timeline().map(({ detail }) => detail)).not.toContainEqual(
        expect.objectContaining({ deliveryId: A }),
      );
      const state = view?.state.deliveries[0];
      expect(told).toEqual({
        delivery: { notificationId: NOTIFICATION, state },
        cursor: world.context.cursors.of('default', {
          position: event?.position ?? '',
          index: 0,
          at: T0 + NOW_MS,
          notificationId: null,
        }),
        replayed: false,
      });
      expect(state).toMatchObject({ convertedAt: at(30 * MINUTE_MS), status: 'SENT' });
    });
  });

  it('happened now when nothing else is said, and may be worth nothing', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const told = await convert(world, { value: null, currency: null });
      expect(told.delivery?.state.convertedAt).toBe(at(NOW_MS));
      expect(await conversions(world)).toMatchObject([{ value: null, currency: null, convertedAt: at(NOW_MS) }]);
    });
  });

  it.each([
    ['unrouted', [requested()], null],
    ['cancelled before its routing', [requested(), cancelled], null],
    ['queued', [requested(), routed()], null],
    ['suppressed', [requested(), routed({ outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT' })], null],
    ['in doubt', [requested(), routed(), attempted(), outcomeUnknown()], null],
    ['cancelled after it was sent', [requested(), routed(), attempted(), cancelled, sent()], A],
    [
      'bounced',
      [
        requested(),
        routed(),
        attempted(),
        {
          type: 'DeliveryBounced',
          data: {
            deliveryId: A,
            attempt: 1,
            provider: 'smtp',
            providerMessageId: null,
            raw: null,
            reason: 'RECIPIENT_UNREACHABLE',
          },
        },
      ],
      A,
    ],
  ] as const)('of a notification that is %s is recorded and leaves it so', async (_, story, deliveryId) => {
    await inAnHour(async (world) => {
      await past(world, ...story);
      const before = await world.queries.notification('default', NOTIFICATION);
      const told = await convert(world);
      expect(told.delivery?.state.id ?? null).toBe(deliveryId);
      expect(await conversions(world)).toMatchObject([{ deliveryId }]);
      const [event] = await everything(world, ['ConversionRecorded']);
      expect(event?.metadata.delivery?.id ?? null).toBe(deliveryId);
      const after = await world.queries.notification('default', NOTIFICATION);
      if (before === null || after === null) throw new Error('no notification');
      expect(statusOf(after.state)).toBe(statusOf(before.state));
      const deliveries = after.state.deliveries.map((each) => ({ ...each, convertedAt: null }));
      expect(deliveries).toEqual(before.state.deliveries);
    });
  });
});

describe('a conversion that names no delivery goes to', () => {
  it.each<[string, readonly At[], string | null]>([
    ['the delivery clicked last', [did('DeliveryClicked', A, 5), did('DeliveryClicked', B, 4)], A],
    [
      'the one of the last click, not of the first',
      [did('DeliveryClicked', A, 5), did('DeliveryClicked', B, 9), did('DeliveryClicked', A, 12)],
      A,
    ],
    ['a clicked one rather than one opened later', [did('DeliveryClicked', A, 5), did('DeliveryOpened', B, 9)], A],
    ['the delivery opened last where none was clicked', [did('DeliveryOpened', A, 5), did('DeliveryOpened', B, 4)], A],
    ['an opened one rather than one sent later', [sentTo(C, 50), did('DeliveryOpened', A, 5)], A],
    ['the delivery sent last where none was opened', [sentTo(B, 3), sentTo(A, 2), sentTo(C, 1)], B],
    ['the one later in the routing of two sent at once', [sentTo(C, 3), sentTo(B, 3)], C],
    [
      'the one later in the routing of two clicked at once',
      [did('DeliveryClicked', C, 3), did('DeliveryClicked', A, 3)],
      C,
    ],
    ['no delivery where nothing was sent', [], null],
  ])('%s', async (_, events, deliveryId) => {
    await inAnHour(async (world) => {
      await past(world, requested(), three, ...(events.length === 0 ? [] : [sentTo(A), ...events]));
      const told = await convert(world);
      expect(told.delivery?.state.id ?? null).toBe(deliveryId);
      expect(await conversions(world)).toMatchObject([{ deliveryId }]);
    });
  });

  it.each<[string, readonly At[], number, string]>([
    ['what was sent when it happened, not what was sent since', [sentTo(A, 1), sentTo(B, 9)], 5, A],
    [
      'what was clicked when it happened',
      [sentTo(A, 1), did('DeliveryClicked', A, 4), did('DeliveryClicked', B, 9)],
      5,
      A,
    ],
    [
      'what was clicked first by then, and again since',
      [sentTo(A, 1), ...[2, 9].map((ms) => did('DeliveryClicked', B, ms))],
      5,
      B,
    ],
    ['what was sent first of all where nothing had been by then', [sentTo(A, 9)], 5, A],
  ])('%s', async (_, events, ms, deliveryId) => {
    await inAnHour(async (world) => {
      await past(world, requested(), three, ...events);
      const told = await convert(world, { occurredAt: new Date(T0 + ms) });
      expect(told.delivery?.state.id).toBe(deliveryId);
    });
  });

  it('where it was meant for when it names one, whatever was clicked', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), three, sentTo(A), did('DeliveryClicked', A, 5));
      expect((await convert(world, { deliveryId: B })).delivery?.state).toMatchObject({ id: B, status: 'QUEUED' });
      expect(await conversions(world)).toMatchObject([{ deliveryId: B }]);
    });
  });
});

describe('a conversion that seems to have come first', () => {
  it.each<[string, readonly At[], number, number]>([
    ['counts as of the sending of its delivery', [sentTo(A, 9)], 5, 9],
    ['counts as of the request where nothing was sent', [], -5, 0],
    ['stays as it is where it came later', [sentTo(A, 9)], 10, 10],
  ])('%s', async (_, events, ms, counted) => {
    await inAnHour(async (world) => {
      await past(world, { event: requested(), ms: 0 }, three, ...events);
      await convert(world, { occurredAt: new Date(T0 + ms) });
      expect(await conversions(world)).toMatchObject([{ convertedAt: at(counted) }]);
    });
  });
});

describe('what is refused', () => {
  it.each<[string, Partial<RecordConversion>, string, string]>([
    ['an unknown notification', { notificationId: UNKNOWN }, 'NOTIFICATION_NOT_FOUND', 'notificationId'],
    ['what is no id', { notificationId: '../etc' }, 'NOTIFICATION_NOT_FOUND', 'notificationId'],
    ['an unknown delivery', { deliveryId: B }, 'DELIVERY_NOT_FOUND', 'deliveryId'],
    ['an empty name', { name: ' ' }, 'INVALID_INPUT', 'name'],
    ['a name over 100 characters', { name: 'x'.repeat(101) }, 'INVALID_INPUT', 'name'],
    ['a name of two lines', { name: 'a\nb' }, 'INVALID_INPUT', 'name'],
    ['a name of half a character', { name: 'a\ud800' }, 'INVALID_INPUT', 'name'],
    ['an endless value', { value: Infinity }, 'INVALID_INPUT', 'value'],
    ['a value that is no number', { value: NaN }, 'INVALID_INPUT', 'value'],
    ['a currency in small letters', { currency: 'eur' }, 'INVALID_INPUT', 'currency'],
    ['a currency of four letters', { currency: 'EURO' }, 'INVALID_INPUT', 'currency'],
    ['a currency with a line below', { currency: 'EUR\n' }, 'INVALID_INPUT', 'currency'],
    ['a currency of no value', { value: null }, 'INVALID_INPUT', 'currency'],
    ['over five minutes ahead', { occurredAt: timeAt(NOW_MS + 5 * MINUTE_MS + 1) }, 'INVALID_INPUT', 'occurredAt'],
    ['over five minutes before the request', { occurredAt: timeAt(-5 * MINUTE_MS - 1) }, 'INVALID_INPUT', 'occurredAt'],
    ['a time that is none', { occurredAt: new Date(NaN) }, 'INVALID_INPUT', 'occurredAt'],
    ['an empty key', { idempotencyKey: '' }, 'INVALID_INPUT', 'idempotencyKey'],
    ['a key over 255 characters', { idempotencyKey: 'k'.repeat(256) }, 'INVALID_INPUT', 'idempotencyKey'],
    ['a key with a control character', { idempotencyKey: 'a\0' }, 'INVALID_INPUT', 'idempotencyKey'],
  ])('%s', async (_, changes, code, field) => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      expect(await refusal(world, () => convert(world, changes))).toMatchObject({ code, field });
    });
  });

  it('another tenant’s notification, in the words for one that does not exist', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const refused = async (notificationId: string, deliveryId: string | null): Promise<string> => {
        const answer = await refusal(world, () => convert(world, { notificationId, deliveryId }, OTHER));
        return JSON.stringify(answer).replace(notificationId, 'NAME');
      };
      for (const deliveryId of [null, A, B]) {
        expect(await refused(NOTIFICATION, deliveryId)).toBe(await refused(UNKNOWN, deliveryId));
      }
    });
  });

  it('nothing that is just within the rules', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const within: readonly Partial<RecordConversion>[] = [
        { name: 'x'.repeat(100) },
        { name: 'Käufe 😀' },
        { value: 0 },
        { value: -1e300 },
        { currency: null },
        { occurredAt: timeAt(NOW_MS + 5 * MINUTE_MS) },
        { occurredAt: timeAt(-5 * MINUTE_MS) },
        { idempotencyKey: 'k'.repeat(255) },
      ];
      for (const changes of within) expect((await convert(world, changes)).replayed).toBe(false);
      expect(await conversions(world)).toHaveLength(within.length);
    });
  });

  it('the thousand and first of a notification; a replay of an earlier one is answered', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const first = await convert(world, { idempotencyKey: 'first' });
      const [event] = await everything(world, ['ConversionRecorded']);
      if (event === undefined) throw new Error('no conversion');
      const more = Array.from({ length: 998 }, () => ({ ...event, id: systemIds.random(), data: { ...ONE } }));
      await world.log.append(streamOf.notification(NOTIFICATION), more, 4);
      await convert(world);
      expect(await refusal(world, () => convert(world))).toMatchObject({
        code: 'TOO_MANY_CONVERSIONS',
        field: 'notificationId',
      });
      expect(await convert(world, { idempotencyKey: 'first' })).toEqual({ ...first, replayed: true });
      await world.log.append(streamOf.notification(UNKNOWN), [renamed(UNKNOWN)], 0);
      expect((await convert(world, { notificationId: UNKNOWN })).replayed).toBe(false);
    });
  });
});

const ONE = {
  deliveryId: A,
  name: 'x',
  value: null,
  currency: null,
  convertedAt: at(NOW_MS),
  keyHash: null,
  inputHash: 'hash',
} as const;

function timeAt(ms: number): Date {
  return new Date(T0 + ms);
}

/** The request of another notification. */
function renamed(id: string) {
  const request = stored(requested());
  const { notification } = request.metadata;
  if (notification === undefined) throw new Error('a request says of which notification');
  const metadata = { ...request.metadata, notification: { ...notification, id } };
  return { ...request, id: systemIds.random(), metadata };
}

describe('the idempotency key of a conversion', () => {
  const KEYED = { idempotencyKey: 'order-1' };

  it('with the same input gives the first answer again, with the delivery as it is now', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), three, sentTo(A));
      const first = await convert(world, KEYED);
      world.clock.advance(MINUTE_MS);
      expect(await convert(world, KEYED)).toEqual({ ...first, replayed: true });
      await past(world, did('DeliveryClicked', A, 61 * MINUTE_MS), did('DeliveryClicked', B, 62 * MINUTE_MS));
      const again = await convert(world, KEYED);
      expect(again).toMatchObject({ cursor: first.cursor, replayed: true });
      expect(again.delivery?.state).toEqual({
        ...first.delivery?.state,
        clickedAt: at(61 * MINUTE_MS),
        lastClickedAt: at(61 * MINUTE_MS),
      });
      expect(await conversions(world)).toHaveLength(1);
    });
  });

  it('of one put down to no delivery gives none again, though something was sent since', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed());
      const first = await convert(world, KEYED);
      await past(world, attempted(), sent());
      expect(await convert(world, KEYED)).toEqual({ delivery: null, cursor: first.cursor, replayed: true });
    });
  });

  it('with another input is a conflict; null and a field left out are the same input', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const first = await convert(world, { ...KEYED, asSent: { name: 'purchase', value: 1, currency: null } });
      const same = { ...KEYED, asSent: { value: 1, name: 'purchase' } };
      expect(await convert(world, same)).toEqual({ ...first, replayed: true });
      for (const asSent of [{ name: 'purchase' }, { name: 'purchase', value: 2 }]) {
        expect(await refusal(world, () => convert(world, { ...KEYED, asSent }))).toMatchObject({
          code: 'IDEMPOTENCY_CONFLICT',
          field: 'idempotencyKey',
        });
      }
    });
  });

  it('is looked at before the rules: what was recorded is answered though it would be refused today', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const input = { ...KEYED, asSent: { as: 'it was' } };
      const first = await convert(world, input);
      for (const bad of [{ name: '' }, { deliveryId: B }, { occurredAt: timeAt(10 * NOW_MS) }, { currency: '?' }]) {
        expect(await convert(world, { ...input, ...bad })).toEqual({ ...first, replayed: true });
      }
    });
  });

  it('counts within its notification, and conversions without one are each recorded', async () => {
    await withWorld(async (world) => {
      await registered(world);
      const requests = await world.commands.requestNotifications(CALLER, [requestFor('ada'), requestFor('ada')]);
      const ids = requests.map((each) => (each instanceof Error ? '' : each.notification.state.id));
      for (const notificationId of ids)
        expect((await convert(world, { ...KEYED, notificationId })).replayed).toBe(false);
      for (const notificationId of ids) expect((await convert(world, { notificationId })).replayed).toBe(false);
      for (const notificationId of ids) expect((await convert(world, { notificationId })).replayed).toBe(false);
      expect(await conversions(world)).toHaveLength(6);
    });
  });

  it('stays unreadable in the log', async () => {
    await inAnHour(async (world) => {
      await past(world, requested());
      await convert(world, { idempotencyKey: 'a-telling-key' });
      expect(JSON.stringify(await everything(world))).not.toContain('a-telling-key');
    });
  });

  it('after an answer that was lost gives the answer and records nothing again', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const { commands } = on(world, crashing(world.log, 1, true));
      await expect(convert({ commands }, KEYED)).rejects.toThrow('crash');
      const told = await convert({ commands }, KEYED);
      expect(told).toMatchObject({ replayed: true, delivery: { state: { id: A } } });
      expect(await conversions(world)).toHaveLength(1);
    });
  });
});

/** Another process on the same log. */
function on({ context }: World, log: EventLog): Pick<World, 'commands'> {
  return { commands: createCommands({ ...context, log }) };
}

const PICKS = fc.array(fc.nat(20), { minLength: 1, maxLength: 60 });

describe('conversions at once', () => {
  it('of one key are recorded once, and all are told the same, in whichever process and order', async () => {
    await inAnHour(async (world) => {
      let round = 0;
      await past(world, requested(), routed(), sent());
      const property = fc.asyncProperty(PICKS, fc.integer({ min: 2, max: 8 }), async (picks, count) => {
        const idempotencyKey = `raced-for-${String((round += 1))}`;
        const { log, ended } = takingTurns(world.log, picks);
        const processes = [on(world, log), on(world, log)];
        const before = (await conversions(world)).length;
        const race = Array.from({ length: count }, (_, index) =>
          convert(processes[index % 2] ?? world, { idempotencyKey }),
        );
        await ended(race);
        const answers = await Promise.all(race);
        expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
        expect(new Set(answers.map(({ cursor }) => cursor)).size).toBe(1);
        expect(await conversions(world)).toHaveLength(before + 1);
      });
      await fc.assert(property, { numRuns: 60 });
    });
  });

  it('of one key and different inputs let one win, and the others are told', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      const results = await Promise.allSettled(
        Array.from({ length: 10 }, (_, value) => convert(world, { idempotencyKey: 'k', value })),
      );
      const codes = results.map((each) =>
        each.status === 'fulfilled' ? 'recorded' : (each.reason as DomainError).code,
      );
      expect(codes.toSorted()).toEqual([...Array.from({ length: 9 }, () => 'IDEMPOTENCY_CONFLICT'), 'recorded']);
      expect(await conversions(world)).toHaveLength(1);
    });
  });

  it('are all recorded, three hundred of them, and read the stream once each', async () => {
    await inAnHour(async (world) => {
      await past(world, requested(), routed(), sent());
      let reads = 0;
      const read: EventLog['read'] = (...args) => {
        reads += 1;
        return world.log.read(...args);
      };
      const { commands } = on(world, { ...world.log, read });
      const told = await Promise.all(Array.from({ length: 300 }, () => convert({ commands })));
      expect(new Set(told.map(({ cursor }) => cursor)).size).toBe(300);
      expect(await conversions(world)).toHaveLength(300);
      expect(reads).toBe(300);
    });
  });

  it('with a claim and its outcome lose neither, and no attempt is made twice', async () => {
    const job = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: A, attempt: 1 };
    const property = fc.asyncProperty(
      PICKS,
      fc.array(fc.option(fc.constantFrom('k', 'l')), { maxLength: 8 }),
      (picks, keys) =>
        inAnHour(async (world) => {
          await registered(world);
          await past(world, requested(), routed());
          const { log, ended } = takingTurns(world.log, picks);
          const send = async (): Promise<boolean> => {
            const deliveries = createDeliveries({ ...world.context, log }, POLICY);
            const claimed = await deliveries.claim(job);
            if (claimed.kind === 'claimed') await deliveries.record(job, claimed, 'smtp', ACCEPT);
            return claimed.kind === 'claimed';
          };
          const claims = [send(), send()];
          const told = keys.map((idempotencyKey) => convert(on(world, log), { idempotencyKey }));
          await ended([...claims, ...told]);
          expect((await Promise.all(claims)).filter(Boolean)).toHaveLength(1);
          const types = (await world.log.read(streamOf.notification(NOTIFICATION))).map(({ type }) => type);
          const kept = ['NotificationRequested', 'NotificationRouted', 'DeliveryAttempted', 'DeliverySent'];
          expect(types.filter((type) => type !== 'ConversionRecorded')).toEqual(kept);
          const unkeyed = keys.filter((key) => key === null).length;
          const keyed = new Set(keys.filter((key) => key !== null)).size;
          expect(types).toHaveLength(kept.length + unkeyed + keyed);
          const view = await world.queries.notification('default', NOTIFICATION);
          expect(view?.state.deliveries).toMatchObject([{ id: A, status: 'SENT', attempts: 1, sent: [1] }]);
        }),
    );
    await fc.assert(property, { numRuns: 40 });
  });
});
