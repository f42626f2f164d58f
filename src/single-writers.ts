import type { CommandContext } from './commands/context.ts';
import type { Receipts } from './commands/receipts.ts';
import type { Config } from './config.ts';
import type { DataDir } from './data-dir.ts';
import { systemIds } from './ids.ts';
import type { Scope } from './lifecycle.ts';
import type { Log } from './log.ts';
import type { Sources } from './metrics-gauges.ts';
import type { Analytics } from './ports/analytics/analytics.ts';
import { QUEUES, type Broker } from './ports/broker/broker.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import type { StateStore } from './ports/state/state.ts';
import type { Ingest } from './projections/analytics.ts';
import { startDispatch } from './projections/dispatch.ts';
import { ALWAYS_HELD, startLease, type Lease } from './projections/lease.ts';
import { recordedCounts, startQueueCounts, type QueueCount } from './projections/queue-counts.ts';
import { queueFigures } from './projections/queue-figures.ts';
import { startReceipts } from './projections/receipts.ts';
import { startRoute } from './projections/route.ts';
import type { ProjectionStatus } from './projections/run.ts';
import { startWriter } from './read-models.ts';
import type { Role } from './roles.ts';
import { keepSnapshots, STATES, type Keeping } from './states.ts';
import { tracedPublishing } from './traced.ts';
import type { Tracer } from './traces.ts';

export interface SingleWriterParts {
  readonly config: Pick<Config, 'eventLog' | 'roles' | 'snapshotEveryMs'>;
  readonly logger: Log;
  readonly tracer: Tracer;
  readonly log: EventLog;
  readonly context: CommandContext;
  /** Names this process's data directory to others. */
  readonly holder: string;
  readonly keeping: Keeping;
  /** What route and dispatch keep. */
  readonly states: StateStore | null;
  /** What dispatch feeds. */
  readonly broker: Broker | null;
  readonly analytics: Analytics | null;
  readonly receipts: Receipts;
}

type LeaseParts = Pick<SingleWriterParts, 'logger' | 'log' | 'holder'> & {
  readonly config: Pick<Config, 'eventLog'>;
  readonly context: Pick<CommandContext, 'now' | 'ids'>;
};

/** Names a data directory to other processes, for as long as it is there. */
export function holderIn(dataDir: DataDir): Promise<string> {
  return dataDir.secret('lease-holder', systemIds.random);
}

export interface SingleWriters {
  readonly projections: readonly (() => ProjectionStatus)[];
  /** Null: this process does not feed the queues. */
  readonly dispatching: Dispatching | null;
  /** How far ClickHouse is; null: another process may be the one that writes it. */
  readonly ingest: Ingest | null;
  /** For metrics. */
  readonly figures: Partial<Pick<Sources, 'leases' | 'queues' | 'ingestLagMs'>>;
}

export interface Dispatching {
  readonly statuses: readonly (() => ProjectionStatus)[];
  /** Null while another process feeds the queues: it alone knows. */
  readonly counts: () => Promise<readonly QueueCount[]> | null;
}

/** Starts what of all processes one does at a time, as far as it is among the roles of this one. */
export async function startSingleWriters(scope: Scope, parts: SingleWriterParts): Promise<SingleWriters> {
  const { config, context, analytics } = parts;
  const { roles } = config;
  const leases = new Map<string, Lease>();
  /** Of each role; leases are opened before what they are for, so that they are given back after it. */
  const folding = new Map<SingleRole, readonly (() => ProjectionStatus)[]>();
  const leaseOf = (role: SingleRole): Lease => {
    const lease = openLease(scope, parts, role, () => folding.get(role)?.every((status) => status().live) ?? false);
    leases.set(role, lease);
    return lease;
  };
  const route = roles.has('route') ? startRouting(scope, parts, leaseOf('route')) : null;
  if (route) folding.set('route', [route]);
  const dispatching = roles.has('dispatch') ? await startDispatching(scope, parts, leaseOf('dispatch')) : null;
  if (dispatching) folding.set('dispatch', dispatching.statuses);
  // Whoever begins to write ClickHouse reads the log for that and has nothing folded.
  folding.set('analytics', []);
  const projections = [...(route ? [route] : []), ...(dispatching?.statuses ?? [])];
  snapshot(scope, parts, projections);
  const announces = !isAlone(config);
  const ingest = roles.has('analytics')
    ? startWriter(scope, { ...context, ...parts, analytics, announces, lease: leaseOf('analytics') })
    : null;
  const figures = figuresOf(leases, dispatching, ingest);
  return { projections, dispatching, ingest: announces ? null : ingest, figures };
}

