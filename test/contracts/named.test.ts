import { randomUUID } from 'node:crypto';
import { afterAll, describe, it } from 'vitest';
import { readConfig, type Config } from '../../src/config.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { openEventStoreDb } from '../../src/ports/event-log/eventstoredb.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { openNamedClickhouse } from '../support/clickhouse-named.ts';
import { openEmptyRabbitMq, topologyFor, withRabbit } from '../support/rabbitmq-broker.ts';
import { analyticsContract } from './analytics.contract.ts';
import { brokerContract } from './broker.contract.ts';
import { eventLogContract, type LogUnderTest } from './event-log.contract.ts';

/*
 * `npm run test:contracts`: the suites against the servers that EVENT_LOG_URL, BROKER_URL and ANALYTICS_URL name. They may be
 * shared: streams, queues and tables have names that nobody else has. Nothing of it runs in `npm test`, whatever the
 * environment says, because what is written to an event log stays there.
 */

const NAMED = process.env['CONTRACTS'] === 'named';

/** The server of one port, null when none is named. */
function named(variable: string): string | null {
  const url = NAMED ? process.env[variable] : undefined;
  return url === undefined || url === '' ? null : url;
}

function contract(port: string, variable: string, suite: (url: string) => void): void {
  const url = named(variable);
  describe(`the ${port} that ${variable} names`, () => {
    if (url !== null) suite(url);
    else {
      if (NAMED) process.stdout.write(`skipped: ${variable} names no server\n`);
      it.skip(`(${variable} names none, or this is not npm run test:contracts)`, () => undefined);
    }
  });
}

contract('event log', 'EVENT_LOG_URL', (url) => {
  const { eventLog } = readConfig({ EVENT_LOG_URL: url });
  eventLogContract(() => openLog(eventLog));
});

contract('broker', 'BROKER_URL', (url) => {
  const prefix = `heliograph-contract-${randomUUID().slice(0, 8)}.`;
  // Queues of another capacity have other names.
  const capacities = new Set<number | undefined>();
  brokerContract((settings) => {
    capacities.add(settings.capacity);
    return openEmptyRabbitMq({ url, prefix, ...settings });
  }, 25);
  afterAll(() => deleteQueues(url, prefix, [...capacities]), 60_000);
});

contract('ClickHouse', 'ANALYTICS_URL', (url) => {
  const { analytics } = readConfig({ ANALYTICS_URL: url, ANALYTICS_CLUSTER: process.env['ANALYTICS_CLUSTER'] });
  if (analytics.kind !== 'clickhouse') throw new Error('ANALYTICS_URL names no server');
  analyticsContract(openNamedClickhouse(analytics));
});

/** All that a server would be left with. */
async function deleteQueues(url: string, prefix: string, capacities: readonly (number | undefined)[]): Promise<void> {
  await withRabbit(url, async (rabbit) => {
    for (const capacity of capacities) {
      const { queues, session } = topologyFor({ prefix: `${prefix}${String(capacity ?? 'usual')}.` });
      for (const { queue } of [...queues, session]) await rabbit.queueDelete(queue);
    }
  });
}

async function openLog(choice: Config['eventLog']): Promise<Started<LogUnderTest>> {
  const open = (): Promise<Started<EventLog>> =>
    choice.kind === 'lmdb' ? openLmdbEventLog(choice.path) : openEventStoreDb({ server: choice });
  let current = await open();
  const reopen = async (): Promise<EventLog> => {
    await current.stop();
    current = await open();
    return current.value;
  };
  return { value: { log: current.value, reopen }, stop: () => current.stop() };
}
