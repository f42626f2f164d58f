import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { START, type Position } from './ports/event-log/event-log.ts';
import { syncFolder, writeDurably } from './ports/state/durable-copy.ts';
import { STORE_FILE, type Backup } from './ports/state/state.ts';

/*
 *   <SNAPSHOT_DIR>/<log id>/<roles>/<time>-<random>/data.mdb, manifest.json
 *                                  /half-<time>-<random>/  while it is being written
 */

/** Where the snapshots of one kind of process lie. */
export interface SnapshotPlace {
  /** SNAPSHOT_DIR. It is not made: it may be a network folder that is not mounted. */
  readonly dir: string;
  readonly logId: string;
  /** Of the processes that share the snapshots: part of a path. */
  readonly roles: string;
}

export interface Snapshot {
  readonly name: string;
  readonly path: string;
  readonly manifest: Manifest;
}

export interface Manifest {
  readonly format: 1;
  readonly logId: string;
  /** Milliseconds since the epoch. */
  readonly takenAt: number;
  readonly bytes: number;
  readonly sha256: string;
  /** Up to where each state is folded; null where nothing is. */
  readonly checkpoints: Readonly<Record<string, Position | null>>;
}

const NAME = /^\d{8}T\d{9}Z-[\da-f]{8}$/;
const HALF = 'half-';
const MANIFEST = 'manifest.json';
const KEPT = 2;
/** A half one that nobody has written to for so long is nobody's; milliseconds. */
const ABANDONED_MS = 3_600_000;

export function folderOf({ dir, logId, roles }: SnapshotPlace): string {
  return join(dir, logId, roles);
}

/** Newest first; none where there is no folder for them. @throws when `dir` cannot be read or is not there. */
export async function listSnapshots(place: SnapshotPlace): Promise<readonly string[]> {
  await stat(place.dir);
  const names = await readdir(folderOf(place)).catch(unlessMissing);
  return (names ?? []).filter((name) => NAME.test(name)).toSorted((a, b) => (a < b ? 1 : -1));
}

/** @throws when it is not whole. */
export async function readSnapshot(place: SnapshotPlace, name: string): Promise<Snapshot> {
  const path = join(folderOf(place), name);
  const manifest: unknown = JSON.parse(await readFile(join(path, MANIFEST), 'utf8'));
  if (!isManifest(manifest)) throw new Error(`${join(path, MANIFEST)} is not of a form that this version knows`);
  if (manifest.logId !== place.logId) throw new Error(`${path} was made from another log`);
  return { name, path, manifest };
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== 'object' || value === null) return false;
  const { format, logId, takenAt, bytes, sha256, checkpoints } = value as Partial<Record<keyof Manifest, unknown>>;
  const isPlain = format === 1 && typeof logId === 'string' && Number.isFinite(takenAt) && Number.isFinite(bytes);
  if (!isPlain || typeof sha256 !== 'string' || typeof checkpoints !== 'object' || checkpoints === null) return false;
  return Object.values(checkpoints).every((each) => each === null || typeof each === 'string');
}

/** The checkpoint of the state that is folded furthest. */
export function furthestOf({ checkpoints }: Manifest): Position {
  return Object.values(checkpoints).reduce<Position>(
    (most, each) => (each !== null && each > most ? each : most),
    START,
  );
}

/** Under a name by which nobody takes it for a snapshot until it is whole and on the disk. */
export async function writeSnapshot(
  place: SnapshotPlace,
  takenAt: number,
  copy: (file: string) => Promise<Backup>,
): Promise<Snapshot> {
  await makeFolder(place);
  const folder = folderOf(place);
  const stamp = new Date(takenAt).toISOString().replace(/[-:.]/g, '');
  const name = `${stamp}-${randomBytes(4).toString('hex')}`;
  const half = join(folder, `${HALF}${name}`);
  await mkdir(half, { mode: 0o700 });
  try {
    return await fill({ place, name, half, takenAt }, copy);
  } catch (error) {
    await rm(half, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
}

interface Half {
  readonly place: SnapshotPlace;
  readonly name: string;
  readonly half: string;
  readonly takenAt: number;
}

async function fill({ place, name, half, takenAt }: Half, copy: (file: string) => Promise<Backup>): Promise<Snapshot> {
  const folder = folderOf(place);
  const { bytes, sha256, values } = await copy(join(half, STORE_FILE));
  const checkpoints = values as Manifest['checkpoints'];
  const manifest: Manifest = { format: 1, logId: place.logId, takenAt, bytes, sha256, checkpoints };
  await writeDurably(join(half, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  await syncFolder(half);
  await rename(half, join(folder, name));
  await syncFolder(folder);
  return { name, path: join(folder, name), manifest };
}

async function makeFolder(place: SnapshotPlace): Promise<void> {
  await stat(place.dir);
  const folder = folderOf(place);
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) === undefined) return;
  await syncFolder(join(place.dir, place.logId));
  await syncFolder(place.dir);
}

/** Leaves the newest ones, and what may still become one. */
export async function removeOldSnapshots(place: SnapshotPlace, now: number): Promise<void> {
  for (const name of (await listSnapshots(place)).slice(KEPT)) await remove(place, name);
  const names = (await readdir(folderOf(place))).filter((name) => name.startsWith(HALF));
  for (const name of names) {
    const path = join(folderOf(place), name);
    // Another process of the same kind may be at it.
    const touched = await Promise.all([path, join(path, STORE_FILE)].map(touchedAt));
    if (now - Math.max(...touched) > ABANDONED_MS) await remove(place, name);
  }
}

async function touchedAt(path: string): Promise<number> {
  const found = await stat(path).catch(unlessMissing);
  return found?.mtimeMs ?? 0;
}

/** All of them, of whichever processes, in which one of these states is. Answers how many there were. */
export async function removeSnapshotsOf(
  { dir, logId }: Omit<SnapshotPlace, 'roles'>,
  states: readonly string[],
): Promise<number> {
  await stat(dir);
  let removed = 0;
  for (const roles of (await readdir(join(dir, logId)).catch(unlessMissing)) ?? []) {
    const place = { dir, logId, roles };
    for (const name of await listSnapshots(place)) {
      const snapshot = await readSnapshot(place, name).catch(() => null);
      // Nobody knows what is in one that cannot be read.
      if (snapshot && !states.some((state) => state in snapshot.manifest.checkpoints)) continue;
      await remove(place, name);
      removed += 1;
    }
  }
  return removed;
}

/** Not a snapshot any more before the first file of it goes. */
async function remove(place: SnapshotPlace, name: string): Promise<void> {
  const folder = folderOf(place);
  const gone = name.startsWith(HALF) ? join(folder, name) : join(folder, `${HALF}${name}`);
  if (!name.startsWith(HALF)) await rename(join(folder, name), gone);
  await rm(gone, { recursive: true, force: true });
}

export function unlessMissing(error: unknown): null {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
  throw error;
}
