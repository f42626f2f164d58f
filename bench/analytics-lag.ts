/**
 * How long after its append an update can be asked for, at a light load and at a heavy one.
 *
 *   node --import ./test/support/ts-loader.mjs bench/analytics-lag.ts [events a second] [seconds]
 *
 * Appends the stories of sent messages to a log in a temporary folder, one event an append, at 20 events a second and then
 * at the rate given (2,000), for 20 seconds each. An update can be asked for once the batch with it is in ClickHouse; the
 * time counts from the moment in which the append was called. Build first (`npm run build`): the engine runs built.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { EventLog, NewEvent, Position } from '../src/ports/event-log/event-log.ts';
import { systemIds } from '../src/ids.ts';
import { openLmdbEventLog } from '../src/ports/event-log/lmdb.ts';
import { startAnalytics, type Ingest } from '../src/projections/analytics.ts';
import { openTestAnalytics } from '../test/support/analytics.ts';
import { residentMiB } from './resident.ts';

const [heavy = 2_000, seconds = 20] = process.argv.slice(2).map(Number);
const SILENT = { debug: () => undefined, info: () => undefined, warn: console.warn, error: console.error };

/** What a message that arrives leaves in the log. */
function story(): readonly NewEvent[] {
  const [notificationId, deliveryId] = [randomUUID(), randomUUID()];
  const about = { deliveryId, attempt: 1, provider: 'smtp', providerMessageId: null, raw: '250 OK' };
  const decision = { deliveryId, channel: 'EMAIL', platform: null, outcome: 'QUEUE', reason: 'DELIVERABLE' };
  const events: readonly (readonly [string, object])[] = [
    ['NotificationRequested', { userId: 'ada' }],
    ['NotificationRouted', { decisions: [decision], policyVersion: 0, expiresAt: null }],
    ['DeliveryAttempted', about],
    ['DeliverySent', about],
    ['DeliveryDelivered', about],
  ];
  const requestedAt = new Date().toISOString();
  return events.map(([type, data]) => ({
    id: randomUUID(),
    type,
    data,
    metadata: {
      ...{ schemaVersion: 1, tenant: 'acme', occurredAt: requestedAt, correlationId: 'c', causationId: 'c' },
      notification: {
        ...{ id: notificationId, userId: 'ada', requestedAt, category: 'news', lane: 'BULK', campaign: 'spring' },
        template: null,
      },
      ...(type.startsWith('Delivery') && { delivery: { id: deliveryId, channel: 'EMAIL', provider: 'smtp' } }),
    },
  }));
}

interface Waiting {
  readonly position: Position;
  readonly since: number;
}

/** Milliseconds from append to answer of each event. */
async function lags(log: EventLog, ingest: Ingest, rate: number): Promise<readonly number[]> {
  const found: number[] = [];
  const waiting: Waiting[] = [];
  let under = 0;
  const settle = (): void => {
    const upTo = ingest.watermark()?.position ?? '';
    const now = performance.now();
    const done = waiting.filter(({ position }) => position <= upTo);
    found.push(...done.map(({ since }) => now - since));
    waiting.splice(0, waiting.length, ...waiting.filter(({ position }) => position > upTo));
  };
  const tell = async (): Promise<void> => {
    under += 1;
    const stream = `notification-${randomUUID()}`;
    for (const [version, event] of story().entries()) {
      const since = performance.now();
      const { position } = await log.append(stream, [event], version);
      waiting.push({ position, since });
    }
    under -= 1;
  };
  const stop = ingest.onCommitted(settle);
  const start = performance.now();
  for (let stories = 0; performance.now() - start < seconds * 1_000; stories += 1) {
    const ahead = start + (stories * 5 * 1_000) / rate - performance.now();
    if (ahead > 1) await delay(ahead);
    void tell();
  }
  while (under > 0 || waiting.length > 0) {
    await delay(20);
    settle();
  }
  stop();
  return found;
}

function at(sorted: readonly number[], share: number): string {
  return `${String(Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0))} ms`;
}

const folder = await mkdtemp(join(tmpdir(), 'heliograph-bench-'));
const log = await openLmdbEventLog(join(folder, 'log'));
const engine = await openTestAnalytics(join(folder, 'analytics'), { log: SILENT });
const ingest = startAnalytics({
  ...{ log: log.value, analytics: engine.value, logger: SILENT, ids: systemIds, now: Date.now },
});
try {
  while (ingest.value.watermark() === null) await delay(10);
  console.log(`engine, idle                                                     ${await residentMiB(engine.value)}`);
  for (const rate of [20, heavy]) {
    const start = performance.now();
    const sorted = (await lags(log.value, ingest.value, rate)).toSorted((a, b) => a - b);
    const reached = Math.round((sorted.length * 1_000) / (performance.now() - start));
    const figures = `p50 ${at(sorted, 0.5)}, p99 ${at(sorted, 0.99)}, longest ${at(sorted, 1)}`;
    console.log(
      `${String(rate)} events a second wanted, ${String(reached)} reached: ${figures}; engine ${await residentMiB(engine.value)}`,
    );
  }
} finally {
  await ingest.stop();
  await engine.stop();
  await log.stop();
  await rm(folder, { recursive: true, force: true });
}
