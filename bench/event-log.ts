/**
 * How fast the embedded event log is on this machine: appends by concurrency and in bulk, and reading it all again.
 *
 *   node --import ./test/support/ts-loader.mjs bench/event-log.ts [directory]
 *
 * Give a directory on the disk that counts (default: the system's temporary directory). Takes about half a minute.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { START, type EventFilter, type EventLog, type NewEvent } from '../src/ports/event-log/event-log.ts';
import { openLmdbEventLog } from '../src/ports/event-log/lmdb.ts';

const SECONDS = 3;

function newEvent(): NewEvent {
  const id = randomUUID();
  return {
    id,
    type: 'DeliveryAttempted',
    data: { delivery: id, attempt: 1, claimUntil: '2026-01-01T00:00:00.000Z', address: 'someone@example.org' },
    metadata: {
      schemaVersion: 1,
      tenant: 'acme',
      occurredAt: '2026-01-01T00:00:00.000Z',
      correlationId: id,
      causationId: id,
      notification: {
        id,
        userId: 'user-1',
        requestedAt: '2026-01-01T00:00:00.000Z',
        category: 'orders',
        lane: 'TRANSACTIONAL',
        campaign: null,
        template: { key: 'order-shipped', version: 3 },
      },
    },
  };
}

async function appendFor(log: EventLog, appenders: number, eventsPerAppend: number): Promise<void> {
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + SECONDS * 1_000;
  const appender = async (): Promise<void> => {
    while (performance.now() < end) {
      const events = Array.from({ length: eventsPerAppend }, newEvent);
      const before = performance.now();
      await log.append(`notification-${randomUUID()}`, events, 0);
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: appenders }, appender));
  const seconds = (performance.now() - start) / 1_000;
  latencies.sort((a, b) => a - b);
  const at = (share: number): string => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(2);
  const name = `${String(appenders)} appender(s), ${String(eventsPerAppend)} event(s) an append`;
  const rate = Math.round(latencies.length / seconds);
  report(
    name,
    `${String(rate)} appends/s`,
    `${String(rate * eventsPerAppend)} events/s`,
    `p50 ${at(0.5)} ms`,
    `p99 ${at(0.99)} ms`,
  );
}

async function readAll(log: EventLog, name: string, filter: EventFilter): Promise<void> {
  const start = performance.now();
  let delivered = 0;
  for await (const batch of log.subscribe(START, filter, new AbortController().signal)) {
    delivered += batch.events.length;
    if (batch.live) break;
  }
  const seconds = (performance.now() - start) / 1_000;
  const examined = Number(await log.head());
  report(
    `subscribe, ${name}`,
    `${String(Math.round(examined / seconds))} examined/s`,
    `${String(delivered)} of ${String(examined)} delivered`,
  );
}

function report(...columns: readonly string[]): void {
  console.log(columns.map((column) => column.padEnd(38)).join(''));
}

const directory = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'heliograph-bench-'));
const { value: log, stop } = await openLmdbEventLog(directory);
try {
  for (const appenders of [1, 64, 512]) await appendFor(log, appenders, 1);
  for (const appenders of [1, 8]) await appendFor(log, appenders, 100);
  await readAll(log, 'everything', {});
  await readAll(log, 'nothing matches', { types: ['NoSuchType'] });
  const { size } = await stat(join(directory, 'data.mdb'));
  report('on disk', `${String(Math.round(size / Number(await log.head())))} bytes an event`);
} finally {
  await stop();
  await rm(directory, { recursive: true });
}
