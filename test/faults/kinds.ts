import { expect } from 'vitest';
import { decode } from '../../src/events/codec.ts';
import { streamOf } from '../../src/ids.ts';
import { ROLES, type Role } from '../../src/roles.ts';
import { engineOf } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import type { AppendFault } from '../support/eventstore/faults.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';
import type { Rig } from './rig.ts';
import type { Kind } from './schedule.ts';
import type { Sink } from './sinks.ts';
import { includesRole, LINKS, type LinkName, type Unit } from './unit.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Everything that can happen to a rig. */
export function kindsFor(rig: Rig): readonly Kind[] {
  const { units, sinks } = rig;
  const roles = ROLES.filter((role) => units.some((unit) => includesRole(unit.roles, role)));
  const links = LINKS.filter((link) => units.some((unit) => unit.link(link) !== null));
  return [
    ...roles.map((role) => killOf(rig, role)),
    ...links.flatMap((link) => LINK_FAULTS.map((fault) => linkFault(rig, link, fault))),
    ...brokerFaults(rig),
    ...eventStoreFaults(rig),
    ...sinks.map((sink) => answersLost(rig, sink)),
    ...sinks.map((sink) => threadDies(rig, sink)),
    engineKilled(rig),
  ];
}

function pick<T>(random: () => number, from: readonly T[]): T {
  const picked = from[Math.floor(random() * from.length)];
  if (picked === undefined) throw new Error('nothing to pick from');
  return picked;
}

/**
 * Whoever acts for the role, where only one does; and sometimes the disk with it, as when a machine is replaced. Who sends has
 * messages without an answer then.
 */
function killOf(rig: Rig, role: Role): Kind {
  return (random) => {
    const candidates = rig.units.filter((unit) => includesRole(unit.roles, role));
    const fallback = pick(random, candidates);
    const forgets = random() < 0.4;
    const sink = rig.sinks.find((each) => each.role === role);
    return {
      name: `kill -9 of ${role}${forgets ? ', which comes back without its disk' : ''}`,
      target: 'processes',
      lastsMs: [500, 14_000],
      begin: async () => {
        const unit = (await holderOf(rig, role, candidates)) ?? fallback;
        const give = sink && (await withhold(sink));
        await unit.kill({ forgets });
        give?.();
        return unit.start;
      },
    };
  };
}

/** Null where nobody is on record, or the record cannot be read now. */
async function holderOf({ log }: Rig, role: Role, candidates: readonly Unit[]): Promise<Unit | null> {
  if (role !== 'route' && role !== 'dispatch' && role !== 'analytics') return null;
  try {
    const newest = await log.last(streamOf.lease(role));
    const event = newest && decode(newest);
    if (event?.type !== 'LeaseTaken' && event?.type !== 'LeaseRenewed') return null;
    for (const unit of candidates) {
      const holder = await readFile(join(unit.folder, 'lease-holder'), 'utf8').catch(() => '');
      if (holder.trim() === event.data.holder) return unit;
    }
  } catch {
    // Another fault is under way.
  }
  return null;
}

interface LinkFault {
  readonly name: string;
  readonly lastsMs: readonly [number, number];
  readonly begin: (proxy: TcpProxy) => Promise<() => Promise<void> | void> | Promise<void>;
}

export const LINK_FAULTS: readonly LinkFault[] = [
  {
    name: 'is cut',
    lastsMs: [0, 0],
    begin: (proxy) => {
      proxy.become({ kind: 'ok' });
      return Promise.resolve();
    },
  },
  {
    name: 'is refused',
    lastsMs: [500, 8_000],
    begin: async (proxy) => {
      await proxy.goDown();
      return proxy.comeBack;
    },
  },
  { name: 'is a black hole', lastsMs: [500, 12_000], begin: (proxy) => Promise.resolve(proxy.freeze()) },
  { name: 'brings no answers', lastsMs: [500, 12_000], begin: (proxy) => Promise.resolve(proxy.freeze('answers')) },
  {
    name: 'is half open',
    lastsMs: [0, 0],
    begin: (proxy) => {
      proxy.hang();
      return Promise.resolve();
    },
  },
];

/** Of one process, or of all at once. */
export function linkFault({ units }: Pick<Rig, 'units'>, link: LinkName, { name, lastsMs, begin }: LinkFault): Kind {
  return (random) => {
    const users = units.filter((unit) => unit.link(link) !== null);
    const one = pick(random, users);
    const struck = random() < 0.5 ? [one] : users;
    const proxies = struck.flatMap((unit) => unit.link(link) ?? []);
    return {
      name: `the link to ${link} of ${struck.length === 1 ? one.name : 'all'} ${name}`,
      target: link,
      lastsMs,
      begin: async () => {
        const ends = await Promise.all(proxies.map(begin));
        return async () => {
          for (const end of ends) await end?.();
        };
      },
    };
  };
}

const BROKER = 'RabbitMQ';

const PURGED = [
  'email.transactional',
  'email.bulk',
  'email.transactional.retry.5s',
  'sms.bulk',
  'push.ios.transactional',
];

