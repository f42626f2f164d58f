import { milliseconds, quote, type Env } from './environment.ts';

export interface SnapshotsConfig {
  /** Folder for copies of the local states; null: none are made or read. */
  readonly snapshotDir: string | null;
  /** From one copy to the next; milliseconds. */
  readonly snapshotEveryMs: number;
}

export function readSnapshots(env: Env): SnapshotsConfig {
  const text = env.get('SNAPSHOT_EVERY') ?? '15m';
  const snapshotEveryMs = milliseconds(text);
  if (Number.isNaN(snapshotEveryMs)) {
    env.refuse('SNAPSHOT_EVERY', `is ${quote(text)}; allowed is a duration from 100ms to 24h, such as 15m`);
  }
  return { snapshotDir: env.get('SNAPSHOT_DIR') ?? null, snapshotEveryMs };
}
