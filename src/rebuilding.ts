import { clearLocals, foldLocals } from './rebuild-locals.ts';
import type { Screen } from './rebuild-progress.ts';
import type { Config } from './config.ts';
import { openDataDir } from './data-dir.ts';
import { freeSpaceOf } from './disk-space.ts';
import { systemIds } from './ids.ts';
import { start, type Scope } from './lifecycle.ts';
import type { Log } from './log.ts';
import { openAnalytics } from './ports/analytics/open.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { openGuardedLog } from './ports/event-log/guarded.ts';
import { openEventLog } from './ports/event-log/open.ts';
import { openLmdbState } from './ports/state/lmdb.ts';
import { startAnalytics } from './projections/analytics.ts';
import { untilHeld } from './projections/held.ts';
import type { Lease } from './projections/lease.ts';
import { LOCAL, type Local } from './projections/rebuilt.ts';
import { unlessStopped } from './projections/signals.ts';
import { rebuildAnalytics } from './rebuild-analytics.ts';
import type { Roles } from './roles.ts';
import { holderIn, isAlone, openLease } from './single-writers.ts';
import { keepingOf, openStates } from './states.ts';

export const REBUILDABLE = [...LOCAL, 'analytics'] as const;
export type Rebuildable = (typeof REBUILDABLE)[number];

/** What a process with these roles derives from the log. */
export function rebuildableBy(roles: Roles): readonly Rebuildable[] {
  const role = { route: 'route', dispatch: 'dispatch', receipts: 'dispatch', analytics: 'analytics' } as const;
  return REBUILDABLE.filter((name) => roles.has(role[name]));
}

export interface RebuildOptions {
  readonly config: Config;
  readonly logger: Log;
  readonly names: ReadonlySet<Rebuildable>;
  readonly screen: Screen;
  /** Ends it: what was folded stays, and whoever starts next goes on there. */
  readonly signal: AbortSignal;
  /** What the process of a backup runs; for tests. */
  readonly backupScript?: string;
}

/**
 * Makes what is derived from the log again, from its start. Nothing is decided, published or sent meanwhile; to the log
 * only the plans of batches for ClickHouse are appended.
 * @throws DataDirInUse while a service uses the folder, or whatever keeps it from its end.
 */
export async function rebuild(options: RebuildOptions): Promise<void> {
  const run = await start((scope) => rebuildIn(scope, options));
  await run.stop();
}

async function rebuildIn(scope: Scope, options: RebuildOptions): Promise<void> {
  const { config, logger, signal } = options;
  const dataDir = scope.use(await openDataDir(config.dataDir));
  const opened = scope.use(await unlessStopped(signal, openEventLog(config.eventLog, logger)));
  const freeBytes = freeSpaceOf(config, dataDir.path);
  const log = openGuardedLog(opened, freeBytes);
  const locals = LOCAL.filter((name) => options.names.has(name));
  if (locals.length > 0) await rebuildLocals(scope, { ...options, log, freeBytes, dataDir: dataDir.path }, locals);
  if (!options.names.has('analytics')) return;
  const holder = await holderIn(dataDir);
  await refillAnalytics(scope, { ...options, log, holder });
}

interface Place extends RebuildOptions {
  readonly log: EventLog;
  readonly freeBytes: () => number;
  readonly dataDir: string;
}

async function rebuildLocals(scope: Scope, options: Place, locals: readonly Local[]): Promise<void> {
  const { config, log, logger, freeBytes, dataDir } = options;
  const keeping = keepingOf(config, { dataDir, log, logger, freeBytes });
  const open = (path: string) => openLmdbState(path, options.backupScript);
  // A snapshot has the states that are not rebuilt.
  const snapshots = locals.length < LOCAL.length ? keeping.snapshots : null;
  const states = await openStates(scope, { ...keeping, snapshots, open });
  await clearLocals({ ...keeping, states, locals });
  await foldLocals({ ...keeping, ...options, states, locals });
}

interface Refill extends RebuildOptions {
  readonly log: EventLog;
  readonly holder: string;
}

async function refillAnalytics(scope: Scope, options: Refill): Promise<void> {
  const { config, logger, log } = options;
  const analytics = scope.use(await openAnalytics(config.analytics, logger));
  const lease = await holdLease(scope, options);
  const common = { log, analytics, logger, ids: systemIds, now: Date.now };
  const ingest = startAnalytics({ ...common, lease, announces: !isAlone(config), afresh: true });
  await rebuildAnalytics(ingest, options);
}

const SAY_SO_MS = 15_000;

/** Another process may write the same tables: then it has to be stopped, or all of them. */
async function holdLease(scope: Scope, options: Refill): Promise<Lease> {
  const { screen, signal } = options;
  const context = { now: Date.now, ids: systemIds };
  const lease = openLease(scope, { ...options, context }, 'analytics', () => true);
  const told = setTimeout(() => {
    screen.write('analytics: another process writes ClickHouse; stop those with the role analytics, this one waits\n');
  }, SAY_SO_MS);
  await unlessStopped(signal, untilHeld(lease, signal)).finally(() => clearTimeout(told));
  return lease;
}
