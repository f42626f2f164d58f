import { join } from 'node:path';
import { seedBootstrapClient } from './bootstrap.ts';
import { createReceipts, type Receipts } from './commands/receipts.ts';
import { orUnavailable } from './commands/available.ts';
import type { CommandContext } from './commands/context.ts';
import type { Config } from './config.ts';
import { openDataDir, type DataDir } from './data-dir.ts';
import { freeSpaceOf } from './disk-space.ts';
import { openEdge } from './edge.ts';
import type { Channel } from './events/event.ts';
import { openCursors, systemIds } from './ids.ts';
import { newCredentials, openKeys } from './keys.ts';
import { start, together, type Scope, type Started } from './lifecycle.ts';
import { openOutage, type Log } from './log.ts';
import { measuredLog } from './measured.ts';
import { openMetrics, type Metrics } from './metrics.ts';
import type { Analytics } from './ports/analytics/analytics.ts';
import { EngineMissing } from './ports/analytics/chdb.ts';
import { openAnalytics } from './ports/analytics/open.ts';
import type { Broker } from './ports/broker/broker.ts';
import { openBroker } from './ports/broker/open.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { openGuardedLog } from './ports/event-log/guarded.ts';
import { openEventLog } from './ports/event-log/open.ts';
import { openGuardedStates } from './ports/state/guarded.ts';
import { openLmdbState } from './ports/state/lmdb.ts';
import type { StateStore } from './ports/state/state.ts';
import { availableChannels, destinationsOf, openProviders, type Destination, type Providers } from './providers.ts';
import { startReadModels } from './read-models.ts';
import { openReceiptAddress } from './receipts.ts';
import { keepersAmong, usesAnalytics, usesBroker } from './roles.ts';
import { liquidTemplates } from './senders/templates.ts';
import { isPhoneNumber } from './senders/sms-phone.ts';
import { holderIn, queueCounts, startSingleWriters } from './single-writers.ts';
import { keepingOf, openStates, type Keeping } from './states.ts';
import { tracedLog } from './traced.ts';
import { openTraces, type Tracer } from './traces.ts';
import { startWorkers } from './workers.ts';

/** What a person needs who just started it. */
export interface Running {
  /** Where clients reach it. */
  readonly url: string;
  /** Where it listens; another address when a proxy stands in front. */
  readonly listening: string;
  readonly appKey: string;
  /** Null when it was given in the environment: who set it knows it. */
  readonly appSecret: string | null;
  /** Where the messages of each channel go. */
  readonly destinations: Readonly<Record<Channel, Destination>>;
}

/** All of a stop fits into ten seconds. */
const DRAIN_MS = 8_000;

/**
 * Opens what its roles need, in the order in which a notification passes through it; closes in the opposite order. `onWorking`
 * is called before anything is sent or answered: from then on a stop has to be in good order.
 */
export function startApp(
  config: Config,
  logger: Log,
  onWorking: () => void = () => undefined,
): Promise<Started<Running>> {
  return start(async (scope) => {
    const ground = await openGround(scope, config, logger);
    const { dataDir, context } = ground;
    const { roles } = config;
    const broker = usesBroker(roles) ? scope.use(await openBroker(config.broker, logger)) : null;
    const analytics = usesAnalytics(roles) ? await openAnalyticsIfPossible(scope, config, logger) : null;
    const isApi = roles.has('api');
    const bootstrap = isApi ? await seedBootstrapClient(context, config.bootstrap, { dataDir, logger }) : NOBODY;
    const address = openReceiptAddress(config, context.keys);
    const { openSandboxStates } = ground;
    const providers = await openProviders(scope, { config, logger, openSandboxStates, receipts: address });
    const parts: Parts = { ...ground, broker, analytics, providers, receipts: createReceipts(context) };
    onWorking();
    const writers = await startSingleWriters(scope, parts);
    const readModels = isApi
      ? await startReadModels(scope, { ...context, ...parts, log: ground.log }, writers.ingest)
      : null;
    const queues = (): ReturnType<typeof queueCounts> => queueCounts(ground, writers);
    const clients = readModels && { ...parts, ...readModels, bootstrapKey: bootstrap.appKey, queues };
    const { projections } = writers;
    const { freeBytes, log } = ground;
    const { senders } = providers;
    const own = { projections, senders, freeBytes, head: () => log.head() };
    parts.metrics.watch({ ...readModels?.figures, ...writers.figures, ...own });
    const edge = await openEdge({ ...parts, projections, drainMs: DRAIN_MS }, clients);
    address.listenAt(edge.value);
    // All take nothing new from now on and finish what they have: side by side, so that each has the whole time.
    scope.use(together(edge, ...(await startSenders(parts).catch(closing(edge)))));
    const { url, listening } = edge.value;
    return { url, listening, ...bootstrap, destinations: destinationsOf(config) };
  });
}

