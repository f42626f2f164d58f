import { randomUUID } from 'node:crypto';
import { readConfig } from '../../src/config.ts';
import { start, type Started } from '../../src/lifecycle.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { openEventLog } from '../../src/ports/event-log/open.ts';
import { startEventStore } from './eventstore/server.ts';
import { SILENT } from './pipeline.ts';
import { lacksRabbit } from './rabbitmq-server.ts';
import { sharedRabbit } from './rabbitmq-shared.ts';

/** What a service can stand on; `settings` are of its environment. */
export interface Adapters {
  readonly name: string;
  readonly isSkipped: boolean;
  readonly open: () => Promise<Started<{ readonly settings: Readonly<Record<string, string>> }>>;
}

/** Limit of a test that opens them: a RabbitMQ may have to be started first. */
export const PATIENCE_MS = 90_000;

/** For `describe.each`: the embedded ones, and servers, of which EventStoreDB is the stand-in. Queues are nobody else's. */
export function adapters(): readonly Adapters[] {
  return [embedded(), servers()];
}

/** For what takes long: the embedded ones, or the servers when the environment says `ADAPTERS=servers` (`npm run test:servers`). */
export function chosenAdapters(): Adapters {
  return process.env['ADAPTERS'] === 'servers' ? servers() : embedded();
}

/** The event log that a service with these settings would have; the embedded one lies in `folder`. */
export function openLogOf(settings: Readonly<Record<string, string>>, folder: string): Promise<Started<EventLog>> {
  return openEventLog(readConfig({ DATA_DIR: folder, ...settings }).eventLog, SILENT);
}

/** The event log alone, which takes its server along when it ends. */
export function openLogOver({ open }: Adapters, folder: string): Promise<Started<EventLog>> {
  return start(async (scope) => {
    const { settings } = scope.use(await open());
    return scope.use(await openLogOf(settings, folder));
  });
}

function embedded(): Adapters {
  const open: Adapters['open'] = () => Promise.resolve({ value: { settings: {} }, stop: () => Promise.resolve() });
  return { name: 'embedded', isSkipped: false, open };
}

function servers(): Adapters {
  return { name: 'over EventStoreDB and RabbitMQ', isSkipped: lacksRabbit(), open: openServers };
}

async function openServers(): ReturnType<Adapters['open']> {
  const { value: log, stop } = await startEventStore();
  const settings = {
    EVENT_LOG_URL: log.url,
    BROKER_URL: await sharedRabbit(),
    BROKER_PREFIX: `test-${randomUUID().slice(0, 8)}.`,
  };
  return { value: { settings }, stop };
}
