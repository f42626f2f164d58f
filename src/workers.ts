import type { CommandContext } from './commands/context.ts';
import { createDeliveries } from './commands/deliveries.ts';
import type { DeliveryPolicy } from './commands/delivery-policy.ts';
import type { Config } from './config.ts';
import type { Channel } from './events/event.ts';
import type { Started } from './lifecycle.ts';
import type { Log } from './log.ts';
import { measuredDeliveries, measuredSender } from './measured.ts';
import type { Metrics } from './metrics.ts';
import type { Broker, NotificationType } from './ports/broker/broker.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import type { Providers } from './providers.ts';
import { composeWith } from './senders/compose.ts';
import { tracedWork } from './traced.ts';
import type { Tracer } from './traces.ts';
import { startWorker } from './senders/worker.ts';

export interface WorkersOptions {
  readonly config: Config;
  readonly logger: Log;
  readonly log: EventLog;
  readonly broker: Broker;
  readonly context: CommandContext;
  readonly providers: Pick<Providers, 'senders'>;
  readonly drainMs: number;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
}

/** From taking a job to having recorded its outcome. */
const SEND_LIMIT_MS = 20_000;
/** By how much the clocks of two processes may differ. */
const SKEW_MS = 5_000;
const BUSY_MS = 5_000;

const TYPES: Readonly<Record<Channel, readonly NotificationType[]>> = {
  PUSH: ['push.ios', 'push.android', 'push.web'],
  SMS: ['sms'],
  EMAIL: ['email'],
};

/** One worker for each notification type (N43), so that a slow provider holds up nobody else. */
export function startWorkers(options: WorkersOptions): Promise<readonly Started<void>[]> {
  const { config, logger, log, broker, context, providers, drainMs, metrics, tracer } = options;
  const { now } = context;
  const deliveries = createDeliveries(context, deliveryPolicy(config));
  const concurrency = concurrencyOf(config);
  const common = {
    broker,
    compose: composeWith(log),
    logger,
    now,
    timeLimitMs: SEND_LIMIT_MS,
    drainMs,
  };
  const workers = providers.senders.flatMap((sender) =>
    TYPES[sender.channel].map((type) =>
      tracedWork(
        {
          ...common,
          type,
          sender: measuredSender(sender, metrics),
          deliveries: measuredDeliveries(deliveries, { type, metrics, now }),
          concurrency: concurrency[sender.channel],
        },
        tracer,
      ),
    ),
  );
  return Promise.all(workers.map(startWorker));
}

function concurrencyOf(config: Config): Readonly<Record<Channel, number>> {
  return { PUSH: config.pushConcurrency, SMS: config.smsConcurrency, EMAIL: config.emailConcurrency };
}

function deliveryPolicy({ retryScheduleMs, doubtPolicy }: Config): DeliveryPolicy {
  return { retryDelaysMs: retryScheduleMs, doubt: doubtPolicy, claimMs: SEND_LIMIT_MS + SKEW_MS, busyMs: BUSY_MS };
}
