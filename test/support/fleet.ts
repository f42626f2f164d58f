import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decode } from '../../src/events/codec.ts';
import { streamOf } from '../../src/ids.ts';
import { start, type Scope, type Started } from '../../src/lifecycle.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import type { Role } from '../../src/roles.ts';
import { openLogOf } from './adapters.ts';
import { engineOf, openTestAnalytics } from './analytics.ts';
import { startEventStore, type EventStoreStandIn } from './eventstore/server.ts';
import { openMailSink, type MailSink } from './mail-sink.ts';
import { sharedRabbit } from './rabbitmq-shared.ts';
import { startService, type Service } from './service.ts';
import { openTempDir } from './temp-dir.ts';

/** One process among several. */
export interface Member {
  readonly roles: readonly Role[];
  readonly service: Service;
  readonly folder: string;
  /** At once, as a machine that fails. */
  readonly kill: () => Promise<void>;
  /** In good order. */
  readonly stop: () => Promise<void>;
}

/** Servers, and processes that share the work over them. */
export interface Fleet {
  readonly eventStore: EventStoreStandIn;
  readonly sink: MailSink;
  /** For whoever wants to see what is recorded. */
  readonly log: EventLog;
  /** Of every process: which servers there are, secrets, the credentials of the first client. */
  readonly settings: Readonly<Record<string, string>>;
  readonly add: (...roles: readonly Role[]) => Promise<Member>;
  /** Whoever is on record as the last to have taken the lease of that role; null while nobody is. */
  readonly holderOf: (role: Role) => Promise<Member | null>;
}

export interface FleetOptions {
  /** Other addresses than those of the servers: a proxy's, say. */
  readonly settings?: Readonly<Record<string, string>>;
}

export function openFleet({ settings: others = {} }: FleetOptions = {}): Promise<Started<Fleet>> {
  return start(async (scope) => {
    const eventStore = scope.use(await startEventStore());
    const engine = scope.use(await openTestAnalytics(scope.use(await openTempDir())));
    const sink = scope.use(await openMailSink());
    const { url, password } = engineOf(engine);
    const settings = {
      EVENT_LOG_URL: eventStore.url,
      BROKER_URL: await sharedRabbit(),
      BROKER_PREFIX: `test-${randomUUID().slice(0, 8)}.`,
      ANALYTICS_URL: `http://default:${password}@${new URL(url).host}/default`,
      SECRET_KEY: randomUUID(),
      SMTP_URL: sink.url,
      SMTP_FROM: 'Heliograph <no-reply@example.com>',
      LOG_LEVEL: 'info',
      ...others,
    };
    const log = scope.use(await openLogOf({ EVENT_LOG_URL: eventStore.url }, scope.use(await openTempDir())));
    const members: Member[] = [];
    const add = async (...roles: readonly Role[]): Promise<Member> => {
      const member = await added(scope, roles, settings);
      members.push(member);
      return member;
    };
    return { eventStore, sink, log, settings, add, holderOf: (role) => holderOf(log, members, role) };
  });
}

async function added(
  scope: Scope,
  roles: readonly Role[],
  settings: Readonly<Record<string, string>>,
): Promise<Member> {
  const folder = scope.use(await openTempDir());
  const service = await startService(folder, { ...settings, ROLES: roles.join(',') });
  const ending = (signal: NodeJS.Signals) => async (): Promise<void> => {
    service.child.kill(signal);
    await service.ended;
  };
  const [kill, stop] = [ending('SIGKILL'), ending('SIGTERM')];
  scope.use({ value: undefined, stop: kill });
  return { roles, service, folder, kill, stop };
}

async function holderOf(log: EventLog, members: readonly Member[], role: Role): Promise<Member | null> {
  const newest = await log.last(streamOf.lease(role));
  const event = newest && decode(newest);
  if (event?.type !== 'LeaseTaken' && event?.type !== 'LeaseRenewed') return null;
  for (const member of members.toReversed()) {
    if ((await readFile(join(member.folder, 'lease-holder'), 'utf8')).trim() === event.data.holder) return member;
  }
  return null;
}
