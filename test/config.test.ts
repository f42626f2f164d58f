import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.ts';
import type { Environment } from '../src/environment.ts';
import { ALL_ROLES } from '../src/roles.ts';
import { adaptersLine } from '../src/welcome.ts';
import { withTempDir } from './support/temp-dir.ts';
import { problems } from './support/config-problems.ts';

const SMTP_FROM = 'Heliograph <no-reply@example.org>';
const SMTP = { SMTP_URL: 'smtp://host', SMTP_FROM };

const TWILIO = {
  TWILIO_ACCOUNT_SID: `AC${'0a'.repeat(16)}`,
  TWILIO_AUTH_TOKEN: 'f1'.repeat(16),
  TWILIO_FROM: '+12025550123',
};
const { TWILIO_FROM: _from, ...TWILIO_LOGIN } = TWILIO;
const TWILIO_MESSAGING_SERVICE_SID = `MG${'b7'.repeat(16)}`;

const PRIVATE_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
});
const EC_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
const ACCOUNT = {
  type: 'service_account',
  project_id: 'shop-1f2e3',
  private_key_id: '0a1b',
  private_key: PRIVATE_KEY,
  client_email: 'firebase-adminsdk-x@shop-1f2e3.iam.gserviceaccount.com',
};
const SERVICE_ACCOUNT = {
  projectId: 'shop-1f2e3',
  clientEmail: 'firebase-adminsdk-x@shop-1f2e3.iam.gserviceaccount.com',
  privateKey: PRIVATE_KEY,
};

/** The JSON of a service account, changed; undefined leaves a field out. */
function account(changes: Readonly<Record<string, unknown>> = {}): Environment {
  return { FIREBASE_SERVICE_ACCOUNT: JSON.stringify({ ...ACCOUNT, ...changes }) };
}

describe('an empty environment', () => {
  it('gives the embedded mode', () => {
    expect(readConfig({})).toEqual({
      roles: ALL_ROLES,
      host: '127.0.0.1',
      port: 4000,
      publicUrl: null,
      dataDir: './data',
      secretKey: null,
      bootstrap: null,
      eventLog: { kind: 'lmdb', path: 'data/log' },
      broker: { kind: 'memory' },
      analytics: { kind: 'chdb', path: 'data/analytics', memoryBytes: 2 ** 30 },
      resumeWindowMs: 259_200_000,
      snapshotDir: null,
      snapshotEveryMs: 900_000,
      email: { kind: 'sandbox' },
      sms: { kind: 'sandbox' },
      push: { kind: 'sandbox' },
      emailConcurrency: 64,
      smsConcurrency: 32,
      pushConcurrency: 160,
      doubtPolicy: 'RESEND',
      retryScheduleMs: [30_000, 120_000, 600_000],
      logLevel: 'info',
      traces: null,
      development: true,
    });
  });

  it('is what empty variables count as', () => {
    const names = ['HOST', 'PORT', 'PUBLIC_URL', 'DATA_DIR', 'SECRET_KEY', 'BOOTSTRAP_APP_KEY', 'BOOTSTRAP_APP_SECRET'];
    const more = [
      'EVENT_LOG_URL',
      'BROKER_URL',
      'BROKER_PREFIX',
      'DOUBT_POLICY',
      'RETRY_SCHEDULE',
      'LOG_LEVEL',
      'NODE_ENV',
      'ROLES',
    ];
    const analytics = ['ANALYTICS_URL', 'ANALYTICS_CLUSTER', 'ANALYTICS_MEMORY_MB', 'RESUME_WINDOW'];
    const snapshots = ['SNAPSHOT_DIR', 'SNAPSHOT_EVERY'];
    const email = ['SMTP_URL', 'SMTP_FROM', 'EMAIL_CONCURRENCY'];
    const sms = [...Object.keys(TWILIO), 'TWILIO_MESSAGING_SERVICE_SID', 'SMS_CONCURRENCY'];
    const push = ['GOOGLE_APPLICATION_CREDENTIALS', 'FIREBASE_SERVICE_ACCOUNT', 'PUSH_CONCURRENCY'];
    const all = [...names, ...more, ...analytics, ...snapshots, ...email, ...sms, ...push];
    expect(readConfig(Object.fromEntries(all.map((name) => [name, ''])))).toEqual(readConfig({}));
  });
});

