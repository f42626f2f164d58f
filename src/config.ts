import { isIP } from 'node:net';
import { join } from 'node:path';
import { isEmailAddress } from './events/address.ts';
import {
  ConfigError,
  bothOrNeither,
  hasControlCharacter,
  milliseconds,
  openEnv,
  quote,
  readChoice,
  readInteger,
  refuseScheme,
  type Env,
  type Environment,
} from './environment.ts';

export { ConfigError };

/** Everything that can be set from outside. The README's table explains the variables that it is read from. */
export interface Config {
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
  readonly eventLog: { readonly kind: 'lmdb'; readonly path: string };
  readonly broker: { readonly kind: 'memory' };
  readonly email: EmailConfig;
  /** E-mails in flight at once. */
  readonly emailConcurrency: number;
  /** What becomes of a delivery that nobody can tell was accepted. */
  readonly doubtPolicy: DoubtPolicy;
  /** Pauses before the second, third … attempt, in milliseconds; after the last one a delivery is dead-lettered. */
  readonly retryScheduleMs: readonly number[];
  readonly logLevel: LogLevel;
  /** Whether tools for people, such as GraphiQL, are served. */
  readonly development: boolean;
}

export type EmailConfig =
  | { readonly kind: 'sandbox' }
  /** `url` has the form `smtp[s]://[user:password@]host[:port]`; `from` is an address or `Name <address>`. */
  | { readonly kind: 'smtp'; readonly url: string; readonly from: string };

const DOUBT_POLICIES = ['RESEND', 'HOLD'] as const;
export type DoubtPolicy = (typeof DOUBT_POLICIES)[number];

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The settings of this process. @throws ConfigError */
export function loadConfig(): Config {
  return readConfig(process.env);
}

/** An empty variable counts as absent. @throws ConfigError naming all mistakes at once. */
export function readConfig(environment: Environment): Config {
  const env = openEnv(environment);
  const dataDir = env.get('DATA_DIR') ?? './data';
  readRoles(env);
  const config: Config = {
    host: readHost(env),
    port: readInteger(env, 'PORT', { least: 0, most: 65_535, fallback: 4_000 }),
    publicUrl: readPublicUrl(env),
    dataDir,
    secretKey: readSecretKey(env),
    bootstrap: readBootstrap(env),
    eventLog: { kind: 'lmdb', path: readEventLogPath(env) ?? join(dataDir, 'log') },
    broker: readBroker(env),
    email: readEmail(env),
    emailConcurrency: readInteger(env, 'EMAIL_CONCURRENCY', { least: 1, most: 256, fallback: 64 }),
    doubtPolicy: readChoice(env, 'DOUBT_POLICY', DOUBT_POLICIES, 'RESEND'),
    retryScheduleMs: readRetrySchedule(env),
    logLevel: readChoice(env, 'LOG_LEVEL', LOG_LEVELS, 'info'),
    development: env.get('NODE_ENV') !== 'production',
  };
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

function readEventLogPath(env: Env): string | null {
  const url = env.get('EVENT_LOG_URL');
  if (url === undefined) return null;
  const allowed = 'lmdb:<folder>';
  const path = /^lmdb:(?:\/\/)?(.*)$/s.exec(url)?.[1];
  if (path === '') env.refuse('EVENT_LOG_URL', `names no folder; allowed is ${allowed}`);
  if (path === undefined) refuseScheme(env, 'EVENT_LOG_URL', { url, allowed, planned: /^(esdb|esdb\+discover)$/ });
  return path ?? null;
}

function readBroker(env: Env): Config['broker'] {
  const url = env.get('BROKER_URL') ?? 'memory:';
  if (url !== 'memory:') refuseScheme(env, 'BROKER_URL', { url, allowed: 'memory:', planned: /^amqps?$/ });
  return { kind: 'memory' };
}

function readEmail(env: Env): EmailConfig {
  const url = env.get('SMTP_URL');
  const from = env.get('SMTP_FROM');
  if (url !== undefined) checkSmtpUrl(env, url);
  if (from !== undefined && !isMailbox(from)) {
    env.refuse(
      'SMTP_FROM',
      'is not one e-mail address; allowed are address@example.org and Name <address@example.org>',
    );
  }
  if (!bothOrNeither(env, 'SMTP_URL', 'SMTP_FROM')) return { kind: 'sandbox' };
  return url === undefined || from === undefined ? { kind: 'sandbox' } : { kind: 'smtp', url, from };
}

function checkSmtpUrl(env: Env, text: string): void {
  const url = parseUrl(text);
  const bare = url !== null && /^\/?$/.test(url.pathname) && `${url.search}${url.hash}` === '';
  if (
    !bare ||
    !/^smtps?:$/.test(url.protocol) ||
    url.hostname === '' ||
    !isPercentEncoded(url.username + url.password)
  ) {
    const form = 'smtp://[user:password@]host[:port] or smtps://…';
    env.refuse(
      'SMTP_URL',
      `is not usable; allowed is ${form}, with special characters percent-encoded and nothing behind the port`,
    );
  } else if (url.username !== '' && url.password === '')
    env.refuse('SMTP_URL', 'has a user, but its password is missing');
  else if (url.username === '' && url.password !== '')
    env.refuse('SMTP_URL', 'has a password, but its user is missing');
}

const ADDRESS = String.raw`[^\s@<>()[\]\\,;:"]+@[^\s@<>()[\]\\,;:"]+`;
const MAILBOX = new RegExp(String.raw`^(?:${ADDRESS}|(?:[^@<>()[\]\\,;:"]*|"[^"\\]*") ?<${ADDRESS}>)$`);

function isMailbox(text: string): boolean {
  const address = /<([^<>]*)>$/.exec(text)?.[1] ?? text;
  return !hasControlCharacter(text) && MAILBOX.test(text) && isEmailAddress(address);
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
  return entries.map(milliseconds);
}

function readRoles(env: Env): void {
  const roles = env.get('ROLES') ?? 'all';
  if (roles === 'all') return;
  env.refuse(
    'ROLES',
    `is ${quote(roles)}; the embedded event log and broker serve one process only, so allowed is all`,
  );
}

function isPercentEncoded(text: string): boolean {
  try {
    return !hasControlCharacter(decodeURIComponent(text));
  } catch {
    return false;
  }
}

function parseUrl(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}
