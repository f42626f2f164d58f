import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import { FUNNEL_STAGES, type FunnelInput, type FunnelStage } from '../../src/projections/funnel-input.ts';
import { funnelQuery } from '../../src/projections/funnel-sql.ts';
import { funnelsOver, HOUR, ingest, ingestions, INPUT, openEngine, questions } from './funnel-given.ts';
import {
  eventsOf,
  stories,
  tenantOf,
  type DeliveryStory,
  type Fact,
  type NotificationStory,
} from './funnel-histories.ts';
import { referenceFunnel } from './funnel-reference.ts';

let engine: Started<Analytics>;
let histories = 0;

beforeAll(async () => {
  engine = await openEngine();
});

afterAll(() => engine.stop());

function nextName(): string {
  histories += 1;
  return `trap-${String(histories)}`;
}

const BEGIN = INPUT.from.getTime() + 24 * HOUR;

/** Every delivery of a history: what is told of them is told of all. */
const EVERYTHING: FunnelInput = { ...INPUT, to: new Date(BEGIN + 24 * HOUR) };

const asked = fc.array(questions, { minLength: 8, maxLength: 8 });

/** How many deliveries came how far by the product's own query. */
async function countsOf(tenant: string, input: FunnelInput): Promise<readonly number[]> {
  const { groups } = await funnelsOver(engine.value).read(tenant, input);
  return groups.flatMap(({ stages }) => stages.map(({ count }) => count));
}

/** By ClickHouse's windowFunnel over a query of `delivery_id`, `at` in milliseconds, and `stage` or whatever `matches` looks at. */
async function windowFunnel(
  rows: string,
  { tenant, input, matches }: { tenant: string; input: FunnelInput; matches: (stage: FunnelStage) => string },
): Promise<readonly number[]> {
  const conditions = input.stages.map(matches).join(', ');
  // It refuses DateTime64, counts the window in units of its argument, and of seconds would order what lies within one anyhow.
  const level = `windowFunnel(${String(input.windowSeconds * 1_000)})(toUInt64(at), ${conditions})`;
  const counts = input.stages.map((_, index) => `countIf(level > ${String(index)}) AS count${String(index)}`);
  const levels = `SELECT delivery_id, ${level} AS level FROM (${rows}) GROUP BY delivery_id`;
  const [row] = await engine.value.query(`SELECT ${counts.join(', ')} FROM (${levels})`, { tenant });
  return input.stages.map((_, index) => Number(row?.[`count${String(index)}`]));
}

/** When each delivery was first known to have come to a stage, one row a stage. */
const KNOWN_STAGES = `
  SELECT delivery_id, known.1 AS stage, toUnixTimestamp64Milli(requested_at) + known.2 AS at
  FROM
  (
    SELECT delivery_id, requested_at, steps, arrayJoin([
      ('REQUESTED', 0, toUInt64(0)),
      ('QUEUED', 1, least(queued_ms, sent_ms, delivered_ms, opened_ms, clicked_ms)),
      ('SENT', 2, least(sent_ms, delivered_ms, opened_ms, clicked_ms)),
      ('DELIVERED', 3, least(delivered_ms, opened_ms, clicked_ms)),
      ('OPENED', 4, least(opened_ms, clicked_ms)),
      ('CLICKED', 5, clicked_ms),
      ('CONVERTED', 6, converted_ms)
    ]) AS each, (each.1, each.3) AS known
    FROM deliveries FINAL
    WHERE tenant = {tenant:String} AND channel != '' AND bitTest(steps, each.2)
  )`;