describe('a RabbitMQ server', () => {
  it('is taken as given, with a prefix for the names of its queues', () => {
    const url = 'amqps://user:p%40ss@rabbit.example.org:5671/%2Fnotify';
    expect(readConfig({ BROKER_URL: url }).broker).toEqual({ kind: 'amqp', url, prefix: 'heliograph.' });
    expect(readConfig({ BROKER_URL: 'amqp://[::1]:5672' }).broker).toMatchObject({ url: 'amqp://[::1]:5672' });
    const other = { BROKER_URL: 'amqp://localhost', BROKER_PREFIX: 'stage-2.' };
    expect(readConfig(other).broker).toEqual({ kind: 'amqp', url: 'amqp://localhost', prefix: 'stage-2.' });
  });
});

describe('a ClickHouse server', () => {
  it('is taken apart, alone or as one of a cluster', () => {
    const server = { kind: 'clickhouse', username: 'writer', password: 'p@ss', database: 'notify', cluster: null };
    const url = 'https://writer:p%40ss@clickhouse.example.org/notify';
    const expected = { ...server, url: 'https://clickhouse.example.org:8443' };
    expect(readConfig({ ANALYTICS_URL: url }).analytics).toEqual(expected);
    expect(readConfig({ ANALYTICS_URL: url, ANALYTICS_CLUSTER: 'eu-1' }).analytics).toEqual({
      ...expected,
      cluster: 'eu-1',
    });
  });
});

