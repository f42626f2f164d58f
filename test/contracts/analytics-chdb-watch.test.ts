import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Log } from '../../src/log.ts';
import { EngineMissing, type ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import { engineOf, openTestAnalytics } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { withTempDir } from '../support/temp-dir.ts';

function logInto(lines: string[]): Log {
  const note = (fields: object, text: string): void => {
    const why = 'reason' in fields ? [fields.reason] : 'err' in fields ? [fields.err] : [];
    lines.push([text, ...why.map(String)].join(': '));
  };
  return { debug: note, info: note, warn: note, error: note };
}

/** Waits until another engine answers. */
async function untilAnother(analytics: ChdbAnalytics, pid: number): Promise<void> {
  await eventually(() => expect(engineOf(analytics).pid).not.toBe(pid), { timeoutMs: 20_000 });
  await eventually(() => analytics.query('SELECT 1'));
}

describe('a running engine', () => {
  it('goes on when a service manager tells all processes to end, and ends by itself when its parent says so', () =>
    withTempDir(async (folder) => {
      const { value: analytics, stop } = await openTestAnalytics(folder, { stopMs: 600_000 });
      try {
        const { pid } = engineOf(analytics);
        process.kill(pid, 'SIGTERM');
        for (let query = 0; query < 5; query += 1) {
          expect(await analytics.query('SELECT sleep(0.02) AS slept')).toEqual([{ slept: 0 }]);
        }
        expect(engineOf(analytics).pid).toBe(pid);
        expect(existsSync(join(folder, 'status'))).toBe(true);
      } finally {
        await stop();
      }
      // Whoever is killed leaves it behind.
      expect(existsSync(join(folder, 'status'))).toBe(false);
    }));

  it.each(['', 'store'])('whose folder /%s is removed is killed, and begins with nothing', (name) =>
    withTempDir(async (folder) => {
      const first = await openTestAnalytics(folder);
      const id = await first.value.migrate();
      await first.stop();
      const lines: string[] = [];
      const { value: analytics, stop } = await openTestAnalytics(folder, { log: logInto(lines), watchMs: 20 });
      try {
        const { pid } = engineOf(analytics);
        await rm(join(folder, name), { recursive: true });
        await untilAnother(analytics, pid);
        expect(await analytics.migrate()).not.toBe(id);
        const reason = 'its folder was removed or replaced';
        expect(lines).toContain(`the analytics engine is of no use any more; killing it: ${reason}`);
      } finally {
        await stop();
      }
    }),
  );

  it('that hangs as a whole is killed, and another one answers', () =>
    withTempDir(async (folder) => {
      const lines: string[] = [];
      const options = { log: logInto(lines), watchMs: 50, silentMs: 300 };
      const { value: analytics, stop } = await openTestAnalytics(folder, options);
      try {
        const id = await analytics.migrate();
        const { pid } = engineOf(analytics);
        process.kill(pid, 'SIGSTOP');
        await untilAnother(analytics, pid);
        expect(await analytics.migrate()).toBe(id);
        expect(lines).toContain('the analytics engine is of no use any more; killing it: it gives no answer');
      } finally {
        await stop();
      }
    }));
});

describe('the process of an engine', () => {
  it('has none of the options that Node was given for its parent', () =>
    withTempDir(async (folder) => {
      const seen = join(folder, 'options.json');
      const engine = await scriptIn(folder, [
        `writeFileSync(${JSON.stringify(seen)}, JSON.stringify(process.execArgv));`,
        `process.once('message', () => process.send({ kind: 'missing', message: 'none' }));`,
      ]);
      process.execArgv.push('--trace-uncaught');
      try {
        await expect(openTestAnalytics(join(folder, 'data'), { engine })).rejects.toThrow(EngineMissing);
      } finally {
        process.execArgv.pop();
      }
      expect(JSON.parse(await readFile(seen, 'utf8'))).toEqual([]);
    }));

  it('that fails to start again and again is reported once, until it fails of something else', () =>
    withTempDir(async (folder) => {
      const count = JSON.stringify(join(folder, 'count'));
      const engine = await scriptIn(folder, [
        `const count = existsSync(${count}) ? Number(readFileSync(${count})) + 1 : 1;`,
        `writeFileSync(${count}, String(count));`,
        `const message = count < 4 ? 'rotten' : 'mouldy';`,
        `process.once('message', () => process.send({ kind: 'failed', message }));`,
      ]);
      const lines: string[] = [];
      const options = { engine, log: logInto(lines), startMs: 100 };
      const { stop } = await openTestAnalytics(join(folder, 'data'), options);
      try {
        const reports = await eventually(() => {
          const found = lines.filter((line) => line.startsWith('the analytics engine does not start'));
          expect(found.some((line) => line.includes('mouldy'))).toBe(true);
          return found;
        });
        expect(reports).toEqual([expect.stringMatching(/rotten/), expect.stringMatching(/mouldy/)]);
      } finally {
        await stop();
      }
    }));
});

async function scriptIn(folder: string, lines: readonly string[]): Promise<string> {
  const path = join(folder, 'engine.mjs');
  await writeFile(path, ["import { existsSync, readFileSync, writeFileSync } from 'node:fs';", ...lines].join('\n'));
  return path;
}
