import type { CommandContext } from './commands/context.ts';
import type { Receipts } from './commands/receipts.ts';
import type { Config } from './config.ts';
import type { Scope } from './lifecycle.ts';
import type { Log } from './log.ts';
import { QUEUES, type Broker } from './ports/broker/broker.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import type { StateStore } from './ports/state/state.ts';
import { startDispatch } from './projections/dispatch.ts';
import { ALWAYS_HELD, startLease, type Lease } from './projections/lease.ts';
import { recordedCounts, startQueueCounts, type QueueCount } from './projections/queue-counts.ts';
import { queueFigures } from './projections/queue-figures.ts';
import { startReceipts } from './projections/receipts.ts';
import { startRoute } from './projections/route.ts';
import type { ProjectionStatus } from './projections/run.ts';
import type { Role } from './roles.ts';
import { STATES } from './states.ts';

export interface SingleWriterOptions {
  readonly config: Pick<Config, 'eventLog' | 'roles'>;
  readonly logger: Log;
  readonly log: EventLog;
  readonly context: Pick<CommandContext, 'now' | 'ids' | 'channels'>;
}

/** Roles of which one process acts at a time. */
export type SingleRole = Extract<Role, 'route' | 'dispatch' | 'analytics'>;

/** With the embedded log nobody else can be there; with a server others may, whatever they are told to do. */
export function isAlone({ eventLog }: Pick<Config, 'eventLog'>): boolean {
  return eventLog.kind === 'lmdb';
}

/** @param holder Names this process's data directory. */
export function leasesOf(
  scope: Scope,
  { config, logger, log, context: { now, ids } }: SingleWriterOptions,
  holder: string,
): (role: SingleRole) => Lease {
  if (isAlone(config)) return () => ALWAYS_HELD;
  return (name) => scope.use(startLease({ log, name, holder, ids, now, logger }));
}

export interface RouteParts extends SingleWriterOptions {
  readonly states: StateStore;
  readonly lease: Lease;
}

export function startRouting(scope: Scope, parts: RouteParts): () => ProjectionStatus {
  const { log, logger, lease, states, context } = parts;
  const { now, ids, channels } = context;
  return scope.use(startRoute({ log, state: states.open(STATES.route), logger, ids, now, channels, lease }));
}

export interface DispatchParts extends RouteParts {
  readonly broker: Broker;
  readonly receipts: Receipts;
}

export interface Dispatching {
  readonly statuses: readonly (() => ProjectionStatus)[];
  /** Null while another process feeds the queues: it alone knows. */
  readonly counts: () => Promise<readonly QueueCount[]> | null;
}

/** Feeds the queues, counts what waits for them, and tries parked receipts again. */
export async function startDispatching(scope: Scope, parts: DispatchParts): Promise<Dispatching> {
  const { config, log, logger, lease, states, broker, receipts, context } = parts;
  const { now, ids } = context;
  const state = states.open(STATES.dispatch);
  const dispatch = scope.use(await startDispatch({ log, state, broker, logger, now, lease }));
  const parked = scope.use(startReceipts({ log, state: states.open(STATES.receipts), logger, now, receipts, lease }));
  const mayAct = (): boolean => dispatch().mayAct;
  const count = (): Promise<readonly QueueCount[]> =>
    Promise.all(QUEUES.map(async (name) => ({ name, ...(await queueFigures({ state, broker, now }, name)) })));
  if (!isAlone(config)) scope.use(startQueueCounts({ log, logger, ids, now, mayAct, count }));
  return { statuses: [dispatch, parked], counts: () => (isAlone(config) || mayAct() ? count() : null) };
}

/** What waits for each queue, from whoever knows; null: nobody has told for a while. */
export function queueCounts(
  { log, context: { now } }: Pick<SingleWriterOptions, 'log' | 'context'>,
  dispatching: Dispatching | null,
): Promise<readonly QueueCount[] | null> {
  return dispatching?.counts() ?? recordedCounts(log, now());
}
