// Makes package-lock.json installable on every platform. npm writes the lock on one platform and may leave out the
// binaries of the others; `npm ci` then refuses it there ("Missing: … from lock file"). This adds an entry for each
// optional dependency that the lock names but does not describe, and drops addresses of registries. Run it after every
// change of dependencies: node scripts/complete-lock.mjs (with --check it only tells, and fails if something is to do).

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const LOCK = fileURLToPath(new URL('../package-lock.json', import.meta.url));
const EXACT = /^\d+\.\d+\.\d+(-[\w.-]+)?$/;
const FIELDS = ['version', 'os', 'cpu', 'libc', 'engines', 'license', 'dependencies', 'optionalDependencies'];

/** Where Node, starting at `from`, would look for `name`, nearest first. */
function candidates(from, name) {
  const folders = from.split('node_modules/').slice(1);
  const parents = folders.map((_, depth) =>
    folders
      .slice(0, folders.length - depth)
      .map((f) => `node_modules/${f}`)
      .join(''),
  );
  return [...parents.map((parent) => `${parent.replace(/\/$/, '')}/node_modules/${name}`), `node_modules/${name}`];
}

/** What the registry says of the newest version in `range`; null when it does not have the package. */
function view(name, range) {
  try {
    const args = ['view', `${name}@${range}`, ...FIELDS, 'dist.integrity', '--json'];
    const answer = JSON.parse(execFileSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    return Array.isArray(answer) ? answer.at(-1) : answer;
  } catch {
    return null;
  }
}

/** `@lmdb/lmdb-linux-arm64-musl` → its platform. For packages that the registry in use does not carry. */
function platformOf(name) {
  const match =
    /(android|darwin|freebsd|linux|win32)-(arm64|arm|x64|ia32|ppc64|s390x|riscv64|loong64)(?:-(gnu|musl|msvc|\w+))?$/.exec(
      name,
    );
  if (!match) throw new Error(`${name}: not in the registry, and its name tells no platform`);
  const [, os, cpu, abi] = match;
  const libc = { gnu: ['glibc'], musl: ['musl'] }[abi ?? ''];
  return { os: [os], cpu: [cpu], ...(os === 'linux' && libc ? { libc } : {}) };
}

/** The lock entry, with npm's order of fields. */
function entryFor(name, range, parent) {
  const known = view(name, range);
  if (!known && !EXACT.test(range)) throw new Error(`${name}@${range}: not in the registry`);
  const about = known ?? { version: range, ...platformOf(name) };
  return {
    version: about.version,
    ...(about['dist.integrity'] ? { integrity: about['dist.integrity'] } : {}),
    ...(about.cpu ? { cpu: about.cpu } : {}),
    ...(parent.dev ? { dev: true } : {}),
    ...(about.libc ? { libc: about.libc } : {}),
    ...(about.license ? { license: about.license } : {}),
    optional: true,
    ...(about.os ? { os: about.os } : {}),
    ...(about.dependencies ? { dependencies: about.dependencies } : {}),
    ...(about.optionalDependencies ? { optionalDependencies: about.optionalDependencies } : {}),
    ...(about.engines ? { engines: about.engines } : {}),
  };
}

/** Adds what is missing below the entry at `path`; returns the paths added. */
function completeEntry(packages, path) {
  const entry = packages[path];
  const wanted = { ...(entry.optional ? entry.dependencies : {}), ...entry.optionalDependencies };
  return Object.entries(wanted).flatMap(([name, range]) => {
    if (candidates(path, name).some((candidate) => packages[candidate])) return [];
    packages[`node_modules/${name}`] = entryFor(name, range, entry);
    return [`node_modules/${name}`];
  });
}

function completeAll(packages) {
  const added = [];
  for (const queue = Object.keys(packages); queue.length > 0;) {
    const paths = completeEntry(packages, queue.shift());
    added.push(...paths);
    queue.push(...paths);
  }
  return added;
}

function dropAddresses(packages) {
  const addressed = Object.values(packages).filter((entry) => /^https?:/.test(entry.resolved ?? ''));
  for (const entry of addressed) delete entry.resolved;
  return addressed.length;
}

const before = readFileSync(LOCK, 'utf8');
const lock = JSON.parse(before);
const added = completeAll(lock.packages);
const dropped = dropAddresses(lock.packages);
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')));
const after = `${JSON.stringify(lock, null, 2)}\n`;

for (const path of added) console.log(`added    ${path.replace(/^node_modules\//, '')}@${lock.packages[path].version}`);
if (dropped > 0) console.log(`dropped  ${dropped} registry addresses`);
if (after === before) console.log('package-lock.json is complete.');
else if (process.argv.includes('--check')) {
  console.error('package-lock.json is not complete. Run: node scripts/complete-lock.mjs');
  process.exitCode = 1;
} else writeFileSync(LOCK, after);
