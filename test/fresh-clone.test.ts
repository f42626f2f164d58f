import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Started } from '../src/lifecycle.ts';
import { cloneWorkTree } from './support/clone.ts';
import { eventually } from './support/eventually.ts';

/** Installing and building on a slow machine and a slow line, in milliseconds. */
const PATIENCE = 600_000;

const run = promisify(execFile);

/** A stranger's environment: a free port, everything else as it comes; nothing of this test run leaks into it. */
const STRANGER: NodeJS.ProcessEnv = {
  ...Object.fromEntries(['PATH', 'HOME', 'LANG', 'TMPDIR'].map((name) => [name, process.env[name]])),
  PORT: '0',
};

describe('a fresh clone', () => {
  let clone: Started<string>;
  const started: ChildProcess[] = [];

  beforeAll(async () => {
    clone = await cloneWorkTree();
  });

  afterAll(async () => {
    for (const { pid } of started) if (pid !== undefined && isGroupAlive(pid)) process.kill(-pid, 'SIGKILL');
    await clone.stop();
  });

  it(
    'installs, builds, starts, sends with the printed command and drains on SIGTERM; the next start has it all; npm test runs',
    async () => {
      const first = await npmStart();
      expect(first.output()).toContain('Installing');
      expect(first.output()).toContain('Building');
      expect((await fetch(`${first.url}/healthz`)).status).toBe(200);
      const answer = JSON.parse((await run('sh', ['-c', first.command])).stdout) as object;
      expect(answer).toEqual({ data: expect.any(Object) as object });
      await stopped(first);

      const second = await npmStart();
      expect(second.output()).not.toMatch(/Installing|Building/);
      expect(second.credentials).toEqual(first.credentials);
      await stopped(second);

      const { stdout } = await run('npm', ['test', '--', 'test/lifecycle.test.ts'], {
        cwd: clone.value,
        env: STRANGER,
      });
      expect(stdout.trimEnd()).toMatch(/\n\d+ passed, 0 failed$/);
    },
    PATIENCE + 60_000,
  );

  interface Running {
    readonly npm: ChildProcess;
    readonly output: () => string;
    readonly url: string;
    readonly credentials: readonly string[];
    /** The printed line to paste. */
    readonly command: string;
  }

  async function npmStart(): Promise<Running> {
    const npm = spawn('npm', ['start'], {
      cwd: clone.value,
      env: STRANGER,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.push(npm);
    let text = '';
    for (const stream of [npm.stdout, npm.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => (text += part));
    const ready = () => {
      if (npm.exitCode !== null) return null;
      const url = /^Heliograph listens on (http:\/\/127\.0\.0\.1:\d+)$/m.exec(text)?.[1];
      const [, appKey, appSecret] = /^ *appKey +(\S+)\n *appSecret +(\S+)$/m.exec(text) ?? [];
      const command = pastable(text);
      if (!url || !appKey || !appSecret || !command) throw new Error(`not all is printed yet:\n${text}`);
      return { npm, output: () => text, url, credentials: [appKey, appSecret], command };
    };
    const running = await eventually(ready, { timeoutMs: PATIENCE });
    if (running === null) throw new Error(`npm start ended by itself:\n${text}`);
    return running;
  }

  async function stopped({ npm, output }: Running): Promise<void> {
    const exit = once(npm, 'exit');
    npm.kill('SIGTERM');
    await exit;
    expect({ code: npm.exitCode, signal: npm.signalCode }, output()).toEqual({ code: 0, signal: null });
    expect(isGroupAlive(npm.pid ?? 0)).toBe(false);
  }
});

/** The curl command in what was printed, continued over lines that end in a backslash; undefined until it is all there. */
function pastable(text: string): string | undefined {
  return /^ *(curl (?:.*\\\n)*.*)\n/m.exec(text)?.[1];
}

/** Whether a process that npm started, or one below, still runs. */
function isGroupAlive(leader: number): boolean {
  try {
    return process.kill(-leader, 0);
  } catch {
    return false;
  }
}
