/** A log, an empty engine, and writers that fill it. */
import { join } from 'node:path';
import { expect } from 'vitest';
import type { AnalyticsBatchPlanned } from '../../src/events/ingest.ts';
import { streamOf } from '../../src/ids.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import type { ChdbAnalytics, ChdbOptions } from '../../src/ports/analytics/chdb.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { startAnalytics, type Ingest, type IngestLimits } from '../../src/projections/analytics.ts';
import { appendStories } from '../app/analytics-stories.ts';
import { storedTables, toldTables } from '../app/analytics-tables.ts';
import { openTestAnalytics } from './analytics.ts';
import { eventually } from './eventually.ts';
import { clockAt, withWorld, type World } from './world.ts';

export const SEED = 20_261_120;
export const DAY_MS = 86_400_000;
const QUICK: Partial<IngestLimits> = { flushMs: 5, pauseMs: [1, 5], longPauseMs: 20 };

export interface Stage extends World {
  readonly analytics: ChdbAnalytics;
  /** Told at each level. */
  readonly lines: { readonly level: string; readonly message: string; readonly fields: object }[];
}

/** A log and an empty engine, today: what was requested months ago would be dropped from the tables. */
export function withStage(work: (stage: Stage) => Promise<void>, engine: Partial<ChdbOptions> = {}): Promise<void> {
  return withWorld(async (world) => {
    const { value: analytics } = await openEngine(world, engine);
    const lines: Stage['lines'] = [];
    const note = (level: string) => (fields: object, message: string) => void lines.push({ level, message, fields });
    const logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error'), errors: [] };
    await work({ ...world, logger, lines, analytics });
  }, clockAt(Date.now()));
}

export async function openEngine(world: World, options: Partial<ChdbOptions> = {}): Promise<Started<ChdbAnalytics>> {
  const engine = await openTestAnalytics(folderOf(world), options);
  world.use(engine);
  return engine;
}

/** Of the engine. */
export function folderOf({ folder }: World): string {
  return join(folder, 'analytics');
}

export interface Running extends Ingest {
  readonly stop: () => Promise<void>;
}

export function run(
  stage: Stage,
  limits: Partial<IngestLimits> = {},
  parts: { readonly log?: EventLog; readonly analytics?: Analytics } = {},
): Running {
  const { log, analytics, logger, context, clock } = stage;
  const options = { log, analytics, ...parts, logger, ids: context.ids, now: clock.now };
  const { value, stop } = startAnalytics({ ...options, limits: { ...QUICK, ...limits } });
  stage.use({ value: undefined, stop });
  return { ...value, stop };
}

export function append({ log, clock }: Stage, from: number, to: number): Promise<void> {
  return appendStories(log, SEED, [from, to], clock.now());
}

export async function untilCaughtUp({ log }: Stage, ingest: Ingest, timeoutMs = 20_000): Promise<void> {
  await eventually(
    async () => {
      expect(ingest.watermark()?.position).toBe(await log.head());
    },
    { timeoutMs },
  );
}

export async function expectExact({ log, analytics }: Stage): Promise<void> {
  expect(await storedTables(analytics)).toEqual(await toldTables(log));
}

export async function plans({ log }: Stage): Promise<readonly AnalyticsBatchPlanned[]> {
  const events = await log.read(streamOf.ingest);
  return events.filter(({ type }) => type === 'AnalyticsBatchPlanned').map(({ data }) => data as AnalyticsBatchPlanned);
}

export function messages({ lines }: Stage, level: string): readonly string[] {
  return lines.filter((line) => line.level === level).map(({ message }) => message);
}

/** Insert number `hanging` (counted from 1) never ends: as if the process had died in it. */
export function dying(
  real: Analytics,
  hanging: number,
  takesPlace: boolean,
): { readonly analytics: Analytics; readonly died: Promise<void> } {
  let inserts = 0;
  let die: () => void = () => undefined;
  const died = new Promise<void>((resolve) => (die = resolve));
  const insert: Analytics['insert'] = async (batch) => {
    inserts += 1;
    if (inserts !== hanging) return real.insert(batch);
    if (takesPlace) await real.insert(batch);
    die();
    return new Promise<void>(() => undefined);
  };
  return { analytics: { ...real, insert }, died };
}
