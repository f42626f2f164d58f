import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Channel, ReturnedMessage } from 'rabbitmq-client';
import type { Job } from './broker.ts';
import { closeSoon, codeOf, within, type Link } from './rabbitmq-link.ts';

export interface Outgoing {
  /** Messages of one lane share a channel: what holds one up may hold up the others. */
  readonly lane: string;
  /** The queue on the server. */
  readonly queue: string;
  readonly body: Job | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Publisher {
  /**
   * Resolves when the server has confirmed that a queue has it, on disk. However many at once: confirms are pipelined.
   * @throws Refused when the queue takes no more, Unroutable when there is none, BrokerUnavailable when nobody knows.
   */
  readonly send: (message: Outgoing) => Promise<void>;
  /** Waits for what is under way. */
  readonly close: () => Promise<void>;
}

/** The queue does not take it; in ours that is because it is full. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** There is no such queue. */
export class Unroutable extends Error {
  override readonly name = 'Unroutable';
}

/** What came back on one channel is known by its message id. */
interface Lane {
  readonly channel: Channel;
  readonly returned: Set<string>;
}

interface State {
  readonly link: Link;
  readonly timeoutMs: number;
  readonly lanes: Map<string, Promise<Lane>>;
  readonly sending: Set<Promise<void>>;
  lastId: number;
}

/** @param timeoutMs How long a message may take: what is not confirmed then is in doubt. The client itself waits for ever. */
export function openPublisher(link: Link, timeoutMs: number): Publisher {
  const state: State = { link, timeoutMs, lanes: new Map(), sending: new Set(), lastId: 0 };
  return {
    send: (message) => {
      const sending = send(state, message).finally(() => state.sending.delete(sending));
      state.sending.add(sending);
      return sending;
    },
    close: async () => {
      await Promise.allSettled(state.sending);
      await Promise.allSettled([...state.lanes.values()].map(async (lane) => closeSoon((await lane).channel)));
    },
  };
}

async function send(state: State, { lane: name, queue, body, headers = {} }: Outgoing): Promise<void> {
  const deadline = performance.now() + state.timeoutMs;
  // Written to a blocked connection it would lie in our memory, and be sent long after its publisher gave up.
  await state.link.ready(state.timeoutMs);
  const lane = await laneOf(state, name, remaining(deadline));
  const messageId = String((state.lastId += 1));
  const envelope = { routingKey: queue, mandatory: true, durable: true, messageId, headers };
  try {
    const confirmed = lane.channel.basicPublish(envelope, body);
    await within(remaining(deadline), confirmed, `RabbitMQ did not confirm a message to ${queue}`);
  } catch (error) {
    if (codeOf(error) === 'NACK') throw new Refused(`RabbitMQ refused a message to ${queue}`, { cause: error });
    // Confirms that never come would pile up in it.
    drop(state, name, lane);
    throw error;
  }
  // A message without a queue is confirmed too. It is returned before that, but the client tells of it a turn later.
  await nextTurn();
  if (lane.returned.delete(messageId)) throw new Unroutable(`there is no queue ${queue}`);
}

function remaining(deadline: number): number {
  return Math.max(1, deadline - performance.now());
}

function laneOf(state: State, name: string, timeoutMs: number): Promise<Lane> {
  const known = state.lanes.get(name);
  if (known !== undefined) return known;
  const opening = openLane(state.link, timeoutMs);
  state.lanes.set(name, opening);
  opening.then(
    ({ channel }) => {
      channel.once('close', () => forget(state, name, opening));
      if (!channel.active) forget(state, name, opening);
    },
    () => forget(state, name, opening),
  );
  return opening;
}

async function openLane(link: Link, timeoutMs: number): Promise<Lane> {
  const channel = await link.channel(timeoutMs);
  const returned = new Set<string>();
  channel.on('basic.return', ({ messageId }: ReturnedMessage) => returned.add(messageId ?? ''));
  try {
    await within(timeoutMs, channel.confirmSelect(), 'RabbitMQ opened no channel with confirms');
    return { channel, returned };
  } catch (error) {
    void closeSoon(channel);
    throw error;
  }
}

function forget({ lanes }: State, name: string, lane: Promise<Lane>): void {
  if (lanes.get(name) === lane) lanes.delete(name);
}

function drop({ lanes }: State, name: string, { channel }: Lane): void {
  // Its end takes it from the lanes; that may take a while, and nobody is to wait for it.
  lanes.delete(name);
  void closeSoon(channel);
}