/** What waits for each queue, from whoever knows; null: nobody has told for a while. */
export function queueCounts(
  { log, context: { now } }: Pick<SingleWriterParts, 'log' | 'context'>,
  { dispatching }: Pick<SingleWriters, 'dispatching'>,
): Promise<readonly QueueCount[] | null> {
  return dispatching?.counts() ?? recordedCounts(log, now());
}

/** Roles of which one process acts at a time. */
type SingleRole = Extract<Role, 'route' | 'dispatch' | 'analytics'>;

/** With the embedded log nobody else can be there; with a server others may, whatever this one is told to do. */
export function isAlone({ eventLog }: Pick<Config, 'eventLog'>): boolean {
  return eventLog.kind === 'lmdb';
}

export function openLease(scope: Scope, parts: LeaseParts, name: SingleRole, mayTake: () => boolean): Lease {
  const { config, logger, log, holder, context } = parts;
  const { now, ids } = context;
  return isAlone(config) ? ALWAYS_HELD : scope.use(startLease({ log, name, holder, ids, now, logger, mayTake }));
}

function startRouting(scope: Scope, parts: SingleWriterParts, lease: Lease): () => ProjectionStatus {
  const { log, logger, context } = parts;
  const { now, ids, channels } = context;
  const state = statesOf(parts).open(STATES.route);
  return scope.use(startRoute({ log, state, logger, ids, now, channels, lease }));
}

/** Feeds the queues, counts what waits for them, and tries parked receipts again. */
async function startDispatching(scope: Scope, parts: SingleWriterParts, lease: Lease): Promise<Dispatching> {
  const { config, log, logger, broker, receipts, tracer, context } = parts;
  if (broker === null) throw new Error('dispatch without a broker');
  const { now, ids } = context;
  const [state, parked] = [statesOf(parts).open(STATES.dispatch), statesOf(parts).open(STATES.receipts)];
  const publishing = tracedPublishing(tracer);
  const dispatch = scope.use(await startDispatch({ log, state, broker, logger, now, lease, publishing }));
  const retrying = scope.use(startReceipts({ log, state: parked, logger, now, receipts, lease }));
  const mayAct = (): boolean => dispatch().mayAct;
  const count = (): Promise<readonly QueueCount[]> =>
    Promise.all(QUEUES.map(async (name) => ({ name, ...(await queueFigures({ state, broker, now }, name)) })));
  if (!isAlone(config)) scope.use(startQueueCounts({ log, logger, ids, now, mayAct, count }));
  return { statuses: [dispatch, retrying], counts: () => (isAlone(config) || mayAct() ? count() : null) };
}

function statesOf({ states }: SingleWriterParts): StateStore {
  if (states === null) throw new Error('a projection without a place for its state');
  return states;
}

function snapshot(
  scope: Scope,
  { config, keeping, states, context: { now } }: SingleWriterParts,
  projections: SingleWriters['projections'],
): void {
  if (states === null) return;
  const isLive = (): boolean => projections.every((status) => status().live);
  scope.use(keepSnapshots({ ...keeping, store: states, isLive, everyMs: config.snapshotEveryMs, now }));
}

/** A standby has nothing to tell of what another process does. */
function figuresOf(
  leases: ReadonlyMap<string, Lease>,
  dispatching: Dispatching | null,
  ingest: Ingest | null,
): SingleWriters['figures'] {
  const isHeld = (name: string): boolean => (leases.get(name)?.heldSince() ?? null) !== null;
  return {
    leases: () => new Map([...leases.keys()].map((name) => [name, isHeld(name)])),
    ...(dispatching && { queues: () => dispatching.counts() ?? Promise.resolve([]) }),
    ...(ingest && { ingestLagMs: () => (isHeld('analytics') ? ingest.lagMs() : null) }),
  };
}