describe('a funnel of stages and offsets', () => {
  it('counts what windowFunnel counts over the first times of the stages', { timeout: 60_000 }, async () => {
    let reached = 0;
    await fc.assert(
      fc.asyncProperty(stories, ingestions, asked, async (told, how, asks) => {
        const name = nextName();
        await ingest(engine.value, eventsOf(name, BEGIN, told), how);
        for (const { stages, windowSeconds, tenant: who } of asks) {
          const [tenant, input] = [tenantOf(name, who), { ...EVERYTHING, stages, windowSeconds }];
          const matches = (stage: FunnelStage): string => `stage = '${stage}'`;
          const counts = await countsOf(tenant, input);
          expect(await windowFunnel(KNOWN_STAGES, { tenant, input, matches })).toEqual(counts);
          reached += counts[1] ?? 0;
        }
      }),
      { numRuns: 8 },
    );
    expect(reached).toBeGreaterThan(40);
  });

  it('counts what windowFunnel counts over the events, where nothing happens twice or in disorder', async () => {
    let reached = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(orderly, { minLength: 10, maxLength: 30 }),
        ingestions,
        asked,
        async (told, how, asks) => {
          const name = nextName();
          await ingest(engine.value, eventsOf(name, BEGIN, told), how);
          for (const { stages: some, windowSeconds } of asks) {
            const stages = some.filter((stage) => stage !== 'REQUESTED');
            if (stages.length < 2) continue;
            const [tenant, input] = [tenantOf(name, 'a'), { ...EVERYTHING, stages, windowSeconds }];
            const rows = `
            SELECT delivery_id, type, steps, toUnixTimestamp64Milli(occurred_at) AS at
            FROM delivery_events WHERE tenant = {tenant:String} AND channel != ''`;
            const matches = (stage: FunnelStage): string => EVENTS[stage];
            const counts = await countsOf(tenant, input);
            expect(await windowFunnel(rows, { tenant, input, matches })).toEqual(counts);
            reached += counts[1] ?? 0;
          }
        },
      ),
      { numRuns: 8 },
    );
    expect(reached).toBeGreaterThan(40);
  });
});

const EVENTS: Readonly<Record<FunnelStage, string>> = {
  REQUESTED: '0',
  QUEUED: `type = 'NotificationRouted' AND bitTest(steps, 1)`,
  SENT: `type = 'DeliverySent'`,
  DELIVERED: `type = 'DeliveryDelivered'`,
  OPENED: `type = 'DeliveryOpened'`,
  CLICKED: `type = 'DeliveryClicked'`,
  CONVERTED: `type = 'ConversionRecorded'`,
};

/** Some of what can happen, each once and in its order; a conversion at any time. */
const orderlyDelivery: fc.Arbitrary<DeliveryStory> = fc
  .record({
    types: fc.subarray(['DeliverySent', 'DeliveryDelivered', 'DeliveryOpened', 'DeliveryClicked'] as const),
    gaps: fc.array(fc.constantFrom(0, 1, 999, 1_000, 1_001, 2_000, 59_999, 60_000), { minLength: 4, maxLength: 4 }),
    convertedMs: fc.oneof(fc.constant(null), fc.nat(3_000)),
    outcome: fc.constantFrom('QUEUE' as const, 'QUEUE' as const, 'SUPPRESS' as const),
  })
  .map(({ types, gaps, convertedMs, outcome }) => {
    let atMs = 0;
    const facts: Fact[] = types
      // A receipt proves that it was sent: without the fact itself there would be no event of that.
      .filter((type) => type !== 'DeliveryDelivered' || types.includes('DeliverySent'))
      .map((type, index) => ({ type, atMs: (atMs += gaps[index] ?? 0) }));
    if (convertedMs !== null) facts.push({ type: 'ConversionRecorded', atMs: convertedMs });
    return { channel: 'EMAIL', platform: null, outcome, facts };
  });

const orderly: fc.Arbitrary<NotificationStory> = fc.record({
  tenant: fc.constant('a'),
  userId: fc.constant('ada'),
  requestedMs: fc.nat(10_000),
  campaign: fc.constant(null),
  category: fc.constant('general'),
  template: fc.constant(null),
  routedMs: fc.constant(0),
  deliveries: fc.array(orderlyDelivery, { minLength: 1, maxLength: 3 }),
  conversions: fc.constant([]),
});

