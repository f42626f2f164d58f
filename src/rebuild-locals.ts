import { openScope } from './lifecycle.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import type { StateStore } from './ports/state/state.ts';
import { refold, type Local } from './projections/rebuilt.ts';
import { unlessStopped } from './projections/signals.ts';
import { openCount, startProgress, type Screen } from './rebuild-progress.ts';
import { removeSnapshotsOf } from './snapshot-files.ts';
import { makeSnapshot, STATES, type Keeping } from './states.ts';

export interface LocalsOptions extends Keeping {
  readonly states: StateStore;
  readonly locals: readonly Local[];
}

/**
 * Snapshots of these states go first, those of other processes too: they would bring back what is to be made again. When
 * they cannot be removed, nothing is.
 */
export async function clearLocals({ states, locals, snapshots, logger }: LocalsOptions): Promise<void> {
  const names = locals.map((name) => STATES[name]);
  if (snapshots !== null) {
    const removed = await removeSnapshotsOf(snapshots, names).catch((cause: unknown) => {
      throw new Error('the snapshots of it in SNAPSHOT_DIR cannot be removed', { cause });
    });
    if (removed > 0) logger.info({ removed }, 'removed snapshots of what is rebuilt');
  }
  for (const name of names) await states.open(name).clear();
}

export interface FoldOptions extends LocalsOptions {
  readonly log: EventLog;
  readonly screen: Screen;
  readonly signal: AbortSignal;
}

/** To the end of the log, side by side, and onto the disk; then a snapshot, where there is a folder for them. */
export async function foldLocals(options: FoldOptions): Promise<void> {
  const { log, logger, states, locals, screen, signal } = options;
  const scope = openScope();
  const counts = locals.map((name) => openCount(name, screen.now));
  const progress = startProgress(screen, () => counts.map(({ line }) => line()).join(' | '));
  const folding = locals.map((name, index) => {
    const state = states.open(STATES[name]);
    return new Promise<void>((resolve) => {
      const folded = counts[index]?.folded ?? (() => undefined);
      scope.use(refold(name, { log, logger, state, folded, live: resolve }));
    });
  });
  let isDone = false;
  try {
    await unlessStopped(signal, Promise.all(folding)).finally(() => scope.stop());
    await states.flush();
    isDone = true;
  } finally {
    progress.end(counts.map(({ line, summary }) => (isDone ? summary() : line())).join('\n'));
  }
  await makeSnapshot({ ...options, store: states, now: Date.now }, signal).catch((err: unknown) => {
    logger.warn({ err }, 'a snapshot of what was rebuilt could not be made; the service will make one');
  });
}
