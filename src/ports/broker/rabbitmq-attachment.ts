import { setTimeout as delay } from 'node:timers/promises';
import type { AsyncMessage, Channel } from 'rabbitmq-client';
import { closeSoon, within, type Link } from './rabbitmq-link.ts';

/** What came from a queue. */
export interface Received {
  /** Unsettled on the channel that stands. */
  readonly held: number;
  /** How many ever came. */
  readonly arrivals: number;
}

export interface AttachmentOptions {
  readonly link: Link;
  /** Its name on the server. */
  readonly queue: string;
  readonly prefetch: number;
  /** Between two looks whether the server still knows its consumer, milliseconds. */
  readonly lookEveryMs: number;
  /** Sees to it that the queues are there. */
  readonly ensure: () => Promise<void>;
  readonly onTrouble: (error: unknown, what: string) => void;
  readonly onMessage: (message: AsyncMessage, channel: Channel) => void;
  readonly onAttached: () => void;
  /** The channel is no more: what came on it is with the server again. */
  readonly onLost: () => void;
  readonly received: () => Received;
}

/** A consumer of one queue on a channel of its own, and on another one whenever that is lost. */
export interface Attachment {
  /** Resolves after the first try; from then on it attaches again whenever the server is there. */
  readonly tried: Promise<void>;
  /** The one that stands, or is being attached; undefined while there is none. */
  readonly channel: () => Channel | undefined;
  /** Gives up the channel that stands; another one follows. */
  readonly renew: () => void;
  /** Nothing comes any more, and what came can still be settled. @throws BrokerUnavailable when the server does not answer soon. */
  readonly detach: () => Promise<void>;
  /** To be called after `detach`. */
  readonly close: () => Promise<void>;
}

const TIMEOUT_MS = 5_000;
const DETACH_MS = 1_000;
const PAUSE_MS = { low: 50, high: 2_000 };

interface Standing {
  readonly channel: Channel;
  /** Of its consumer, once it is there. */
  tag: string | undefined;
  /** Resolves once it is lost and closed, or once the server did not close it soon. */
  readonly lost: Promise<void>;
  readonly lose: () => void;
}

interface State {
  readonly options: AttachmentOptions;
  current: Standing | undefined;
  isStopping: boolean;
}

export function openAttachment(options: AttachmentOptions): Attachment {
  const state: State = { options, current: undefined, isStopping: false };
  const first = attach(state);
  void stayAttached(state, first);
  return {
    tried: first.then(() => undefined),
    channel: () => state.current?.channel,
    renew: () => state.current?.lose(),
    detach: () => detach(state),
    close: async () => {
      const { current } = state;
      current?.lose();
      await current?.lost;
    },
  };
}

/** The only place that attaches again, whatever ended a channel, so that it happens once and never not at all. */
async function stayAttached(state: State, first: Promise<Standing | undefined>): Promise<void> {
  let pauseMs = PAUSE_MS.low;
  for (let standing = await first; !state.isStopping; standing = await attach(state)) {
    if (standing === undefined) {
      // The queue may be gone. That the server does not answer about another one is no reason to wait longer.
      await Promise.race([ensure(state), delay(PAUSE_MS.high, undefined, { ref: false })]);
    } else {
      pauseMs = PAUSE_MS.low;
      await standing.lost;
    }
    await delay(pauseMs, undefined, { ref: false });
    pauseMs = Math.min(pauseMs * 2, PAUSE_MS.high);
  }
}

function ensure({ options }: State): Promise<void> {
  // It is tried again and again; what is wrong with the queue itself shows when it is consumed.
  return options.ensure().catch(() => undefined);
}

/** Undefined: it could not. */
async function attach(state: State): Promise<Standing | undefined> {
  if (isStopping(state)) return undefined;
  const { link, onTrouble, onAttached } = state.options;
  let standing: Standing | undefined;
  try {
    standing = use(state, await link.channel(TIMEOUT_MS));
    standing.tag = await consume(state, standing.channel);
    if (isStopping(state)) standing.lose();
    if (state.current === standing) onAttached();
    void watch(state, standing);
    return standing;
  } catch (error) {
    onTrouble(error, 'a consumer could not attach to its queue; trying again');
    standing?.lose();
    await standing?.lost;
    return undefined;
  }
}

