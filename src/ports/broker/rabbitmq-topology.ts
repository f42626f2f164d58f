import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Channel } from 'rabbitmq-client';
import { closeSoon, codeOf, within, type Link } from './rabbitmq-link.ts';
import type { Publisher } from './rabbitmq-publisher.ts';
import type { DeclaredQueue, Topology } from './topology.ts';

/** The queues on the server, and the name of the memory behind them. */
export interface Declarer {
  readonly session: () => string;
  /**
   * Sees to it that every queue is there. When one is not, what it held is gone: the session gets a new name on the
   * server *before* the queue is made again, so that no process can publish into the new one under the old name.
   * Called again while it runs, it runs once more.
   *
   * `isRoutine`: nothing points to a loss. Then it only looks, which leaves no trace on the server, and reads the session now
   * and then: each reading stays in the log of the session's queue for good.
   * @throws OtherArguments; BrokerUnavailable.
   */
  readonly ensure: (isRoutine?: boolean) => Promise<void>;
}

/** Somebody made the queue differently: an older version, or another system. Nothing of it is changed. */
export class OtherArguments extends Error {
  override readonly name = 'OtherArguments';
}

const TIMEOUT_MS = 10_000;
/** Whoever reads the session has it in hand for a moment; empty for longer than this, it was emptied. */
const SESSION_PAUSE_MS = 50;
const SESSION_LOOKS = 40;
/** A declaration waits for its answer; so many are asked for side by side. */
const CHANNELS = 4;
/** So many routine looks to one reading of the session: what another process repaired unseen is noticed after five minutes. */
const LOOKS_TO_A_READING = 20;

interface DeclarerOptions {
  readonly topology: Topology;
  readonly looking: Link;
  readonly publisher: Publisher;
  /** Queues were missing and are there again. */
  readonly onRepaired: () => void;
}

export function openDeclarer(options: DeclarerOptions): Declarer {
  let session = '';
  let running: Promise<void> = Promise.resolve();
  let queued: Promise<void> | undefined;
  // How often there was a sign of a loss, and how many of them a reading of the session has followed.
  const signs = { seen: 0, followed: -1 };
  let looks = 0;
  const run = async (): Promise<void> => {
    const mayLookOnly = signs.followed === signs.seen && ++looks < LOOKS_TO_A_READING;
    if (mayLookOnly && !(await isAnyMissing(options.looking, queuesOf(options)))) return;
    // Should it fail half-way, a look alone would find the queues there and not that their session is another.
    const seen = (signs.seen += 1);
    const found = await ensure(options);
    signs.followed = seen;
    looks = 0;
    const isRepair = session !== '' && session !== found;
    session = found;
    if (isRepair) options.onRepaired();
  };
  const next = (): Promise<void> => {
    queued = undefined;
    running = run();
    return running;
  };
  return {
    session: () => session,
    ensure: (isRoutine = false) => {
      if (!isRoutine) signs.seen += 1;
      return (queued ??= running.then(next, next));
    },
  };
}

function queuesOf({ topology: { session, queues } }: DeclarerOptions): readonly DeclaredQueue[] {
  return [session, ...queues];
}

/** Answers the session. */
async function ensure(options: DeclarerOptions): Promise<string> {
  const { looking, publisher } = options;
  const { session } = options.topology;
  if (await isAnyMissing(looking, queuesOf(options))) {
    await withChannel(looking, (channel) => declare(channel, session));
    await renew(publisher, session);
  }
  await sideBySide(looking, queuesOf(options), async (channel, part) => {
    for (const queue of part) await declare(channel, queue);
  });
  return withChannel(looking, (channel) => readSession(channel, publisher, session));
}

async function isAnyMissing(looking: Link, queues: readonly DeclaredQueue[]): Promise<boolean> {
  return (await sideBySide(looking, queues, isOneMissing)).includes(true);
}

function sideBySide<T>(
  looking: Link,
  queues: readonly DeclaredQueue[],
  work: (channel: Channel, part: readonly DeclaredQueue[]) => Promise<T>,
): Promise<readonly T[]> {
  const parts = Array.from({ length: CHANNELS }, (_, at) => queues.filter((_queue, index) => index % CHANNELS === at));
  return Promise.all(parts.map((part) => withChannel(looking, (channel) => work(channel, part))));
}

async function isOneMissing(channel: Channel, queues: readonly DeclaredQueue[]): Promise<boolean> {
  try {
    for (const { queue } of queues) await answered(channel.queueDeclare({ queue, passive: true }));
    return false;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return true;
    throw error;
  }
}

async function declare(channel: Channel, declared: DeclaredQueue): Promise<void> {
  try {
    await answered(channel.queueDeclare({ queue: declared.queue, durable: true, arguments: declared.arguments }));
  } catch (error) {
    if (codeOf(error) !== 'PRECONDITION_FAILED') throw error;
    throw new OtherArguments(
      `the queue ${declared.queue} exists with other arguments (${String(error)}): delete it, or choose another BROKER_PREFIX; its jobs are published again`,
      { cause: error },
    );
  }
}

/** The last one that was published, by whomever: the queue keeps one. */
async function readSession(channel: Channel, publisher: Publisher, { queue }: DeclaredQueue): Promise<string> {
  for (let looks = 0; looks < SESSION_LOOKS; looks += 1) {
    const message = await answered(channel.basicGet({ queue }));
    if (message !== undefined) {
      channel.basicNack({ deliveryTag: message.deliveryTag, requeue: true });
      return String(message.body);
    }
    await delay(SESSION_PAUSE_MS);
  }
  await renew(publisher, { queue, arguments: {} });
  return readSession(channel, publisher, { queue, arguments: {} });
}

function renew(publisher: Publisher, { queue }: DeclaredQueue): Promise<void> {
  return publisher.send({ lane: queue, queue, body: randomUUID() });
}

/** Each answer has its time, however many there are: a slow server must not be one on which we never start. */
function answered<T>(asked: Promise<T>): Promise<T> {
  return within(TIMEOUT_MS, asked, 'RabbitMQ did not answer about its queues');
}

async function withChannel<T>(link: Link, work: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await link.channel(TIMEOUT_MS);
  try {
    return await work(channel);
  } finally {
    await closeSoon(channel);
  }
}
