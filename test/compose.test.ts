import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { addressOfAmqpUrl } from '../src/amqp-url.ts';
import { readConfig } from '../src/config.ts';
import { ROLES } from '../src/roles.ts';
import type { Environment } from '../src/environment.ts';
import { QUERY_LIMITS } from '../src/ports/analytics/clickhouse-settings.ts';
import {
  bytesOf,
  interpolate,
  isIgnored,
  linesOf,
  parseCompose,
  parseDockerfile,
  parseEnvFile,
  parseXml,
  resolveCompose,
  secondsOf,
  usesIn,
  type ComposeService,
} from './support/compose.ts';
import { problems } from './support/config-problems.ts';

// No Docker runs where the tests run: the files are held against each other and against the code.

const ROOT = new URL('../', import.meta.url);

function textOf(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

const COMPOSE = textOf('docker-compose.yml');
const ENV_EXAMPLE = parseEnvFile(textOf('.env.example'));
const STAGES = parseDockerfile(textOf('Dockerfile'));
const IGNORED = linesOf(new URL('.dockerignore', ROOT));
const PACKAGE = JSON.parse(textOf('package.json')) as {
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly scripts: { readonly start: string };
};

/** What the servers' images listen on as they come. */
const LISTENS: Readonly<Record<string, readonly number[]>> = {
  kurrentdb: [2113],
  rabbitmq: [5672, 15672],
  clickhouse: [8123, 9000],
  mailpit: [1025, 8025],
};

const DATA_FOLDERS: Readonly<Record<string, string>> = {
  kurrentdb: '/var/lib/kurrentdb',
  rabbitmq: '/var/lib/rabbitmq',
  clickhouse: '/var/lib/clickhouse',
  mailpit: '/data',
};

// What a user puts into .env.

const REQUIRED = [
  ...new Set(
    usesIn(COMPOSE)
      .filter(({ required }) => required)
      .map(({ name }) => name),
  ),
];
const SECRETS = Object.fromEntries(REQUIRED.map((name) => [name, randomBytes(32).toString('hex')]));
const FILLED_IN: Environment = {
  ...Object.fromEntries(ENV_EXAMPLE.filter(({ commented }) => !commented).map(({ name, value }) => [name, value])),
  ...SECRETS,
};
const CREDENTIALS: Environment = {
  TWILIO_ACCOUNT_SID: `AC${'0a'.repeat(16)}`,
  TWILIO_AUTH_TOKEN: 'f1'.repeat(16),
  TWILIO_FROM: '+12025550123',
  FIREBASE_SERVICE_ACCOUNT: Buffer.from(
    JSON.stringify({
      type: 'service_account',
      project_id: 'shop-1f2e3',
      client_email: 'sender@shop-1f2e3.iam.gserviceaccount.com',
      private_key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
        type: 'pkcs8',
        format: 'pem',
      }),
    }),
  ).toString('base64'),
};

const RAW = parseCompose(COMPOSE).services;
const { services: SERVICES, volumes: VOLUMES } = resolveCompose(COMPOSE, FILLED_IN);
const OURS = Object.keys(SERVICES).filter((name) => SERVICES[name]?.build !== undefined);
const SERVERS = Object.keys(SERVICES).filter((name) => !OURS.includes(name));

function serviceOf(name: string, variables: Environment = FILLED_IN): ComposeService {
  const service = resolveCompose(COMPOSE, variables).services[name];
  if (service === undefined) throw new Error(`no service ${name}`);
  return service;
}

const [RUN_STAGE = { from: '', name: undefined, instructions: [] }] = STAGES.slice(-1);

function runInstructions(name: string): readonly string[] {
  return RUN_STAGE.instructions.filter((each) => each.name === name).map(({ rest }) => rest);
}

const IMAGE_ENV: Environment = Object.fromEntries(
  runInstructions('ENV').flatMap((rest) => rest.split(' ').map((pair) => pair.split('=', 2) as [string, string])),
);