/** There is a first client only where clients are answered. */
const NOBODY = { appKey: '', appSecret: null };

/** What every process needs, whatever it does. */
async function openGround(scope: Scope, config: Config, logger: Log): Promise<Ground> {
  const metrics = openMetrics(Date.now);
  const tracer = scope.use(await openTraces(config.traces, logger));
  const dataDir = scope.use(await openDataDir(config.dataDir));
  const secretKey = config.secretKey ?? (await dataDir.secret('secret-key', () => newCredentials().appSecret));
  const holder = await holderIn(dataDir);
  const opened = scope.use(await openEventLog(config.eventLog, logger));
  const freeBytes = freeSpaceOf(config, dataDir.path);
  const guarded = openGuardedLog(opened, freeBytes, diskLog(logger));
  const log = tracedLog(measuredLog(guarded, metrics), tracer);
  const keeping = keepingOf(config, { dataDir: dataDir.path, log, logger, freeBytes });
  const states =
    keepersAmong(config.roles).length > 0 ? await openStates(scope, { ...keeping, open: openLmdbState }) : null;
  // Not among the states, which may be deleted: the sandbox's messages are nowhere else.
  const openSandboxStates = async (): Promise<StateStore> =>
    openGuardedStates(scope.use(await openLmdbState(join(dataDir.path, 'sandbox'))), freeBytes);
  const context = commandContext(log, secretKey, { config, logger });
  return {
    config,
    logger,
    metrics,
    tracer,
    dataDir,
    holder,
    log,
    keeping,
    states,
    context,
    freeBytes,
    openSandboxStates,
  };
}

interface Ground {
  readonly config: Config;
  readonly logger: Log;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly dataDir: DataDir;
  /** Names the data directory to other processes. */
  readonly holder: string;
  readonly log: EventLog;
  readonly keeping: Keeping;
  /** Null: nothing that this process does keeps any. */
  readonly states: StateStore | null;
  readonly context: CommandContext;
  readonly freeBytes: () => number;
  readonly openSandboxStates: () => Promise<StateStore>;
}

interface Parts extends Ground {
  /** Null: nothing that this process does needs it. */
  readonly broker: Broker | null;
  /** Null: nothing needs it, or there is none on this platform. */
  readonly analytics: Analytics | null;
  readonly providers: Providers;
  readonly receipts: Receipts;
}

function startSenders(parts: Parts): Promise<readonly Started<void>[]> {
  const { broker } = parts;
  return broker === null ? Promise.resolve([]) : startWorkers({ ...parts, broker, drainMs: DRAIN_MS });
}

function closing(opened: Started<unknown>): (error: unknown) => Promise<never> {
  return async (error) => {
    await opened.stop();
    throw error;
  };
}

/** Analytics are of no importance to deliveries: a platform without the engine delivers as any other. */
async function openAnalyticsIfPossible(scope: Scope, { analytics }: Config, logger: Log): Promise<Analytics | null> {
  try {
    return scope.use(await openAnalytics(analytics, logger));
  } catch (err) {
    if (!(err instanceof EngineMissing)) throw err;
    logger.warn({ err }, 'there is no embedded ClickHouse for this platform: no figures');
    return null;
  }
}

function diskLog(logger: Log): (refusing: boolean) => void {
  return (refusing) => {
    if (refusing) logger.error({}, 'the disk is almost full: new requests are refused');
    else logger.info({}, 'there is space on the disk again');
  };
}

function commandContext(
  log: EventLog,
  secretKey: string,
  { config, logger }: { readonly config: Config; readonly logger: Log },
): CommandContext {
  const keys = openKeys(secretKey);
  return {
    log: orUnavailable(log, openOutage(logger, { failed: 'the event log did not answer a read' })),
    now: Date.now,
    ids: systemIds,
    keys,
    cursors: openCursors(log.id, keys.mac),
    templates: liquidTemplates,
    channels: availableChannels(config),
    isPhoneNumber,
    reportFault: (err, requestId) => {
      logger.error({ err, requestId }, 'an item of a bulk request failed');
    },
  };
}
