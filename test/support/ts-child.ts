import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** Lets a plain node import the sources as they are. */
export const TS_LOADER = new URL('./ts-loader.mjs', import.meta.url).href;

export type TsChild = ChildProcessByStdio<null, Readable, Readable>;

/** The command line that runs a script of this project, `.ts` included, in a plain node without a build. */
export function tsCommand(script: URL, args: readonly string[] = []): readonly [string, ...string[]] {
  return [process.execPath, '--import', TS_LOADER, fileURLToPath(script), ...args];
}

/** Starts a script in a child process. Whoever starts it ends it. */
export function startTs(script: URL, args: readonly string[] = []): TsChild {
  const [command, ...rest] = tsCommand(script, args);
  return spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** How a child ends: its exit code or the signal that ended it. To be asked for right after it was started. */
export function exitOf(child: ChildProcess): Promise<readonly [number | null, NodeJS.Signals | null]> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      resolve([code, signal]);
    });
  });
}
