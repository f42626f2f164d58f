import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../src/config.ts';
import type { Environment } from '../src/environment.ts';

/** What the refusal of `env` lists, a line each; empty when it is accepted. */
function problems(env: Environment): readonly string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

const SMTP_FROM = 'Heliograph <no-reply@example.org>';

describe('an empty environment', () => {
  it('gives the embedded mode', () => {
    expect(readConfig({})).toEqual({
      host: '127.0.0.1',
      port: 4000,
      publicUrl: null,
      dataDir: './data',
      secretKey: null,
      bootstrap: null,
      eventLog: { kind: 'lmdb', path: 'data/log' },
      broker: { kind: 'memory' },
      email: { kind: 'sandbox' },
      emailConcurrency: 64,
      doubtPolicy: 'RESEND',
      retryScheduleMs: [30_000, 120_000, 600_000],
      logLevel: 'info',
      development: true,
    });
  });

  it('is what empty variables count as', () => {
    const names = ['HOST', 'PORT', 'PUBLIC_URL', 'DATA_DIR', 'SECRET_KEY', 'BOOTSTRAP_APP_KEY', 'BOOTSTRAP_APP_SECRET'];
    const more = ['EVENT_LOG_URL', 'BROKER_URL', 'SMTP_URL', 'SMTP_FROM', 'EMAIL_CONCURRENCY', 'DOUBT_POLICY'];
    const all = [...names, ...more, 'RETRY_SCHEDULE', 'LOG_LEVEL', 'NODE_ENV', 'ROLES'];
    expect(readConfig(Object.fromEntries(all.map((name) => [name, ''])))).toEqual(readConfig({}));
  });
});

describe('a full environment', () => {
  it('is taken as given', () => {
    const config = readConfig({
      HOST: '::1',
      PORT: '0',
      PUBLIC_URL: 'https://notify.example.org/h/',
      DATA_DIR: '/var/lib/heliograph',
      SECRET_KEY: 'k'.repeat(32),
      BOOTSTRAP_APP_KEY: 'any key ✓',
      BOOTSTRAP_APP_SECRET: 'any:secret',
      EVENT_LOG_URL: 'lmdb:/fast/log',
      BROKER_URL: 'memory:',
      SMTP_URL: 'smtps://user%40example.org:p%3Ass@smtp.example.org:465',
      SMTP_FROM,
      EMAIL_CONCURRENCY: '256',
      DOUBT_POLICY: 'HOLD',
      RETRY_SCHEDULE: '100ms, 1s,2m,24h',
      LOG_LEVEL: 'silent',
      NODE_ENV: 'production',
      ROLES: 'all',
    });
    expect(config).toEqual({
      host: '::1',
      port: 0,
      publicUrl: 'https://notify.example.org/h',
      dataDir: '/var/lib/heliograph',
      secretKey: 'k'.repeat(32),
      bootstrap: { appKey: 'any key ✓', appSecret: 'any:secret' },
      eventLog: { kind: 'lmdb', path: '/fast/log' },
      broker: { kind: 'memory' },
      email: { kind: 'smtp', url: 'smtps://user%40example.org:p%3Ass@smtp.example.org:465', from: SMTP_FROM },
      emailConcurrency: 256,
      doubtPolicy: 'HOLD',
      retryScheduleMs: [100, 1_000, 120_000, 86_400_000],
      logLevel: 'silent',
      development: false,
    });
  });

  it.each([
    { RETRY_SCHEDULE: 'none' },
    { SMTP_URL: 'smtp://localhost', SMTP_FROM: 'a@example.org' },
    { SMTP_URL: 'smtp://[::1]:2525/', SMTP_FROM: '"Acme, Inc." <a@example.org>' },
    { SMTP_URL: 'smtp://user:pass@host:587', SMTP_FROM: '<a@example.org>' },
    { EVENT_LOG_URL: 'lmdb:///abs/log' },
    { HOST: '0.0.0.0' },
    { HOST: 'localhost' },
    { PUBLIC_URL: 'http://10.0.0.1:8080' },
  ])('may hold %j', (env) => {
    expect(problems(env)).toEqual([]);
  });

  it('may switch retries off', () => {
    expect(readConfig({ RETRY_SCHEDULE: 'none' }).retryScheduleMs).toEqual([]);
  });

  it('derives the place of the log from DATA_DIR', () => {
    expect(readConfig({ DATA_DIR: '/srv/h' }).eventLog.path).toBe('/srv/h/log');
  });
});

