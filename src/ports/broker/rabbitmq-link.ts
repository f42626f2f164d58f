import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { AMQPError, Connection, type Channel } from 'rabbitmq-client';
import { addressOfAmqpUrl } from '../../amqp-url.ts';
import { BrokerUnavailable } from './broker.ts';

/**
 * One connection for one purpose: a memory alarm stops whatever a publishing connection sends, so consuming and looking
 * have their own. It reconnects for as long as it is open.
 */
export interface Link {
  /** Resolves once connected and not blocked by an alarm. @throws BrokerUnavailable after so many milliseconds, or at once when the server refuses us. */
  readonly ready: (timeoutMs: number) => Promise<void>;
  /** A new channel, whose errors were heard. @throws BrokerUnavailable after so many milliseconds. */
  readonly channel: (timeoutMs: number) => Promise<Channel>;
  /** Does what writes to its channels, and hands all of that to the system at once. */
  readonly together: (write: () => void) => void;
  /** Called each time a connection stands. */
  readonly onConnected: (listener: () => void) => void;
  /** Ends it, in good order if the server answers soon. */
  readonly close: () => Promise<void>;
}

/** Seconds. A link that went dead without a word is noticed after two and a half times as long. */
const HEARTBEAT_S = 6;
const RECONNECT_MS = { low: 100, high: 2_000 };
const CLOSE_MS = 2_000;
/** Of the socket: room for what one turn of the event loop writes. With Node's 16 KiB the rest would follow message by message. */
const ROOM = { highWaterMark: 256 * 1024 };
/** What a server says to somebody it will not talk to, however often he asks. */
const REFUSALS = ['ACCESS_REFUSED', 'NOT_ALLOWED', 'VERSION_MISMATCH'];

interface State {
  readonly connection: Connection;
  readonly onError: (error: Error) => void;
  /** Looks again whether what one waits for is there. */
  readonly waiting: Set<() => void>;
  /** The last error since a connection stood. */
  trouble: Error | null;
  closed: boolean;
}

export function openLink(url: string, purpose: string, onError: (error: Error) => void): Link {
  const connection = connect(url, purpose);
  const state: State = { connection, onError, waiting: new Set(), trouble: null, closed: false };
  connection.on('error', (error: unknown) => {
    state.trouble = asError(error);
    onError(state.trouble);
    lookAgain(state);
  });
  connection.on('connection', () => {
    state.trouble = null;
    lookAgain(state);
  });
  connection.on('connection.unblocked', () => {
    lookAgain(state);
  });
  return {
    ready: (timeoutMs) => ready(state, timeoutMs),
    channel: (timeoutMs) => openChannel(state, timeoutMs),
    together: (write) => {
      together(connection, write);
    },
    onConnected: (listener) => void connection.on('connection', listener),
    close: () => close(state),
  };
}

function connect(url: string, purpose: string): Connection {
  return new Connection({
    url,
    connectionName: `heliograph ${purpose}`,
    // The client would look up an IPv6 address with its brackets.
    socket: { ...addressOfAmqpUrl(url), ...ROOM },
    heartbeat: HEARTBEAT_S,
    // Without it each confirm waits for a delayed acknowledgement of TCP: 45 ms instead of 1 (measured).
    noDelay: true,
    retryLow: RECONNECT_MS.low,
    retryHigh: RECONNECT_MS.high,
  });
}

/** The client writes each message by itself; what is written to its socket while that is corked goes out in one call. */
function together(connection: Connection, write: () => void): void {
  const socket: unknown = Reflect.get(connection, '_socket');
  if (!(socket instanceof Socket)) {
    write();
    return;
  }
  socket.cork();
  try {
    write();
  } finally {
    // Not later: the client takes a corked socket for one that an alarm has stopped.
    socket.uncork();
  }
}

function lookAgain({ waiting }: State): void {
  for (const look of [...waiting]) look();
}

function ready(state: State, timeoutMs: number): Promise<void> {
  if (state.connection.ready) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      state.waiting.delete(look);
    };
    const giveUp = (): void => {
      end();
      reject(unavailable(state));
    };
    const look = (): void => {
      if (isRefused(state)) giveUp();
      if (!state.connection.ready) return;
      end();
      resolve();
    };
    const timer = setTimeout(giveUp, timeoutMs);
    state.waiting.add(look);
    look();
  });
}

function isRefused({ closed, trouble }: State): boolean {
  return closed || REFUSALS.includes(codeOf(trouble) ?? '');
}

function unavailable({ trouble }: State): BrokerUnavailable {
  if (trouble === null) return new BrokerUnavailable('RabbitMQ takes nothing now, or does not answer');
  const { code = '' } = trouble as { readonly code?: string };
  return new BrokerUnavailable(`RabbitMQ cannot be used: ${code} ${trouble.message}`, { cause: trouble });
}

async function close(state: State): Promise<void> {
  state.closed = true;
  lookAgain(state);
  // The client waits for its channels without a limit, and for a socket that an alarm has corked.
  await Promise.race([state.connection.close().catch(() => undefined), delay(CLOSE_MS, undefined, { ref: false })]);
  state.connection.unsafeDestroy();
}

async function openChannel({ connection, onError }: State, timeoutMs: number): Promise<Channel> {
  const opening = connection.acquire({ emitErrorsFromChannel: true }).then((channel) => {
    channel.on('error', (error: unknown) => {
      onError(asError(error));
    });
    return channel;
  });
  try {
    return await within(timeoutMs, opening, 'RabbitMQ opened no channel');
  } catch (error) {
    opening.then(closeSoon, () => undefined);
    throw error;
  }
}

/** Closes a channel and waits for it, but not for long. */
export async function closeSoon(channel: Channel): Promise<void> {
  await Promise.race([channel.close().catch(() => undefined), delay(CLOSE_MS, undefined, { ref: false })]);
}

/** What `work` answers. @throws BrokerUnavailable with `message` when it takes longer; nobody knows then whether it was done. */
export async function within<T>(timeoutMs: number, work: Promise<T>, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new BrokerUnavailable(`${message} within ${String(timeoutMs)} ms`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The code of an error of the protocol, such as `NOT_FOUND` or `NACK`; null for any other. */
export function codeOf(error: unknown): string | null {
  return error instanceof AMQPError ? (error as { readonly code: string }).code : null;
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
