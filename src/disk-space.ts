import type { Config } from './config.ts';
import { statfsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What is asked again within this time gets the same answer; milliseconds. */
const FRESH_MS = 10;

/**
 * Answers what is left for us on the fullest of the file systems under `paths`, in bytes. It asks them itself, which takes
 * microseconds, because whoever fills a disk can do so between two ticks of any timer.
 */
export function freeSpaceOn(paths: readonly string[]): () => number {
  let free = 0;
  let askedAt = -Infinity;
  return () => {
    if (performance.now() - askedAt < FRESH_MS) return free;
    free = Math.min(...paths.map(freeBytes));
    askedAt = performance.now();
    return free;
  };
}

function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** Of the files in a folder, without those in folders of its own; bytes. */
export async function sizeOf(folder: string): Promise<number> {
  const files = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async ({ name }) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Bytes left where a service keeps what it has: in its data directory, and where an embedded log lies. */
export function freeSpaceOf({ eventLog }: Pick<Config, 'eventLog'>, dataDir: string): () => number {
  return freeSpaceOn(eventLog.kind === 'lmdb' ? [eventLog.path, dataDir] : [dataDir]);
}
