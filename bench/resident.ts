import { readFile } from 'node:fs/promises';
import type { ChdbAnalytics } from '../src/ports/analytics/chdb.ts';

/** What the engine's process holds in memory now, for people. */
export async function residentMiB(analytics: ChdbAnalytics): Promise<string> {
  const pid = analytics.engine()?.pid ?? 0;
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => '');
  return `${String(Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024))} MiB`;
}