function isStopping(state: State): boolean {
  return state.isStopping;
}

function use(state: State, channel: Channel): Standing {
  let resolve: () => void = () => undefined;
  const lost = new Promise<void>((settle) => {
    resolve = settle;
  });
  const lose = (): void => {
    if (state.current !== standing) return;
    state.current = undefined;
    state.options.onLost();
    void giveUp(standing).then(resolve);
  };
  const standing: Standing = { channel, tag: undefined, lost, lose };
  state.current = standing;
  channel.once('close', lose);
  channel.once('basic.cancel', () => {
    // Its queue is gone, and another process may have made it again: then all would be well but the session.
    void ensure(state);
    lose();
  });
  return standing;
}

/** With its consumer ended first: 3.10 keeps a record of each that ended with its channel in the log of its queue until a message comes. */
async function giveUp({ channel, tag }: Standing): Promise<void> {
  if (tag !== undefined && channel.active) {
    const ending = channel.basicCancel({ consumerTag: tag });
    await within(DETACH_MS, ending, 'RabbitMQ did not end a consumer').catch(() => undefined);
  }
  await closeSoon(channel);
}

/** Answers its tag. */
async function consume({ options }: State, channel: Channel): Promise<string> {
  const { queue, prefetch, onMessage } = options;
  await within(TIMEOUT_MS, channel.basicQos({ prefetchCount: prefetch }), 'RabbitMQ set no prefetch');
  const consuming = channel.basicConsume({ queue }, (message) => {
    onMessage(message, channel);
  });
  return (await within(TIMEOUT_MS, consuming, 'RabbitMQ started no consumer')).consumerTag;
}

/**
 * RabbitMQ may forget a consumer without a word. When a queue was deleted and made again at once, versions before 4 attach it to
 * the new one by themselves, and lose on the way whatever that sends to it (3.10.8). So who got nothing for a while and has
 * nothing attaches anew, which costs nothing then; who has something does so when, at two looks, more was ready and did not come.
 */
async function watch(state: State, standing: Standing): Promise<void> {
  const { lookEveryMs, received, onTrouble } = state.options;
  const isOver = (): boolean => state.isStopping || state.current !== standing;
  let wasLeftWaiting = false;
  try {
    for (;;) {
      const { arrivals } = received();
      await delay(lookEveryMs, undefined, { ref: false });
      if (isOver()) return;
      const gotNothing = (): boolean => received().arrivals === arrivals;
      if (gotNothing() && received().held === 0) break;
      const isLeftWaiting = await isMoreReady(state.options, standing.channel);
      if (isLeftWaiting && wasLeftWaiting && gotNothing()) throw new Error('what is ready does not come');
      wasLeftWaiting = isLeftWaiting;
    }
  } catch (error) {
    if (!isOver()) onTrouble(error, 'RabbitMQ has forgotten a consumer; it attaches anew');
  }
  if (!isOver()) standing.lose();
}

/** Asked on its own channel: the answer comes after whatever was on its way, and none comes on a channel that hangs. */
async function isMoreReady({ queue, prefetch, received }: AttachmentOptions, channel: Channel): Promise<boolean> {
  const looking = channel.queueDeclare({ queue, passive: true });
  const { messageCount } = await within(TIMEOUT_MS, looking, 'RabbitMQ did not tell a count');
  return messageCount > 0 && received().held < prefetch;
}

async function detach(state: State): Promise<void> {
  state.isStopping = true;
  const { current } = state;
  const { channel, tag } = current ?? {};
  if (current === undefined || channel === undefined || tag === undefined) return;
  current.tag = undefined;
  await within(DETACH_MS, channel.basicCancel({ consumerTag: tag }), 'RabbitMQ did not end a consumer');
}
