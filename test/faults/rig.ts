import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Channel } from '../../src/events/event.ts';
import { openCursors, type Cursors } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { start, type Scope, type Started } from '../../src/lifecycle.ts';
import type { ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { channelsOf, type Role, ROLES } from '../../src/roles.ts';
import { openLogOf } from '../support/adapters.ts';
import { engineOf, openTestAnalytics } from '../support/analytics.ts';
import { startEventStore, type EventStoreStandIn } from '../support/eventstore/server.ts';
import { ELSEWHERE } from '../support/https-server.ts';
import { openMortalThreads, type MortalThreads } from '../support/mortal-threads.ts';
import { startRabbit, type RabbitServer } from '../support/rabbitmq-server.ts';
import type { Service } from '../support/service.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { CERTIFICATE } from '../support/tls-certificate.ts';
import { SINKS, type Sink } from './sinks.ts';
import { includesRole, openUnit, type LinkName, type Server, type Unit } from './unit.ts';

/** Servers of their own and processes over them, each thing of which can fail by itself. */
export interface Rig {
  readonly eventStore: EventStoreStandIn;
  readonly rabbit: RabbitServer;
  readonly engine: ChdbAnalytics;
  /** Of each channel that somebody sends on. */
  readonly sinks: readonly Sink[];
  readonly threads: MortalThreads;
  readonly units: readonly Unit[];
  /** Those that serve clients and run. @throws once all of it has ended. */
  readonly apis: () => readonly Service[];
  /** Past all proxies. */
  readonly log: EventLog;
  readonly cursors: Cursors;
  /** Of all queues. */
  readonly prefix: string;
}

/** Which roles each process has; an empty list is all of them. */
export type Topology = readonly (readonly Role[])[];

/** Every role twice, so that there is a standby; some processes have several. */
export const SPLIT: Topology = [
  ['api'],
  ['api'],
  ['route'],
  ['dispatch'],
  ['analytics'],
  ['route', 'dispatch', 'analytics'],
  ['sender:email'],
  ['sender:sms', 'sender:push'],
  ['sender:email', 'sender:sms', 'sender:push'],
];

/** Two processes that do everything. */
export const WHOLE: Topology = [[], []];

/** Failed attempts follow each other faster than by default, and go on beyond any outage here. */
export const RETRY_SCHEDULE = ['1s', '1s', '2s', '3s', ...Array.from({ length: 16 }, () => '5s')].join();

export function openRig(topology: Topology, changes: Readonly<Record<string, string>> = {}): Promise<Started<Rig>> {
  return start(async (scope) => {
    const [openedStore, openedRabbit] = await Promise.all([startEventStore(), startRabbit()]);
    const [eventStore, rabbit] = [scope.use(openedStore), scope.use(openedRabbit)];
    const engine = scope.use(await openTestAnalytics(scope.use(await openTempDir())));
    const secret = randomUUID();
    const keys = openKeys(secret);
    const sinks: Sink[] = [];
    for (const channel of channelsIn(topology)) sinks.push(scope.use(await SINKS[channel](keys)));
    const threads = scope.use(await openMortalThreads());
    const prefix = 'faults.';
    const settings = {
      BROKER_PREFIX: prefix,
      SECRET_KEY: secret,
      RETRY_SCHEDULE,
      LOG_LEVEL: 'warn',
      ...(await preloading(scope, threads)),
      ...pastProxies(sinks),
      ...changes,
    };
    const servers = serversOf({ eventStore, rabbit, engine, sinks });
    const units: Unit[] = [];
    for (const [index, roles] of topology.entries()) {
      const name = `${roles.join('+') || 'everything'} (${String(index + 1)})`;
      units.push(scope.use(await openUnit({ name, roles, settings, servers: reached(roles, servers) })));
    }
    await Promise.all(units.map((unit) => unit.start()));
    const log = scope.use(await openLogOf({ EVENT_LOG_URL: eventStore.url }, scope.use(await openTempDir())));
    const cursors = openCursors(log.id, keys.mac);
    const life = { isOver: false };
    scope.use({ value: undefined, stop: () => Promise.resolve(void (life.isOver = true)) });
    const apis = (): readonly Service[] => {
      if (life.isOver) throw new Error('the rig is gone');
      return units.filter(({ roles }) => includesRole(roles, 'api')).flatMap((unit) => unit.service() ?? []);
    };
    return { eventStore, rabbit, engine, sinks, threads, units, apis, log, cursors, prefix };
  });
}

/** Those that anybody sends on. */
function channelsIn(topology: Topology): readonly Channel[] {
  const roles = new Set(topology.flatMap((each) => (each.length === 0 ? ROLES : each)));
  return channelsOf(roles);
}

/** Processes that take our stand-ins for the hosts of Google and Twilio, and whose threads can be ended. */
async function preloading(scope: Scope, threads: MortalThreads): Promise<Readonly<Record<string, string>>> {
  const trusted = join(scope.use(await openTempDir()), 'certificate.pem');
  await writeFile(trusted, CERTIFICATE);
  return {
    NODE_EXTRA_CA_CERTS: trusted,
    NODE_OPTIONS: `--import ${ELSEWHERE} --import ${threads.script}`,
    ...threads.settings,
  };
}

/** Every process knows of every provider, because which channels there are is decided by that; who sends has proxies instead. */
function pastProxies(sinks: readonly Sink[]): Readonly<Record<string, string>> {
  const settings = sinks.flatMap(({ credentials, server: { variable, url, port } }) => [
    ...Object.entries(credentials),
    [variable, url(port())] as const,
  ]);
  return Object.fromEntries(settings);
}

type Servers = Partial<Readonly<Record<LinkName, Server>>>;

function serversOf({
  eventStore,
  rabbit,
  engine,
  sinks,
}: Pick<Rig, 'eventStore' | 'rabbit' | 'engine' | 'sinks'>): Servers {
  // It stays the same when the engine is started again, and its port does not.
  const { password, url } = engineOf(engine);
  let enginePort = Number(new URL(url).port);
  const findEngine = (): number =>
    (enginePort = Number(new URL(engine.engine()?.url ?? `http://x:${String(enginePort)}`).port));
  return {
    'event store': {
      variable: 'EVENT_LOG_URL',
      url: (port) => `esdb://127.0.0.1:${String(port)}?tls=false`,
      port: () => eventStore.port,
    },
    RabbitMQ: {
      variable: 'BROKER_URL',
      url: (port) => `amqp://guest:guest@127.0.0.1:${String(port)}`,
      port: () => Number(new URL(rabbit.url).port),
    },
    ClickHouse: {
      variable: 'ANALYTICS_URL',
      url: (port) => `http://default:${password}@127.0.0.1:${String(port)}/default`,
      port: findEngine,
    },
    ...Object.fromEntries(sinks.map(({ link, server }) => [link, server])),
  };
}

const USED: Readonly<Record<Role, readonly LinkName[]>> = {
  api: ['event store', 'ClickHouse'],
  route: ['event store'],
  dispatch: ['event store', 'RabbitMQ'],
  analytics: ['event store', 'ClickHouse'],
  'sender:email': ['event store', 'RabbitMQ', 'SMTP'],
  'sender:sms': ['event store', 'RabbitMQ', 'Twilio'],
  'sender:push': ['event store', 'RabbitMQ', 'FCM'],
};

function reached(roles: readonly Role[], servers: Servers): Servers {
  if (roles.length === 0) return servers;
  const used = new Set(roles.flatMap((role) => USED[role]));
  return Object.fromEntries(Object.entries(servers).filter(([name]) => used.has(name as LinkName)));
}
