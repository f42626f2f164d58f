import fc from 'fast-check';
import { openCursors, type Cursors } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import type { Position, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { COLUMNS, rowsOf, TABLE, type Row } from '../../src/projections/analytics-rows.ts';
import type { Watermark } from '../../src/projections/analytics.ts';
import type { Funnels } from '../../src/projections/funnel-figures.ts';
import { CHANNELS } from '../../src/events/event.ts';
import {
  FUNNEL_DIMENSIONS,
  FUNNEL_STAGES,
  FUNNEL_UNITS,
  type FunnelInput,
} from '../../src/projections/funnel-input.ts';
import { createFunnels } from '../../src/projections/funnel.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { TENANTS, WINDOWS_SECONDS } from './funnel-histories.ts';

export const WATERMARK: Watermark = { position: '0000000000000007' as Position, at: 1_790_000_000_000 };

export const CURSORS: Cursors = openCursors('log', openKeys('0'.repeat(32)).mac);

/** The embedded engine with its tables, in a folder of its own. */
export async function openEngine(): Promise<Started<Analytics>> {
  const folder = await openTempDir();
  const engine = await openTestAnalytics(folder.value);
  await engine.value.migrate();
  return {
    value: engine.value,
    stop: async () => {
      await engine.stop();
      await folder.stop();
    },
  };
}

/** Funnels of a service that is up to date. */
export function funnelsOver(analytics: Pick<Analytics, 'query'>): Funnels {
  const ingest = { watermark: () => WATERMARK, progress: () => '' };
  return createFunnels({ analytics, ingest, cursors: CURSORS, now: Date.now });
}

let batches = 0;

export async function insert(analytics: Analytics, rows: readonly Row[]): Promise<void> {
  batches += 1;
  await analytics.insert({ table: TABLE, columns: COLUMNS, rows, token: `batch-${String(batches)}` });
}

/** How the rows of a history come in: in what order, in how many batches, and which of these twice. */
export interface Ingestion {
  readonly order: readonly number[];
  readonly batches: number;
  readonly twice: readonly boolean[];
}

export const ingestions: fc.Arbitrary<Ingestion> = fc.record({
  order: fc.array(fc.nat(), { minLength: 16, maxLength: 16 }),
  batches: fc.integer({ min: 1, max: 4 }),
  twice: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
});

export async function ingest(
  analytics: Analytics,
  events: readonly RecordedEvent[],
  { order, batches: count, twice }: Ingestion,
): Promise<void> {
  const rows = shuffled(events.flatMap(rowsOf), order);
  const size = Math.ceil(rows.length / count);
  for (let index = 0; index * size < rows.length; index += 1) {
    const batch = rows.slice(index * size, (index + 1) * size);
    await insert(analytics, batch);
    // Under another token: the engine takes it for rows that it has not seen.
    if (twice[index] === true) await insert(analytics, batch.toReversed());
  }
}

/** By the picks, over and over. */
function shuffled<T>(all: readonly T[], picks: readonly number[]): readonly T[] {
  const left = [...all];
  return all.flatMap((_, index) => left.splice((picks[index % picks.length] ?? 0) % left.length, 1));
}

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

/** In years to come: what was requested long ago is not kept. */
export const INPUT: FunnelInput = {
  stages: FUNNEL_STAGES,
  from: new Date('2060-03-01T00:00:00.000Z'),
  to: new Date('2060-03-02T00:00:00.000Z'),
  windowSeconds: 604_800,
  channels: null,
  campaign: null,
  category: null,
  unit: 'DELIVERY',
  groupBy: [],
  timeZone: 'UTC',
};

/** Nights on which clocks are changed, offsets that are no whole hours, and places that changed sides of the date line. */
export const NIGHTS = [
  { timeZone: 'UTC', begin: '2060-03-01T12:00:00.000Z' },
  { timeZone: 'Europe/Berlin', begin: '2060-03-28T01:00:00.000Z' },
  { timeZone: 'Europe/Berlin', begin: '2060-10-31T01:00:00.000Z' },
  { timeZone: 'America/New_York', begin: '2060-11-07T06:00:00.000Z' },
  { timeZone: 'America/St_Johns', begin: '2060-03-14T05:30:00.000Z' },
  { timeZone: 'Australia/Lord_Howe', begin: '2060-04-03T15:00:00.000Z' },
  { timeZone: 'Australia/Lord_Howe', begin: '2060-10-02T15:30:00.000Z' },
  { timeZone: 'Pacific/Chatham', begin: '2060-04-03T14:00:00.000Z' },
  { timeZone: 'Asia/Kathmandu', begin: '2060-01-01T00:00:00.000Z' },
  { timeZone: 'Pacific/Apia', begin: '2060-01-01T10:00:00.000Z' },
  { timeZone: 'Pacific/Kiritimati', begin: '2060-01-01T10:00:00.000Z' },
] as const;

/** Milliseconds from the beginning of the history, like those of the requests. */
const border = fc
  .tuple(fc.integer({ min: -15, max: 15 }), fc.integer({ min: -2, max: 2 }))
  .map(([hours, ms]) => hours * HOUR + ms);

/** Filters that all leave something over leave next to nothing together. */
function mostly<A, B>(usual: A, sometimes: fc.Arbitrary<B>): fc.Arbitrary<A | B> {
  return fc.oneof<[{ weight: number; arbitrary: fc.Arbitrary<A> }, { weight: number; arbitrary: fc.Arbitrary<B> }]>(
    { weight: 3, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: sometimes },
  );
}

export interface Question extends Omit<FunnelInput, 'from' | 'to' | 'timeZone'> {
  readonly tenant: string;
  readonly borders: readonly [number, number];
}

export const questions: fc.Arbitrary<Question> = fc.record({
  tenant: fc.constantFrom(...TENANTS),
  stages: fc.oneof(
    fc.constant(FUNNEL_STAGES),
    fc.constant(FUNNEL_STAGES.slice(2)),
    fc.subarray([...FUNNEL_STAGES], { minLength: 2 }),
    fc.shuffledSubarray([...FUNNEL_STAGES], { minLength: 2 }),
  ),
  borders: mostly([-20 * HOUR, 20 * HOUR] as const, fc.tuple(border, border)),
  windowSeconds: fc.constantFrom(...WINDOWS_SECONDS),
  channels: mostly(null, fc.subarray([...CHANNELS], { minLength: 1 })),
  campaign: mostly(null, fc.constantFrom('spring', "o'c", 'unheard of')),
  category: mostly(null, fc.constantFrom('news', 'general')),
  unit: fc.constantFrom(...FUNNEL_UNITS),
  groupBy: fc.shuffledSubarray([...FUNNEL_DIMENSIONS], { maxLength: 4 }),
});

export function inputOf({ borders, tenant: _, ...rest }: Question, begin: number, timeZone: string): FunnelInput {
  const [from, to] = [Math.min(...borders), Math.max(...borders)];
  return { ...rest, timeZone, from: new Date(begin + from), to: new Date(begin + Math.max(to, from + 1)) };
}
