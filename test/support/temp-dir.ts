import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Started } from '../../src/lifecycle.ts';

/** A fresh directory; `stop` removes it with all that is in it. */
export async function openTempDir(): Promise<Started<string>> {
  const path = await mkdtemp(join(tmpdir(), 'heliograph-'));
  return { value: path, stop: () => rm(path, { recursive: true, force: true }) };
}

/** Runs `work` in a fresh directory, which is gone afterwards. */
export async function withTempDir<T>(work: (path: string) => Promise<T>): Promise<T> {
  const { value: path, stop } = await openTempDir();
  try {
    return await work(path);
  } finally {
    await stop();
  }
}
