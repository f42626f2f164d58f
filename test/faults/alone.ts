import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openCursors, systemIds, type Cursors } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { start, type Started } from '../../src/lifecycle.ts';
import type { EventLog, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { startAnalytics } from '../../src/projections/analytics.ts';
import { LIMITS } from '../app/analytics-limits.ts';
import { storedTables, toldTables } from '../app/analytics-tables.ts';
import { openLogOf } from '../support/adapters.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';
import type { Service } from '../support/service.ts';
import { everything } from '../support/world.ts';
import type { Follower } from './follower.ts';
import { updatesIn } from './follower.ts';
import { askAny, type Load } from './load.ts';
import { RETRY_SCHEDULE } from './rig.ts';
import { SETTLED } from './settings.ts';
import { copiesAt, openEmail, type Sink } from './sinks.ts';
import { openUnit, type Unit, type UnitOptions } from './unit.ts';
import { judge, judgeSeen, judgeTables, type Verdict } from './verdict.ts';

/** One process that does everything on what is embedded, and a mail server. */
export interface Alone {
  readonly unit: Unit;
  /** The mail server. */
  readonly sinks: readonly [Sink];
  /** It, while it runs. @throws once it has ended for good. */
  readonly apis: () => readonly Service[];
}

export function openAlone({
  within = [],
  settings: changes = {},
}: Partial<Pick<UnitOptions, 'within' | 'settings'>> = {}): Promise<Started<Alone>> {
  return start(async (scope) => {
    const sink = scope.use(await openEmail());
    const settings = { ...sink.credentials, RETRY_SCHEDULE, LOG_LEVEL: 'warn', ...changes };
    const servers = { [sink.link]: sink.server };
    const unit = scope.use(await openUnit({ name: 'everything', roles: [], settings, servers, within }));
    await unit.start();
    const life = { isOver: false };
    scope.use({ value: undefined, stop: () => Promise.resolve(void (life.isOver = true)) });
    const apis = (): readonly Service[] => {
      if (life.isOver) throw new Error('the process has ended for good');
      return [unit.service()].filter((service) => service !== null);
    };
    return { unit, sinks: [sink], apis };
  });
}

const ASKED_AT_ONCE = 5;
const ENDED = new Set(['CANCELLED', 'COMPLETED', 'EXPIRED']);

/** Waits until all that was acknowledged has an outcome, as clients are told. */
export async function untilOver({ apis }: Alone, { acknowledged }: Pick<Load, 'acknowledged'>): Promise<void> {
  const open = new Set(acknowledged.keys());
  await eventually(async () => {
    for (const ids of chunks([...open])) {
      const query = ids.map((id, index) => `n${String(index)}: notification(id: "${id}") { id status }`).join(' ');
      const told = await askAny<Record<string, { id: string; status: string }>>(apis, `{ ${query} }`);
      for (const { id, status } of Object.values(told)) if (ENDED.has(status)) open.delete(id);
    }
    expect([...open].slice(0, 5), `${String(open.size)} requests without an outcome`).toEqual([]);
  }, SETTLED);
}

function chunks<T>(items: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(items.length / ASKED_AT_ONCE);
  return Array.from({ length: count }, (_, index) => items.slice(index * ASKED_AT_ONCE, (index + 1) * ASKED_AT_ONCE));
}

/** Ends the process and looks at what it left, after its subscriber has seen all of it. */
export async function judgeAlone(alone: Alone, load: Load, follower: Follower): Promise<Verdict> {
  const { unit, sinks } = alone;
  await unit.kill();
  const { events, cursors } = await readLog(unit.folder);
  const ought = updatesIn(events, cursors);
  await unit.start();
  await eventually(() => expect(follower.seen.length).toBeGreaterThanOrEqual(ought.length), SETTLED);
  await unit.kill();
  const { problems, figures } = judge({ acknowledged: load.acknowledged, events, copies: copiesAt(sinks) });
  const others = [...judgeSeen(follower.seen, ought), ...(await tablesOf(unit.folder)), ...unit.crashes];
  return { figures, problems: [...problems, ...others, ...load.contradictions] };
}

/** What a process left in its folder. */
export async function readLog(
  folder: string,
): Promise<{ readonly events: readonly RecordedEvent[]; readonly cursors: Cursors }> {
  const { value: log, stop } = await openLogOf({}, folder);
  const secret = (await readFile(join(folder, 'secret-key'), 'utf8')).trim();
  const events = await everything({ log });
  await stop();
  return { events, cursors: openCursors(log.id, openKeys(secret).mac) };
}

/** What ClickHouse holds once whoever writes it has caught up. */
async function tablesOf(folder: string): Promise<readonly string[]> {
  const { value, stop } = await start(async (scope) => {
    const log: EventLog = scope.use(await openLogOf({}, folder));
    const analytics = scope.use(await openTestAnalytics(join(folder, 'analytics')));
    const parts = { logger: SILENT, ids: systemIds, now: Date.now, limits: LIMITS };
    return { log, analytics, ingest: scope.use(startAnalytics({ log, analytics, ...parts })) };
  });
  try {
    const { log, analytics, ingest } = value;
    await eventually(async () => expect(ingest.watermark()?.position).toBe(await log.head()), SETTLED);
    return judgeTables(await storedTables(analytics), await toldTables(log));
  } finally {
    await stop();
  }
}
