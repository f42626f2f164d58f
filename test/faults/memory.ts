import { readFile } from 'node:fs/promises';

/** Memory of a process at one time. */
export interface Sample {
  /** Since the first sample; seconds. */
  readonly at: number;
  /** Resident, without what it maps of files: pages of the embedded log come and go as the system likes. MiB. */
  readonly mib: number;
}

/** Null when it is gone. Linux only. */
export async function residentMib(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => null);
  const kilobytes = status === null ? undefined : /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) / 1024;
}

/** Of the straight line with the least squares; MiB an hour. */
export function growthAnHour(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const [at, mib] = [mean((sample) => sample.at), mean((sample) => sample.mib)];
  const covariance = mean((sample) => (sample.at - at) * (sample.mib - mib));
  const variance = mean((sample) => (sample.at - at) ** 2);
  return variance === 0 ? 0 : (covariance / variance) * 3_600;
}

/** At most so many of them, evenly, for people. */
export function series(samples: readonly Sample[], most: number): string {
  const step = Math.max(1, Math.ceil(samples.length / most));
  return samples
    .filter((_, index) => index % step === 0)
    .map(({ mib }) => mib.toFixed(0))
    .join(' ');
}
