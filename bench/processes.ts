import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Started } from '../src/lifecycle.ts';
import { TS_LOADER } from '../test/support/ts-child.ts';

/** Seconds of CPU by what they went into, and MiB resident. */
export type Usage = ReadonlyMap<string, { readonly cpu: number; readonly memory: number }>;

/** What a process is, by its command line; the first that fits. Others belong to what started them. */
const PARTS: readonly (readonly [string, RegExp])[] = [
  ['service', /dist\/main\.js/],
  ['ClickHouse', /chdb-engine/],
  ['RabbitMQ', /beam\.smp/],
  ['event store stand-in', /eventstore-server/],
  ['load and stubs', /bench\/load\.ts/],
  ['peer intake', /bench\/peer\.ts intake/],
  ['peer worker', /bench\/peer\.ts worker/],
  ['peer', /bench\/peer\.ts/],
  ['Redis', /redis-server/],
];
/** Linux. */
const TICKS = 100;

interface Entry {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly cpu: number;
  readonly memory: number;
}

/** Of all processes that descend from this one. */
export function usage(): Usage {
  const entries = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => entryOf(Number(name)));
  const byPid = new Map(entries.map((entry) => [entry.pid, entry]));
  const sums = new Map<string, { cpu: number; memory: number }>();
  for (const entry of entries) {
    const part = partOf(entry, byPid);
    if (part === null) continue;
    const sum = sums.get(part) ?? { cpu: 0, memory: 0 };
    sums.set(part, { cpu: sum.cpu + entry.cpu, memory: sum.memory + entry.memory });
  }
  return sums;
}

function partOf(entry: Entry, byPid: ReadonlyMap<number, Entry>): string | null {
  const named: string[] = [];
  let at: Entry | undefined = entry;
  while (at !== undefined && at.pid !== process.pid) {
    const { name } = at;
    named.push(...PARTS.flatMap(([part, pattern]) => (pattern.test(name) ? [part] : [])).slice(0, 1));
    at = byPid.get(at.parent);
  }
  return at === undefined ? null : (named[0] ?? null);
}

function entryOf(pid: number): readonly Entry[] {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    const name = readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').replaceAll('\0', ' ');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const memory = ((fields[21] ?? 0) * 4_096) / 2 ** 20;
    return [{ pid, parent: fields[1] ?? 0, name, cpu: ((fields[11] ?? 0) + (fields[12] ?? 0)) / TICKS, memory }];
  } catch {
    // It has ended meanwhile.
    return [];
  }
}

const ours = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of ours) child.kill('SIGKILL');
});

/** One that ends with us. `stop` asks it to end and waits; one that does not within ten seconds is killed. */
function watched<T extends ChildProcess>(child: T): Started<T> {
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  ours.add(child);
  void ended.then(() => ours.delete(child));
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const killing = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await ended;
    clearTimeout(killing);
  };
  return { value: child, stop };
}

/** A script of this folder in a process of its own, with a channel for messages. */
export function startScript(name: string, ...args: readonly string[]): Started<ChildProcess> {
  const script = fileURLToPath(new URL(name, import.meta.url));
  return watched(
    fork(script, args, { execArgv: ['--import', TS_LOADER], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
  );
}

/** Its first message, or an error when it ends before that. */
export async function firstMessage<T>(child: ChildProcess): Promise<T> {
  const [message] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`${child.spawnfile} ended: ${String(code)}`))),
  ])) as [T];
  return message;
}

/** A program; resolves with the first line of its output that fits, which tells that it is up. */
export async function startProgram(
  [command, ...args]: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  isUp: RegExp,
): Promise<Started<string>> {
  const child = spawn(command, args, {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const { stop } = watched(child);
  child.stdin.on('error', () => undefined);
  try {
    const value = await new Promise<string>((resolve, reject) => {
      let output = '';
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`${command} ended: ${output}`)));
      child.stdout.on('data', (chunk: Buffer) => {
        output = `${output}${chunk.toString()}`.slice(-10_000);
        const found = isUp.exec(output)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    return { value, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
