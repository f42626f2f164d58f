import type { Config } from '../../config.ts';
import { start, type Started } from '../../lifecycle.ts';
import { openOutage, type Log } from '../../log.ts';
import type { EventLog } from './event-log.ts';
import { LONGEST_APPEND_MS, openEventStoreDb, type EventStoreDbOptions } from './eventstoredb.ts';
import { openLmdbEventLog } from './lmdb.ts';
import { openSupervisedLog, type Supervision } from './supervised.ts';
import { withTail } from './tail.ts';

/** An append to a server may wait behind others first, and is cut off by the adapter: then it is not sent a second time behind the first. */
const SUPERVISION: Readonly<Record<Config['eventLog']['kind'], Supervision>> = {
  lmdb: { timeoutMs: 5_000, attempts: 3 },
  eventstoredb: { timeoutMs: LONGEST_APPEND_MS, attempts: 3, beginMs: 10_000 },
};

/** The event log that the configuration names, with every append under our own time limit. */
export function openEventLog(choice: Config['eventLog'], logger: Log): Promise<Started<EventLog>> {
  return start(async (scope) =>
    openSupervisedLog(scope.use(await openAdapter(choice, logger)), SUPERVISION[choice.kind]),
  );
}

async function openAdapter(choice: Config['eventLog'], logger: Log): Promise<Started<EventLog>> {
  if (choice.kind === 'lmdb') return openLmdbEventLog(choice.path);
  try {
    return tailed(await openEventStoreDb({ server: choice, ...reportingTo(logger) }));
  } catch (error) {
    throw new Error(`EVENT_LOG_URL: ${reasonOf(error)}`, { cause: error });
  }
}

function tailed({ value, stop }: Started<EventLog>): Started<EventLog> {
  const log = withTail(value);
  return { value: log, stop: () => log.close().finally(stop) };
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
