import { randomUUID } from 'node:crypto';
import type { ClickhouseServer } from '../../src/clickhouse-url.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import { onCluster } from '../../src/ports/analytics/clickhouse-cluster.ts';
import { openClickhouse } from '../../src/ports/analytics/clickhouse.ts';
import type { OpenAnalytics } from '../contracts/analytics.contract.ts';

/** In a database of its own, which is dropped afterwards; with a cluster, on all of its servers. */
export function openNamedClickhouse(server: ClickhouseServer): OpenAnalytics {
  return async (limits) => {
    const { cluster } = server;
    const database = `heliograph_contract_${randomUUID().replaceAll('-', '')}`;
    const everywhere = cluster === null ? '' : ` ON CLUSTER '${cluster}'`;
    await runOnServer(server, `CREATE DATABASE ${database}${everywhere}`);
    const opened: Started<Analytics>[] = [];
    const connect = (): Analytics => {
      const started = openClickhouse({ ...server, database }, { limits, patienceMs: 20_000, cluster });
      opened.push(started);
      return started.value;
    };
    const run = (sql: string): Promise<void> =>
      runOnServer({ ...server, database }, cluster === null ? sql : onCluster(sql, cluster));
    return {
      value: { analytics: connect(), run, reopen: () => Promise.resolve(connect()) },
      stop: async () => {
        for (const { stop } of opened) await stop();
        await runOnServer(server, `DROP DATABASE ${database}${everywhere} SYNC`);
      },
    };
  };
}

/** Past the port. @throws when it is refused. */
async function runOnServer({ url, username, password, database }: ClickhouseServer, sql: string): Promise<void> {
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const response = await fetch(`${url}/?database=${database}`, {
    method: 'POST',
    body: sql,
    headers: { authorization },
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(answer);
}
