import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, request } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Limit, STOPPED } from '../../src/senders/limit.ts';
import type { Outcome } from '../../src/senders/outcome.ts';
import { type Exchange, openFcmHttp, type Phases, type Way } from '../../src/senders/push-fcm-http.ts';
import { type Failure, RULES, ruleFor } from '../../src/senders/push-fcm-outcome.ts';
import { type FcmTimeouts, openFcmSender } from '../../src/senders/push-fcm.ts';
import { eventually } from '../support/eventually.ts';
import { listening, PUSH, type StandIn } from '../support/fcm-server.ts';
import { CERTIFICATE, KEY } from '../support/tls-certificate.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const use = stoppedAfterEach();

const never = (): AbortSignal => new AbortController().signal;

async function secure(answer: (response: ServerResponse) => void): Promise<StandIn> {
  const server = createHttpsServer({ key: KEY, cert: CERTIFICATE }, (_request, response) => {
    answer(response);
  });
  return use(await listening(server));
}

function http(phases: Partial<Phases> = {}): Way {
  const opened = openFcmHttp({ connections: 1, phases: { connect: 5_000, answer: 5_000, ...phases } });
  use({
    value: undefined,
    stop: () => {
      opened.close();
      return Promise.resolve();
    },
  });
  return opened.openWay();
}

/** What the SDK does, without the SDK: it asks for one address only. */
function post({ agent }: Way, { address }: Pick<StandIn, 'address'>, ca?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request({ ...address, agent, method: 'POST', ...(ca === undefined ? {} : { ca }) }, (response) => {
      response.on('end', resolve).on('error', reject).resume();
    });
    asked.on('error', reject).end('hello');
  });
}

const unlimited = (): Pick<Limit, 'signal' | 'reached'> => ({ signal: never(), reached: () => null });

/** Nobody waits for the way to be free. */
function exchangeOn(way: Way, call: () => Promise<unknown>, limit = unlimited()): Promise<Exchange> {
  return way.exchange(call, limit, () => undefined);
}

function ruleOf({ stage, code }: Exchange): string {
  return ruleFor({ stage, code, status: null, fcm: null, canonical: null, fault: null }).name;
}

