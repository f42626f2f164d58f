import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BackupDone, BackupTask } from './lmdb-backup.ts';
import type { Backup } from './state.ts';

/** The script beside this file. */
export function backupScript(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`./lmdb-backup.${extension}`, import.meta.url));
}

/**
 * A process of its own: LMDB moves its map when it grows, also under the thread that makes a copy of it, and a copy that
 * waits for a disk or a network cannot be called back. Another process sees neither, and can be killed.
 */
export function runBackup(script: string, task: BackupTask, signal: AbortSignal): Promise<Backup> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = fork(script, [], {
      // A Ctrl-C in the terminal is for us.
      detached: true,
      execArgv: script.endsWith('.ts') ? process.execArgv : [],
      serialization: 'json',
      env: { TZ: 'UTC' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let words = '';
    let done: BackupDone | null = null;
    const kill = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill);
    child.stderr?.on('data', (chunk: Buffer) => (words = `${words}${chunk.toString()}`.slice(-2_000)));
    child.on('message', (message) => (done = message as BackupDone));
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      signal.removeEventListener('abort', kill);
      if (done && 'backup' in done) resolve(done.backup);
      else
        reject(new Error(done?.failed ?? `the copying process ended with ${String(code ?? killedBy)} ${words}`.trim()));
    });
    child.send(task, (error) => error && kill());
  });
}
