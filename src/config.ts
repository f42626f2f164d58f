import { isIP } from 'node:net';
import { join } from 'node:path';
import { readProviders, type ProvidersConfig } from './config-providers.ts';
import { readSnapshots, type SnapshotsConfig } from './config-snapshots.ts';
import { faultOfAmqpUrl, isAmqpUrl, isQueuePrefix, type RabbitMqServer } from './amqp-url.ts';
import { isClickhouseUrl, isClusterName, parseClickhouseUrl, type ClickhouseServer } from './clickhouse-url.ts';
import { checkRoles, readRoles } from './config-roles.ts';
import { readTraces, type TracesConfig } from './config-traces.ts';
import { isEsdbUrl, parseEsdbUrl, type EventStoreDBServer } from './esdb-url.ts';
import {
  ConfigError,
  bothOrNeither,
  hasControlCharacter,
  milliseconds,
  openEnv,
  parseUrl,
  quote,
  readChoice,
  readFolder,
  readInteger,
  refuseScheme,
  type Env,
  type Environment,
} from './environment.ts';
import { isSplit, type Roles } from './roles.ts';

export { ConfigError };
export type { EventStoreDBServer };

/** Everything that can be set from outside. The README's table explains the variables that it is read from. */
export interface Config extends ProvidersConfig, SnapshotsConfig {
  /** What this process does. */
  readonly roles: Roles;
  /** Address or host name to listen on. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Where clients reach this server, without a slash at the end; null: derive it from the address listened on. */
  readonly publicUrl: string | null;
  readonly dataDir: string;
  /** Key for hashes and signatures; null: one is made once and kept in `dataDir`. */
  readonly secretKey: string | null;
  /** Credentials of the first client; null: made once and kept in `dataDir`. */
  readonly bootstrap: { readonly appKey: string; readonly appSecret: string } | null;
  readonly eventLog: { readonly kind: 'lmdb'; readonly path: string } | EventStoreDBServer;
  readonly broker: { readonly kind: 'memory' } | RabbitMqServer;
  readonly analytics: EmbeddedAnalytics | ClickhouseServer;
  /** For how long a subscriber that was cut off can resume from its cursor; milliseconds. */
  readonly resumeWindowMs: number;
  /** Messages in flight at once; for push, of each platform. */
  readonly emailConcurrency: number;
  readonly smsConcurrency: number;
  readonly pushConcurrency: number;
  /** What becomes of a delivery that nobody can tell was accepted. */
  readonly doubtPolicy: DoubtPolicy;
  /** Pauses before the second, third … attempt, in milliseconds; after the last one a delivery is dead-lettered. */
  readonly retryScheduleMs: readonly number[];
  readonly logLevel: LogLevel;
  /** Null: nothing is traced. */
  readonly traces: TracesConfig | null;
  /** Whether tools for people, such as GraphiQL, are served. */
  readonly development: boolean;
}

export interface EmbeddedAnalytics {
  readonly kind: 'chdb';
  readonly path: string;
  readonly memoryBytes: number;
}

const DOUBT_POLICIES = ['RESEND', 'HOLD'] as const;
export type DoubtPolicy = (typeof DOUBT_POLICIES)[number];

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The settings of this process. @throws ConfigError */
export function loadConfig(): Config {
  return readConfig(process.env);
}

const EVENT_LOG = { scheme: 'lmdb', others: ', esdb://… or esdb+discover://…', planned: /^(?!)/ };
const ANALYTICS = { scheme: 'chdb', others: ', http://… or https://…', planned: /^(?!)/ };
/** The engine alone takes 300 MB. */
const ANALYTICS_MEMORY_MB = { least: 512, most: 1_048_576, fallback: 1_024 };

const CONCURRENCY = { least: 1, most: 256 } as const;