describe('over TLS', () => {
  it('an answer is an answer, and the connection is kept', async () => {
    const fcm = await secure((response) => response.end('hello'));
    const opened = http();
    for (let index = 0; index < 3; index++) {
      const exchange = await exchangeOn(opened, () => post(opened, fcm, CERTIFICATE));
      expect(exchange).toMatchObject({ stage: 'answered', answer: { status: 200, body: 'hello' } });
    }
    expect(fcm.connections()).toBe(1);
  });

  it('nothing was sent to a server that nobody vouches for', async () => {
    const fcm = await secure((response) => response.end('hello'));
    const opened = http();
    const exchange = await exchangeOn(opened, () => post(opened, fcm));
    expect(exchange).toMatchObject({ stage: 'connecting', code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    expect(ruleOf(exchange)).toBe('no connection');
  });

  it.each<readonly [string, () => Server, Partial<Phases>]>([
    ['says nothing', () => createTcpServer(), { connect: 60 }],
    ['hangs up', () => createTcpServer((socket) => socket.destroy()), {}],
    ['resets', () => createTcpServer((socket) => socket.resetAndDestroy()), {}],
    ['speaks something else', () => createTcpServer((socket) => socket.end('220 ready\r\n')), {}],
  ])('nothing was sent to a server that %s when greeted', async (_title, open, phases) => {
    const fcm = use(await listening(open()));
    const opened = http(phases);
    const exchange = await exchangeOn(opened, () => post(opened, fcm, CERTIFICATE));
    expect(exchange.stage).toBe('connecting');
    expect(ruleOf(exchange)).toBe('no connection');
    expect(fcm.connections()).toBe(1);
  });

  it('nothing was sent when given up while connecting', async () => {
    const fcm = use(await listening(createTcpServer((socket) => socket.resume())));
    const opened = http();
    const caller = new AbortController();
    const limit = { signal: caller.signal, reached: (): typeof STOPPED => STOPPED };
    const exchange = exchangeOn(opened, () => post(opened, fcm, CERTIFICATE), limit);
    await eventually(() => {
      expect(fcm.connections()).toBe(1);
    });
    caller.abort();
    expect(ruleOf(await exchange)).toBe('stopped while connecting');
    await eventually(() => {
      expect(fcm.sockets.size).toBe(0);
    });
  });

  it('nothing was sent when the call itself fails, and the exchange says so', async () => {
    const opened = http();
    const exchange = await exchangeOn(opened, () => {
      throw new Error('no such option');
    });
    expect(exchange).toMatchObject({ stage: 'before', text: 'no such option', answer: null });
  });

  it('a second request of a send, and one of no send, never leave', async () => {
    const fcm = await secure((response) => response.end('hello'));
    const opened = http();
    let second: unknown;
    const twice = async (): Promise<void> => {
      await post(opened, fcm, CERTIFICATE);
      second = await post(opened, fcm, CERTIFICATE).catch((error: unknown) => error);
    };
    await exchangeOn(opened, twice);
    await eventually(() => {
      expect(String(second)).toContain('one send is one request');
    });
    await expect(post(opened, fcm, CERTIFICATE)).rejects.toThrow('outside of a send');
    expect(fcm.connections()).toBe(1);
  });
});

/** Google's token endpoint, behind a proxy on this machine that the library is told to use: nothing goes any further. */
describe('without an access token', () => {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const account = { projectId: 'acme-shop', clientEmail: 'heliograph@acme-shop.iam.example', privateKey };
  const SETTINGS = ['HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'NODE_TLS_REJECT_UNAUTHORIZED'];
  const before = SETTINGS.map((name) => [name, process.env[name]] as const);

  beforeAll(() => {
    for (const name of SETTINGS) Reflect.deleteProperty(process.env, name);
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  });
  afterAll(() => {
    for (const [name, value] of before) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  });

  /** Answers for `oauth2.googleapis.com`, and refuses to go anywhere else; hands out where it was asked to go. */
  async function proxy(answer: (response: ServerResponse) => void): Promise<readonly string[]> {
    const asked: string[] = [];
    const google = await secure(answer);
    const server = createHttpServer();
    server.on('connect', (message, socket) => {
      asked.push(message.url ?? '');
      socket.on('error', () => undefined);
      if (message.url !== 'oauth2.googleapis.com:443') {
        socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
        return;
      }
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      const behind = connect(google.address);
      behind.on('error', () => undefined);
      behind.pipe(socket).pipe(behind);
    });
    const { address } = use(await listening(server));
    process.env['HTTPS_PROXY'] = `http://127.0.0.1:${String(address.port)}`;
    return asked;
  }

  async function send(timeouts: Partial<FcmTimeouts> = {}): Promise<{ outcome: Outcome; rules: readonly string[] }> {
    const rules: string[] = [];
    const onFailure = (failure: Failure): unknown => rules.push(ruleFor(failure).name);
    const sender = use(openFcmSender({ account, connections: 1, timeouts, onFailure }));
    return { outcome: await sender.send(PUSH, never()), rules };
  }

  const json =
    (status: number, body: object) =>
    (response: ServerResponse): void => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(body));
    };
  const invalid = { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' };

  it.each<readonly [string, string, (response: ServerResponse) => void, string | null]>([
    ['refused', 'no access token: refused', json(400, invalid), 'TOKEN_REFUSED 400 invalid_grant'],
    ['busy', 'no access token: busy', json(503, { error: 'temporarily_unavailable' }), null],
    ['not reached', 'no access token: not reached', (response) => response.socket?.destroy(), null],
  ])('%s by Google, nothing is sent', async (_title, rule, answer, raw) => {
    const asked = await proxy(answer);
    const { outcome, rules } = await send();
    expect(rules).toEqual([rule]);
    expect(outcome).toMatchObject(RULES.find(({ name }) => name === rule)?.verdict ?? {});
    if (raw !== null) expect(outcome.raw).toBe(raw);
    expect(new Set(asked)).toEqual(new Set(['oauth2.googleapis.com:443']));
  });

  it('in time, nothing is sent', async () => {
    const asked = await proxy(() => undefined);
    const { outcome, rules } = await send({ total: 200 });
    expect(rules).toEqual(['no access token: not reached']);
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'PROVIDER_UNREACHABLE' });
    expect(asked.length).toBeLessThanOrEqual(1);
  });

  it('and with nobody at the other end, nothing is sent', async () => {
    const server = createTcpServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    process.env['HTTPS_PROXY'] = `http://127.0.0.1:${String(port)}`;
    const { outcome } = await send();
    expect(outcome).toMatchObject({ reason: 'PROVIDER_UNREACHABLE', raw: 'TOKEN_UNREACHABLE ECONNREFUSED' });
  });
});