describe('the line that says what it stands on', () => {
  const line = (env: Environment): string => adaptersLine(readConfig(env));

  it('names what is embedded', () => {
    expect(line({})).toBe('event log: embedded · queues: embedded · figures: embedded ClickHouse');
  });

  it('names servers by host and port, and shows no credentials', () => {
    const env = {
      EVENT_LOG_URL: 'esdb://admin:hunter2@events.example.org',
      BROKER_URL: 'amqp://guest:hunter2@rabbit.example.org/notify',
      ANALYTICS_URL: 'https://writer:hunter2@clickhouse.example.org/notify',
    };
    expect(line(env)).toBe(
      'event log: EventStoreDB at events.example.org:2113 · queues: RabbitMQ at rabbit.example.org:5672 · ' +
        'figures: ClickHouse at clickhouse.example.org:8443',
    );
  });

  it('names every node, and IPv6 addresses in brackets', () => {
    const text = line({
      EVENT_LOG_URL: 'esdb://a:1,[::1]:2',
      BROKER_URL: 'amqps://[::1]',
      ANALYTICS_URL: 'http://[::1]',
    });
    expect(text).toContain('EventStoreDB at a:1, [::1]:2 ·');
    expect(text).toContain('RabbitMQ at [::1]:5671 ·');
    expect(text).toMatch(/ClickHouse at \[::1\]:8123$/);
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
      ANALYTICS_URL: 'chdb:/fast/analytics',
      ANALYTICS_MEMORY_MB: '512',
      RESUME_WINDOW: '2160h',
      SNAPSHOT_DIR: '/mnt/snapshots',
      SNAPSHOT_EVERY: '10m',
      SMTP_URL: 'smtps://user%40example.org:p%3Ass@smtp.example.org:465',
      SMTP_FROM,
      ...TWILIO,
      ...account(),
      EMAIL_CONCURRENCY: '256',
      SMS_CONCURRENCY: '1',
      PUSH_CONCURRENCY: '200',
      DOUBT_POLICY: 'HOLD',
      RETRY_SCHEDULE: '100ms, 1s,2m,24h',
      LOG_LEVEL: 'silent',
      NODE_ENV: 'production',
      ROLES: 'all',
    });
    expect(config).toEqual({
      roles: ALL_ROLES,
      host: '::1',
      port: 0,
      publicUrl: 'https://notify.example.org/h',
      dataDir: '/var/lib/heliograph',
      secretKey: 'k'.repeat(32),
      bootstrap: { appKey: 'any key ✓', appSecret: 'any:secret' },
      eventLog: { kind: 'lmdb', path: '/fast/log' },
      broker: { kind: 'memory' },
      analytics: { kind: 'chdb', path: '/fast/analytics', memoryBytes: 2 ** 29 },
      resumeWindowMs: 7_776_000_000,
      snapshotDir: '/mnt/snapshots',
      snapshotEveryMs: 600_000,
      email: { kind: 'smtp', url: 'smtps://user%40example.org:p%3Ass@smtp.example.org:465', from: SMTP_FROM },
      sms: {
        kind: 'twilio',
        accountSid: TWILIO.TWILIO_ACCOUNT_SID,
        authToken: TWILIO.TWILIO_AUTH_TOKEN,
        from: '+12025550123',
        messagingServiceSid: null,
      },
      push: { kind: 'fcm', serviceAccount: SERVICE_ACCOUNT },
      emailConcurrency: 256,
      smsConcurrency: 1,
      traces: null,
      pushConcurrency: 200,
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
    { ANALYTICS_URL: 'chdb:relative/folder' },
    { RESUME_WINDOW: '15m' },
    { HOST: '0.0.0.0' },
    { HOST: 'localhost' },
    { PUBLIC_URL: 'http://10.0.0.1:8080' },
    { ...TWILIO_LOGIN, TWILIO_MESSAGING_SERVICE_SID },
    { ...TWILIO, TWILIO_FROM: '12345' },
    { ...TWILIO, TWILIO_FROM: 'Shop & Co-1' },
    { ...TWILIO, TWILIO_AUTH_TOKEN: 'another-kind:of_token' },
  ])('may hold %j', (env) => {
    expect(problems(env)).toEqual([]);
  });

  it('may switch retries off', () => {
    expect(readConfig({ RETRY_SCHEDULE: 'none' }).retryScheduleMs).toEqual([]);
  });

  it('derives the place of the log from DATA_DIR', () => {
    expect(readConfig({ DATA_DIR: '/srv/h' }).eventLog).toEqual({ kind: 'lmdb', path: '/srv/h/log' });
  });
});

describe('a channel without credentials', () => {
  const kinds = (env: Environment): readonly string[] => {
    const { email, sms, push } = readConfig(env);
    return [email.kind, sms.kind, push.kind];
  };

  it('goes to the sandbox, whatever the others do', () => {
    expect(kinds({ ...TWILIO })).toEqual(['sandbox', 'twilio', 'sandbox']);
    expect(kinds({ ...SMTP, ...account(), NODE_ENV: 'test' })).toEqual(['smtp', 'sandbox', 'fcm']);
  });

  it.each([
    [SMTP, ['smtp', 'off', 'off']],
    [TWILIO, ['off', 'twilio', 'off']],
    [account(), ['off', 'off', 'fcm']],
    [{ ...SMTP, ...TWILIO, ...account() }, ['smtp', 'twilio', 'fcm']],
  ])('is off in production once another has some: %#', (env, expected) => {
    expect(kinds({ ...env, NODE_ENV: 'production' })).toEqual(expected);
  });

  it('goes to the sandbox in production too while nothing at all is configured', () => {
    expect(kinds({ NODE_ENV: 'production' })).toEqual(['sandbox', 'sandbox', 'sandbox']);
  });
});

