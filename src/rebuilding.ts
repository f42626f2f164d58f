import { clearLocals, foldLocals } from './rebuild-locals.ts';
import type { Screen } from './rebuild-progress.ts';
import type { Config } from './config.ts';
import { openDataDir } from './data-dir.ts';
import { freeSpaceOn } from './disk-space.ts';
import { systemIds } from './ids.ts';
import { start, type Scope, type Started } from './lifecycle.ts';
import type { Log } from './log.ts';
import { openAnalytics } from './ports/analytics/open.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { openGuardedLog } from './ports/event-log/guarded.ts';
import { openEventLog } from './ports/event-log/open.ts';
import { openLmdbState } from './ports/state/lmdb.ts';
import { startAnalytics } from './projections/analytics.ts';
import { LOCAL, type Local } from './projections/rebuilt.ts';
import { unlessStopped } from './projections/signals.ts';
import { rebuildAnalytics } from './rebuild-analytics.ts';
import { keepingOf, openStates } from './states.ts';

export const REBUILDABLE = [...LOCAL, 'analytics'] as const;
export type Rebuildable = (typeof REBUILDABLE)[number];

export interface RebuildOptions {
  readonly config: Config;
  readonly logger: Log;
  readonly names: ReadonlySet<Rebuildable>;
  readonly screen: Screen;
  /** Ends it: what was folded stays, and whoever starts next goes on there. */
  readonly signal: AbortSignal;
  /** Where several processes share a log, only who holds the lease writes ClickHouse. Waits for it; none unless told otherwise. */
  readonly holdLease?: (name: 'analytics', log: EventLog) => Promise<Started<void>>;
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
  const freeBytes = freeSpaceOn(
    config.eventLog.kind === 'lmdb' ? [config.eventLog.path, dataDir.path] : [dataDir.path],
  );
  const log = openGuardedLog(opened, freeBytes);
  const locals = LOCAL.filter((name) => options.names.has(name));
  if (locals.length > 0) await rebuildLocals(scope, { ...options, log, freeBytes, dataDir: dataDir.path }, locals);
  if (options.names.has('analytics')) await refillAnalytics(scope, options, log);
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

async function refillAnalytics(scope: Scope, options: RebuildOptions, log: EventLog): Promise<void> {
  const { config, logger, signal, holdLease } = options;
  if (holdLease) scope.use(await unlessStopped(signal, holdLease('analytics', log)));
  const analytics = scope.use(await openAnalytics(config.analytics, logger));
  const ingest = startAnalytics({ log, analytics, logger, ids: systemIds, now: Date.now, afresh: true });
  await rebuildAnalytics(ingest, options);
}