/** The environment of a process, as the image and the compose file make it. */
function environmentOf(name: string, variables: Environment = FILLED_IN): Environment {
  return { ...IMAGE_ENV, ...serviceOf(name, variables).environment };
}

/** What the configuration asks an environment for. */
function namesRead(environment: Environment): readonly string[] {
  const names = new Set<string>();
  const recording = new Proxy(environment, {
    get: (target, name) => {
      names.add(String(name));
      return target[String(name)];
    },
  });
  problems(recording);
  return [...names];
}

/** Of a process in one role or another; what it can be asked for does not depend on it. */
const CONFIG = readConfig({ ...environmentOf('api'), ROLES: '' });

/** Whom our processes talk to. */
function addressed(): readonly { readonly host: string; readonly port: number }[] {
  const { eventLog, broker, analytics, email } = CONFIG;
  if (eventLog.kind !== 'eventstoredb' || broker.kind !== 'amqp') throw new Error('an embedded adapter');
  if (analytics.kind !== 'clickhouse' || email.kind !== 'smtp') throw new Error('an embedded adapter');
  const urls = [analytics.url, email.url].map((url) => new URL(url));
  return [
    ...eventLog.hosts.map(({ address, port }) => ({ host: address, port })),
    addressOfAmqpUrl(broker.url),
    ...urls.map(({ hostname, port }) => ({ host: hostname, port: Number(port) })),
  ];
}

