/** The process that makes a copy of a store. Started by `lmdb-backup-process.ts` with a channel to it, and of no use without. */
import { mkdir, rm } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { copyDurably } from './durable-copy.ts';
import { STORE_FILE, type Backup, type BackupOrder } from './state.ts';

/** What the parent asks for, once. */
export interface BackupTask extends Omit<BackupOrder, 'key'> {
  readonly path: string;
  /** As it lies in the tables, in base64. */
  readonly key: string;
}

/** What the child answers, once. */
export type BackupDone = { readonly backup: Backup } | { readonly failed: string };

/** What waits for it is not in a hurry, and what runs beside it is. */
const NICE = 10;
const MAX_STATES = 64;

process.once('disconnect', () => {
  // Without its parent nobody wants it.
  process.kill(process.pid, 'SIGKILL');
});
process.once('message', (task) => {
  void make(task as BackupTask).then(answer, (error: unknown) => {
    answer({ failed: error instanceof Error ? error.message : String(error) });
  });
});

function answer(done: BackupDone): void {
  process.send?.(done, () => {
    process.exit(0);
  });
}

/**
 * First beside the store, then from there to where it is wanted: while the store itself is read its pages are kept, and its
 * writers wait for the first of the writes. A network that hangs may hold up neither.
 */
async function make({ path, scratch, file, key }: BackupTask): Promise<BackupDone> {
  setPriority(NICE);
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { mode: 0o700 });
  try {
    await reading(path, (root) => root.backup(scratch, true));
    const values = await reading(scratch, (root) => valuesOf(root, Buffer.from(key, 'base64')));
    return { backup: { ...(await copyDurably(join(scratch, STORE_FILE), file)), values } };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

type Root = RootDatabase<unknown, string>;

async function reading<T>(path: string, work: (root: Root) => T | Promise<T>): Promise<T> {
  const root = open<unknown, string>({
    path,
    noSubdir: false,
    readOnly: true,
    overlappingSync: false,
    eventTurnBatching: false,
    maxDbs: MAX_STATES,
  });
  try {
    return await work(root);
  } finally {
    await root.close();
  }
}

function valuesOf(root: Root, key: Buffer): Backup['values'] {
  const values = [...root.getKeys()].map((name) => {
    const table = root.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
    const value: unknown = JSON.parse(table.get(key)?.toString() ?? 'null');
    return [name, value] as const;
  });
  return Object.fromEntries(values);
}
