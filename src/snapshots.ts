import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Started } from './lifecycle.ts';
import { openOutage, type Log, type Outage } from './log.ts';
import type { EventLog, Position } from './ports/event-log/event-log.ts';
import { copyDurably, syncFolder } from './ports/state/durable-copy.ts';
import { STORE_FILE, type StateStore } from './ports/state/state.ts';
import { CHECKPOINT } from './projections/run.ts';
import { sizeOf } from './disk-space.ts';
import {
  furthestOf,
  listSnapshots,
  readSnapshot,
  removeOldSnapshots,
  unlessMissing,
  writeSnapshot,
  type Snapshot,
  type SnapshotPlace,
} from './snapshot-files.ts';

export interface RestoreOptions {
  /** Where the states are to be. */
  readonly path: string;
  readonly place: SnapshotPlace | null;
  readonly log: Pick<EventLog, 'head'>;
  readonly logger: Log;
  /** How long a log may take to get to where it was once: a server of a cluster may be behind another; milliseconds. */
  readonly behindMs?: number;
}

const BEHIND_MS = 5_000;
const BEHIND_LOOK_MS = 250;

/** Where the log ends: as soon as that is at the checkpoint or behind it, or when the log has had its time. */
export async function headOnceAt(
  checkpoint: Position,
  { log, behindMs = BEHIND_MS }: Pick<RestoreOptions, 'log' | 'behindMs'>,
): Promise<Position> {
  const until = performance.now() + behindMs;
  for (;;) {
    const head = await log.head();
    if (checkpoint <= head || performance.now() >= until) return head;
    await delay(BEHIND_LOOK_MS);
  }
}

/** Where there are no states here, puts those of the newest snapshot that is whole and of the log as it is now. */
export async function restoreSnapshot(options: RestoreOptions): Promise<void> {
  const { path, place, logger } = options;
  const draft = `${path}.restoring`;
  await rm(draft, { recursive: true, force: true });
  if (place === null || !(await isVacant(path))) return;
  const names = await listSnapshots(place).catch((err: unknown) => {
    logger.error({ err }, 'SNAPSHOT_DIR cannot be read: the local states are folded from the start of the log');
    return null;
  });
  if (names === null || names.length === 0) return;
  for (const name of names) {
    try {
      await restore({ ...options, draft }, await readSnapshot(place, name));
      return;
    } catch (err) {
      await rm(draft, { recursive: true, force: true });
      logger.error({ snapshot: name, err }, 'a snapshot cannot be used; trying the one before it');
    }
  }
  logger.warn({ snapshots: names.length }, 'no snapshot to begin from: the local states are folded from the log');
}

async function isVacant(path: string): Promise<boolean> {
  const found = await readdir(path).catch(unlessMissing);
  return found === null || found.length === 0;
}

interface Restoring extends RestoreOptions {
  readonly draft: string;
}

/** A crash on the way leaves a draft, which the next start removes. */
async function restore(restoring: Restoring, { name, path: from, manifest }: Snapshot): Promise<void> {
  const { path, draft, logger } = restoring;
  const begun = performance.now();
  const furthest = furthestOf(manifest);
  if (furthest > (await headOnceAt(furthest, restoring))) {
    throw new Error('it is ahead of the event log, which was set back since');
  }
  await mkdir(draft, { mode: 0o700 });
  const { bytes, sha256 } = await copyDurably(join(from, STORE_FILE), join(draft, STORE_FILE));
  if (bytes !== manifest.bytes || sha256 !== manifest.sha256) throw new Error('its content is damaged');
  await syncFolder(draft);
  await rmdir(path).catch(unlessMissing);
  await rename(draft, path);
  await syncFolder(dirname(path));
  const takenAt = new Date(manifest.takenAt).toISOString();
  logger.info({ snapshot: name, takenAt, bytes, seconds: secondsSince(begun) }, 'began from a snapshot');
}

