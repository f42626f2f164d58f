/* Asks the ClickHouse at an https address one question and prints the answer, or the kind of the failure. */
import { readConfig } from '../../src/config.ts';
import { AnalyticsError } from '../../src/ports/analytics/analytics.ts';
import { openClickhouse } from '../../src/ports/analytics/clickhouse.ts';

const [, , url = ''] = process.argv;
const { analytics } = readConfig({ ANALYTICS_URL: url });
if (analytics.kind !== 'clickhouse') throw new Error('not a server');
const { value, stop } = openClickhouse(analytics);
try {
  process.stdout.write(JSON.stringify(await value.query('SELECT 1 AS one')));
} catch (error) {
  process.stdout.write(error instanceof AnalyticsError ? error.kind : String(error));
}
await stop();
