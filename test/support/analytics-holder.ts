/** Holds an analytics folder and inserts without end, for tests that kill it. Says the process id of its engine. */
import { randomUUID } from 'node:crypto';
import { openTestAnalytics } from './analytics.ts';

const [folder = ''] = process.argv.slice(2);
const { value: analytics } = await openTestAnalytics(folder);
const id = await analytics.migrate();
process.stdout.write(`${JSON.stringify({ engine: analytics.engine()?.pid, id })}\n`);
for (;;) {
  const rows = Array.from({ length: 20_000 }, () => [randomUUID()]);
  await analytics.insert({ table: 'delivery_events', columns: ['delivery_id'], rows, token: randomUUID() });
}