export interface TakeOptions {
  readonly store: Pick<StateStore, 'backup'>;
  readonly place: SnapshotPlace;
  /** Of the states; what is beside it is made there first. */
  readonly path: string;
  readonly logger: Log;
  readonly now: () => number;
  readonly freeBytes: () => number;
}

/** What the copy beside the states has to leave free, for the log above all. */
const LEFT_FREE = 256 * 1024 * 1024;

/** @throws when it failed; then nothing of it counts. */
export async function takeSnapshot(options: TakeOptions, signal: AbortSignal): Promise<void> {
  const { store, place, path, logger, now, freeBytes } = options;
  const begun = performance.now();
  const needed = (await sizeOf(path)) + LEFT_FREE;
  if (freeBytes() < needed) throw new Error(`a copy of the states needs ${String(needed)} bytes of free disk`);
  const scratch = `${path}.copy`;
  const { name, manifest } = await writeSnapshot(place, now(), (file) =>
    store.backup({ scratch, file, key: CHECKPOINT }, signal),
  );
  logger.info({ snapshot: name, bytes: manifest.bytes, seconds: secondsSince(begun) }, 'made a snapshot');
  await removeOldSnapshots(place, now());
}

export interface SnapshotsOptions extends TakeOptions {
  readonly everyMs: number;
  /** Before the end of the log was reached a snapshot would be worth little. */
  readonly isLive: () => boolean;
}

const LOOK_MS = 1_000;
const RETRY_MS = 60_000;

/**
 * Makes a snapshot whenever the newest is so old; processes of the same kind that share a folder share the work. Failures are
 * told and harm nothing. A stop does not wait for one under way: what a restart has to fold is bounded without it.
 */
export function startSnapshots(options: SnapshotsOptions): Started<void> {
  const stopping = new AbortController();
  const outage = openOutage(options.logger, {
    failed: 'a snapshot could not be made; trying again',
    well: 'snapshots are made again',
  });
  const run = async ({ signal }: AbortController): Promise<void> => {
    while (!signal.aborted) {
      const pause = await snapshotOrTell(options, outage, signal);
      await delay(pause, undefined, { signal }).catch(() => undefined);
    }
  };
  const ended = run(stopping);
  return {
    value: undefined,
    stop: async () => {
      stopping.abort();
      // A folder whose network hangs lets nothing that reads it end.
      await Promise.race([ended, delay(LOOK_MS, undefined, { ref: false })]);
    },
  };
}

async function snapshotOrTell(options: SnapshotsOptions, outage: Outage, signal: AbortSignal): Promise<number> {
  try {
    const pause = await snapshotIfDue(options, signal);
    outage.over({});
    return pause;
  } catch (err) {
    if (!signal.aborted) outage.met({ err });
    return Math.min(RETRY_MS, options.everyMs);
  }
}

/** Answers when to look again, in milliseconds. */
async function snapshotIfDue(options: SnapshotsOptions, signal: AbortSignal): Promise<number> {
  const { place, now, everyMs, isLive } = options;
  if (!isLive()) return LOOK_MS;
  const left = dueIn((await newest(place))?.manifest.takenAt, now(), everyMs);
  if (left > 0) return left;
  await takeSnapshot(options, signal);
  return everyMs;
}

/** A time that is still to come was told by a clock that went wrong: nobody knows when that was. */
function dueIn(takenAt: number | undefined, now: number, everyMs: number): number {
  return takenAt === undefined || takenAt > now ? 0 : takenAt + everyMs - now;
}

/** Null when there is none that can be read. */
async function newest(place: SnapshotPlace): Promise<Snapshot | null> {
  for (const name of await listSnapshots(place)) {
    const snapshot = await readSnapshot(place, name).catch(() => null);
    if (snapshot) return snapshot;
  }
  return null;
}

function secondsSince(begun: number): number {
  return Math.round((performance.now() - begun) / 100) / 10;
}
