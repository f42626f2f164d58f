import { join } from 'node:path';
import { openApi } from './api/server.ts';
import { seedBootstrapClient } from './bootstrap.ts';
import { createCommands, createQueries } from './commands/create.ts';
import type { CommandContext } from './commands/context.ts';
import { createDeliveries } from './commands/deliveries.ts';
import type { DeliveryPolicy } from './commands/delivery-policy.ts';
import type { Config } from './config.ts';
import { openDataDir } from './data-dir.ts';
import { freeSpaceOn } from './disk-space.ts';
import { cursorOf, systemIds } from './ids.ts';
import { newCredentials, openKeys } from './keys.ts';
import { start, together, type Scope, type Started } from './lifecycle.ts';
import type { Log } from './log.ts';
import { QUEUES, type Broker } from './ports/broker/broker.ts';
import { openBroker } from './ports/broker/open.ts';
import type { EventLog } from './ports/event-log/event-log.ts';
import { openGuardedLog, RESERVE_FOR_ENDINGS } from './ports/event-log/guarded.ts';
import { openEventLog } from './ports/event-log/open.ts';
import { openGuardedStates } from './ports/state/guarded.ts';
import { openLmdbState } from './ports/state/lmdb.ts';
import type { StateStore } from './ports/state/state.ts';
import { startDispatch } from './projections/dispatch.ts';
import { queueFigures } from './projections/queue-figures.ts';
import { startRoute } from './projections/route.ts';
import type { ProjectionStatus } from './projections/run.ts';
import { openOutbox, type Outbox } from './sandbox/outbox.ts';
import { renderSandboxPage, sandboxPagePolicy } from './sandbox/page.ts';
import { openSandboxSmtp } from './sandbox/smtp.ts';
import { composeWith } from './senders/compose.ts';
import { openSmtpSender, type SmtpSenderOptions } from './senders/email-smtp.ts';
import { liquidTemplates } from './senders/templates.ts';
import { startWorker } from './senders/worker.ts';

/** What a person needs who just started it. */
export interface Running {
  /** Where clients reach it. */
  readonly url: string;
  /** Where it listens; another address when a proxy stands in front. */
  readonly listening: string;
  readonly appKey: string;
  /** Null when it was given in the environment: who set it knows it. */
  readonly appSecret: string | null;
  /** Whether mail goes to the sandbox and not to people. */
  readonly sandbox: boolean;
}

/** From taking an e-mail job to having recorded its outcome. */
const EMAIL_LIMIT_MS = 20_000;
/** By how much the clocks of two processes may differ. */
const SKEW_MS = 5_000;
const BUSY_MS = 5_000;
/** All of a stop fits into ten seconds. */
const DRAIN_MS = 8_000;

/** Opens everything in the order in which a notification passes through it; closes in the opposite order. */
export function startApp(config: Config, logger: Log): Promise<Started<Running>> {
  return start(async (scope) => {
    const dataDir = scope.use(await openDataDir(config.dataDir));
    const secretKey = config.secretKey ?? (await dataDir.secret('secret-key', () => newCredentials().appSecret));
    const opened = scope.use(await openEventLog(config.eventLog));
    const freeBytes = freeSpaceOn([config.eventLog.path, dataDir.path]);
    const log = openGuardedLog(opened, freeBytes, diskLog(logger));
    const states = await openStates(scope, join(dataDir.path, 'state', log.id), freeBytes);
    const broker = scope.use(
      openBroker(config.broker, (err, queue, job) => logger.error({ err, queue, job }, 'a job failed')),
    );
    const context = commandContext(log, secretKey, logger);
    const bootstrap = await seedBootstrapClient(context, config.bootstrap, { dataDir, logger });
    const outbox = config.email.kind === 'sandbox' ? await openMailbox(scope, dataDir.path, freeBytes) : null;
    const parts = { config, logger, log, states, broker, context, outbox };
    const pipeline = await startPipeline(scope, parts);
    const edge = { ...parts, projections: pipeline.projections, freeBytes, bootstrapKey: bootstrap.appKey };
    const api = await openApi(apiOptions(edge));
    // Both take nothing new from now on and finish what they have: side by side, so that each has the whole time.
    scope.use(together(api, pipeline.worker));
    const { url, listening } = api.value;
    return { url, listening, ...bootstrap, sandbox: outbox !== null };
  });
}

async function openStates(scope: Scope, path: string, freeBytes: () => number): Promise<StateStore> {
  return openGuardedStates(scope.use(await openLmdbState(path)), freeBytes);
}