describe('a service account', () => {
  const fcm = { kind: 'fcm', serviceAccount: SERVICE_ACCOUNT };
  const json = JSON.stringify(ACCOUNT, null, 2);

  it.each([
    ['JSON', json],
    ['base64', Buffer.from(json).toString('base64')],
    ['base64url', Buffer.from(json).toString('base64url')],
    ['base64 in lines', Buffer.from(json).toString('base64').replace(/.{76}/g, '$&\n')],
  ])('may be given as %s', (_form, text) => {
    expect(readConfig({ FIREBASE_SERVICE_ACCOUNT: text }).push).toEqual(fcm);
  });

  it.each([json, `\uFEFF${json}`])('may be given as a file', (text) =>
    withTempDir(async (folder) => {
      const path = join(folder, 'account.json');
      await writeFile(path, text);
      expect(readConfig({ GOOGLE_APPLICATION_CREDENTIALS: path }).push).toEqual(fcm);
    }),
  );

  it.each([{ project_id: 'example.com:shop' }, { universe_domain: 'googleapis.com' }])('may hold %j', (changes) => {
    expect(problems(account(changes))).toEqual([]);
  });

  it.each<[RegExp, Environment]>([
    [/^FIREBASE_SERVICE_ACCOUNT has an unusable type; allowed is the JSON of a/, account({ type: 'authorized_user' })],
    [/^FIREBASE_SERVICE_ACCOUNT lacks project_id, private_key;/, account({ project_id: undefined, private_key: '' })],
    [/^FIREBASE_SERVICE_ACCOUNT has an unusable project_id;/, account({ project_id: 'a/b' })],
    [/^FIREBASE_SERVICE_ACCOUNT lacks client_email;/, account({ client_email: 7 })],
    [/^FIREBASE_SERVICE_ACCOUNT has an unusable private_key;/, account({ private_key: EC_KEY })],
    [/^FIREBASE_SERVICE_ACCOUNT has an unusable private_key;/, account({ private_key: PRIVATE_KEY.slice(0, 900) })],
    [/^FIREBASE_SERVICE_ACCOUNT lacks type, project_id, client_email,/, { FIREBASE_SERVICE_ACCOUNT: '[]' }],
    [/^FIREBASE_SERVICE_ACCOUNT is neither JSON nor the base64/, { FIREBASE_SERVICE_ACCOUNT: './account.json' }],
    [/^FIREBASE_SERVICE_ACCOUNT is neither JSON nor/, { FIREBASE_SERVICE_ACCOUNT: 'null' }],
    [
      /^GOOGLE_APPLICATION_CREDENTIALS holds JSON; .*, and FIREBASE_SERVICE_ACCOUNT takes the JSON itself/,
      { GOOGLE_APPLICATION_CREDENTIALS: JSON.stringify(ACCOUNT) },
    ],
    [
      /^GOOGLE_APPLICATION_CREDENTIALS and FIREBASE_SERVICE_ACCOUNT are both given; allowed is one of them/,
      { GOOGLE_APPLICATION_CREDENTIALS: './account.json', ...account() },
    ],
  ])('that cannot be used gives %s, and nothing else', (message, env) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it.each([
    ['no JSON: hunter2', /names a file that is no JSON; allowed is the JSON of a Google service account/],
    ['{"type":"authorized_user","refresh_token":"hunter2"}', /lacks project_id, client_email, private_key and has an/],
    [JSON.stringify({ ...ACCOUNT, private_key: 'hunter2' }), /has an unusable private_key;/],
  ])('in a file that is not one is named without any of its content: %#', (text, message) =>
    withTempDir(async (folder) => {
      const path = join(folder, 'account.json');
      await writeFile(path, text);
      const found = problems({ GOOGLE_APPLICATION_CREDENTIALS: path });
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(/^GOOGLE_APPLICATION_CREDENTIALS /);
      expect(found[0]).toMatch(message);
      expect(found[0]).not.toContain('hunter2');
    }),
  );

  it('in a file that cannot be read is told by the code of the error', () =>
    withTempDir((folder) => {
      const nowhere = problems({ GOOGLE_APPLICATION_CREDENTIALS: join(folder, 'hunter2') });
      expect(nowhere).toEqual([expect.stringMatching(/^GOOGLE_APPLICATION_CREDENTIALS .*cannot be read \(ENOENT\);/)]);
      expect(nowhere.join()).not.toContain('hunter2');
      expect(problems({ GOOGLE_APPLICATION_CREDENTIALS: folder })).toEqual([expect.stringContaining('(EISDIR)')]);
      return Promise.resolve();
    }));
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
    [{ EVENT_LOG_URL: 'postgres://host' }, /^EVENT_LOG_URL .*postgres:; allowed is lmdb:<folder>/],
    [{ EVENT_LOG_URL: './log' }, /^EVENT_LOG_URL has no scheme; allowed is lmdb:/],
    [{ EVENT_LOG_URL: 'lmdb:' }, /^EVENT_LOG_URL names no folder/],
    [{ ANALYTICS_URL: 'https://host:8443/a/b' }, /^ANALYTICS_URL names a database .*; allowed is http/],
    [
      { ANALYTICS_URL: 'postgres://host' },
      /^ANALYTICS_URL .*postgres:; allowed is chdb:<folder>, http:\/\/… or https:/,
    ],
    [{ ANALYTICS_CLUSTER: 'notify' }, /^ANALYTICS_CLUSTER is given without a server; it belongs to ANALYTICS_URL=http/],
    [{ ANALYTICS_URL: 'http://host', ANALYTICS_CLUSTER: 'a b' }, /^ANALYTICS_CLUSTER is "a b"; allowed are up to 64/],
    [{ ANALYTICS_URL: 'chdb:' }, /^ANALYTICS_URL names no folder/],
    [{ ANALYTICS_MEMORY_MB: '511' }, /^ANALYTICS_MEMORY_MB .*from 512 to/],
    [{ RESUME_WINDOW: '2161h' }, /^RESUME_WINDOW is "2161h"; allowed is a duration from 100ms to 2160h/],
    [{ RESUME_WINDOW: 'a day' }, /^RESUME_WINDOW/],
    [{ SNAPSHOT_EVERY: '25h' }, /^SNAPSHOT_EVERY is "25h"; allowed is a duration from 100ms to 24h, such as 15m/],
    [{ BROKER_URL: 'amqps://' }, /^BROKER_URL is not usable; allowed is amqp:/],
    [{ BROKER_URL: 'amqp://::1:5672' }, /^BROKER_URL is not usable; allowed is amqp:/],
    [{ BROKER_URL: 'amqp://host/a/b' }, /^BROKER_URL .*%2F/],
    [{ BROKER_URL: 'amqp://u:%zz@host' }, /^BROKER_URL .*%25/],
    [{ BROKER_URL: 'amqp://host?heartbeat=0' }, /^BROKER_URL has a query/],
    [{ BROKER_URL: 'kafka://host' }, /^BROKER_URL .*kafka:; allowed is memory:, amqp:/],
    [{ BROKER_PREFIX: 'amq.mine' }, /^BROKER_PREFIX is "amq.mine"; allowed are/],
    [{ BROKER_PREFIX: 'a b' }, /^BROKER_PREFIX/],
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
    [{ SMS_CONCURRENCY: '0' }, /^SMS_CONCURRENCY is "0"; allowed is a whole number from 1 to 256/],
    [{ PUSH_CONCURRENCY: '257' }, /^PUSH_CONCURRENCY/],
    [
      { ...TWILIO, TWILIO_ACCOUNT_SID: '' },
      /^TWILIO_ACCOUNT_SID is missing; TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and/,
    ],
    [{ ...TWILIO, TWILIO_AUTH_TOKEN: '' }, /^TWILIO_AUTH_TOKEN is missing; /],
    [TWILIO_LOGIN, /^TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID is missing; .* together or not at all/],
    [{ ...TWILIO, TWILIO_MESSAGING_SERVICE_SID }, /^TWILIO_FROM and TWILIO_MESSAGING_SERVICE_SID are both given/],
    [
      { ...TWILIO, TWILIO_ACCOUNT_SID: `SK${'0'.repeat(32)}` },
      /^TWILIO_ACCOUNT_SID is not usable; allowed is AC and 32/,
    ],
    [{ ...TWILIO, TWILIO_ACCOUNT_SID: `AC${'0'.repeat(33)}` }, /^TWILIO_ACCOUNT_SID/],
    [{ ...TWILIO, TWILIO_ACCOUNT_SID: `AC${'0A'.repeat(16)}` }, /^TWILIO_ACCOUNT_SID .*, in lower case/],
    [
      { ...TWILIO_LOGIN, TWILIO_MESSAGING_SERVICE_SID: `MG${'B7'.repeat(16)}` },
      /^TWILIO_MESSAGING_SERVICE_SID .*, in lower case/,
    ],
    [{ ...TWILIO, TWILIO_AUTH_TOKEN: 'f'.repeat(15) }, /^TWILIO_AUTH_TOKEN is not usable; allowed is 16 or more/],
    [{ ...TWILIO, TWILIO_AUTH_TOKEN: `${'f'.repeat(32)}\n` }, /^TWILIO_AUTH_TOKEN/],
    [{ ...TWILIO_LOGIN, TWILIO_MESSAGING_SERVICE_SID: 'MG1' }, /^TWILIO_MESSAGING_SERVICE_SID is not usable/],
    [{ ...TWILIO, TWILIO_FROM: '0151 1234567' }, /^TWILIO_FROM is not usable; allowed is a number in E\.164 form/],
    [{ ...TWILIO, TWILIO_FROM: '+0123456789' }, /^TWILIO_FROM/],
    [{ ...TWILIO, TWILIO_FROM: '12' }, /^TWILIO_FROM/],
    [{ ...TWILIO, TWILIO_FROM: '123456789' }, /^TWILIO_FROM/],
    [{ ...TWILIO, TWILIO_FROM: 'Twelve chars' }, /^TWILIO_FROM/],
    [{ ...TWILIO, TWILIO_FROM: 'Café' }, /^TWILIO_FROM/],
    [{ ...TWILIO, TWILIO_FROM: 'whatsapp:+1' }, /^TWILIO_FROM/],
    [{ DOUBT_POLICY: 'resend' }, /^DOUBT_POLICY is "resend"; allowed are RESEND, HOLD\.$/],
    [{ RETRY_SCHEDULE: '30s,2 m' }, /^RETRY_SCHEDULE has the entry "2 m"; allowed are/],
    [{ RETRY_SCHEDULE: '99ms' }, /^RETRY_SCHEDULE/],
    [{ RETRY_SCHEDULE: '25h' }, /^RETRY_SCHEDULE/],
    [{ RETRY_SCHEDULE: '1s,' }, /^RETRY_SCHEDULE has the entry ""/],
    [{ RETRY_SCHEDULE: Array.from({ length: 21 }, () => '1s').join() }, /^RETRY_SCHEDULE has 21 entries/],
    [{ LOG_LEVEL: 'loud' }, /^LOG_LEVEL is "loud"; allowed are trace, debug, info, warn, error, fatal, silent/],
    [
      { ROLES: 'api,router' },
      /^ROLES is "api,router"; allowed are all, or some of api,route,dispatch,analytics,sender:email/,
    ],
    [{ ROLES: 'all,api' }, /^ROLES is "all,api"/],
    [{ ROLES: 'api,' }, /^ROLES is "api,"/],
  ])('in %j is named, and is the only one', (env, message) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it('does not hide the others', () => {
    const env = {
      PORT: 'x',
      SECRET_KEY: 'short',
      BROKER_URL: 'amqp://h?x',
      SMTP_FROM: 'a@b.org',
      TWILIO_FROM: 'Shop',
      ...account({ private_key: '' }),
      LOG_LEVEL: 'x',
      ROLES: 'everything',
    };
    const found = problems(env).map((problem) => problem.split(' ')[0]);
    const others = ['BROKER_URL', 'LOG_LEVEL', 'PORT', 'ROLES', 'SECRET_KEY', 'SMTP_URL'];
    const providers = ['FIREBASE_SERVICE_ACCOUNT', 'TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN'];
    expect(found.toSorted()).toEqual([...others, ...providers].toSorted());
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
      EVENT_LOG_URL: 'esdb://admin:hunter2@host?nodePreference=follower',
      BROKER_URL: 'amqp://guest:hunter2@host/a/b',
      ANALYTICS_URL: 'https://default:hunter2@host?secure',
      PUBLIC_URL: 'https://u:hunter2@host',
      TWILIO_ACCOUNT_SID: 'hunter2',
      TWILIO_AUTH_TOKEN: 'hunter2',
      TWILIO_FROM: 'hunter2 hunter2',
    };
    const found = problems(env);
    expect(found).toHaveLength(11);
    expect(found.join('\n')).not.toContain('hunter2');
  });

  it.each<Environment>([
    account({ type: 'hunter2', project_id: 'hunter2/', client_email: 'hunter2', private_key: 'hunter2' }),
    { FIREBASE_SERVICE_ACCOUNT: 'hunter2' },
    { FIREBASE_SERVICE_ACCOUNT: '{"hunter2"' },
    { GOOGLE_APPLICATION_CREDENTIALS: 'hunter2' },
    { GOOGLE_APPLICATION_CREDENTIALS: '{"private_key":"hunter2"}' },
    { GOOGLE_APPLICATION_CREDENTIALS: '{"private_key":"hunter2"}', FIREBASE_SERVICE_ACCOUNT: 'hunter2' },
  ])('never shows anything of a service account: %#', (env) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found.join('\n')).not.toContain('hunter2');
  });
});