function brokerFaults({ rabbit, prefix }: Rig): readonly Kind[] {
  const halted = (name: string, signal: 'SIGTERM' | 'SIGKILL', wipes: boolean): Kind => {
    return () => ({
      name,
      target: BROKER,
      lastsMs: [0, 4_000],
      begin: async () => {
        await rabbit.halt(signal);
        if (wipes) await rabbit.wipe();
        return rabbit.boot;
      },
    });
  };
  return [
    halted('RabbitMQ is restarted', 'SIGTERM', false),
    halted('RabbitMQ crashes', 'SIGKILL', false),
    halted('RabbitMQ loses all that it has', 'SIGKILL', true),
    () => ({
      name: 'RabbitMQ stands still',
      target: BROKER,
      lastsMs: [500, 8_000],
      begin: () => {
        rabbit.freeze(true);
        return Promise.resolve(() => rabbit.freeze(false));
      },
    }),
    (random) => {
      const queue = pick(random, PURGED);
      return {
        name: `somebody purges ${queue}`,
        target: BROKER,
        lastsMs: [0, 0],
        begin: async () => {
          await rabbit.ctl('purge_queue', `${prefix}${queue}`);
        },
      };
    },
  ];
}

const STORE = 'event store';

const APPEND_FAULTS: readonly AppendFault[] = [
  { kind: 'silence', committed: true },
  { kind: 'silence', committed: false },
  { kind: 'deadline-exceeded', committed: true },
  { kind: 'end', committed: true },
  { kind: 'reset', committed: true },
  { kind: 'reset', committed: false },
  { kind: 'unavailable', committed: true },
];

function eventStoreFaults({ eventStore }: Rig): readonly Kind[] {
  const appends = APPEND_FAULTS.map((fault): Kind => (random) => {
    const times = Math.ceil(random() * 40);
    const took = 'committed' in fault && fault.committed ? 'took place' : 'did not take place';
    return {
      name: `${String(times)} appends ${took}, and are answered with ${fault.kind}`,
      target: 'appends',
      lastsMs: [4_000, 8_000],
      begin: () => Promise.resolve(eventStore.failAppends(fault, { times })),
    };
  });
  const atOnce = (name: string, strike: () => void): Kind => {
    return () => ({
      name,
      target: STORE,
      lastsMs: [0, 0],
      begin: () => {
        strike();
        return Promise.resolve();
      },
    });
  };
  return [
    ...appends,
    () => ({
      name: 'the event store hangs',
      target: STORE,
      lastsMs: [500, 15_000],
      begin: () => Promise.resolve(eventStore.freeze()),
    }),
    () => ({
      name: 'the event store is away',
      target: STORE,
      lastsMs: [500, 8_000],
      begin: async () => {
        await eventStore.goDown();
        return eventStore.comeBack;
      },
    }),
    () => ({
      name: 'subscriptions bring nothing',
      target: 'subscriptions',
      lastsMs: [500, 8_000],
      begin: () => Promise.resolve(eventStore.stallSubscriptions()),
    }),
    atOnce('the event store drops its connections', eventStore.dropConnections),
    atOnce('the connections of the event store hang', eventStore.hangConnections),
    atOnce('subscriptions break', eventStore.breakSubscriptions),
    atOnce('subscriptions end', eventStore.endSubscriptions),
    atOnce('the calls of appends end', eventStore.endBatchStreams),
  ];
}

/** So many messages that each of two senders has some. */
const OWED = 4;
const WITHHELD = { timeoutMs: 4_000, pauseMs: 20 };

/** From when it resolves until it is told otherwise a provider owes answers, unless hardly anything is sent now. */
async function withhold({ answers }: Pick<Sink, 'answers'>): Promise<() => void> {
  const give = answers.shut();
  await eventually(() => expect(answers.owed()).toBeGreaterThanOrEqual(OWED), WITHHELD).catch(() => undefined);
  return give;
}

/** The one window in which a duplicate can arise: accepted, and nobody knows. */
export function answersLost({ units }: Pick<Rig, 'units'>, sink: Pick<Sink, 'link' | 'answers'>): Kind {
  const { link } = sink;
  return () => ({
    name: `messages to ${link} are accepted, and the answers are lost`,
    target: link,
    lastsMs: [300, 2_000],
    begin: async () => {
      const give = await withhold(sink);
      return () => {
        for (const unit of units) unit.link(link)?.become({ kind: 'ok' });
        give();
      };
    },
  });
}

/** Of one process or of all, with messages that they have no answers to; the processes go on. */
function threadDies({ units, threads }: Rig, sink: Sink): Kind {
  return (random) => {
    const { role, link, provider } = sink;
    const senders = units.filter(({ roles }) => includesRole(roles, role));
    const one = pick(random, senders);
    const struck = random() < 0.5 ? [one] : senders;
    return {
      name: `the thread of ${struck.length === 1 ? one.name : 'all'} that sends to ${link} dies`,
      target: link,
      lastsMs: [0, 0],
      begin: async () => {
        const give = await withhold(sink);
        const pids = struck.flatMap((unit) => unit.service()?.child.pid ?? []);
        await Promise.all(pids.map((pid) => threads.end(pid, provider)));
        give();
      },
    };
  };
}

function engineKilled({ engine }: Rig): Kind {
  return () => ({
    name: 'kill -9 of ClickHouse',
    target: 'ClickHouse',
    lastsMs: [0, 0],
    begin: () => {
      process.kill(engineOf(engine).pid, 'SIGKILL');
      return Promise.resolve();
    },
  });
}
