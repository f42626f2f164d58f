/**
 * From a kill -9 until the service is ready again, by how many events lie behind it.
 *
 *   node --import ./test/support/ts-loader.mjs bench/restart.ts <events> [events of the tail] [directory]
 *
 * Fills an embedded log with that many events in a fresh folder (default: in the system's temporary directory), then starts
 * the built service (`npm run build` first) in a process of its own: with nothing but the log; with its state kept; with its
 * state kept and the tail to fold, events that were appended since; with its state lost, a snapshot and the same tail.
 * Ready is when GET /readyz says so. There are no figures meanwhile (ANALYTICS_URL names nobody): they do not stand between
 * a start and its readiness, but filling them for the first time would take the processor from what is measured.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openLmdbEventLog } from '../src/ports/event-log/lmdb.ts';
import { freePort } from '../test/support/free-port.ts';
import { EVENTS_EACH, fill } from './restart-data.ts';

const [events = 1_000_000, tail = 100_000] = process.argv.slice(2, 4).map(Number);
const BYTES_EACH = 950;
const A_SECOND = 12_000;
/** Of Linux, in what it tells of processes. */
const TICKS_A_SECOND = 100;

const folder = await mkdtemp(join(process.argv[4] ?? tmpdir(), 'heliograph-bench-'));
const dataDir = join(folder, 'data');
const snapshots = join(folder, 'snapshots');
const port = await freePort();
const children = new Set<ChildProcess>();
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));

async function append(from: number, count: number): Promise<void> {
  const begun = performance.now();
  const { value: log, stop } = await openLmdbEventLog(join(dataDir, 'log'));
  let told = begun;
  await fill(log, from / EVENTS_EACH, count / EVENTS_EACH, (done) => {
    if (performance.now() - told < 15_000) return;
    told = performance.now();
    console.log(`  ${String(done * EVENTS_EACH)} of ${String(count)} events`);
  });
  const head = Number(await log.head());
  await stop();
  const bytes = (await stat(join(dataDir, 'log', 'data.mdb'))).size;
  console.log(
    `appended ${String(count)} events in ${secondsSince(begun)} s: ${String(head)} in the log, ${mib(bytes)}`,
  );
}

interface Run {
  readonly child: ChildProcess;
  readonly log: () => string;
}

/** Starts the service and prints how long it took to be ready, counted from `begun`. */
async function startService(name: string, begun = performance.now(), settings: object = {}): Promise<Run> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '..', 'dist', 'main.js')], {
    env: {
      PATH: process.env['PATH'],
      PORT: String(port),
      DATA_DIR: dataDir,
      ANALYTICS_URL: 'http://127.0.0.1:9',
      NODE_ENV: 'production',
      ...settings,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.add(child);
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  while (!(await isReady())) {
    if (child.exitCode !== null) throw new Error(log);
    await delay(20);
  }
  const status = await readFile(`/proc/${String(child.pid)}/status`, 'utf8').catch(() => '');
  const resident = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024;
  const taken = `${secondsSince(begun)} s until ready, ${await cpuSeconds(child)} s of CPU, ${mib(resident)} resident`;
  console.log(`${name.padEnd(46)} ${taken}`);
  return { child, log: () => log };
}

async function isReady(): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${String(port)}/readyz`).catch(() => null);
  return answer?.status === 200;
}

/** What it took so far: on a machine that does other things too, that tells more than the clock. */
async function cpuSeconds({ pid }: ChildProcess): Promise<string> {
  const text = await readFile(`/proc/${String(pid)}/stat`, 'utf8').catch(() => '');
  const [user = 0, system = 0] = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return ((user + system) / TICKS_A_SECOND).toFixed(1);
}

/** Answers when it was killed. */
async function kill({ child }: Run): Promise<number> {
  const begun = performance.now();
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  children.delete(child);
  return begun;
}

async function untilSnapshot({ log }: Run): Promise<void> {
  for (;;) {
    const made = /\{.*"made a snapshot"\}/.exec(log())?.[0];
    if (made !== undefined) {
      const { bytes, seconds } = JSON.parse(made) as { readonly bytes: number; readonly seconds: number };
      console.log(`made a snapshot of ${mib(bytes)} in ${String(seconds)} s`);
      return;
    }
    await delay(100);
  }
}

function secondsSince(begun: number): string {
  return ((performance.now() - begun) / 1_000).toFixed(1);
}

function mib(bytes: number): string {
  return `${String(Math.round(bytes / 2 ** 20))} MiB`;
}

try {
  const minutes = String(Math.ceil((2.5 * events) / A_SECOND / 60));
  const gigabytes = String(Math.ceil((events * BYTES_EACH) / 2 ** 30));
  console.log(`about ${minutes} minutes and ${gigabytes} GiB in ${folder}`);
  await mkdir(snapshots, { recursive: true });
  await mkdir(dataDir);
  await append(0, events);
  const killedAt = await kill(await startService('nothing: all folded from the log'));
  const kept = await startService('state kept, killed while idle', killedAt, { SNAPSHOT_DIR: snapshots });
  await untilSnapshot(kept);
  await kill(kept);
  await append(events, tail);
  await kill(await startService(`state kept, a tail of ${String(tail)} events`));
  await rm(join(dataDir, 'state'), { recursive: true });
  const settings = { SNAPSHOT_DIR: snapshots };
  await kill(await startService('state lost, a snapshot, the same tail', performance.now(), settings));
} finally {
  await rm(folder, { recursive: true, force: true });
}
