import * as http from 'node:http';
import * as https from 'node:https';
import { NO_CONNECTION, SILENT } from './sms-twilio-outcome.ts';

export interface HttpRequest {
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What became of one request. */
export type Exchange =
  | { readonly kind: 'answered'; readonly status: number; readonly retryAfter: string | null; readonly body: string }
  | {
      readonly kind: 'failed';
      /** `unsent`: not one byte of the request was written. */
      readonly stage: 'unsent' | 'sent';
      readonly code: string | null;
      /** Of an answer that began and was cut short. */
      readonly status: number | null;
    };

export interface HttpClientOptions {
  /** `https://host[:port]`, or `http://` on loopback. */
  readonly origin: URL;
  /** Connections open at most. */
  readonly connections: number;
  /** To an open connection, encryption included; milliseconds. */
  readonly connectMs: number;
  /** From there to a complete answer; milliseconds. */
  readonly answerMs: number;
}

export interface HttpClient {
  /**
   * Makes one POST request, over a connection that is open already if there is one, and never a second one. An abort
   * settles it at once.
   */
  readonly post: (request: HttpRequest, signal: AbortSignal) => Promise<Exchange>;
  /** Closes all connections. */
  readonly close: () => void;
}

/**
 * An idle connection is given up after so long, well before common servers and load balancers close it (Node 5 s, most
 * 60 s): a request that crosses with the closing is lost, and nobody could tell that it was not taken.
 */
const IDLE_MS = 4_000;
/** An answer of the Messages resource has about a thousand characters; more than this is read, but not kept. */
const LONGEST_ANSWER = 64 * 1024;

export function openHttpClient(options: HttpClientOptions): HttpClient {
  const encrypted = options.origin.protocol === 'https:';
  const pool = { keepAlive: true, maxSockets: options.connections, timeout: IDLE_MS };
  const agent = encrypted ? new https.Agent(pool) : new http.Agent(pool);
  return {
    post: (request, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) {
          resolve({ kind: 'failed', stage: 'unsent', code: null, status: null });
          return;
        }
        const sending = (encrypted ? https : http).request(new URL(request.path, options.origin), {
          method: 'POST',
          agent,
          headers: { ...request.headers, 'Content-Length': Buffer.byteLength(request.body) },
        });
        follow(sending, { ...options, signal }, resolve);
        sending.end(request.body);
      }),
    close: () => {
      agent.destroy();
    },
  };
}

type Limits = Pick<HttpClientOptions, 'connectMs' | 'answerMs'> & { readonly signal: AbortSignal };

/** Settles once, with the answer when it is complete, else when the request is over. */
function follow(sending: http.ClientRequest, limits: Limits, settle: (exchange: Exchange) => void): void {
  let stage: 'unsent' | 'sent' = 'unsent';
  let code: string | null = null;
  let status: number | null = null;
  const fail = (reason: string | null): void => {
    code ??= reason;
    sending.destroy();
  };
  let timer = setTimeout(fail, limits.connectMs, NO_CONNECTION);
  const onAbort = (): void => {
    fail(null);
    finish({ kind: 'failed', stage, code, status });
  };
  const finish = (exchange: Exchange): void => {
    clearTimeout(timer);
    limits.signal.removeEventListener('abort', onAbort);
    settle(exchange);
  };
  limits.signal.addEventListener('abort', onAbort, { once: true });
  whenWritten(sending, () => {
    stage = 'sent';
    clearTimeout(timer);
    timer = setTimeout(fail, limits.answerMs, SILENT);
  });
  sending.on('response', (response) => {
    status = response.statusCode ?? 0;
    collect(response, (body) => {
      finish({ kind: 'answered', status: status ?? 0, retryAfter: response.headers['retry-after'] ?? null, body });
    });
  });
  sending.on('error', (error: NodeJS.ErrnoException) => {
    code ??= error.code ?? error.name;
  });
  sending.on('close', () => {
    finish({ kind: 'failed', stage, code, status });
  });
}

/**
 * Calls back before the first byte of the request can be written: at once on a connection that stands, else when the new
 * one does. Until a TCP or TLS connection stands, what is written to it stays in this process. `reusedSocket` does not
 * tell: it is not set for a request that waited in the queue of the agent and got its connection from there.
 */
function whenWritten(sending: http.ClientRequest, callback: () => void): void {
  sending.on('socket', (socket) => {
    // Nothing is written to it any more, and one that could not connect is not connecting either.
    if (socket.destroyed) return;
    const encrypted = 'secureConnecting' in socket;
    const stands = encrypted ? socket.secureConnecting === false : !socket.connecting;
    if (stands) callback();
    else socket.once(encrypted ? 'secureConnect' : 'connect', callback);
  });
}

function collect(response: http.IncomingMessage, done: (body: string) => void): void {
  let body = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    if (body.length < LONGEST_ANSWER) body += chunk;
  });
  // Without a listener, a connection that is cut within the answer would be an uncaught error; the request closes too.
  response.on('error', () => undefined);
  response.on('end', () => {
    if (response.complete) done(body);
  });
}
