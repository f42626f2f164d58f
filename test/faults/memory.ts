import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Unit } from './unit.ts';

/** Memory of a process at one time, after a full garbage collection. */
export interface Sample {
  /** Since its start. */
  readonly seconds: number;
  /** What JavaScript and its buffers hold; MiB. */
  readonly heap: number;
  /** All that is in memory but pages of mapped files, which come and go as the system likes; MiB. */
  readonly rss: number;
}

/** Environment of a process that is to be watched. */
export function watched(everyMs: number): Readonly<Record<string, string>> {
  const probe = new URL('heap-probe.mjs', import.meta.url).href;
  return { NODE_OPTIONS: `--import ${probe}`, PROBE_MS: String(everyMs) };
}

interface Line {
  readonly pid: number;
  readonly seconds: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly rss: number;
}

const MIB = 1024 * 1024;

/** What a process told of itself so far; its children tell of themselves in the same file. */
export async function samplesOf({ folder, service }: Pick<Unit, 'folder' | 'service'>): Promise<readonly Sample[]> {
  const lines = (await readFile(join(folder, 'memory.jsonl'), 'utf8')).trimEnd().split('\n');
  return lines
    .map((line) => JSON.parse(line) as Line)
    .filter(({ pid }) => pid === service()?.child.pid)
    .map(({ seconds, heapUsed, external, rss }) => ({ seconds, heap: (heapUsed + external) / MIB, rss: rss / MIB }));
}

/** By how much the straight line with the least squares rises from the first sample to the last; MiB. */
export function growthOf(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const mean = (what: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + what(sample), 0) / samples.length;
  const [middle, level] = [mean(({ seconds }) => seconds), mean(of)];
  const covariance = mean((sample) => (sample.seconds - middle) * (of(sample) - level));
  const variance = mean(({ seconds }) => (seconds - middle) ** 2);
  const [first, last] = [samples[0]?.seconds ?? 0, samples.at(-1)?.seconds ?? 0];
  return variance === 0 ? 0 : (covariance / variance) * (last - first);
}

/** About twenty of them, evenly, for people. */
export function series(samples: readonly Sample[], of: (sample: Sample) => number): string {
  const step = Math.max(1, Math.ceil(samples.length / 20));
  return samples
    .filter((_, index) => index % step === 0)
    .map((sample) => of(sample).toFixed(0))
    .join(' ');
}
