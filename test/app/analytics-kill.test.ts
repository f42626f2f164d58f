import { randomInt } from 'node:crypto';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { foldIngest } from '../../src/events/ingest.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import { start } from '../../src/lifecycle.ts';
import { startAnalytics } from '../../src/projections/analytics.ts';
import { chosenAdapters, openLogOf } from '../support/adapters.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';
import { randomFrom } from '../support/random.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { exitOf, startTs, type TsChild } from '../support/ts-child.ts';
import { storedTables, toldTables } from './analytics-tables.ts';
import { LIMITS, type Line } from './analytics-limits.ts';

/** 50 of them by `npm run test:long`. */
const KILLS = Number(process.env['ANALYTICS_KILLS'] ?? 12);

/** One that appends and writes ClickHouse, and what it says. */
interface WriterChild {
  readonly child: TsChild;
  readonly ended: ReturnType<typeof exitOf>;
  readonly lines: AsyncIterator<string, undefined>;
  readonly complaints: () => string;
}

function startWriter(args: readonly string[]): WriterChild {
  const child = startTs(new URL('./analytics-writer.ts', import.meta.url), args);
  const killWithUs = (): void => void child.kill('SIGKILL');
  process.once('exit', killWithUs);
  child.once('exit', () => process.off('exit', killWithUs));
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const reader: Interface = createInterface({ input: child.stdout });
  return { child, ended: exitOf(child), lines: reader[Symbol.asyncIterator](), complaints: () => complaints };
}

/** The next thing that it says of an engine that is not the one that was killed. */
async function hear(
  { lines, complaints }: WriterChild,
  killed: number | null,
): Promise<Line & { readonly engine: number }> {
  for (;;) {
    const said = await lines.next();
    if (said.done === true) throw new Error(`the writer ended: ${complaints()}`);
    const { kind, engine } = JSON.parse(said.value) as Line;
    if (engine !== null && engine !== killed) return { kind, engine };
  }
}

type Settings = Readonly<Record<string, string>>;

/** Kills the writer or its engine, time and again, each after a few batches and a moment. Answers how many of each. */
async function killTimeAndAgain(
  folder: string,
  settings: Settings,
  seed: number,
): Promise<{ writers: number; engines: number }> {
  const random = randomFrom(seed);
  const args = [folder, String(seed), String(Date.now()), JSON.stringify(settings)];
  const killed = { writers: 0, engines: 0 };
  let writer = startWriter(args);
  let killedEngine: number | null = null;
  for (let round = 1; round <= KILLS; round += 1) {
    const kind = random() < 0.5 ? 'planned' : 'inserted';
    let line = await hear(writer, killedEngine);
    for (let count = Math.floor(random() * 6); count > 0 || line.kind !== kind; count -= 1) {
      line = await hear(writer, killedEngine);
    }
    if (random() < 0.7) await delay(random() * 40);
    const killsWriter = round === KILLS || random() < 0.4;
    if (!killsWriter) {
      process.kill(line.engine, 'SIGKILL');
      killedEngine = line.engine;
      killed.engines += 1;
      continue;
    }
    writer.child.kill('SIGKILL');
    expect([await writer.ended, writer.complaints()]).toEqual([[null, 'SIGKILL'], '']);
    killed.writers += 1;
    killedEngine = null;
    if (round < KILLS) writer = startWriter(args);
  }
  return killed;
}

/** Lets everything come to rest, and compares row by row. Answers how much there was. */
async function expectExact(folder: string, settings: Settings): Promise<{ rows: number; batches: number }> {
  const opened = await start(async (scope) => {
    const log = scope.use(await openLogOf(settings, folder));
    const analytics = scope.use(await openTestAnalytics(`${folder}/analytics`));
    const parts = { logger: SILENT, ids: systemIds, now: Date.now, limits: LIMITS };
    return { log, analytics, ingest: scope.use(startAnalytics({ log, analytics, ...parts })) };
  });
  try {
    const { log, analytics, ingest } = opened.value;
    const caughtUp = async (): Promise<void> => {
      expect(ingest.watermark()?.position).toBe(await log.head());
    };
    await eventually(caughtUp, { timeoutMs: 30_000 });
    const [stored, told] = [await storedTables(analytics), await toldTables(log)];
    expect(stored.deliveryEvents).toEqual(told.deliveryEvents);
    expect(stored.deliveries).toEqual(told.deliveries);
    expect(stored.activityHourly).toEqual(told.activityHourly);
    const newest = await log.last(streamOf.ingest);
    expect(foldIngest(newest)?.rows).toBeGreaterThan(0);
    return { rows: told.deliveryEvents.length, batches: newest?.version ?? 0 };
  } finally {
    await opened.stop();
  }
}

const { name, isSkipped, open } = chosenAdapters();

describe(`the writer of ClickHouse and its engine, killed ${String(KILLS)} times at random moments, ${name}`, () => {
  it.skipIf(isSkipped)(
    'leave every table equal to the log, row by row',
    async () => {
      const seed = Number(process.env['ANALYTICS_KILL_SEED'] ?? randomInt(2 ** 31));
      console.log(`seed ${String(seed)}`);
      const { value: servers, stop: stopServers } = await open();
      await withTempDir(async (folder) => {
        const { writers, engines } = await killTimeAndAgain(folder, servers.settings, seed);
        const { rows, batches } = await expectExact(folder, servers.settings);
        expect(rows).toBeGreaterThan(1_000);
        console.log(
          `${String(writers)} writers and ${String(engines)} engines killed: ${String(rows)} rows in ${String(batches)} batches`,
        );
      });
      await stopServers();
    },
    60_000 + KILLS * 15_000,
  );
});