/** An empty variable counts as absent. @throws ConfigError naming all mistakes at once. */
export function readConfig(environment: Environment): Config {
  const env = openEnv(environment);
  const dataDir = env.get('DATA_DIR') ?? './data';
  const development = env.get('NODE_ENV') !== 'production';
  const roles = readRoles(env);
  const config: Config = {
    roles,
    host: readHost(env),
    port: readInteger(env, 'PORT', { least: 0, most: 65_535, fallback: 4_000 }),
    publicUrl: readPublicUrl(env),
    dataDir,
    secretKey: readSecretKey(env),
    bootstrap: readBootstrap(env),
    eventLog: readEventLog(env, dataDir),
    broker: readBroker(env),
    analytics: readAnalytics(env, dataDir),
    resumeWindowMs: readResumeWindow(env),
    ...readProviders(env, { development, isSplit: isSplit(roles) }),
    ...readSnapshots(env),
    emailConcurrency: readInteger(env, 'EMAIL_CONCURRENCY', { ...CONCURRENCY, fallback: 64 }),
    smsConcurrency: readInteger(env, 'SMS_CONCURRENCY', { ...CONCURRENCY, fallback: 32 }),
    pushConcurrency: readInteger(env, 'PUSH_CONCURRENCY', { ...CONCURRENCY, fallback: 160 }),
    doubtPolicy: readChoice(env, 'DOUBT_POLICY', DOUBT_POLICIES, 'RESEND'),
    retryScheduleMs: readRetrySchedule(env),
    logLevel: readChoice(env, 'LOG_LEVEL', LOG_LEVELS, 'info'),
    traces: readTraces(env),
    development,
  };
  checkRoles(env, roles, config);
  if (env.problems.length > 0) throw new ConfigError(env.problems);
  return config;
}

function readHost(env: Env): string {
  const host = env.get('HOST') ?? '127.0.0.1';
  if (isIP(host) === 0 && !/^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(host)) {
    env.refuse('HOST', `is ${quote(host)}; allowed is an IP address (IPv6 without brackets) or a host name`);
  }
  return host;
}

function readPublicUrl(env: Env): string | null {
  const text = env.get('PUBLIC_URL');
  if (text === undefined) return null;
  const url = parseUrl(text);
  if (url && /^https?:$/.test(url.protocol) && `${url.username}${url.password}${url.search}${url.hash}` === '') {
    return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
  }
  env.refuse(
    'PUBLIC_URL',
    'is not usable; allowed is http://host[:port][/path] or https://… without user, query or fragment',
  );
  return null;
}

const SECRET_KEY_LENGTH = 32;

function readSecretKey(env: Env): string | null {
  const key = env.get('SECRET_KEY') ?? null;
  if (key !== null && key.length < SECRET_KEY_LENGTH) {
    const length = String(key.length);
    env.refuse('SECRET_KEY', `has ${length} characters; at least ${String(SECRET_KEY_LENGTH)} are needed`);
  }
  return key;
}

function readBootstrap(env: Env): Config['bootstrap'] {
  const appKey = env.get('BOOTSTRAP_APP_KEY');
  const appSecret = env.get('BOOTSTRAP_APP_SECRET');
  // HTTP Basic joins the two with a colon and carries no control characters.
  if (appKey !== undefined && (appKey.includes(':') || hasControlCharacter(appKey))) {
    env.refuse('BOOTSTRAP_APP_KEY', "holds ':' or a control character; any other character is allowed");
  }
  if (appSecret !== undefined && hasControlCharacter(appSecret)) {
    env.refuse('BOOTSTRAP_APP_SECRET', 'holds a control character; any other character is allowed');
  }
  if (!bothOrNeither(env, 'BOOTSTRAP_APP_KEY', 'BOOTSTRAP_APP_SECRET')) return null;
  return appKey === undefined || appSecret === undefined ? null : { appKey, appSecret };
}

function readEventLog(env: Env, dataDir: string): Config['eventLog'] {
  const url = env.get('EVENT_LOG_URL') ?? '';
  if (!isEsdbUrl(url)) {
    return { kind: 'lmdb', path: readFolder(env, 'EVENT_LOG_URL', EVENT_LOG) ?? join(dataDir, 'log') };
  }
  const server = parseEsdbUrl(url);
  if ('kind' in server) return server;
  env.refuse('EVENT_LOG_URL', server.wrong);
  return { kind: 'lmdb', path: join(dataDir, 'log') };
}

