import { describe } from 'vitest';

import type { Started } from '../../src/lifecycle.ts';
import { openEventStoreDb } from '../../src/ports/event-log/eventstoredb.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { serverAt } from '../support/eventstore/address.ts';
import { startEventStore } from '../support/eventstore/server.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { eventLogContract, type LogUnderTest } from './event-log.contract.ts';

const adapters: Readonly<Record<string, () => Promise<Started<LogUnderTest>>>> = {
  lmdb: openLmdb,
  EventStoreDB: openEventStore,
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

async function openEventStore(): Promise<Started<LogUnderTest>> {
  const standIn = await startEventStore();
  const options = { server: serverAt(standIn.value.url) };
  let current = await openEventStoreDb(options);
  return {
    value: {
      log: current.value,
      reopen: async () => {
        await current.stop();
        current = await openEventStoreDb(options);
        return current.value;
      },
    },
    stop: async () => {
      await current.stop();
      await standIn.stop();
    },
  };
}
