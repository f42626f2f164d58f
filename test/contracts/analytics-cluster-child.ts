/*
 * Runs statements in the embedded engine with a coordinator inside of its process: `analytics-cluster-child.ts <folder>`, statements
 * as a JSON array on standard input. Prints what became of each, null or the engine's complaint, as a JSON array. It knows a
 * cluster of one server, but cannot run statements for it; and its replicas never come up, so that rows cannot be inserted.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Session } from 'chdb';

const [folder = ''] = process.argv.slice(2);
const config = join(folder, 'config.xml');
writeFileSync(
  config,
  `<clickhouse>
    <zookeeper><implementation>testkeeper</implementation></zookeeper>
    <macros><shard>01</shard><replica>r1</replica></macros>
  </clickhouse>`,
);
const session = new Session(join(folder, 'engine'), { connectionArgs: [`--config-file=${config}`] });
const answers: (string | null)[] = [];
for (const sql of JSON.parse(await text(process.stdin)) as string[]) {
  const answer = session.queryAsync(sql, { format: 'TabSeparated' });
  answers.push(
    await answer.then(
      () => null,
      (error: unknown) => String(error),
    ),
  );
}
process.stdout.write(JSON.stringify(answers), () => process.kill(process.pid, 'SIGKILL'));
