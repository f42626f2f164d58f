import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent } from 'node:https';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { brotliDecompressSync, unzipSync } from 'node:zlib';
import type { Limit } from './limit.ts';

/**
 * How far an attempt had come. `before`: the SDK had not made a request. `connecting`: nothing of the request can have
 * left, because no connection stood. `written`: it may have left, and there is no complete answer. `answered`: there is.
 */
export type Stage = 'before' | 'connecting' | 'written' | 'answered';

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  /** At most {@link LARGEST_ANSWER} bytes of it. */
  readonly body: string;
}

/** What was seen of the one request of an attempt. */
export interface Exchange {
  readonly stage: Stage;
  /** Why there is no answer: the code of the error, or what the limit was reached by. */
  readonly code: string | null;
  /** The text of the error. */
  readonly text: string | null;
  readonly answer: Answer | null;
  /** The value of the request's `Authorization` header: a secret. */
  readonly authorization: string | null;
}

/** What ends an attempt before its request does. */
type End = Pick<Limit, 'signal' | 'reached'>;

/** Milliseconds. */
export interface Phases {
  /** From the request to the open connection: look-up of the name, connection, TLS. */
  readonly connect: number;
  /** From the open connection to the end of the answer. */
  readonly answer: number;
}

export interface FcmHttp {
  /** All ways share the connections. */
  readonly openWay: () => Way;
  readonly close: () => void;
}

/** For one send after the other: the next `exchange` may begin when it is free again, which is after the `call` of the last one has settled. */
export interface Way {
  /** To be given to an app of the SDK: every request of its goes through here or is refused. */
  readonly agent: Agent;
  /**
   * Runs `call`, which may make one request; any further one is refused before a connection is asked for it. Resolves
   * as soon as the fate of the request is known, or at the limit, whatever the SDK does; never rejects. A request
   * without a complete answer is destroyed by then. `onFree` is called once, when the next one may begin; that may be before
   * or after it resolves, or never.
   */
  readonly exchange: (call: () => Promise<unknown>, limit: End, onFree: () => void) => Promise<Exchange>;
}

export interface FcmHttpOptions {
  /** Speaks plain HTTP to this address, whatever address the SDK asks for. */
  readonly loopback?: { readonly host: string; readonly port: number };
  /** Most connections at once. */
  readonly connections: number;
  readonly phases: Phases;
}

/** What answered does not speak HTTP. */
export const NOT_HTTP = 'NOT_HTTP';

/** Well below the idle limit of Google's front ends (minutes) and of common address translators: we close, not they. */
const IDLE_MS = 30_000;
const LARGEST_ANSWER = 64 * 1024;

/**
 * The SDK repeats a request by itself, up to four times, when it gets a 503, a reset or a time-out, and there is no
 * option against it: one send could be five messages. The agent of a way sees every request of the one send that is on
 * it, and refuses all but the first with an error that the SDK does not repeat. (One agent for all would need an
 * AsyncLocalStorage to know whose a request is, which slows down every promise of the thread.)
 */
export function openFcmHttp({ loopback, connections, phases }: FcmHttpOptions): FcmHttp {
  const established = new WeakSet<Duplex>();
  const agent = new Agent({ keepAlive: true, timeout: IDLE_MS, maxSockets: connections, maxFreeSockets: connections });
  // With TLS nothing is written before its handshake is over.
  const ready = loopback === undefined ? 'secureConnect' : 'connect';
  const dial = agent.createConnection.bind(agent);
  agent.createConnection = (options, done) => {
    const socket = loopback === undefined ? dial(options, done) : connect({ host: loopback.host, port: loopback.port });
    socket?.once(ready, () => established.add(socket));
    return socket;
  };
  const openWay = (): Way => {
    let current: Attempt | null = null;
    const begin = (request: ClientRequest): void => {
      if (current === null) throw refusal('a request outside of a send');
      const { written } = current;
      current.begin(request);
      request.once('socket', (socket) => {
        if (established.has(socket)) written();
        else socket.once(ready, written);
      });
    };
    const exchange: Way['exchange'] = (call, limit, onFree) =>
      new Promise((resolve) => {
        const attempt = openAttempt(phases, limit, (made) => {
          // What is between us and FCM may have forgotten all of them, and each would keep a message as long.
          if (made.stage === 'written') closeIdle(agent);
          resolve(made);
        });
        const over = (error: unknown): void => {
          current = null;
          attempt.end(error);
          onFree();
        };
        current = attempt;
        // A call that throws is one that rejects.
        (async () => call())().then(() => {
          over(null);
        }, over);
      });
    return { agent: intercepted(agent, begin), exchange };
  };
  return {
    openWay,
    close: () => {
      agent.destroy();
    },
  };
}

function closeIdle({ freeSockets }: Agent): void {
  for (const socket of Object.values(freeSockets).flat()) socket?.destroy();
}