describe('a mistake', () => {
  it.each<[Environment, RegExp]>([
    [{ HOST: 'a b' }, /^HOST is "a b"; allowed is an IP address/],
    [{ HOST: '[::1]' }, /^HOST .*without brackets/],
    [{ PORT: '65536' }, /^PORT is "65536"; allowed is a whole number from 0 to 65535\.$/],
    [{ PORT: '-1' }, /^PORT/],
    [{ PORT: '4000.5' }, /^PORT/],
    [{ PORT: ' 4000' }, /^PORT/],
    [{ PORT: '0x10' }, /^PORT/],
    [{ PUBLIC_URL: 'ftp://example.org' }, /^PUBLIC_URL .*http:\/\/host/],
    [{ PUBLIC_URL: 'example.org' }, /^PUBLIC_URL/],
    [{ PUBLIC_URL: 'https://u:p@example.org' }, /^PUBLIC_URL/],
    [{ PUBLIC_URL: 'https://example.org/?a=b' }, /^PUBLIC_URL/],
    [{ SECRET_KEY: 'k'.repeat(31) }, /^SECRET_KEY has 31 characters; at least 32/],
    [{ BOOTSTRAP_APP_KEY: 'k' }, /^BOOTSTRAP_APP_SECRET is missing; BOOTSTRAP_APP_KEY and BOOTSTRAP_APP_SECRET/],
    [{ BOOTSTRAP_APP_SECRET: 's' }, /^BOOTSTRAP_APP_KEY is missing/],
    [{ BOOTSTRAP_APP_KEY: 'a:b', BOOTSTRAP_APP_SECRET: 's' }, /^BOOTSTRAP_APP_KEY holds ':'/],
    [{ BOOTSTRAP_APP_KEY: 'a\nb', BOOTSTRAP_APP_SECRET: 's' }, /^BOOTSTRAP_APP_KEY/],
    [{ BOOTSTRAP_APP_KEY: 'a', BOOTSTRAP_APP_SECRET: 's\u007F' }, /^BOOTSTRAP_APP_SECRET/],
    [{ EVENT_LOG_URL: 'esdb://host:2113' }, /^EVENT_LOG_URL .*esdb:, which is not yet supported in this version/],
    [{ EVENT_LOG_URL: 'postgres://host' }, /^EVENT_LOG_URL .*postgres:; allowed is lmdb:<folder>/],
    [{ EVENT_LOG_URL: './log' }, /^EVENT_LOG_URL has no scheme; allowed is lmdb:/],
    [{ EVENT_LOG_URL: 'lmdb:' }, /^EVENT_LOG_URL names no folder/],
    [{ BROKER_URL: 'amqps://host' }, /^BROKER_URL .*amqps:, which is not yet supported/],
    [{ BROKER_URL: 'kafka://host' }, /^BROKER_URL .*kafka:; allowed is memory:/],
    [{ BROKER_URL: 'memory:x' }, /^BROKER_URL .*allowed is memory:/],
    [{ SMTP_FROM }, /^SMTP_URL is missing; SMTP_URL and SMTP_FROM are given together or not at all/],
    [{ SMTP_URL: 'smtp://host' }, /^SMTP_FROM is missing/],
    [{ SMTP_URL: 'smtp://user@host', SMTP_FROM }, /^SMTP_URL has a user, but its password is missing/],
    [{ SMTP_URL: 'smtp://:pass@host', SMTP_FROM }, /^SMTP_URL has a password, but its user is missing/],
    [{ SMTP_URL: 'http://host', SMTP_FROM }, /^SMTP_URL is not usable; allowed is smtp:\/\//],
    [{ SMTP_URL: 'smtp://', SMTP_FROM }, /^SMTP_URL/],
    [{ SMTP_URL: 'smtp://host', SMTP_FROM: 'a..b@example.org' }, /^SMTP_FROM is not one e-mail address/],
    [{ SMTP_URL: 'host:25', SMTP_FROM }, /^SMTP_URL/],
    [{ SMTP_URL: 'smtp://host:99999', SMTP_FROM }, /^SMTP_URL/],
    [{ SMTP_URL: 'smtp://u:%zz@host', SMTP_FROM }, /^SMTP_URL/],
    [{ SMTP_URL: 'smtp://u:%0d%0a@host', SMTP_FROM }, /^SMTP_URL/],
    [{ SMTP_URL: 'smtp://host/?logger=true', SMTP_FROM }, /^SMTP_URL/],
    [{ SMTP_URL: 'smtp://host', SMTP_FROM: 'nobody' }, /^SMTP_FROM is not one e-mail address/],
    [{ SMTP_URL: 'smtp://host', SMTP_FROM: 'a@x.org, b@x.org' }, /^SMTP_FROM/],
    [{ SMTP_URL: 'smtp://host', SMTP_FROM: 'A <a@x.org>, B <b@x.org>' }, /^SMTP_FROM/],
    [{ SMTP_URL: 'smtp://host', SMTP_FROM: 'A <a@x.org>\r\nBcc: b@x.org' }, /^SMTP_FROM/],
    [{ EMAIL_CONCURRENCY: '0' }, /^EMAIL_CONCURRENCY is "0"; allowed is a whole number from 1 to 256/],
    [{ EMAIL_CONCURRENCY: '257' }, /^EMAIL_CONCURRENCY/],
    [{ DOUBT_POLICY: 'resend' }, /^DOUBT_POLICY is "resend"; allowed are RESEND, HOLD\.$/],
    [{ RETRY_SCHEDULE: '30s,2 m' }, /^RETRY_SCHEDULE has the entry "2 m"; allowed are/],
    [{ RETRY_SCHEDULE: '99ms' }, /^RETRY_SCHEDULE/],
    [{ RETRY_SCHEDULE: '25h' }, /^RETRY_SCHEDULE/],
    [{ RETRY_SCHEDULE: '1s,' }, /^RETRY_SCHEDULE has the entry ""/],
    [{ RETRY_SCHEDULE: Array.from({ length: 21 }, () => '1s').join() }, /^RETRY_SCHEDULE has 21 entries/],
    [{ LOG_LEVEL: 'loud' }, /^LOG_LEVEL is "loud"; allowed are trace, debug, info, warn, error, fatal, silent/],
    [{ ROLES: 'api,route' }, /^ROLES is "api,route"; the embedded event log and broker serve one process only/],
  ])('in %j is named, and is the only one', (env, message) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it('does not hide the others', () => {
    const env = {
      PORT: 'x',
      SECRET_KEY: 'short',
      BROKER_URL: 'amqp://h',
      SMTP_FROM: 'a@b.org',
      LOG_LEVEL: 'x',
      ROLES: 'api',
    };
    const found = problems(env).map((problem) => problem.split(' ')[0]);
    expect(found.toSorted()).toEqual(['BROKER_URL', 'LOG_LEVEL', 'PORT', 'ROLES', 'SECRET_KEY', 'SMTP_URL']);
  });

  it('makes a message with a line for each', () => {
    expect(() => readConfig({ PORT: 'x', LOG_LEVEL: 'y' })).toThrow(
      /cannot be used:\n {2}PORT .*\.\n {2}LOG_LEVEL .*\.$/,
    );
  });

  it('never shows a secret', () => {
    const env = {
      SECRET_KEY: 'hunter2',
      BOOTSTRAP_APP_KEY: 'hunter2:',
      BOOTSTRAP_APP_SECRET: 'hunter2\n',
      SMTP_URL: 'smtp://user:hunter2@host:port',
      SMTP_FROM,
      EVENT_LOG_URL: 'esdb://admin:hunter2@host',
      BROKER_URL: 'amqp://guest:hunter2@host',
      PUBLIC_URL: 'https://u:hunter2@host',
    };
    const found = problems(env);
    expect(found).toHaveLength(7);
    expect(found.join('\n')).not.toContain('hunter2');
  });
});
