import { join } from 'node:path';
import type { ReadModels } from './read-models.ts';
import { startReadModels } from './read-models.ts';
import { openApi } from './api/server.ts';
import { seedBootstrapClient } from './bootstrap.ts';
import { createCommands, createQueries } from './commands/create.ts';
import { orUnavailable } from './commands/available.ts';
import type { CommandContext } from './commands/context.ts';
import { createReceipts, type Receipts } from './commands/receipts.ts';
import type { Config } from './config.ts';
import { openDataDir } from './data-dir.ts';
import { freeSpaceOn } from './disk-space.ts';
import { DomainError } from './errors.ts';
import type { Channel } from './events/event.ts';
import { openCursors, systemIds } from './ids.ts';
import { newCredentials, openKeys } from './keys.ts';
import { start, together, type Scope, type Started } from './lifecycle.ts';
import { openOutage, type Log } from './log.ts';
import { measuredCommands, measuredLog, measuredReceipts } from './measured.ts';
import { openMetrics, type Metrics } from './metrics.ts';
import type { Analytics } from './ports/analytics/analytics.ts';
import { EngineMissing } from './ports/analytics/chdb.ts';
import { openAnalytics } from './ports/analytics/open.ts';
import { BrokerUnavailable, QUEUES, type Broker, type QueueDepth, type QueueName } from './ports/broker/broker.ts';
import { openBroker } from './ports/broker/open.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { openGuardedLog } from './ports/event-log/guarded.ts';
import { openEventLog } from './ports/event-log/open.ts';
import { openGuardedStates } from './ports/state/guarded.ts';
import { openLmdbState } from './ports/state/lmdb.ts';
import type { StateStore } from './ports/state/state.ts';
import { startDispatch } from './projections/dispatch.ts';
import { queueFigures } from './projections/queue-figures.ts';
import { startReceipts } from './projections/receipts.ts';
import { startRoute } from './projections/route.ts';
import type { ProjectionStatus } from './projections/run.ts';
import { availableChannels, destinationsOf, openProviders, type Destination, type Providers } from './providers.ts';
import { openReadiness } from './readiness.ts';
import { openReceiptAddress, receiveReceipt } from './receipts.ts';
import { renderSandboxPage, sandboxPagePolicy } from './sandbox/page.ts';
import { isPhoneNumber } from './senders/sms-phone.ts';
import { liquidTemplates } from './senders/templates.ts';
import { tracedLog, tracedPublishing, tracedRequests } from './traced.ts';
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
 * Opens everything in the order in which a notification passes through it; closes in the opposite order. `onWorking` is called
 * before anything is sent or answered: from then on a stop has to be in good order.
 */
export function startApp(
  config: Config,
  logger: Log,
  onWorking: () => void = () => undefined,
): Promise<Started<Running>> {
  return start(async (scope) => {
    const metrics = openMetrics(Date.now);
    const tracer = scope.use(await openTraces(config.traces, logger));
    const dataDir = scope.use(await openDataDir(config.dataDir));
    const secretKey = config.secretKey ?? (await dataDir.secret('secret-key', () => newCredentials().appSecret));
    const opened = scope.use(await openEventLog(config.eventLog, logger));
    const freeBytes = freeSpaceOn(
      config.eventLog.kind === 'lmdb' ? [config.eventLog.path, dataDir.path] : [dataDir.path],
    );
    const guarded = openGuardedLog(opened, freeBytes, diskLog(logger));
    const log = tracedLog(measuredLog(guarded, metrics), tracer);
    const states = await openStates(scope, join(dataDir.path, 'state', log.id), freeBytes);
    const broker = scope.use(await openBroker(config.broker, logger));
    const analytics = await openAnalyticsIfPossible(scope, config, logger);
    const context = commandContext(log, secretKey, { config, logger });
    const bootstrap = await seedBootstrapClient(context, config.bootstrap, { dataDir, logger });
    const address = openReceiptAddress(config, context.keys);
    // Not among the states, which may be deleted: the sandbox's messages are nowhere else.
    const openSandboxStates = (): Promise<StateStore> => openStates(scope, join(dataDir.path, 'sandbox'), freeBytes);
    const providers = await openProviders(scope, { config, logger, openSandboxStates, receipts: address });
    const receipts = createReceipts(context);
    const parts = { config, logger, log, states, broker, context, providers, receipts, metrics, tracer };
    onWorking();
    const projections = await startProjections(scope, parts);
    const queues = queuesOf(parts);
    const readModels = await startReadModels(scope, { ...context, log, config, logger, analytics });
    metrics.watch({ ...readModels.figures, queues, projections, freeBytes, head: () => log.head() });
    const edge = { ...parts, ...readModels, queues, projections, freeBytes, bootstrapKey: bootstrap.appKey };
    const api = await openApi(apiOptions(edge));
    address.listenAt(api.value);
    // All take nothing new from now on and finish what they have: side by side, so that each has the whole time.
    scope.use(together(api, ...(await startWorkers({ ...parts, drainMs: DRAIN_MS }).catch(closing(api)))));
    const { url, listening } = api.value;
    return { url, listening, ...bootstrap, destinations: destinationsOf(config) };
  });
}

