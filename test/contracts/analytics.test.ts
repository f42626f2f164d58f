import { describe } from 'vitest';
import { start } from '../../src/lifecycle.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import type { ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import { openClickhouse } from '../../src/ports/analytics/clickhouse.ts';
import { engineOf, openTestAnalytics, runOn } from '../support/analytics.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { analyticsContract, type OpenAnalytics } from './analytics.contract.ts';

const openEmbedded: OpenAnalytics = (limits) =>
  start(async (scope) => {
    const folder = scope.use(await openTempDir());
    const openEngine = async (): Promise<ChdbAnalytics> =>
      scope.use(await openTestAnalytics(folder, { limits, stopMs: STOP_MS }));
    const analytics = await openEngine();
    return { analytics, run: (sql) => runOn(analytics, sql), reopen: openEngine };
  });

/** The same engine as if it were a server: its address is all that the adapter knows of it. */
const openServer: OpenAnalytics = (limits) =>
  start(async (scope) => {
    const folder = scope.use(await openTempDir());
    const server = scope.use(await openTestAnalytics(folder));
    const connect = (): Analytics => scope.use(openClickhouse(engineOf(server), { limits, patienceMs: STOP_MS }));
    return {
      analytics: connect(),
      run: (sql) => runOn(server, sql),
      reopen: () => Promise.resolve(connect()),
    };
  });

/** Closing gives up on nothing here, however busy the machine is. */
const STOP_MS = 20_000;

const ADAPTERS: readonly (readonly [string, OpenAnalytics])[] = [
  ['chdb', openEmbedded],
  ['clickhouse', openServer],
];

for (const [name, open] of ADAPTERS) {
  describe(`the analytics contract: ${name}`, () => {
    analyticsContract(open);
  });
}
