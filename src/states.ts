import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { SnapshotsConfig } from './config-snapshots.ts';
import type { Scope, Started } from './lifecycle.ts';
import type { Log } from './log.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { openBufferedStates } from './ports/state/buffered.ts';
import { openGuardedStates } from './ports/state/guarded.ts';
import type { KeptStore, StateStore } from './ports/state/state.ts';
import { checkpointOf } from './projections/run.ts';
import type { Local } from './projections/rebuilt.ts';
import { isSplit, keepersAmong, type Roles } from './roles.ts';
import { headOnceAt, restoreSnapshot, startSnapshots, takeSnapshot, type SnapshotsOptions } from './snapshots.ts';
import type { SnapshotPlace } from './snapshot-files.ts';

/** Named anew whenever its shape changes: what an older version kept is not read, but folded again from the log. */
export const STATES: Readonly<Record<Local, string>> = {
  route: 'route-2',
  dispatch: 'dispatch-2',
  receipts: 'receipts',
};

/** Where and how the states of this process are kept. */
export interface Keeping {
  readonly dataDir: string;
  readonly log: Pick<EventLog, 'id' | 'head'>;
  readonly logger: Log;
  readonly freeBytes: () => number;
  /** Null: there are none. */
  readonly snapshots: SnapshotPlace | null;
}

export interface StatesOptions extends Keeping {
  readonly open: (path: string) => Promise<Started<KeptStore>>;
  readonly behindMs?: number;
}

/** Processes that keep the same states share their snapshots. */
export function keepingOf(
  { snapshotDir, roles: all }: SnapshotsConfig & { readonly roles: Roles },
  keeping: Omit<Keeping, 'snapshots'>,
): Keeping {
  const roles = isSplit(all) ? keepersAmong(all).join('+') : 'all';
  const snapshots = snapshotDir === null ? null : { dir: resolve(snapshotDir), logId: keeping.log.id, roles };
  return { ...keeping, snapshots };
}

/** The local states of this log lie here. */
function statesPath({ dataDir, log }: Keeping): string {
  return join(dataDir, 'state', log.id);
}

/** The states of the projections: those that are kept here, else those of a snapshot, else empty ones. */
export async function openStates(scope: Scope, options: StatesOptions): Promise<StateStore> {
  const path = statesPath(options);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await restoreSnapshot({ ...options, path, place: options.snapshots });
  const kept = openGuardedStates(scope.use(await options.open(path)), options.freeBytes);
  const store = scope.use(openBufferedStates(kept, options));
  await removeFormer(store, options.logger);
  await startOverBeyondEnd(store, options);
  return store;
}

/** Makes snapshots from now on, where there is a folder for them. */
export function keepSnapshots(
  options: Keeping & Pick<SnapshotsOptions, 'store' | 'isLive' | 'everyMs' | 'now'>,
): Started<void> {
  const { snapshots: place } = options;
  if (place === null) return { value: undefined, stop: () => Promise.resolve() };
  return startSnapshots({ ...options, place, path: statesPath(options) });
}

/** One snapshot now, where there is a folder for them. */
export async function makeSnapshot(
  options: Keeping & Pick<SnapshotsOptions, 'store' | 'now'>,
  signal: AbortSignal,
): Promise<void> {
  const { snapshots: place } = options;
  if (place !== null) await takeSnapshot({ ...options, place, path: statesPath(options) }, signal);
}

/** Nobody goes back to them: an older version that does folds again, as this one did. */
async function removeFormer(store: StateStore, logger: Log): Promise<void> {
  const known = Object.values(STATES);
  for (const name of store.names().filter((each) => !known.includes(each))) {
    logger.info({ state: name }, 'removed a local state that this version has no use for');
    await store.remove(name);
  }
}

/** A log that was put back from a copy has lost events that a state has seen. What else may be in its place nobody knows. */
async function startOverBeyondEnd(store: StateStore, options: StatesOptions): Promise<void> {
  for (const name of store.names()) {
    const state = store.open(name);
    const checkpoint = checkpointOf(state);
    const head = await headOnceAt(checkpoint, options);
    if (checkpoint <= head) continue;
    await state.clear();
    const about = { state: name, checkpoint, head };
    options.logger.error(
      about,
      'a local state is ahead of the event log, which was set back: it is folded from the start',
    );
  }
}
