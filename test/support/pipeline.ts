import { reportFault } from './faults.ts';
import { PROVIDERS } from './given.ts';
import { join } from 'node:path';
import { readConfig } from '../../src/config.ts';
import type { Caller, Commands, Queries, RequestNotification } from '../../src/commands/commands.ts';
import { createCommands, createQueries } from '../../src/commands/create.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import type { DeliveryPolicy } from '../../src/commands/delivery-policy.ts';
import { SCOPES } from '../../src/events/clients.ts';
import { openCursors, systemIds } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { start, type Started } from '../../src/lifecycle.ts';
import type { Log } from '../../src/log.ts';
import type { Broker } from '../../src/ports/broker/broker.ts';
import { openBroker } from '../../src/ports/broker/open.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { openEventLog } from '../../src/ports/event-log/open.ts';
import { openBufferedStates } from '../../src/ports/state/buffered.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { KeptState, KeptStore } from '../../src/ports/state/state.ts';
import { startDispatch } from '../../src/projections/dispatch.ts';
import { startRoute } from '../../src/projections/route.ts';
import { composeWith } from '../../src/senders/compose.ts';
import type { Sender } from '../../src/senders/outcome.ts';
import { liquidTemplates } from '../../src/senders/templates.ts';
import { startWorker } from '../../src/senders/worker.ts';

export const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export const CALLER: Caller = { tenant: 'default', appKey: 'test', scopes: SCOPES, correlationId: 'request-1' };

export interface Pipeline {
  readonly log: EventLog;
  readonly broker: Broker;
  readonly commands: Commands;
  readonly queries: Queries;
}

export interface PipelineOptions {
  readonly sender: Sender;
  /** Of the environment, for the log and the broker; default the embedded ones. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly policy?: Partial<DeliveryPolicy>;
  readonly timeLimitMs?: number;
  readonly now?: () => number;
  readonly concurrency?: number;
  /** Where the projections keep their state, below the folder; another name is an empty state. */
  readonly stateName?: string;
  /** What its states did not write before its end is lost, as when a process dies. */
  readonly forgets?: boolean;
  /** Stands between the parts and the log. */
  readonly wrap?: (log: EventLog) => EventLog;
  readonly logger?: Log;
}

/** Everything between the commands and a provider, on a real log and a real broker; what is embedded lies in the folder given. */
export function startPipeline(folder: string, options: PipelineOptions): Promise<Started<Pipeline>> {
  const { now = Date.now, timeLimitMs = 1_000, logger = SILENT } = options;
  return start(async (scope) => {
    const config = readConfig({ DATA_DIR: folder, ...options.settings });
    const opened = scope.use(await openEventLog(config.eventLog, logger));
    const log = options.wrap?.(opened) ?? opened;
    const kept = scope.use(await openLmdbState(join(folder, options.stateName ?? 'state')));
    let isDead = false;
    const buffering = { logger, freeBytes: () => Infinity, everyMs: 30 };
    const states = scope.use(
      openBufferedStates(
        unless(() => isDead, kept),
        buffering,
      ),
    );
    const broker = scope.use(await openBroker(config.broker, logger));
    const keys = openKeys('0'.repeat(32));
    const context = {
      log,
      now,
      ids: systemIds,
      keys,
      cursors: openCursors(log.id, keys.mac),
      templates: liquidTemplates,
      reportFault,
      ...PROVIDERS,
    };
    const policy = {
      retryDelaysMs: [20, 20, 20],
      doubt: 'RESEND',
      claimMs: timeLimitMs + 50,
      busyMs: 20,
      ...options.policy,
    } as const;
    scope.use(
      startRoute({ log, state: states.open('route'), logger, ids: systemIds, now, channels: PROVIDERS.channels }),
    );
    scope.use(await startDispatch({ log, state: states.open('dispatch'), broker, logger, now }));
    const worker = await startWorker({
      broker,
      type: 'email',
      sender: options.sender,
      deliveries: createDeliveries(context, policy),
      compose: composeWith(log),
      logger,
      now,
      concurrency: options.concurrency ?? 16,
      timeLimitMs,
      drainMs: 1_000,
    });
    scope.use(worker);
    scope.use({ value: null, stop: () => Promise.resolve(void (isDead = options.forgets ?? false)) });
    return { log, broker, commands: createCommands(context), queries: createQueries(context) };
  });
}

/** What is dead writes nothing any more. */
function unless(isDead: () => boolean, store: KeptStore): KeptStore {
  const mortal = (state: KeptState): KeptState => ({
    ...state,
    commit: (changes) => (isDead() ? Promise.reject(new Error('the process is dead')) : state.commit(changes)),
  });
  return { ...store, open: (name) => mortal(store.open(name)) };
}

export function requestFor(userId: string, changes: Partial<RequestNotification> = {}): RequestNotification {
  const request = {
    idempotencyKey: null,
    userId,
    channels: null,
    content: { title: 'Hello', body: 'The first light.', html: null, url: null },
    template: null,
    data: null,
    category: 'general',
    lane: 'TRANSACTIONAL',
    campaign: null,
    deliverAt: null,
    expiresAt: null,
    ...changes,
  } as const;
  return { ...request, asSent: changes.asSent ?? request };
}