describe('docker-compose.yml: Heliograph', () => {
  it('runs every role there is in a service of its own', () => {
    expect(OURS.map((name) => SERVICES[name]?.environment?.['ROLES']).toSorted()).toEqual(ROLES.toSorted());
  });

  it('gives every process the same environment, but for its role', () => {
    const environments = OURS.map((name) => ({ ...SERVICES[name]?.environment, ROLES: '' }));
    for (const environment of environments) expect(environment).toEqual(environments[0]);
  });

  it.each(OURS)('gives %s only variables that the configuration reads', (name) => {
    const environment = environmentOf(name);
    const known = new Set([...namesRead({}), ...namesRead(environment)]);
    expect(Object.keys(environment).filter((each) => !known.has(each))).toEqual([]);
  });

  it.each(OURS)('gives %s values that the configuration accepts', (name) => {
    const isOptional = serviceOf(name).profiles !== undefined;
    // With .env filled in, and with no more than what cannot be left out.
    for (const variables of [FILLED_IN, SECRETS])
      if (!isOptional) expect(problems(environmentOf(name, variables))).toEqual([]);
    expect(problems(environmentOf(name, { ...FILLED_IN, ...CREDENTIALS }))).toEqual([]);
  });

  it('has those senders in profiles that refuse to start without credentials, and no others', () => {
    const refused = OURS.filter((name) => problems(environmentOf(name)).length > 0);
    expect(OURS.filter((name) => SERVICES[name]?.profiles !== undefined)).toEqual(refused);
    expect(refused).not.toEqual([]);
  });

  it('sends e-mail to Mailpit, and has the other channels off until they have credentials', () => {
    expect(CONFIG).toMatchObject({ email: { kind: 'smtp' }, sms: { kind: 'off' }, push: { kind: 'off' } });
    expect(addressed().map(({ host }) => host)).toContain('mailpit');
    const given = readConfig({ ...environmentOf('api', { ...FILLED_IN, ...CREDENTIALS }), ROLES: '' });
    expect(given).toMatchObject({ sms: { kind: 'twilio' }, push: { kind: 'fcm' } });
  });

  it('talks only to services of the file, on ports that they listen on', () => {
    expect(addressed().map(({ host }) => host)).toEqual(['kurrentdb', 'rabbitmq', 'clickhouse', 'mailpit']);
    for (const { host, port } of addressed()) expect(LISTENS[host], host).toContain(port);
    expect(SERVERS.toSorted()).toEqual(Object.keys(LISTENS).toSorted());
  });

  it('lets each process wait for the log and the queues, and for ClickHouse no longer than until it is there', () => {
    for (const name of OURS) {
      expect(SERVICES[name]?.depends_on, name).toMatchObject({
        kurrentdb: { condition: 'service_healthy' },
        rabbitmq: { condition: 'service_healthy' },
        clickhouse: { condition: 'service_started' },
      });
    }
    expect(Object.keys(serviceOf('sender-email').depends_on ?? {})).toContain('mailpit');
  });

  it('logs in as the users that the servers make', () => {
    const { broker, analytics } = CONFIG;
    const rabbit = new URL(broker.kind === 'amqp' ? broker.url : '');
    expect(serviceOf('rabbitmq').environment).toMatchObject({
      RABBITMQ_DEFAULT_USER: rabbit.username,
      RABBITMQ_DEFAULT_PASS: rabbit.password,
    });
    expect(analytics).toMatchObject({
      username: serviceOf('clickhouse').environment?.['CLICKHOUSE_USER'],
      password: serviceOf('clickhouse').environment?.['CLICKHOUSE_PASSWORD'],
      database: serviceOf('clickhouse').environment?.['CLICKHOUSE_DB'],
    });
  });

  it('asks each process at a path that it answers to, on the port that it listens on', () => {
    const [, methods = ''] = /const HEALTH[^{]*\{([^}]*)\}/.exec(textOf('src/api/http.ts')) ?? [];
    for (const name of OURS) {
      const url = urlsIn(SERVICES[name]?.healthcheck?.test ?? [])[0] ?? new URL('none:');
      expect(methods, name).toContain(`'${url.pathname}': 'GET'`);
      expect(Number(url.port), name).toBe(readConfig({ ...environmentOf(name), ROLES: '' }).port);
      expect(url.hostname, name).toBe('127.0.0.1');
    }
    expect(CONFIG.host).toBe('0.0.0.0');
  });

  it('gives a stop more time than ours takes at most', () => {
    const [, longest = ''] = /LONGEST_STOP_MS = ([\d_]+)/.exec(textOf('src/main.ts')) ?? [];
    const seconds = Number(longest.replaceAll('_', '')) / 1_000;
    expect(seconds).toBeGreaterThan(0);
    for (const name of OURS) expect(secondsOf(serviceOf(name).stop_grace_period ?? ''), name).toBeGreaterThan(seconds);
  });

  it('has nothing but its data folder to write to, and no rights beyond its own', () => {
    for (const name of OURS) {
      expect(SERVICES[name], name).toMatchObject({ read_only: true, cap_drop: ['ALL'], tmpfs: ['/tmp'] });
      for (const volume of SERVICES[name]?.volumes ?? []) expect(volume.split(':')[1]).toBe(CONFIG.dataDir);
    }
  });

  it('keeps the folders of those apart that have one that outlives the container', () => {
    const sources = OURS.flatMap((name) => SERVICES[name]?.volumes ?? []).map((volume) => volume.split(':')[0]);
    expect(sources).toEqual(['route-data', 'dispatch-data', 'analytics-data']);
  });

  it('publishes the API alone', () => {
    expect(OURS.filter((name) => SERVICES[name]?.ports !== undefined)).toEqual(['api']);
    expect(SERVICES['api']?.ports).toEqual([`127.0.0.1:4000:${String(CONFIG.port)}`]);
    expect(serviceOf('api', { ...FILLED_IN, API_PORTS: '4000-4002' }).ports).toEqual(['127.0.0.1:4000-4002:4000']);
  });
});