/** An agent without connections of its own. `addRequest` is what `http.request` asks of any agent; `before` may throw, and the request fails with that error. */
function intercepted(agent: Agent, before: (request: ClientRequest) => void): Agent {
  const addRequest: unknown = Reflect.get(agent, 'addRequest');
  if (typeof addRequest !== 'function') throw new Error('the agents of this Node.js have no addRequest');
  const front = new Agent(agent.options);
  Reflect.set(front, 'addRequest', (request: ClientRequest, ...rest: readonly unknown[]) => {
    before(request);
    Reflect.apply(addRequest, agent, [request, ...rest]);
  });
  return front;
}

/** The SDK repeats by error code; it has none for this one. */
function refusal(why: string): Error {
  return Object.assign(new Error(`refused: ${why}`), { code: 'ERR_REFUSED_REQUEST' });
}

interface Attempt {
  /** @throws when it is over, or has had its request. */
  readonly begin: (request: ClientRequest) => void;
  /** From now on bytes of the request may have left. */
  readonly written: () => void;
  /** Without an answer, because of `error` where there was one. */
  readonly end: (error: unknown) => void;
}

function openAttempt(phases: Phases, limit: End, settle: (exchange: Exchange) => void): Attempt {
  let stage: Stage = 'before';
  let request: ClientRequest | null = null;
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;

  const finish = (answer: Answer | null, { code, text }: Reason): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    limit.signal.removeEventListener('abort', onLimit);
    settle({ stage, code, text, answer, authorization: authorizationOf(request) });
    if (answer === null) request?.destroy();
  };
  const end = (error: unknown): void => {
    finish(null, reasonOf(error));
  };
  const onLimit = (): void => {
    finish(null, { code: limit.reached(), text: null });
  };
  const during = (next: Stage, ms: number): void => {
    if (isOver) return;
    stage = next;
    clearTimeout(timer);
    timer = setTimeout(() => {
      finish(null, { code: 'ETIMEDOUT', text: `no answer within ${String(ms)} ms` });
    }, ms);
  };
  const begin = (first: ClientRequest): void => {
    if (isOver || request !== null) throw refusal('one send is one request');
    request = first;
    during('connecting', phases.connect);
    watch(first, end, (answer) => {
      stage = 'answered';
      finish(answer, { code: null, text: null });
    });
  };
  limit.signal.addEventListener('abort', onLimit, { once: true });
  if (limit.signal.aborted) onLimit();
  return {
    begin,
    written: () => {
      during('written', phases.answer);
    },
    end,
  };
}

/** Tells of the end of a request exactly as it comes, before the SDK hears of it. */
function watch(request: ClientRequest, end: (error: unknown) => void, answered: (answer: Answer) => void): void {
  let response: IncomingMessage | null = null;
  request.prependOnceListener('response', (incoming) => {
    response = incoming;
    collect(incoming, answered);
  });
  request.on('error', end);
  // The SDK's own limit for an idle connection.
  request.once('timeout', () => {
    end(Object.assign(new Error('the connection was silent for too long'), { code: 'ETIMEDOUT' }));
  });
  request.once('close', () => {
    // The SDK never hears of a connection that is lost within an answer: its promise stays pending.
    if (response?.complete !== true) end(Object.assign(new Error('connection lost'), { code: 'ECONNRESET' }));
  });
}

function collect(response: IncomingMessage, answered: (answer: Answer) => void): void {
  const retryAfter = response.headers['retry-after'] ?? null;
  // The SDK takes this header away.
  const encoding = response.headers['content-encoding'];
  // The SDK would wait for so long, with a timer that outlives the sender, only to have its next request refused.
  delete response.headers['retry-after'];
  const chunks: Buffer[] = [];
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    if (size < LARGEST_ANSWER) chunks.push(chunk);
    size += chunk.length;
  });
  response.once('end', () => {
    const body = decoded(Buffer.concat(chunks), encoding).subarray(0, LARGEST_ANSWER);
    if (response.complete) answered({ status: response.statusCode ?? 0, retryAfter, body: body.toString() });
  });
}

/** The SDK asks for encoded answers. What cannot be decoded, or would be too large, is left as it is. */
function decoded(body: Buffer, encoding = ''): Buffer {
  const limit = { maxOutputLength: LARGEST_ANSWER };
  try {
    if (/^(?:x-)?gzip$|^deflate$/i.test(encoding)) return unzipSync(body, limit);
    return /^br$/i.test(encoding) ? brotliDecompressSync(body, limit) : body;
  } catch {
    return body;
  }
}

interface Reason {
  readonly code: string | null;
  readonly text: string | null;
}

function reasonOf(error: unknown): Reason {
  if (!(error instanceof Error)) return { code: null, text: null };
  const code: unknown = Reflect.get(error, 'code');
  const isParseError = typeof code === 'string' && code.startsWith('HPE_');
  return { code: isParseError ? NOT_HTTP : typeof code === 'string' ? code : null, text: error.message };
}

function authorizationOf(request: ClientRequest | null): string | null {
  const value = request?.getHeader('authorization');
  return typeof value === 'string' ? value : null;
}
