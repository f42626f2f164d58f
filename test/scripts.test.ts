import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from './support/eventually.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** A project with our scripts, a stand-in for npm and a stand-in for the compiler, each of which notes that it ran. */
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heliograph-scripts-'));
  await cp(join(ROOT, 'scripts'), join(folder, 'scripts'), { recursive: true });
  await put('package.json', '{ "engines": { "node": ">=20.19" } }');
  await put('package-lock.json', '{ "packages": { "": {}, "node_modules/a": { "version": "1.0.0" } } }');
  await put('src/main.ts', '1');
  await put('compiler.cjs', COMPILER);
  await fakeNpm(INSTALLER);
});

const started: ChildProcess[] = [];

afterEach(async () => {
  for (const child of started
    .splice(0)
    .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await exit;
  }
  await rm(folder, { recursive: true, force: true });
});

async function put(file: string, text: string): Promise<void> {
  await mkdir(join(folder, file, '..'), { recursive: true });
  await writeFile(join(folder, file), text);
}

async function fakeNpm(source: string): Promise<void> {
  await put('bin/npm', `#!${process.execPath}\n${source}`);
  await chmod(join(folder, 'bin/npm'), 0o755);
}

/** Installs the stand-in compiler and says with which arguments it was called. */
const INSTALLER = `
const fs = require('node:fs');
fs.appendFileSync('ran', 'npm ' + process.argv.slice(2).join(' ') + '\\n');
fs.mkdirSync('node_modules/typescript/bin', { recursive: true });
fs.copyFileSync('compiler.cjs', 'node_modules/typescript/bin/tsc');
fs.copyFileSync('package-lock.json', 'node_modules/.package-lock.json');
console.log('npm talks');
`;

/** "Compiles" to a main that prints the source. */
const COMPILER = `
const fs = require('node:fs');
fs.appendFileSync('ran', 'tsc\\n');
const text = fs.readFileSync('src/main.ts', 'utf8');
if (text === 'broken') { console.log('src/main.ts(1,1): error TS1: broken'); process.exit(2); }
const target = process.argv[process.argv.indexOf('--outDir') + 1];
fs.mkdirSync(target);
fs.writeFileSync(target + '/main.js', 'console.log("main ' + text + '")');
`;

function begin(): ChildProcess & { readonly text: () => string } {
  const env = { PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`, NODE_ENV: 'production' };
  const child = spawn(process.execPath, ['scripts/start.mjs'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  return Object.assign(child, { text: () => text });
}

async function startScript(): Promise<{
  readonly code: number | null;
  readonly text: string;
  readonly ran: readonly string[];
}> {
  await rm(join(folder, 'ran'), { force: true });
  const child = begin();
  await once(child, 'close');
  const ran = await readFile(join(folder, 'ran'), 'utf8').catch(() => '');
  return { code: child.exitCode, text: child.text(), ran: ran.split('\n').filter((line) => line !== '') };
}

describe('npm start', () => {
  it('installs with development dependencies, builds, runs, and keeps the tools quiet', async () => {
    const { code, text, ran } = await startScript();
    expect(ran).toEqual(['npm ci --include=dev --no-audit --no-fund', 'tsc']);
    expect(text).toMatch(/^Installing .*\nBuilding .*\nmain 1\n$/);
    expect(code).toBe(0);
  });

  it('does at its next run nothing but run', async () => {
    await startScript();
    expect(await startScript()).toEqual({ code: 0, text: 'main 1\n', ran: [] });
  });

  it('builds again when a source changes, and when the build is gone', async () => {
    await startScript();
    await put('src/main.ts', '2');
    expect(await startScript()).toMatchObject({ text: expect.stringContaining('main 2') as string, ran: ['tsc'] });
    await rm(join(folder, 'dist'), { recursive: true });
    expect((await startScript()).ran).toEqual(['tsc']);
  });

  it('leaves nothing of an older build behind', async () => {
    await startScript();
    await put('dist/stale.js', '');
    await put('src/main.ts', '2');
    await startScript();
    await expect(readFile(join(folder, 'dist/stale.js'))).rejects.toThrow(/ENOENT/);
  });

  it('installs again when the lock asks for something else', async () => {
    await startScript();
    await put('package-lock.json', '{ "packages": { "": {}, "node_modules/a": { "version": "2.0.0" } } }');
    expect((await startScript()).ran).toEqual(['npm ci --include=dev --no-audit --no-fund', 'tsc']);
  });

  it('accepts what was installed by hand', async () => {
    await startScript();
    await rm(join(folder, 'node_modules/.heliograph-installed'));
    expect((await startScript()).ran).toEqual([]);
  });

  it('shows what npm said when installing fails, and tries again the next time', async () => {
    await fakeNpm(`console.error('npm error 404'); process.exit(3);`);
    expect(await startScript()).toMatchObject({
      code: 1,
      text: expect.stringMatching(/npm error 404\n.*failed \(3\)/) as string,
    });
    await fakeNpm(INSTALLER);
    expect((await startScript()).code).toBe(0);
  });

  it('shows what the compiler said when the build fails, and keeps neither the build nor its draft', async () => {
    await put('src/main.ts', 'broken');
    expect(await startScript()).toMatchObject({
      code: 1,
      text: expect.stringContaining('error TS1: broken') as string,
    });
    await put('src/main.ts', '3');
    expect(await startScript()).toMatchObject({ code: 0, text: 'Building …\nmain 3\n' });
  });

  it('names the Node that it needs when this one is too old', async () => {
    await put('package.json', '{ "engines": { "node": ">=999.1" } }');
    const { code, text, ran } = await startScript();
    expect({ code, ran }).toEqual({ code: 1, ran: [] });
    expect(text).toBe(`Heliograph needs Node 999.1 or newer; this is Node ${process.versions.node}.\n`);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'ends its children and itself on %s during the installation',
    async (signal) => {
      // npm with a child of its own, both of which would run for a long time.
      await fakeNpm(`
      const child = require('node:child_process').spawn(process.execPath, ['-e', 'setTimeout(() => 0, 600000)']);
      require('node:fs').writeFileSync('pids', process.pid + ' ' + child.pid);
      setTimeout(() => 0, 600000);`);
      const child = begin();
      // The file is there before what is written into it.
      const pids = await eventually(async () => {
        const written = (await readFile(join(folder, 'pids'), 'utf8')).split(' ').map(Number);
        expect(written.map(isAlive)).toEqual([true, true]);
        return written;
      });
      child.kill(signal);
      await once(child, 'close');
      expect(child.exitCode).toBe(signal === 'SIGTERM' ? 143 : 130);
      await eventually(() => {
        expect(pids.map(isAlive)).toEqual([false, false]);
      });
    },
  );
});

/** One that has ended and that nobody has waited for yet (a zombie) is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !readFileSync(`/proc/${String(pid)}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

describe('package-lock.json', () => {
  it('describes the packages of every platform', async () => {
    const { stdout } = await run(process.execPath, [join(ROOT, 'scripts/complete-lock.mjs'), '--check']);
    expect(stdout).toBe('package-lock.json is complete.\n');
  });

  it('names no registry', async () => {
    expect(await readFile(join(ROOT, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved": "http/);
  });
});