describe('docker-compose.yml: secrets', () => {
  /** Variables of any container that hold something secret. */
  const IS_SECRET = /SECRET|PASS|_KEY|TOKEN|_SID$|SERVICE_ACCOUNT/;

  it.each(REQUIRED)('cannot be started without %s', (name) => {
    expect(() => resolveCompose(COMPOSE, { ...FILLED_IN, [name]: '' })).toThrow(`required variable ${name}`);
  });

  it('has none of its own: each comes from .env, without a default', () => {
    const values = Object.values(RAW).flatMap(({ environment = {} }) => Object.entries(environment));
    const secret = values.filter(([name]) => IS_SECRET.test(name));
    expect(secret.length).toBeGreaterThan(REQUIRED.length);
    for (const [name, value] of secret) {
      expect(interpolate(value, { ...SECRETS }).replaceAll(/[\da-f]{64}/g, ''), name).toBe('');
      for (const { fallback } of usesIn(value)) expect(fallback, name).toBe('');
    }
    const passwords = values.flatMap(([, value]) => /\/\/[^/@:]*:([^/@]*)@/.exec(value)?.[1] ?? []);
    expect(passwords).not.toEqual([]);
    for (const password of passwords) expect(password).toMatch(/^\$\{\w+_PASSWORD:\?[^}]+\}$/);
  });

  it('names in .env.example what has to be filled in, empty, and what can be, and nothing else', () => {
    const uncommented = ENV_EXAMPLE.filter(({ commented }) => !commented);
    expect(uncommented.slice(0, REQUIRED.length).map(({ name }) => name)).toEqual(expect.arrayContaining(REQUIRED));
    for (const { name, value } of ENV_EXAMPLE) if (IS_SECRET.test(name)) expect(value, name).toBe('');
    const used = new Set(usesIn(COMPOSE).map(({ name }) => name));
    // Read by compose itself.
    expect(ENV_EXAMPLE.map(({ name }) => name).toSorted()).toEqual([...used, 'COMPOSE_PROFILES'].toSorted());
  });
});

describe('docker-compose.yml: all services', () => {
  it.each(Object.keys(SERVICES))('%s is pinned, limited, watched, and comes back', (name) => {
    const service = serviceOf(name);
    expect(service.image).toMatch(/:v?\d+\.\d+\.\d+(\.\d+)?(-management)?$/);
    if (OURS.includes(name)) expect(service.image).toBe(`heliograph:${PACKAGE.version}`);
    expect(bytesOf(service.mem_limit ?? '')).toBeGreaterThan(0);
    expect(service.restart).toBe('unless-stopped');
    expect(service.security_opt).toContain('no-new-privileges:true');
    expect(service.healthcheck?.test[0]).toBe('CMD');
  });

  it('is RabbitMQ 4 with management', () => {
    expect(serviceOf('rabbitmq').image).toMatch(/^rabbitmq:4\..*-management$/);
    expect(serviceOf('rabbitmq').hostname).toBe('rabbitmq');
  });

  it('asks the servers after their health where they listen', () => {
    const urls = SERVERS.flatMap((name) =>
      urlsIn(SERVICES[name]?.healthcheck?.test ?? []).map((url) => ({ name, url })),
    );
    expect(urls.map(({ name }) => name)).toEqual(['kurrentdb', 'clickhouse']);
    for (const { name, url } of urls) {
      expect(['127.0.0.1', name]).toContain(url.hostname);
      expect(LISTENS[name]).toContain(Number(url.port));
    }
  });

  it('publishes on this machine alone, each port once, and only where somebody listens', () => {
    const published = Object.entries(SERVICES).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => ({ name, port })),
    );
    for (const { name, port } of published) {
      const [address, , inside] = port.split(':');
      expect(address, name).toBe('127.0.0.1');
      expect(LISTENS[name] ?? [CONFIG.port], name).toContain(Number(inside));
    }
    const outside = published.map(({ port }) => port.split(':')[1]);
    expect(new Set(outside).size).toBe(outside.length);
    expect(published.map(({ name }) => name)).not.toContain('kurrentdb');
  });

  it('keeps what the servers have in volumes that are declared, and declares no others', () => {
    const mounts = Object.entries(SERVICES).flatMap(([name, { volumes = [] }]) =>
      volumes.map((volume) => ({ name, source: volume.split(':')[0] ?? '', target: volume.split(':')[1] ?? '' })),
    );
    const named = mounts.filter(({ source }) => !source.startsWith('.'));
    expect(named.map(({ source }) => source).toSorted()).toEqual(Object.keys(VOLUMES).toSorted());
    for (const [name, target] of Object.entries(DATA_FOLDERS))
      expect(named).toContainEqual({ name, source: `${name}-data`, target });
    for (const { source } of mounts)
      if (source.startsWith('.')) expect(existsSync(new URL(source, ROOT)), source).toBe(true);
  });

  it('waits only for what it starts, and for health only where it is asked after', () => {
    for (const { depends_on = {}, profiles = [] } of Object.values(SERVICES)) {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        expect(SERVICES[name]?.profiles ?? profiles, name).toEqual(profiles);
        expect(['service_started', 'service_healthy']).toContain(condition);
        expect(SERVICES[name]?.healthcheck, name).toBeDefined();
      }
    }
  });
});

