import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataDirInUse, openDataDir, type DataDir } from '../src/data-dir.ts';
import { openScope, type Scope } from '../src/lifecycle.ts';
import { TS_LOADER } from './support/ts-child.ts';

let scope: Scope;
let folder: string;

beforeEach(async () => {
  scope = openScope();
  folder = await mkdtemp(join(tmpdir(), 'heliograph-data-dir-'));
});

afterEach(async () => {
  await scope.stop();
  await rm(folder, { recursive: true, force: true });
});

async function opened(path = folder): Promise<DataDir> {
  return scope.use(await openDataDir(path));
}

describe('a data folder', () => {
  it('is made for its owner alone, with the folders above it', async () => {
    const path = join(folder, 'a', 'b');
    const dir = await opened(path);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect(dir.path).toBe(path);
  });

  it('is refused to a second holder, by whatever name, and says what to do', async () => {
    await opened();
    await symlink(folder, `${folder}-link`);
    try {
      await expect(openDataDir(folder)).rejects.toThrow(DataDirInUse);
      await expect(openDataDir(`${folder}-link`)).rejects.toThrow(/is in use by another Heliograph.*another DATA_DIR/);
    } finally {
      await rm(`${folder}-link`);
    }
  });

  it('is free again once its holder stops, any number of times', async () => {
    for (let round = 0; round < 5; round++) await (await openDataDir(folder)).stop();
    await opened();
    expect((await readdir(folder)).length).toBe(1);
  });

  it('may lie deeper than the path of a socket can be long', async () => {
    const deep = join(folder, ...Array.from({ length: 10 }, () => 'a-rather-long-name-of-a-folder'));
    await opened(deep);
    await expect(openDataDir(deep)).rejects.toThrow(DataDirInUse);
  });

  it('is given to one of many that come at once', async () => {
    for (let round = 0; round < 20; round++) {
      const attempts = await Promise.allSettled(Array.from({ length: 8 }, () => openDataDir(folder)));
      const winners = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []));
      await Promise.all(winners.map((winner) => winner.stop()));
      const reasons = attempts.flatMap((attempt): unknown[] => (attempt.status === 'rejected' ? [attempt.reason] : []));
      expect(reasons.every((reason) => reason instanceof DataDirInUse)).toBe(true);
      expect(winners.length).toBe(1);
    }
  });
});

const HOLDER = fileURLToPath(new URL('./support/data-dir-holder.ts', import.meta.url));

describe('a data folder between processes', () => {
  const children: ChildProcess[] = [];

  afterEach(async () => {
    await Promise.all(children.splice(0).map(killed));
  });

  async function child(): Promise<ChildProcess> {
    const started = fork(HOLDER, { execArgv: ['--import', TS_LOADER] });
    children.push(started);
    await once(started, 'message');
    return started;
  }

  async function tryToHold(holder: ChildProcess): Promise<unknown> {
    const answer = once(holder, 'message');
    holder.send(folder);
    const [message] = (await answer) as unknown[];
    return message;
  }

  async function killed(holder: ChildProcess): Promise<void> {
    if (holder.exitCode !== null || holder.signalCode !== null) return;
    const exit = once(holder, 'exit');
    holder.kill('SIGKILL');
    await exit;
  }

  it('is refused while the holder lives, even if it is stopped, and free at once when it was killed', async () => {
    const holder = await child();
    expect(await tryToHold(holder)).toBe('held');
    await expect(openDataDir(folder)).rejects.toThrow(DataDirInUse);
    holder.kill('SIGSTOP');
    await expect(openDataDir(folder)).rejects.toThrow(DataDirInUse);
    await killed(holder);
    await opened();
  });

  it('is given to one of several, also over the lock of one that was killed', async () => {
    const rivals = await Promise.all(Array.from({ length: 4 }, child));
    while (rivals.length > 0) {
      const answers = await Promise.all(rivals.map(tryToHold));
      expect(answers.toSorted()).toEqual([...rivals.slice(1).map(() => 'DataDirInUse'), 'held']);
      const [winner] = rivals.splice(answers.indexOf('held'), 1);
      if (winner) await killed(winner);
    }
  });
});

describe('a secret', () => {
  it('is made once, readable for its owner alone, and stays', async () => {
    const first = await (await opened()).secret('secret-key', () => 'made-first');
    expect(first).toBe('made-first');
    expect((await stat(join(folder, 'secret-key'))).mode & 0o777).toBe(0o600);
    await scope.stop();
    scope = openScope();
    expect(await (await opened()).secret('secret-key', () => 'made-later')).toBe('made-first');
    expect((await readdir(folder)).filter((name) => name.startsWith('secret-key'))).toEqual(['secret-key']);
  });

  it('is the same for all who ask at once', async () => {
    const dir = await opened();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => dir.secret('s', () => `made-${String(n)}`)));
    expect(new Set(answers).size).toBe(1);
    expect(await readFile(join(folder, 's'), 'utf8')).toBe(`${String(answers[0])}\n`);
  });

  it('may have been put there by hand', async () => {
    await writeFile(join(folder, 's'), 'by-hand\r\n');
    expect(await (await opened()).secret('s', () => 'made')).toBe('by-hand');
  });

  it.each([
    ['nothing', '', /s is empty\. Put back what it held, or remove it/],
    ['an empty line', '\n', /is empty/],
    ['two lines', 'a\nb\n', /is not one line/],
    ['zeros, as after a lost write', '\0\0\0\0', /is not one line/],
    ['other bytes', Buffer.from([0xff, 0xfe, 0x41]), /is not one line/],
  ])('is refused when the file holds %s, and left as it is', async (_what, content, message) => {
    await writeFile(join(folder, 's'), content);
    const dir = await opened();
    await expect(dir.secret('s', () => 'made')).rejects.toThrow(message);
    expect(await readFile(join(folder, 's'))).toEqual(Buffer.from(content));
  });

  it('is not replaced when it cannot be read', async () => {
    await symlink(folder, join(folder, 's'));
    await expect((await opened()).secret('s', () => 'made')).rejects.toThrow(/EISDIR/);
  });
});