/** Not among the states, which may be deleted: its messages are nowhere else. */
async function openMailbox(scope: Scope, dataDir: string, freeBytes: () => number): Promise<Outbox> {
  const states = await openStates(scope, join(dataDir, 'sandbox'), freeBytes);
  return openOutbox(states.open('outbox'));
}

function diskLog(logger: Log): (refusing: boolean) => void {
  return (refusing) => {
    if (refusing) logger.error({}, 'the disk is almost full: new requests are refused');
    else logger.info({}, 'there is space on the disk again');
  };
}

function commandContext(log: EventLog, secretKey: string, logger: Log): CommandContext {
  const reportFault = (err: unknown, requestId: string): void => {
    logger.error({ err, requestId }, 'an item of a bulk request failed');
  };
  return { log, now: Date.now, ids: systemIds, keys: openKeys(secretKey), templates: liquidTemplates, reportFault };
}

interface Parts {
  readonly config: Config;
  readonly logger: Log;
  readonly log: EventLog;
  readonly states: StateStore;
  readonly broker: Broker;
  readonly context: CommandContext;
  readonly outbox: Outbox | null;
}

type Projections = readonly (() => ProjectionStatus)[];

interface Pipeline {
  readonly projections: Projections;
  readonly worker: Started<void>;
}

async function startPipeline(scope: Scope, parts: Parts): Promise<Pipeline> {
  const { config, logger, log, states, broker, context } = parts;
  const { now, ids } = context;
  const sender = scope.use(openSmtpSender(await emailOptions(scope, parts)));
  const route = scope.use(startRoute({ log, state: states.open('route'), logger, ids, now }));
  const dispatch = scope.use(await startDispatch({ log, state: states.open('dispatch'), broker, logger, now }));
  const worker = await startWorker({
    broker,
    type: 'email',
    sender,
    deliveries: createDeliveries(context, deliveryPolicy(config)),
    compose: composeWith(log),
    logger,
    now,
    concurrency: config.emailConcurrency,
    timeLimitMs: EMAIL_LIMIT_MS,
    drainMs: DRAIN_MS,
  });
  return { projections: [route, dispatch], worker };
}

function deliveryPolicy({ retryScheduleMs, doubtPolicy }: Config): DeliveryPolicy {
  return { retryDelaysMs: retryScheduleMs, doubt: doubtPolicy, claimMs: EMAIL_LIMIT_MS + SKEW_MS, busyMs: BUSY_MS };
}

async function emailOptions(scope: Scope, { config, logger, outbox }: Parts): Promise<SmtpSenderOptions> {
  const connections = config.emailConcurrency;
  const onFailure = failureLog(logger);
  if (config.email.kind === 'smtp') return { url: config.email.url, from: config.email.from, connections, onFailure };
  if (outbox === null) throw new Error('a sandbox without an outbox');
  const { url } = scope.use(await openSandboxSmtp(outbox));
  return { url, from: 'Heliograph <no-reply@heliograph.localhost>', connections, onFailure };
}

/** Names the delivery, never its address or content. */
function failureLog(logger: Log): NonNullable<SmtpSenderOptions['onFailure']> {
  return (failure, { deliveryId }) => {
    logger.warn({ delivery: deliveryId, ...failure }, 'an attempt at an e-mail failed');
  };
}

interface Edge extends Parts {
  readonly projections: Projections;
  readonly freeBytes: () => number;
  readonly bootstrapKey: string;
}

function apiOptions(edge: Edge): Parameters<typeof openApi>[0] {
  const { config, logger, log, states, broker, context, outbox, bootstrapKey } = edge;
  const figures = { state: states.open('dispatch'), broker, now: context.now };
  return {
    host: config.host,
    port: config.port,
    publicUrl: config.publicUrl,
    development: config.development,
    commands: createCommands(context),
    queries: createQueries(context, bootstrapKey),
    queues: () => Promise.all(QUEUES.map(async (name) => ({ name, ...(await queueFigures(figures, name)) }))),
    head: async () => cursorOf(log.id, await log.head()),
    ready: () => readiness(edge),
    sandbox: outbox && {
      messages: outbox.list,
      revision: outbox.revision,
      page: renderSandboxPage,
      policy: sandboxPagePolicy,
    },
    log: logger,
    newId: systemIds.random,
    timings: { drainMs: DRAIN_MS },
  };
}

function readiness({ projections, freeBytes }: Edge): { readonly ready: boolean; readonly reasons: readonly string[] } {
  const behind = projections.map((status) => status()).filter(({ live }) => !live);
  const reasons = behind.map(({ name }) => `${name} has not reached the end of the log yet`);
  if (freeBytes() < RESERVE_FOR_ENDINGS) reasons.push('the disk is almost full: new requests are refused');
  return { ready: reasons.length === 0, reasons };
}
