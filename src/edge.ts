import { openHealth } from './api/health.ts';
import type { Api, ApiOptions, QueueView } from './api/options.ts';
import { openApi } from './api/server.ts';
import { createCommands, createQueries } from './commands/create.ts';
import type { CommandContext } from './commands/context.ts';
import type { Receipts } from './commands/receipts.ts';
import type { Config } from './config.ts';
import { DomainError } from './errors.ts';
import { systemIds } from './ids.ts';
import type { Started } from './lifecycle.ts';
import type { Log } from './log.ts';
import { measuredCommands, measuredReceipts } from './measured.ts';
import type { Metrics } from './metrics.ts';
import { BrokerUnavailable } from './ports/broker/broker.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import type { ProjectionStatus } from './projections/run.ts';
import type { Providers } from './providers.ts';
import type { ReadModels } from './read-models.ts';
import { openReadiness } from './readiness.ts';
import { receiveReceipt } from './receipts.ts';
import { renderSandboxPage, sandboxPagePolicy } from './sandbox/page.ts';
import { tracedOperations, tracedRequests } from './traced.ts';
import type { Tracer } from './traces.ts';

export interface EdgeOptions {
  readonly config: Config;
  readonly logger: Log;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly log: EventLog;
  readonly projections: readonly (() => ProjectionStatus)[];
  readonly freeBytes: () => number;
  readonly drainMs: number;
}

/** What clients are answered from. */
export interface ClientParts extends ReadModels {
  readonly context: CommandContext;
  readonly receipts: Receipts;
  readonly providers: Providers;
  readonly bootstrapKey: string;
  /** Null: nobody has told for a while. */
  readonly queues: () => Promise<readonly QueueView[] | null>;
}

/** Opens the port: for clients where there is something to answer them from, and for those who look after this process. */
export function openEdge(options: EdgeOptions, clients: ClientParts | null): Promise<Started<Api>> {
  return clients === null ? openHealth(healthOptions(options)) : openApi(apiOptions(options, clients));
}

function healthOptions(options: EdgeOptions): Parameters<typeof openHealth>[0] {
  const { config, logger, metrics, drainMs } = options;
  const { host, port, publicUrl, development } = config;
  const ready = openReadiness(options);
  return {
    host,
    port,
    publicUrl,
    development,
    ready,
    metrics: metrics.text,
    observe: metrics,
    log: logger,
    newId: systemIds.random,
    timings: { drainMs },
  };
}

function apiOptions(options: EdgeOptions, clients: ClientParts): ApiOptions {
  const { context, providers, receipts, bootstrapKey, queues } = clients;
  const { metrics } = options;
  const { outbox } = providers;
  return {
    ...healthOptions(options),
    commands: measuredCommands(createCommands(context), metrics),
    queries: createQueries(context, bootstrapKey),
    queues: () => queues().then(sayUntold, sayUncounted),
    head: async (tenant) =>
      context.cursors.of(tenant, {
        position: await context.log.head(),
        index: 0,
        at: context.now(),
        notificationId: null,
      }),
    funnels: clients.funnels,
    funnelUpdates: clients.funnelUpdates,
    deliveryUpdates: clients.deliveryUpdates,
    sandbox: outbox && {
      messages: outbox.list,
      revision: outbox.revision,
      page: renderSandboxPage,
      policy: sandboxPagePolicy,
    },
    receipts: { receive: measuredReceipts(receiveReceipt(providers, context.keys, receipts), metrics) },
    trace: tracedRequests(options.tracer),
    traceOperation: tracedOperations(options.tracer),
  };
}

function sayUntold(counts: readonly QueueView[] | null): readonly QueueView[] {
  if (counts !== null) return counts;
  throw new DomainError('UNAVAILABLE', 'no process with the role dispatch has counted the queues lately');
}

function sayUncounted(error: unknown): never {
  if (error instanceof BrokerUnavailable) throw new DomainError('UNAVAILABLE', 'the queues cannot be counted now');
  throw error;
}
