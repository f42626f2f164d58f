/**
 * What the parts that the service stands on do at most, one after the other and nothing beside them. For `run.ts`, in a
 * process of its own: `limits.ts <milliseconds each> [URL of a RabbitMQ]`.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open, type Database } from 'lmdb';
import { Connection } from 'rabbitmq-client';
import { openScope, type Scope } from '../src/lifecycle.ts';
import { QUEUES } from '../src/ports/broker/broker.ts';
import { openBroker } from '../src/ports/broker/open.ts';
import { openLmdbEventLog } from '../src/ports/event-log/lmdb.ts';
import { COLUMNS, TABLE } from '../src/projections/analytics-rows.ts';
import { openTestAnalytics } from '../test/support/analytics.ts';
import { SILENT } from '../test/support/pipeline.ts';
import { batchesOf } from './funnels-data.ts';

/** A name and how many a second. */
export type Limit = readonly [name: string, perSecond: number];

const [eachMs = 3_000] = process.argv.slice(2, 3).map(Number);
const rabbitUrl = process.argv[3];
/** Events together in a commit, jobs together before their confirms: what the service has under load. */
const TOGETHER = 256;
/** As large as an event of ours. */
const RECORD = Buffer.alloc(900, 7);

/** How many of `work` a second, of which each call does `count`. */
async function rateOf(count: number, work: () => Promise<unknown>): Promise<number> {
  await work();
  const from = performance.now();
  let done = 0;
  while (performance.now() - from < eachMs) {
    await work();
    done += count;
  }
  return done / ((performance.now() - from) / 1_000);
}

function all<T>(count: number, one: (index: number) => Promise<T>): Promise<readonly T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => one(index)));
}

function folder(name: string): Promise<string> {
  return mkdtemp(join(tmpdir(), `${name}-`));
}

/** The package with the options of our log, without anything of ours. */
async function lmdb(): Promise<readonly Limit[]> {
  const root = open<Buffer, number>({ path: await folder('lmdb'), overlappingSync: false, eventTurnBatching: false });
  const events: Database<Buffer, number> = root.openDB({ name: 'events', encoding: 'binary' });
  let next = 0;
  const put = (): Promise<boolean> => events.put((next += 1), RECORD);
  const together = await rateOf(TOGETHER, () => all(TOGETHER, put));
  const single = await rateOf(1, put);
  await root.close();
  return [
    [`LMDB: durable puts of 900 bytes, ${String(TOGETHER)} together`, together],
    ['LMDB: durable puts, one after the other', single],
  ];
}

async function eventLog(scope: Scope): Promise<readonly Limit[]> {
  const log = scope.use(await openLmdbEventLog(await folder('log')));
  const append = async (): Promise<void> => {
    const id = randomUUID();
    const metadata = {
      schemaVersion: 1,
      tenant: 'acme',
      occurredAt: '2026-01-01T00:00:00.000Z',
      correlationId: id,
      causationId: id,
    };
    await log.append(`notification-${id}`, [{ id, type: 'Any', data: { filler: 'x'.repeat(500) }, metadata }], 0);
  };
  return [
    [
      `our embedded log: appends of one event, ${String(TOGETHER)} at once`,
      await rateOf(TOGETHER, () => all(TOGETHER, append)),
    ],
  ];
}

/** The client without anything of ours, and the same through ours. */
async function rabbit(scope: Scope, url: string): Promise<readonly Limit[]> {
  const connection = new Connection(url);
  const channel = await connection.acquire();
  await channel.confirmSelect();
  const queue = 'limits';
  await channel.queueDeclare({ queue, durable: true, arguments: { 'x-queue-type': 'quorum' } });
  const job = jobOf();
  const bare = await rateOf(TOGETHER, () =>
    all(TOGETHER, () => channel.basicPublish({ routingKey: queue, durable: true, mandatory: true }, job)),
  );
  await channel.queueDelete({ queue });
  // The connection would wait for it for ever.
  await channel.close();
  await connection.close();
  const broker = scope.use(await openBroker({ kind: 'amqp', url, prefix: 'limits.' }, SILENT));
  let next = 0;
  // All queues take turns, so that none is full before it is over.
  const publish = (): Promise<void> => broker.publish(QUEUES[(next += 1) % QUEUES.length] ?? 'sms.bulk', jobOf());
  const ours = await rateOf(TOGETHER, () => all(TOGETHER, publish));
  const confirmed = `RabbitMQ: confirmed publishes to quorum queues, ${String(TOGETHER)} at once`;
  return [
    [confirmed, bare],
    [`${confirmed}, by our adapter`, ours],
  ];
}

function jobOf(): Parameters<Awaited<ReturnType<typeof openBroker>>['value']['publish']>[1] {
  return {
    tenant: 'acme',
    notificationId: randomUUID(),
    deliveryId: randomUUID(),
    attempt: 1,
    due: Date.now(),
    expires: null,
  };
}

async function clickhouse(scope: Scope): Promise<readonly Limit[]> {
  const analytics = scope.use(await openTestAnalytics(await folder('analytics')));
  await analytics.migrate();
  // Made before: making them is no part of it.
  const batches = [...batchesOf(60_000, 1)];
  let next = 0;
  const rows = batches[0]?.length ?? 0;
  const insert = (): Promise<void> => {
    const batch = batches[next % batches.length] ?? [];
    next += 1;
    return analytics.insert({ table: TABLE, columns: COLUMNS, rows: batch, token: `limit-${String(next)}` });
  };
  return [[`embedded ClickHouse: rows inserted, ${String(rows)} a batch, with all views`, await rateOf(rows, insert)]];
}

const scope = openScope();
const found: Limit[] = [];
try {
  found.push(...(await lmdb()), ...(await eventLog(scope)));
  if (rabbitUrl !== undefined) found.push(...(await rabbit(scope, rabbitUrl)));
  found.push(...(await clickhouse(scope)));
} finally {
  await scope.stop();
}
process.send?.(found);
process.disconnect();
