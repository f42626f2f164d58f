import { fileURLToPath } from 'node:url';
import { openChdb, type ChdbAnalytics, type ChdbOptions, type Engine } from '../../src/ports/analytics/chdb.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Log } from '../../src/log.ts';

/** As built: Node cannot run the sources by itself, and the set-up of the test run sees to it that it is current. */
export const ENGINE_SCRIPT = fileURLToPath(new URL('../../dist/ports/analytics/chdb-engine.js', import.meta.url));

const SILENT: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** The embedded engine in `folder`, not yet migrated. `value.engine()` tells its process. */
export function openTestAnalytics(folder: string, options: Partial<ChdbOptions> = {}): Promise<Started<ChdbAnalytics>> {
  return openChdb({ path: folder, memoryBytes: 2 ** 30, log: SILENT, engine: ENGINE_SCRIPT, ...options });
}

/** @throws while it is down. */
export function engineOf(analytics: ChdbAnalytics): Engine {
  const engine = analytics.engine();
  if (!engine) throw new Error('the engine is down');
  return engine;
}

/** Asks the engine past the port, as anybody could who knows its password. */
export async function askEngine(analytics: ChdbAnalytics, sql: string, path = '/'): Promise<Response> {
  const engine = engineOf(analytics);
  const authorization = `Basic ${Buffer.from(`${engine.username}:${engine.password}`).toString('base64')}`;
  return fetch(`${engine.url}${path}`, { method: 'POST', body: sql, headers: { authorization } });
}

/** Runs a statement past the port. @throws when it is refused. */
export async function runOn(analytics: ChdbAnalytics, sql: string): Promise<void> {
  const response = await askEngine(analytics, sql);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
}
