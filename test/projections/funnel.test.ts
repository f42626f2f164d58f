import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DomainError } from '../../src/errors.ts';
import type { Started } from '../../src/lifecycle.ts';
import { AnalyticsError, type Analytics, type AnalyticsErrorKind } from '../../src/ports/analytics/analytics.ts';
import { NO_DELIVERY, type Row } from '../../src/projections/analytics-rows.ts';
import type { FunnelFigures } from '../../src/projections/funnel-figures.ts';
import type { FunnelInput } from '../../src/projections/funnel-input.ts';
import { createFunnels } from '../../src/projections/funnel.ts';
import { derivedId } from '../../src/ids.ts';
import {
  CURSORS,
  funnelsOver,
  ingest,
  ingestions,
  INPUT,
  inputOf,
  insert,
  NIGHTS,
  openEngine,
  questions,
  WATERMARK,
} from './funnel-given.ts';
import { eventsOf, stories, tenantOf, type DeliveryStory, type NotificationStory } from './funnel-histories.ts';
import { referenceFunnel } from './funnel-reference.ts';

let engine: Started<Analytics>;
let histories = 0;

beforeAll(async () => {
  engine = await openEngine();
});

afterAll(() => engine.stop());

function nextName(): string {
  histories += 1;
  return `history-${String(histories)}`;
}

const BEGIN = INPUT.from.getTime();

const AT_ONCE = { order: [0], batches: 1, twice: [false] };

function notification(changes: Partial<NotificationStory>): NotificationStory {
  const nothing = { requestedMs: 0, campaign: null, template: null, routedMs: 0, deliveries: [], conversions: [] };
  return { tenant: 'a', userId: 'ada', category: 'general', ...nothing, ...changes };
}

function delivery(facts: DeliveryStory['facts'], changes: Partial<DeliveryStory> = {}): DeliveryStory {
  return { channel: 'EMAIL', platform: null, outcome: 'QUEUE', facts, ...changes };
}

/** Figures of these stories alone. */
async function funnelOf(
  told: readonly NotificationStory[],
  changes: Partial<FunnelInput> = {},
): Promise<FunnelFigures> {
  const name = nextName();
  await ingest(engine.value, eventsOf(name, BEGIN, told), AT_ONCE);
  return funnelsOver(engine.value).read(tenantOf(name, 'a'), { ...INPUT, ...changes });
}

function counts({ groups }: FunnelFigures): readonly (readonly number[])[] {
  return groups.map(({ stages }) => stages.map(({ count }) => count));
}

describe('a funnel', () => {
  it('is what its events tell, whatever their order and however often they came', { timeout: 120_000 }, async () => {
    const history = fc.record({
      told: stories,
      night: fc.constantFrom(...NIGHTS),
      how: ingestions,
      missing: fc.array(fc.nat(9), { minLength: 20, maxLength: 20 }),
    });
    const asked = fc.array(questions, { minLength: 15, maxLength: 15 });
    let reached = 0;
    await fc.assert(
      fc.asyncProperty(history, asked, async ({ told, night, how, missing }, asks) => {
        const [name, begin] = [nextName(), Date.parse(night.begin)];
        const events = eventsOf(name, begin, told).filter((_, index) => missing[index % missing.length] !== 0);
        await ingest(engine.value, events, how);
        for (const question of asks) {
          const tenant = tenantOf(name, question.tenant);
          const input = inputOf(question, begin, night.timeZone);
          const { groups } = await funnelsOver(engine.value).read(tenant, input);
          expect(groups).toEqual(referenceFunnel(events, tenant, input));
          reached += groups.flatMap(({ stages }) => stages.slice(1)).filter(({ count }) => count > 1).length;
        }
      }),
      { numRuns: 20 },
    );
    // Or the histories are such that funnels are empty, and nothing was shown.
    expect(reached).toBeGreaterThan(40);
  });
});

describe('the cohort of a funnel', () => {
  it('is who was requested from its beginning on and before its end, to the millisecond', async () => {
    const told = [-1, 0, 999, 1_000].map((requestedMs) => notification({ requestedMs, deliveries: [delivery([])] }));
    const cohort = { from: new Date(BEGIN), to: new Date(BEGIN + 1_000) };
    expect(counts(await funnelOf(told, { ...cohort, stages: ['REQUESTED', 'QUEUED'] }))).toEqual([[2, 2]]);
  });
});

