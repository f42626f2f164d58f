import type { Config } from '../../config.ts';
import { start, type Started } from '../../lifecycle.ts';
import { openOutage, type Log } from '../../log.ts';
import type { EventLog } from './event-log.ts';
import { openEventStoreDb, type EventStoreDbOptions } from './eventstoredb.ts';
import { openLmdbEventLog } from './lmdb.ts';
import { openSupervisedLog } from './supervised.ts';

/** Below half the time after which another process may take over a lease. */
const SUPERVISION = { timeoutMs: 5_000, attempts: 3 };

/** The event log that the configuration names, with every append under our own time limit. */
export function openEventLog(choice: Config['eventLog'], logger: Log): Promise<Started<EventLog>> {
  return start(async (scope) => openSupervisedLog(scope.use(await openAdapter(choice, logger)), SUPERVISION));
}

async function openAdapter(choice: Config['eventLog'], logger: Log): Promise<Started<EventLog>> {
  if (choice.kind === 'lmdb') return openLmdbEventLog(choice.path);
  try {
    return await openEventStoreDb({ server: choice, ...reportingTo(logger) });
  } catch (error) {
    throw new Error(`EVENT_LOG_URL: ${reasonOf(error)}`, { cause: error });
  }
}

function reportingTo(logger: Log): Pick<EventStoreDbOptions, 'onTrouble' | 'onWaiting'> {
  const outage = openOutage(logger, {
    failed: 'a subscription to EventStoreDB failed; opening it again',
    isHarmless: true,
  });
  return {
    onTrouble: (err) => outage.met({ err }),
    onWaiting: (error) => logger.warn({ reason: reasonOf(error) }, 'waiting for EventStoreDB (EVENT_LOG_URL)'),
  };
}

/** gRPC ends its message with a note that is empty most of the time. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*Resolution note:\s*$/, '');
}