describe('deploy/clickhouse/heliograph.xml', () => {
  const CONFIGURATION = parseXml(textOf('deploy/clickhouse/heliograph.xml'));
  const valueOf = (name: string): string => CONFIGURATION.children.find((each) => each.name === name)?.text ?? '';

  it('is mounted where the server looks for more of its configuration', () => {
    const mounts = serviceOf('clickhouse').volumes ?? [];
    expect(mounts).toContain('./deploy/clickhouse/heliograph.xml:/etc/clickhouse-server/config.d/heliograph.xml:ro');
    expect(CONFIGURATION.name).toBe('clickhouse');
  });

  it('caps the memory below the limit of the container and above that of a query', () => {
    const cap = Number(valueOf('max_server_memory_usage'));
    expect(cap).toBeGreaterThan(QUERY_LIMITS.memoryBytes);
    expect(cap).toBeLessThan(0.9 * bytesOf(serviceOf('clickhouse').mem_limit ?? ''));
    expect(Number(valueOf('mark_cache_size'))).toBeLessThan(cap);
  });

  it('has every log about the server itself end', () => {
    const logs = CONFIGURATION.children.filter(({ name }) => name.endsWith('_log'));
    expect(logs.map(({ name }) => name)).toEqual(expect.arrayContaining(SYSTEM_LOGS));
    expect(new Set(logs.map(({ name }) => name)).size).toBe(logs.length);
    for (const { name, attributes, children } of logs.filter((each) => each.name !== 'opentelemetry_span_log')) {
      const ttl = children.find((child) => child.name === 'ttl')?.text;
      expect(ttl, name).toMatch(/^event_date \+ INTERVAL ([1-9]|[12]\d|30) DAY DELETE$/);
      expect(attributes, name).toBe('');
      // Beside an engine the server refuses to start.
      expect(children.map((child) => child.name)).not.toContain('engine');
    }
    expect(logs.find(({ name }) => name === 'opentelemetry_span_log')).toMatchObject({
      attributes: 'remove="1"',
      children: [],
    });
  });
});

/** Those that the config.xml of ClickHouse 25 and 26 switches on. */
const SYSTEM_LOGS = [
  ...['query', 'query_thread', 'query_views', 'query_metric', 'part', 'text', 'trace', 'metric', 'error', 'crash'],
  ...['asynchronous_metric', 'asynchronous_insert', 'processors_profile', 'backup', 'blob_storage', 's3queue'],
  ...['latency', 'background_schedule_pool', 'opentelemetry_span'],
].map((name) => `${name}_log`);