function closing(opened: Started<unknown>): (error: unknown) => Promise<never> {
  return async (error) => {
    await opened.stop();
    throw error;
  };
}

async function openStates(scope: Scope, path: string, freeBytes: () => number): Promise<StateStore> {
  return openGuardedStates(scope.use(await openLmdbState(path)), freeBytes);
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

interface Parts {
  readonly config: Config;
  readonly logger: Log;
  readonly log: EventLog;
  readonly states: StateStore;
  readonly broker: Broker;
  readonly context: CommandContext;
  readonly providers: Providers;
  readonly receipts: Receipts;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
}

type Projections = readonly (() => ProjectionStatus)[];

async function startProjections(scope: Scope, parts: Parts): Promise<Projections> {
  const { logger, log, states, broker, context, receipts, tracer } = parts;
  const { now, ids, channels } = context;
  // Named anew whenever its shape changes: what an older version kept is not read, but folded again from the log.
  const route = scope.use(startRoute({ log, state: states.open('route-2'), logger, ids, now, channels }));
  const dispatch = scope.use(
    await startDispatch({
      log,
      state: states.open('dispatch-2'),
      broker,
      logger,
      now,
      publishing: tracedPublishing(tracer),
    }),
  );
  const parked = scope.use(startReceipts({ log, state: states.open('receipts'), logger, now, receipts }));
  return [route, dispatch, parked];
}

type Queues = () => Promise<readonly (QueueDepth & { readonly name: QueueName })[]>;

function queuesOf({ states, broker, context }: Parts): Queues {
  const figures = { state: states.open('dispatch-2'), broker, now: context.now };
  return () => Promise.all(QUEUES.map(async (name) => ({ name, ...(await queueFigures(figures, name)) })));
}

function sayUncounted(error: unknown): never {
  if (error instanceof BrokerUnavailable) throw new DomainError('UNAVAILABLE', 'the queues cannot be counted now');
  throw error;
}

interface Edge extends Parts, ReadModels {
  readonly queues: Queues;
  readonly projections: Projections;
  readonly freeBytes: () => number;
  readonly bootstrapKey: string;
}

function apiOptions(edge: Edge): Parameters<typeof openApi>[0] {
  const { config, logger, context, bootstrapKey, metrics } = edge;
  const { outbox } = edge.providers;
  return {
    host: config.host,
    port: config.port,
    publicUrl: config.publicUrl,
    development: config.development,
    commands: measuredCommands(createCommands(context), metrics),
    queries: createQueries(context, bootstrapKey),
    queues: () => edge.queues().catch(sayUncounted),
    head: async (tenant) =>
      context.cursors.of(tenant, {
        position: await context.log.head(),
        index: 0,
        at: context.now(),
        notificationId: null,
      }),
    ready: openReadiness(edge),
    funnels: edge.funnels,
    funnelUpdates: edge.funnelUpdates,
    deliveryUpdates: edge.deliveryUpdates,
    sandbox: outbox && {
      messages: outbox.list,
      revision: outbox.revision,
      page: renderSandboxPage,
      policy: sandboxPagePolicy,
    },
    receipts: { receive: measuredReceipts(receiveReceipt(edge.providers, context.keys, edge.receipts), metrics) },
    metrics: metrics.text,
    observe: metrics,
    trace: tracedRequests(edge.tracer),
    log: logger,
    newId: systemIds.random,
    timings: { drainMs: DRAIN_MS },
  };
}