const JIT_OFF = 'compile_expressions = 0, compile_aggregate_expressions = 0';
const JIT_ON = [
  'compile_expressions = 1, min_count_to_compile_expression = 0',
  'compile_aggregate_expressions = 1, min_count_to_compile_aggregate_expression = 0',
].join(', ');

/** Bits of stages that are still to be thought of. */
const FURTHER_BITS = 0b1111_1111_1000_0000;

describe('compiled and interpreted', () => {
  it('a funnel is the same, also where rows have reached stages that it knows nothing of', async () => {
    const told = fc.sample(stories, { numRuns: 1, seed: 4 }).flat();
    const name = nextName();
    const events = eventsOf(name, BEGIN, told);
    await ingest(engine.value, events, { order: [0], batches: 2, twice: [false] });
    await setFurtherBits(name);
    for (const unit of ['DELIVERY', 'NOTIFICATION', 'USER'] as const) {
      const input: FunnelInput = { ...EVERYTHING, unit, groupBy: ['CHANNEL', 'HOUR'] };
      const tenant = tenantOf(name, 'a');
      const { sql, params } = funnelQuery(tenant, input);
      const interpreted = await engine.value.query(`${sql} SETTINGS ${JIT_OFF}`, params);
      // A compiled expression may be used only once it has been asked for a few times.
      for (let run = 0; run < 4; run += 1) {
        expect(await engine.value.query(`${sql} SETTINGS ${JIT_ON}`, params)).toEqual(interpreted);
      }
      const { groups } = await funnelsOver(engine.value).read(tenant, input);
      expect(groups).toEqual(referenceFunnel(events, tenant, input));
      expect(groups.length).toBeGreaterThan(3);
    }
  });

  /** The same with a shift of a plain 1, a number of 8 bits, gave 0 interpreted and 256 compiled for n = 8. */
  it('bitShiftLeft(toUInt16(1), n) is the bit of a stage, should one ever be needed', async () => {
    // Compiled is what is more than one operation, on columns.
    const sql = `
      SELECT arraySort(groupArray(bitShiftLeft(toUInt16(1), n + 1 - 1))) AS bits
      FROM (SELECT toUInt8(number) AS n FROM numbers(16))`;
    const bits = Array.from({ length: 16 }, (_, n) => 2 ** n);
    for (const settings of [JIT_OFF, JIT_ON, JIT_ON, JIT_ON]) {
      expect(await engine.value.query(`${sql} SETTINGS ${settings}`)).toEqual([{ bits }]);
    }
  });

  it('has room for its stages', () => {
    expect(FUNNEL_STAGES.length).toBeLessThanOrEqual(7);
    expect(FURTHER_BITS & (2 ** FUNNEL_STAGES.length - 1)).toBe(0);
  });
});

/** As a later version would: every delivery of the history once more, with all bits of its own. */
async function setFurtherBits(name: string): Promise<void> {
  const key = ['tenant', 'requested_at', 'notification_id', 'delivery_id'];
  const found = await engine.value.query(
    `SELECT ${key.join(', ')}, user_id FROM deliveries FINAL WHERE startsWith(tenant, {name:String})`,
    { name },
  );
  const never = '18446744073709551615';
  const times = ['queued_ms', 'sent_ms', 'delivered_ms', 'opened_ms', 'clicked_ms', 'converted_ms'];
  const rows = found.map((row) => [
    ...[...key, 'user_id'].map((column) => String(row[column])),
    FURTHER_BITS,
    ...times.map(() => never),
  ]);
  expect(rows.length).toBeGreaterThan(20);
  const columns = [...key, 'user_id', 'steps', ...times];
  await engine.value.insert({ table: 'deliveries', columns, rows, token: `${name}-bits` });
}
