// What start, test, build and schema have in common: the right Node, installed dependencies, a current build.
// Builtins only, because it runs before anything is installed.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const INSTALL_STAMP = join(ROOT, 'node_modules', '.heliograph-installed');
const BUILD_STAMP = join(ROOT, 'dist', '.heliograph-built');
const PLATFORM = `${process.platform}-${process.arch}`;
/** How long a child may take to end after a signal before it is killed, in milliseconds. */
const CHILD_PATIENCE = 5_000;

/** Makes ready to run what `npm start` runs. Ends the process with a message when that is impossible. */
export async function prepare() {
  ensureNode();
  await ensureInstalled();
  await ensureBuilt();
}

/** Refuses a Node that is older than package.json's `engines` allows. */
export function ensureNode() {
  const wanted = JSON.parse(read('package.json')).engines.node.replace('>=', '');
  const [major, minor = 0] = wanted.split('.').map(Number);
  const [haveMajor, haveMinor] = process.versions.node.split('.').map(Number);
  if (haveMajor > major || (haveMajor === major && haveMinor >= minor)) return;
  fail(`Heliograph needs Node ${wanted} or newer; this is Node ${process.versions.node}.`);
}

/**
 * Runs `npm ci` when node_modules is not what package-lock.json says, with development dependencies whatever NODE_ENV is
 * (the build needs them).
 */
export async function ensureInstalled() {
  const stamp = `${PLATFORM} ${hash(read('package-lock.json'))}`;
  const found = read(INSTALL_STAMP);
  if (found === stamp) return;
  if (!(found === '' || found.startsWith(`${PLATFORM} `)) || !matchesLock()) {
    console.log('Installing dependencies. This happens once and can take a minute …');
    const [command, args] = npm();
    await run(command, [...args, 'ci', '--include=dev', '--no-audit', '--no-fund'], 'Installing the dependencies');
  }
  writeFileSync(INSTALL_STAMP, stamp);
}

/** Compiles src to dist when a source or setting changed since the last build. The old build goes only when the new one is there. */
export async function ensureBuilt() {
  const stamp = hash(...sources().flatMap((path) => [path, read(path)]));
  if (read(BUILD_STAMP) === stamp && existsSync(join(ROOT, 'dist', 'main.js'))) return;
  console.log('Building …');
  const fresh = join(ROOT, `dist.${process.pid}.tmp`);
  process.once('exit', () => rmSync(fresh, { recursive: true, force: true }));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh], 'The build');
  writeFileSync(join(fresh, basename(BUILD_STAMP)), stamp);
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  renameSync(fresh, join(ROOT, 'dist'));
}

/**
 * Runs a child to its end. Its output appears only when it fails, and then this process fails too. SIGTERM and SIGINT end
 * the child with all of its own children, and then this process.
 */
async function run(command, args, what) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const output = [];
  child.stdout.on('data', (chunk) => output.push(chunk));
  child.stderr.on('data', (chunk) => output.push(chunk));
  const stopped = endWithChild(child);
  const code = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', resolve);
  });
  const signal = stopped();
  if (signal) process.exit(signal === 'SIGINT' ? 130 : 143);
  if (code === 0) return;
  process.stderr.write(Buffer.concat(output));
  fail(`${what} failed (${code}).`);
}

/** Passes signals on to the child's process group; the function that it returns ends that and tells which signal came. */
function endWithChild(child) {
  let received;
  const pass = (signal) => {
    received ??= signal;
    kill(child, signal);
    setTimeout(() => kill(child, 'SIGKILL'), CHILD_PATIENCE).unref();
  };
  process.on('SIGTERM', pass).on('SIGINT', pass);
  return () => {
    process.off('SIGTERM', pass).off('SIGINT', pass);
    return received;
  };
}

function kill(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended already.
  }
}

/** The npm that started us, else the one on the PATH. */
function npm() {
  const running = process.env.npm_execpath ?? '';
  return basename(running) === 'npm-cli.js' ? [process.execPath, [running]] : ['npm', []];
}

/** Whether npm has installed every package of the lock at its version; of the optional ones it may have left out some. */
function matchesLock() {
  const installed = read(join(ROOT, 'node_modules', '.package-lock.json'));
  if (installed === '') return false;
  const have = JSON.parse(installed).packages;
  return Object.entries(JSON.parse(read('package-lock.json')).packages).every(
    ([path, entry]) => path === '' || entry.optional || have[path]?.version === entry.version,
  );
}

/** Everything that the build depends on, relative to the root, in a fixed order. */
function sources() {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return [
    ...files.sort(),
    ...['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'].map((name) => join(ROOT, name)),
  ];
}

function read(path) {
  try {
    return readFileSync(path.startsWith(ROOT) ? path : join(ROOT, path), 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return '';
    throw error;
  }
}

function hash(...parts) {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(`${part.length}:`).update(part);
  return sum.digest('hex');
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
