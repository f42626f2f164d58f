import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Started } from '../../src/lifecycle.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/**
 * What somebody would get who cloned the work tree as it stands, changes and new files included: every file that git does
 * not ignore, and no dependencies, no build, no data. `stop` removes it.
 */
export async function cloneWorkTree(): Promise<Started<string>> {
  const folder = await mkdtemp(join(tmpdir(), 'heliograph-clone-'));
  for (const file of await filesOfWorkTree()) await cp(join(ROOT, file), join(folder, file));
  return { value: folder, stop: () => rm(folder, { recursive: true, force: true }) };
}

async function filesOfWorkTree(): Promise<readonly string[]> {
  const files = (await filesByGit()) ?? (await filesByHand());
  const present = await Promise.all(files.map((file) => isFile(join(ROOT, file))));
  return files.filter((_, index) => present[index]);
}

/** Null when this is no git checkout. */
async function filesByGit(): Promise<readonly string[] | null> {
  try {
    const args = ['-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--full-name', '.'];
    const { stdout } = await run('git', args, { maxBuffer: 2 ** 26 });
    return stdout.split('\0').filter((file) => file !== '');
  } catch {
    return null;
  }
}

const NOT_SOURCES = /^(node_modules|dist|dist\..*\.tmp|data|coverage|\.git)(\/|$)/;

async function filesByHand(): Promise<readonly string[]> {
  const top = (await readdir(ROOT)).filter((name) => !NOT_SOURCES.test(name));
  const below = await Promise.all(
    top.map(async (name) => {
      if (await isFile(join(ROOT, name))) return [name];
      const entries = await readdir(join(ROOT, name), { recursive: true, withFileTypes: true });
      return entries.map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
    }),
  );
  return below.flat();
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() ?? false;
}
