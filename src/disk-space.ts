import { statfs } from 'node:fs/promises';
import type { Started } from './lifecycle.ts';

export interface DiskSpace {
  /** What is left for us on the fullest of the file systems watched, in bytes, as of a moment ago. */
  readonly freeBytes: () => number;
}

/** Looks at the file systems under `paths` now and then every `everyMs`; one that cannot be asked counts as it did before. */
export async function watchDiskSpace(paths: readonly string[], everyMs = 500): Promise<Started<DiskSpace>> {
  let free = await leastFree(paths);
  const timer = setInterval(() => {
    leastFree(paths).then(
      (bytes) => (free = bytes),
      () => undefined,
    );
  }, everyMs);
  return {
    value: { freeBytes: () => free },
    stop: () => {
      clearInterval(timer);
      return Promise.resolve();
    },
  };
}

async function leastFree(paths: readonly string[]): Promise<number> {
  const free = await Promise.all(paths.map(async (path) => statfs(path)));
  return Math.min(...free.map(({ bavail, bsize }) => bavail * bsize));
}
