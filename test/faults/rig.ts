import { randomUUID } from 'node:crypto';
import { openCursors, type Cursors } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { start, type Started } from '../../src/lifecycle.ts';
import type { ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import type { Role } from '../../src/roles.ts';
import { openLogOf } from '../support/adapters.ts';
import { engineOf, openTestAnalytics } from '../support/analytics.ts';
import { startEventStore, type EventStoreStandIn } from '../support/eventstore/server.ts';
import { openMailSink, type MailSink } from '../support/mail-sink.ts';
import { startRabbit, type RabbitServer } from '../support/rabbitmq-server.ts';
import type { Service } from '../support/service.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { openUnit, type LinkName, type Server, type Unit } from './unit.ts';

/** Servers of their own and processes over them, each thing of which can fail by itself. */
export interface Rig {
  readonly eventStore: EventStoreStandIn;
  readonly rabbit: RabbitServer;
  readonly engine: ChdbAnalytics;
  readonly sink: MailSink;
  /** While it is shut, mails are taken and counted, and no answer is given. */
  readonly answers: { readonly shut: () => () => void };
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
  ['sender:email'],
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
    const answers = openAnswers();
    const sink = scope.use(await openMailSink(answers.given));
    const secret = randomUUID();
    const prefix = 'faults.';
    const settings = {
      BROKER_PREFIX: prefix,
      SECRET_KEY: secret,
      SMTP_FROM: 'Heliograph <no-reply@example.com>',
      RETRY_SCHEDULE,
      LOG_LEVEL: 'warn',
      ...changes,
    };
    const servers = serversOf({ eventStore, rabbit, engine, sink });
    const units: Unit[] = [];
    for (const [index, roles] of topology.entries()) {
      const name = `${roles.join('+') || 'everything'} (${String(index + 1)})`;
      units.push(scope.use(await openUnit({ name, roles, settings, servers: reached(roles, servers) })));
    }
    await Promise.all(units.map((unit) => unit.start()));
    const log = scope.use(await openLogOf({ EVENT_LOG_URL: eventStore.url }, scope.use(await openTempDir())));
    const cursors = openCursors(log.id, openKeys(secret).mac);
    const life = { isOver: false };
    scope.use({ value: undefined, stop: () => Promise.resolve(void (life.isOver = true)) });
    const apis = (): readonly Service[] => {
      if (life.isOver) throw new Error('the rig is gone');
      return units.filter(servesClients).flatMap((unit) => unit.service() ?? []);
    };
    return { eventStore, rabbit, engine, sink, answers, units, apis, log, cursors, prefix };
  });
}

function servesClients({ roles }: Unit): boolean {
  return roles.length === 0 || roles.includes('api');
}

/** Of a mail server. */
export interface Answers {
  readonly given: () => Promise<void>;
  readonly shut: () => () => void;
}

export function openAnswers(): Answers {
  const closures = new Set<Promise<void>>();
  return {
    given: async () => {
      while (closures.size > 0) await Promise.all(closures);
    },
    shut: () => {
      let open = (): void => undefined;
      const closure = new Promise<void>((resolve) => (open = resolve));
      closures.add(closure);
      return () => {
        closures.delete(closure);
        open();
      };
    },
  };
}

type Servers = Readonly<Record<LinkName, Server>>;

function serversOf({
  eventStore,
  rabbit,
  engine,
  sink,
}: Pick<Rig, 'eventStore' | 'rabbit' | 'engine' | 'sink'>): Servers {
  // It stays the same when the engine is started again, and its port does not.
  const { password, url } = engineOf(engine);
  let enginePort = Number(new URL(url).port);
  const findEngine = (): number =>
    (enginePort = Number(new URL(engine.engine()?.url ?? `http://x:${String(enginePort)}`).port));
  const at = (url: string) => (): number => Number(new URL(url).port);
  return {
    'event store': {
      variable: 'EVENT_LOG_URL',
      url: (port) => `esdb://127.0.0.1:${String(port)}?tls=false`,
      port: () => eventStore.port,
    },
    RabbitMQ: {
      variable: 'BROKER_URL',
      url: (port) => `amqp://guest:guest@127.0.0.1:${String(port)}`,
      port: at(rabbit.url),
    },
    ClickHouse: {
      variable: 'ANALYTICS_URL',
      url: (port) => `http://default:${password}@127.0.0.1:${String(port)}/default`,
      port: findEngine,
    },
    SMTP: { variable: 'SMTP_URL', url: (port) => `smtp://127.0.0.1:${String(port)}`, port: at(sink.url) },
  };
}

const USED: Readonly<Record<Role, readonly LinkName[]>> = {
  api: ['event store', 'ClickHouse', 'SMTP'],
  route: ['event store', 'SMTP'],
  dispatch: ['event store', 'RabbitMQ', 'SMTP'],
  analytics: ['event store', 'ClickHouse', 'SMTP'],
  'sender:email': ['event store', 'RabbitMQ', 'SMTP'],
  'sender:sms': [],
  'sender:push': [],
};

/** A mail server is named to all, because which channels there are is decided by it. */
function reached(roles: readonly Role[], servers: Servers): Partial<Servers> {
  if (roles.length === 0) return servers;
  const used = new Set(roles.flatMap((role) => USED[role]));
  return Object.fromEntries(Object.entries(servers).filter(([name]) => used.has(name as LinkName)));
}