describe('the window of a funnel', () => {
  const at = (atMs: number) => notification({ deliveries: [delivery([{ type: 'DeliverySent', atMs }])] });

  it('is inclusive to the millisecond', async () => {
    const told = [at(999), at(1_000), at(1_001)];
    expect(counts(await funnelOf(told, { stages: ['REQUESTED', 'SENT'], windowSeconds: 1 }))).toEqual([[3, 2]]);
  });

  it('is measured from the first stage asked for to the last', async () => {
    const facts = [
      { type: 'DeliverySent', atMs: 5_000 },
      { type: 'DeliveryDelivered', atMs: 5_600 },
      { type: 'DeliveryOpened', atMs: 6_001 },
    ] as const;
    const told = [notification({ deliveries: [delivery(facts)] })];
    const stages = ['SENT', 'DELIVERED', 'OPENED'] as const;
    expect(counts(await funnelOf(told, { stages, windowSeconds: 1 }))).toEqual([[1, 1, 0]]);
    expect(counts(await funnelOf(told, { stages: stages.slice(1), windowSeconds: 1 }))).toEqual([[1, 1]]);
  });

  it('may be longer than 32 bits of milliseconds', async () => {
    const sixtyDays = 60 * 86_400;
    const told = [at(sixtyDays * 1_000), at(sixtyDays * 1_000 + 1)];
    const { groups } = await funnelOf(told, { stages: ['REQUESTED', 'SENT'], windowSeconds: sixtyDays });
    expect(groups[0]?.stages[1]).toMatchObject({ count: 1, medianSecondsFromPrevious: sixtyDays });
  });
});

describe('the units of a funnel', () => {
  const opened = (atMs: number) =>
    delivery([
      { type: 'DeliverySent', atMs: 100 },
      { type: 'DeliveryOpened', atMs },
    ]);

  it('count once at the furthest that any of their deliveries came, with the fastest of these', async () => {
    const sent = delivery([{ type: 'DeliverySent', atMs: 100 }], { channel: 'SMS' });
    const told = [
      notification({ deliveries: [sent, opened(4_100), opened(2_100)] }),
      notification({ deliveries: [sent] }),
      notification({ userId: 'bob', deliveries: [opened(3_100)] }),
      notification({ userId: 'cy' }),
    ];
    const stages = ['REQUESTED', 'SENT', 'OPENED'] as const;
    expect(counts(await funnelOf(told, { stages, unit: 'DELIVERY' }))).toEqual([[5, 5, 3]]);
    expect(counts(await funnelOf(told, { stages, unit: 'NOTIFICATION' }))).toEqual([[4, 3, 2]]);
    const { groups } = await funnelOf(told, { stages, unit: 'USER' });
    expect(groups).toEqual([
      {
        key: null,
        dimensions: [],
        stages: [
          { stage: 'REQUESTED', count: 3, fromPrevious: null, fromFirst: 1, medianSecondsFromPrevious: null },
          { stage: 'SENT', count: 2, fromPrevious: 2 / 3, fromFirst: 2 / 3, medianSecondsFromPrevious: 0.1 },
          { stage: 'OPENED', count: 2, fromPrevious: 1, fromFirst: 2 / 3, medianSecondsFromPrevious: 2.5 },
        ],
      },
    ]);
  });

  it('are deliveries alone where these are asked for, not the notifications they belong to', async () => {
    const told = [notification({ deliveries: [opened(200)], conversions: [300] }), notification({ conversions: [1] })];
    const stages = ['REQUESTED', 'CONVERTED'] as const;
    expect(counts(await funnelOf(told, { stages }))).toEqual([[1, 0]]);
    expect(counts(await funnelOf(told, { stages, unit: 'NOTIFICATION' }))).toEqual([[2, 2]]);
  });
});