describe('Traces', () => {
  const URL = 'OTEL_EXPORTER_OTLP_ENDPOINT';

  it('are off unless there is an endpoint', () => {
    expect(readConfig({}).traces).toBeNull();
    expect(readConfig({ OTEL_SERVICE_NAME: 'x', OTEL_EXPORTER_OTLP_HEADERS: 'a=b' }).traces).toBeNull();
  });

  it('go where OpenTelemetry says', () => {
    expect(readConfig({ [URL]: 'http://collector:4318' }).traces).toEqual({
      url: 'http://collector:4318/v1/traces',
      headers: {},
      serviceName: 'heliograph',
      ratio: 1,
    });
    const env = {
      [URL]: 'http://collector:4318/base/',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://other/traces?x=1',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20abc==, x-tenant = one',
      OTEL_SERVICE_NAME: 'mine',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
    };
    expect(readConfig(env).traces).toEqual({
      url: 'https://other/traces?x=1',
      headers: { authorization: 'Basic abc==', 'x-tenant': 'one' },
      serviceName: 'mine',
      ratio: 0.25,
    });
    expect(readConfig({ [URL]: 'http://collector/base/' }).traces?.url).toBe('http://collector/base/v1/traces');
  });

  it.each([
    [URL, 'collector:4318'],
    [URL, 'http://user:secret@collector'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'grpc://collector'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'secret'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=b,=secret'],
    ['OTEL_TRACES_SAMPLER_ARG', '2'],
    ['OTEL_TRACES_SAMPLER_ARG', '-1'],
  ])('are refused with %s=%s, and no secret is repeated', (name, value) => {
    const [problem = '', ...others] = problems({ [name]: value });
    expect(problem).toMatch(new RegExp(`^${name} `));
    expect(problem).not.toContain('secret');
    expect(others).toEqual([]);
  });
});
