import { describe } from 'vitest';

import type { Started } from '../../src/lifecycle.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { openEventStoreDb } from '../../src/ports/event-log/eventstoredb.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { withTail } from '../../src/ports/event-log/tail.ts';
import { serverAt } from '../support/eventstore/address.ts';
import { startEventStore } from '../support/eventstore/server.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { eventLogContract, type LogUnderTest } from './event-log.contract.ts';

const adapters: Readonly<Record<string, () => Promise<Started<LogUnderTest>>>> = {
  lmdb: openLmdb,
  EventStoreDB: () => openEventStore((log) => log),
  'EventStoreDB with its tail in memory': () => openEventStore(withTail),
};

for (const [name, open] of Object.entries(adapters)) {
  describe(`the ${name} event log`, () => {
    eventLogContract(open);
  });
}

async function openLmdb(): Promise<Started<LogUnderTest>> {
  const directory = await openTempDir();
  let current = await openLmdbEventLog(directory.value);
  return {
    value: {
      log: current.value,
      reopen: async () => {
        await current.stop();
        current = await openLmdbEventLog(directory.value);
        return current.value;
      },
    },
    stop: async () => {
      await current.stop();
      await directory.stop();
    },
  };
}

async function openEventStore(around: (log: EventLog) => EventLog): Promise<Started<LogUnderTest>> {
  const standIn = await startEventStore();
  const options = { server: serverAt(standIn.value.url) };
  const open = async (): Promise<Started<EventLog>> => {
    const { value, stop } = await openEventStoreDb(options);
    const log = around(value);
    return { value: log, stop: () => log.close().finally(stop) };
  };
  let current = await open();
  return {
    value: {
      log: current.value,
      reopen: async () => {
        await current.stop();
        current = await open();
        return current.value;
      },
    },
    stop: async () => {
      await current.stop();
      await standIn.stop();
    },
  };
}