describe('the groups of a funnel', () => {
  it('are one, all zero and without rates, where nothing was requested', async () => {
    const { groups, cursor } = await funnelsOver(engine.value).read('nobody', { ...INPUT, stages: ['SENT', 'OPENED'] });
    const nothing = { count: 0, fromPrevious: null, fromFirst: null, medianSecondsFromPrevious: null };
    const stages = [
      { stage: 'SENT', ...nothing },
      { stage: 'OPENED', ...nothing },
    ];
    expect(groups).toEqual([{ key: null, dimensions: [], stages }]);
    expect(CURSORS.read('nobody', cursor)).toEqual({ ...WATERMARK, index: 0, notificationId: null });
    expect((await funnelsOver(engine.value).read('nobody', { ...INPUT, groupBy: ['CHANNEL'] })).groups).toEqual([]);
  });

  it('are in the order of their values, null first, each with a key of its own', async () => {
    const told = [null, 'b/c', 'a', "it's 5 %"].map((campaign) =>
      notification({ campaign, deliveries: [delivery([])] }),
    );
    const one = await funnelOf(told, { groupBy: ['CAMPAIGN'] });
    expect(one.groups.map(({ key }) => key)).toEqual(['', 'a', 'b/c', "it's 5 %"]);
    expect(one.groups.map(({ dimensions }) => dimensions[0]?.value)).toEqual([null, 'a', 'b/c', "it's 5 %"]);
    const two = await funnelOf(told, { groupBy: ['CAMPAIGN', 'CATEGORY'] });
    expect(two.groups.map(({ key }) => key)).toEqual([
      '/general',
      'a/general',
      'b%2Fc/general',
      "it's%205%20%25/general",
    ]);
  });

  it('tell the hour that a clock shows twice as two', async () => {
    const from = new Date('2060-10-30T22:00:00.000Z');
    const to = new Date('2060-10-31T22:00:00.000Z');
    const requestedMs = ['2060-10-31T00:10:00.000Z', '2060-10-31T01:10:00.000Z', '2060-10-31T02:10:00.000Z'].map(
      (time) => Date.parse(time) - BEGIN,
    );
    const told = requestedMs.map((ms) => notification({ requestedMs: ms, deliveries: [delivery([])] }));
    const { groups } = await funnelOf(told, { from, to, timeZone: 'europe/berlin', groupBy: ['DAY', 'HOUR'] });
    expect(groups.map(({ dimensions }) => dimensions.map(({ value }) => value))).toEqual([
      ['2060-10-31', '2060-10-31T02:00:00+02:00'],
      ['2060-10-31', '2060-10-31T02:00:00+01:00'],
      ['2060-10-31', '2060-10-31T03:00:00+01:00'],
    ]);
  });

  it('are refused when they are more than 10,000', async () => {
    const row = (index: number): Row => [
      'crowded',
      '2060-03-01 12:00:00.000',
      derivedId('crowded', String(index)),
      NO_DELIVERY,
      'ada',
      ...['', '', ''],
      `campaign-${String(index)}`,
      ...['general', '', 0, 'NotificationRequested', ''],
      1,
      ...['2060-03-01 12:00:00.000', '2060-03-01 12:00:00.000'],
      ...['', null, ''],
      1,
      String(index),
      0,
    ];
    const rows = Array.from({ length: 10_001 }, (_, index) => row(index));
    await insert(engine.value, rows.slice(1));
    const read = () =>
      funnelsOver(engine.value).read('crowded', { ...INPUT, unit: 'NOTIFICATION', groupBy: ['CAMPAIGN'] });
    expect((await read()).groups).toHaveLength(10_000);
    await insert(engine.value, rows.slice(0, 1));
    await expect(read()).rejects.toMatchObject({ code: 'TOO_MANY_GROUPS', field: 'groupBy' });
  });
});

describe('a funnel that cannot be told', () => {
  const failing = (kind: AnalyticsErrorKind): Pick<Analytics, 'query'> => ({
    query: () => Promise.reject(new AnalyticsError(kind, 'no')),
  });

  it.each([
    ['too-heavy', { code: 'FUNNEL_TOO_EXPENSIVE' }],
    ['unavailable', { code: 'ANALYTICS_UNAVAILABLE' }],
    ['refused', { kind: 'refused' }],
  ] as const)('says so when ClickHouse answers %s', async (kind, told) => {
    await expect(funnelsOver(failing(kind)).read('a', INPUT)).rejects.toMatchObject(told);
  });

  it('is one of notifications that the tables no longer hold', async () => {
    const now = (): number => INPUT.from.getTime() + 391 * 86_400_000;
    const late = createFunnels({
      analytics: engine.value,
      ingest: { watermark: () => WATERMARK, progress: () => '' },
      cursors: CURSORS,
      now,
    });
    await expect(late.read('a', INPUT)).rejects.toMatchObject({ code: 'INVALID_FUNNEL', field: 'from' });
    const from = new Date(now() - 389 * 86_400_000);
    expect((await late.read('a', { ...INPUT, from, to: new Date(now()) })).groups).toHaveLength(1);
  });

  it('says how far the figures are that are being brought up to date', async () => {
    const behind = { watermark: () => null, progress: () => 'at event 5 of 9' };
    const funnels = createFunnels({ analytics: engine.value, ingest: behind, cursors: CURSORS, now: Date.now });
    const message = 'the figures are being brought up to date: at event 5 of 9';
    await expect(funnels.read('a', INPUT)).rejects.toMatchObject({ code: 'ANALYTICS_UNAVAILABLE', message });
  });

  it('is one in a time zone that this ClickHouse has not got', async () => {
    const noZones: Pick<Analytics, 'query'> = {
      query: (sql, params) =>
        sql.includes('system.time_zones') ? Promise.resolve([]) : engine.value.query(sql, params),
    };
    const input: FunnelInput = { ...INPUT, timeZone: 'Europe/Berlin', groupBy: ['DAY'] };
    const refusal: Partial<DomainError> = { code: 'INVALID_FUNNEL', field: 'timeZone' };
    await expect(funnelsOver(noZones).read('a', input)).rejects.toMatchObject(refusal);
    expect((await funnelsOver(noZones).read('a', { ...input, groupBy: [] })).groups).toHaveLength(1);
  });

  it('reads its watermark before its rows', async () => {
    const order: string[] = [];
    const ingested = {
      watermark: () => {
        order.push('watermark');
        return WATERMARK;
      },
      progress: () => '',
    };
    const analytics: Pick<Analytics, 'query'> = {
      query: (sql, params) => {
        order.push('query');
        return engine.value.query(sql, params);
      },
    };
    await createFunnels({ analytics, ingest: ingested, cursors: CURSORS, now: Date.now }).read('a', INPUT);
    expect(order).toEqual(['watermark', 'query']);
  });
});