describe('the Dockerfile', () => {
  const copies = STAGES.flatMap((stage) =>
    stage.instructions
      .filter(({ name }) => name === 'COPY')
      .map(({ rest }) => {
        const [, from, paths = ''] = /^(?:--from=(\S+) )?(.*)$/.exec(rest) ?? [];
        return { stage, from, sources: paths.split(' ').slice(0, -1), target: paths.split(' ').at(-1) ?? '' };
      }),
  );
  const intoImage = copies.filter(({ stage }) => stage === RUN_STAGE);

  it('copies files that are there and that .dockerignore lets through', () => {
    const fromContext = copies.filter(({ from }) => from === undefined).flatMap(({ sources }) => sources);
    expect(fromContext).toContain('src');
    for (const path of fromContext) {
      expect(existsSync(new URL(path, ROOT)), path).toBe(true);
      expect(isIgnored(IGNORED, path), path).toBe(false);
    }
  });

  it('copies from its own stages only, what they make', () => {
    const made = intoImage.filter(({ from }) => from !== undefined);
    expect(made.map(({ from, sources, target }) => [from, ...sources, target])).toEqual([
      ['dependencies', '/app/node_modules', './node_modules'],
      ['build', '/app/dist', './dist'],
    ]);
    expect(STAGES.map(({ name }) => name)).toEqual(['build', 'dependencies', undefined]);
    for (const { instructions } of STAGES) expect(instructions).toContainEqual({ name: 'WORKDIR', rest: '/app' });
    expect(runsOf('build').at(-1)).toBe('npm run build');
    expect(textOf('scripts/ensure.mjs')).toContain("renameSync(fresh, join(ROOT, 'dist'))");
    expect(parseTsconfig('tsconfig.build.json')).toMatchObject({ compilerOptions: { rootDir: 'src' } });
  });

  it('gives the build all that it reads', () => {
    const present = copies.filter(({ stage }) => stage.name === 'build').flatMap(({ sources }) => sources);
    expect(present).toEqual(
      expect.arrayContaining([
        'package.json',
        'package-lock.json',
        'tsconfig.json',
        'tsconfig.build.json',
        'scripts',
        'src',
      ]),
    );
  });

  it('has everything in the image that the process reads beside its own code', () => {
    const files = readdirSync(new URL('src/', ROOT), { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    const outside = files.flatMap((file) =>
      [...textOf(`src/${file}`).matchAll(/new URL\('(\.\.\/[^']+)', import\.meta\.url\)/g)]
        .map(([, path = '']) => new URL(path, new URL(`src/${file}`, ROOT)).pathname.slice(ROOT.pathname.length))
        .filter((path) => !path.startsWith('src/') && file !== 'api/emit-schema.ts'),
    );
    expect(outside).toEqual(['schema/analytics/']);
    for (const path of outside) {
      const copy = intoImage.find(({ sources }) => sources.some((source) => path.startsWith(source)));
      expect(copy?.target, path).toBe(`./${copy?.sources[0] ?? ''}`);
    }
    // Node must know that the files in dist are modules.
    expect(intoImage.flatMap(({ sources }) => sources)).toContain('package.json');
  });

  it('starts what npm start starts, as the first process, so that signals reach it', () => {
    const [, entry = ''] = /await import\('\.\.\/([^']+)'\)/.exec(textOf('scripts/start.mjs')) ?? [];
    const [, flags = ''] = /exec node((?: --\S+)*) scripts\/start\.mjs/.exec(PACKAGE.scripts.start) ?? [];
    const started = ['node', ...flags.trim().split(' '), entry];
    expect(runInstructions('CMD').map((rest) => JSON.parse(rest) as unknown)).toEqual([started]);
    expect(existsSync(new URL(entry.replace(/^dist\/(.*)\.js$/, 'src/$1.ts'), ROOT)), entry).toBe(true);
    expect(runInstructions('ENTRYPOINT')).toEqual([]);
    expect(runInstructions('STOPSIGNAL')).toEqual(['SIGTERM']);
    expect(textOf('src/main.ts')).toContain("'SIGTERM'");
  });

  it('stands on a pinned Node that package.json allows', () => {
    const [, least = ''] = /^>=([\d.]+)$/.exec(PACKAGE.engines.node) ?? [];
    expect(new Set(STAGES.map(({ from }) => from)).size).toBe(1);
    const [, version = ''] = /^node:(\d+\.\d+\.\d+)-bookworm-slim$/.exec(RUN_STAGE.from) ?? [];
    expect(version.localeCompare(least, 'en', { numeric: true }), `${version} ${least}`).toBeGreaterThanOrEqual(0);
    expect(version).toMatch(/^20\./);
  });

  it('does not run as root, and owns its data folder', () => {
    const last = RUN_STAGE.instructions.map(({ name }) => name).lastIndexOf('USER');
    const user = RUN_STAGE.instructions[last]?.rest ?? '';
    expect(user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(RUN_STAGE.instructions.slice(last).map(({ name }) => name)).not.toContain('RUN');
    const dataDir = CONFIG.dataDir;
    expect(runInstructions('RUN').join('\n')).toContain(`chown ${user} ${dataDir}`);
    expect(runInstructions('VOLUME')).toEqual([dataDir]);
    for (const name of OURS) expect(SERVICES[name], name).not.toHaveProperty('user');
  });

  it('listens to the outside on the port that it exposes, in production', () => {
    expect(CONFIG).toMatchObject({ host: '0.0.0.0', development: false });
    expect(runInstructions('EXPOSE')).toEqual([String(CONFIG.port)]);
  });

  it('asks after its health as the compose file does', () => {
    const [health = ''] = runInstructions('HEALTHCHECK');
    const test: unknown = JSON.parse(health.slice(health.indexOf('CMD ') + 4));
    expect(['CMD', ...(test as string[])]).toEqual(SERVICES['api']?.healthcheck?.test);
  });

  it('leaves all of chdb out and nothing else', () => {
    const [install = ''] = runsOf('dependencies');
    expect(install).toMatch(/^npm ci --omit=dev /);
    expect(install).not.toMatch(/optional/);
    const removed = /&& rm -rf (.*)$/.exec(install)?.[1]?.split(' ') ?? [];
    const { packages } = JSON.parse(textOf('package-lock.json')) as {
      readonly packages: Readonly<Record<string, object>>;
    };
    const paths = Object.keys(packages).filter((path) => path !== '');
    const gone = paths.filter((path) => removed.some((each) => `${path}/`.startsWith(`${each}/`)));
    expect(gone).toEqual(paths.filter((path) => path.includes('chdb')));
    expect(gone.length).toBeGreaterThan(1);
    // Whoever imports it does so when the engine is wanted, in a process of its own.
    const importing = /^import (?!type ).*from 'chdb'/m;
    for (const file of readdirSync(new URL('src/ports/analytics/', ROOT)))
      expect(textOf(`src/ports/analytics/${file}`), file).not.toMatch(importing);
  });
});

describe('.dockerignore', () => {
  it.each([
    '.env',
    '.git/config',
    'data/secret-key',
    'node_modules/chdb/index.js',
    'dist/main.js',
    'dist.7.tmp/main.js',
  ])('keeps %s out of the image', (path) => {
    expect(isIgnored(IGNORED, path)).toBe(true);
  });

  it('keeps out of the repository, too, what holds secrets', () => {
    expect(linesOf(new URL('.gitignore', ROOT))).toContain('.env');
  });
});

describe('docs/deploying.md', () => {
  const rows = textOf('docs/deploying.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()));

  it('says of every service which ports are published and how much memory it may use', () => {
    expect(rows.map(([, name]) => name)).toEqual(Object.keys(SERVICES).map((name) => `\`${name}\``));
    for (const [index, { ports = [], mem_limit = '' }] of Object.values(SERVICES).entries()) {
      const [, name, , , published = '', memory = ''] = rows[index] ?? [];
      expect(/\d+/.exec(published)?.[0], name).toBe(ports[0]?.split(':')[1]);
      expect(memory.replace(/ ([MG])B$/, '$1').toLowerCase(), name).toBe(mem_limit);
    }
  });

  it('says of every server on which port it is reached', () => {
    for (const { host, port } of addressed()) {
      const [, , what] = rows.find(([, name]) => name === `\`${host}\``) ?? [];
      expect(what, host).toContain(`; ${String(port)} inside`);
    }
  });
});

function runsOf(stage: string): readonly string[] {
  const { instructions = [] } = STAGES.find(({ name }) => name === stage) ?? {};
  return instructions.filter(({ name }) => name === 'RUN').map(({ rest }) => rest);
}

function parseTsconfig(path: string): unknown {
  return JSON.parse(textOf(path));
}

/** URLs in the words of a command. */
function urlsIn(words: readonly string[]): readonly URL[] {
  return [...words.join(' ').matchAll(/https?:\/\/[^\s'"]+/g)].map(([url]) => new URL(url));
}
