import type { EventLog } from './event-log.ts';
import { openLmdbEventLog } from './lmdb.ts';
import { openSupervisedLog } from './supervised.ts';
import { start, type Started } from '../../lifecycle.ts';

export interface EventLogChoice {
  readonly kind: 'lmdb';
  readonly path: string;
}

/** Below half the time after which another process may take over a lease. */
const SUPERVISION = { timeoutMs: 5_000, attempts: 3 };

/** The event log that the configuration names, with every append under our own time limit. */
export function openEventLog(choice: EventLogChoice): Promise<Started<EventLog>> {
  return start(async (scope) => openSupervisedLog(scope.use(await openLmdbEventLog(choice.path)), SUPERVISION));
}
