import type { Channel, ReturnedMessage } from 'rabbitmq-client';
import { gather, type Gathering } from '../../gather.ts';
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

/** A message, and who waits for it. */
interface Sending {
  readonly message: Outgoing;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Lane {
  readonly channel: Channel;
  /** Takes what the server has confirmed; what came back is known by its message id. */
  readonly confirmed: Gathering<Sending & { readonly messageId: string }>;
  /** The next message gets another channel. */
  readonly forget: () => void;
}

interface State {
  readonly link: Link;
  readonly timeoutMs: number;
  readonly outgoing: Map<string, Gathering<Sending>>;
  readonly lanes: Map<string, Promise<Lane>>;
  readonly sending: Set<Promise<void>>;
  lastId: number;
}

/** @param timeoutMs How long a message may take: what is not confirmed then is in doubt. The client itself waits for ever. */
export function openPublisher(link: Link, timeoutMs: number): Publisher {
  const state: State = { link, timeoutMs, outgoing: new Map(), lanes: new Map(), sending: new Set(), lastId: 0 };
  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        outgoingOf(state, message.lane).add({ message, resolve, reject });
      }),
    close: async () => {
      for (const [name, gathering] of state.outgoing) {
        const batch = gathering.takeAll();
        // For nothing it would wait for the server, and open a lane.
        if (batch.length > 0) begin(state, name, batch);
      }
      await Promise.all(state.sending);
      await Promise.allSettled([...state.lanes.values()].map(async (lane) => closeSoon((await lane).channel)));
    },
  };
}

function outgoingOf(state: State, name: string): Gathering<Sending> {
  const known = state.outgoing.get(name);
  if (known !== undefined) return known;
  const outgoing = gather<Sending>((batch) => {
    begin(state, name, batch);
  });
  state.outgoing.set(name, outgoing);
  return outgoing;
}

function begin(state: State, name: string, batch: readonly Sending[]): void {
  const sending = sendAll(state, name, batch).finally(() => state.sending.delete(sending));
  state.sending.add(sending);
}

/** Never rejects: each of them is told. */
async function sendAll(state: State, name: string, batch: readonly Sending[]): Promise<void> {
  const deadline = performance.now() + state.timeoutMs;
  try {
    // Written to a blocked connection it would lie in our memory, and be sent long after its publisher gave up.
    await state.link.ready(state.timeoutMs);
    const lane = await laneOf(state, name, remaining(deadline));
    const confirms = publishAll(state, lane, batch);
    await within(remaining(deadline), confirms, `RabbitMQ did not confirm a message for ${name}`).catch(
      (error: unknown) => {
        // Confirms that never come would pile up in it.
        lane.forget();
        void closeSoon(lane.channel);
        throw error;
      },
    );
  } catch (error) {
    // Those that were told already do not hear it.
    for (const { reject } of batch) reject(error);
  }
}

/** Rejects when of one of them nobody knows, which is when the channel ends. */
async function publishAll(state: State, lane: Lane, batch: readonly Sending[]): Promise<void> {
  const confirms: Promise<void>[] = [];
  state.link.together(() => {
    for (const sending of batch) confirms.push(publish(lane, sending, String((state.lastId += 1))));
  });
  await Promise.all(confirms);
}

async function publish({ channel, confirmed }: Lane, sending: Sending, messageId: string): Promise<void> {
  const { queue, body, headers } = sending.message;
  const envelope = { routingKey: queue, mandatory: true, durable: true, messageId, ...(headers && { headers }) };
  try {
    await channel.basicPublish(envelope, body);
    confirmed.add({ ...sending, messageId });
  } catch (error) {
    if (codeOf(error) !== 'NACK') throw error;
    sending.reject(new Refused(`RabbitMQ refused a message to ${queue}`, { cause: error }));
  }
}

function remaining(deadline: number): number {
  return Math.max(1, deadline - performance.now());
}

function laneOf(state: State, name: string, timeoutMs: number): Promise<Lane> {
  const known = state.lanes.get(name);
  if (known !== undefined) return known;
  const forget = (): void => {
    if (state.lanes.get(name) === opening) state.lanes.delete(name);
  };
  const opening = openLane(state.link, timeoutMs, forget);
  state.lanes.set(name, opening);
  opening.catch(forget);
  return opening;
}

async function openLane(link: Link, timeoutMs: number, forget: () => void): Promise<Lane> {
  const channel = await link.channel(timeoutMs);
  const returned = new Set<string>();
  channel.on('basic.return', ({ messageId }: ReturnedMessage) => returned.add(messageId ?? ''));
  channel.once('close', forget);
  try {
    await within(timeoutMs, channel.confirmSelect(), 'RabbitMQ opened no channel with confirms');
    return { channel, confirmed: confirmedOn(returned), forget };
  } catch (error) {
    void closeSoon(channel);
    throw error;
  }
}

/** A message without a queue is confirmed too. It is returned before that, but the client tells of it a turn later. */
function confirmedOn(returned: Set<string>): Lane['confirmed'] {
  return gather((batch) => {
    setImmediate(() => {
      for (const { messageId, message, resolve, reject } of batch) {
        if (returned.delete(messageId)) reject(new Unroutable(`there is no queue ${message.queue}`));
        else resolve();
      }
    });
  });
}