function readBroker(env: Env): Config['broker'] {
  const url = env.get('BROKER_URL') ?? 'memory:';
  const prefix = env.get('BROKER_PREFIX') ?? 'heliograph.';
  if (!isQueuePrefix(prefix)) {
    const allowed = 'allowed are up to 64 letters, digits, dots, hyphens and underscores, not amq. at the start';
    env.refuse('BROKER_PREFIX', `is ${quote(prefix)}; ${allowed}`);
  }
  if (isAmqpUrl(url)) {
    const fault = faultOfAmqpUrl(url);
    if (fault !== null) env.refuse('BROKER_URL', fault);
    return { kind: 'amqp', url, prefix };
  }
  const allowed = 'memory:, amqp://… or amqps://…';
  if (url !== 'memory:') refuseScheme(env, 'BROKER_URL', { url, allowed, planned: /^(?!)/ });
  return { kind: 'memory' };
}

function readAnalytics(env: Env, dataDir: string): Config['analytics'] {
  const memoryBytes = readInteger(env, 'ANALYTICS_MEMORY_MB', ANALYTICS_MEMORY_MB) * 2 ** 20;
  const url = env.get('ANALYTICS_URL') ?? '';
  const isServer = isClickhouseUrl(url);
  const cluster = readCluster(env, isServer);
  if (!isServer) {
    const path = readFolder(env, 'ANALYTICS_URL', ANALYTICS) ?? join(dataDir, 'analytics');
    return { kind: 'chdb', path, memoryBytes };
  }
  const server = parseClickhouseUrl(url);
  if ('kind' in server) return { ...server, cluster };
  env.refuse('ANALYTICS_URL', server.wrong);
  return { kind: 'chdb', path: join(dataDir, 'analytics'), memoryBytes };
}

function readCluster(env: Env, isServer: boolean): string | null {
  const cluster = env.get('ANALYTICS_CLUSTER') ?? null;
  if (cluster === null) return null;
  if (!isServer) env.refuse('ANALYTICS_CLUSTER', 'is given without a server; it belongs to ANALYTICS_URL=http[s]://…');
  if (!isClusterName(cluster)) {
    const allowed = 'allowed are up to 64 letters, digits, dots, hyphens and underscores, as in system.clusters';
    env.refuse('ANALYTICS_CLUSTER', `is ${quote(cluster)}; ${allowed}`);
  }
  return cluster;
}

/** As long as the streams of notifications are meant to be kept. */
const LONGEST_RESUME_MS = 90 * 86_400_000;

function readResumeWindow(env: Env): number {
  const text = env.get('RESUME_WINDOW') ?? '72h';
  const value = milliseconds(text, LONGEST_RESUME_MS);
  if (Number.isNaN(value)) {
    env.refuse('RESUME_WINDOW', `is ${quote(text)}; allowed is a duration from 100ms to 2160h, such as 72h`);
  }
  return value;
}

const LONGEST_SCHEDULE = 20;

function readRetrySchedule(env: Env): readonly number[] {
  const text = env.get('RETRY_SCHEDULE') ?? '30s,2m,10m';
  const entries = text === 'none' ? [] : text.split(',').map((entry) => entry.trim());
  const wrong = entries.find((entry) => Number.isNaN(milliseconds(entry)));
  const allowed = `allowed are up to ${String(LONGEST_SCHEDULE)} durations from 100ms to 24h, such as 30s,2m,10m, or none`;
  if (wrong !== undefined) env.refuse('RETRY_SCHEDULE', `has the entry ${quote(wrong)}; ${allowed}`);
  if (entries.length > LONGEST_SCHEDULE)
    env.refuse('RETRY_SCHEDULE', `has ${String(entries.length)} entries; ${allowed}`);
  return entries.map((entry) => milliseconds(entry));
}
