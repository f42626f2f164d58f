import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Message } from '../../src/senders/outcome.ts';
import { openHttpClient, type HttpClient } from '../../src/senders/sms-twilio-http.ts';
import { openTwilioSender } from '../../src/senders/sms-twilio.ts';
import { eventually } from '../support/eventually.ts';
import { CERTIFICATE, KEY } from '../support/tls-certificate.ts';

const MESSAGE: Message = {
  tenant: 'acme',
  notificationId: '0190b3a1-0000-7000-8000-000000000001',
  deliveryId: '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11',
  channel: 'SMS',
  lane: 'BULK',
  address: '+4915112345678',
  platform: null,
  attempt: 1,
  title: null,
  body: 'Your parcel is on its way.',
  html: null,
  url: null,
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};
const LONG = 60_000;
const never = (): AbortSignal => new AbortController().signal;

const stops: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Taken {
  readonly body: string;
  readonly answer: () => void;
}

/** Takes every request, and answers those that it is told to. */
async function openServer(protocol: string, onTaken: (taken: Taken) => void): Promise<{ url: string; taken: Taken[] }> {
  const taken: Taken[] = [];
  const server = protocol === 'https' ? createHttpsServer({ key: KEY, cert: CERTIFICATE }) : createHttpServer();
  server.on('request', (request: NodeJS.ReadableStream, response: ServerResponse) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const each = {
        body: new URLSearchParams(body).get('Body') ?? body,
        answer: (): void => {
          response.writeHead(201, { 'Content-Type': 'application/json' });
          response.end(JSON.stringify({ sid: `SM${'0'.repeat(32)}`, status: 'queued' }));
        },
      };
      taken.push(each);
      onTaken(each);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  return { url: `${protocol}://127.0.0.1:${String((server.address() as AddressInfo).port)}`, taken };
}

function client(url: string): HttpClient {
  const opened = openHttpClient({ origin: new URL(url), connections: 1, connectMs: LONG, answerMs: LONG });
  stops.push(opened.close);
  return opened;
}

const post = (body: string): { path: string; headers: object & Record<string, string>; body: string } => {
  return { path: '/', headers: {}, body };
};

describe.each(['http', 'https'])('over %s, a request', (protocol) => {
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  beforeEach(() => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  });
  afterEach(() => {
    if (before === undefined) Reflect.deleteProperty(process.env, 'NODE_TLS_REJECT_UNAUTHORIZED');
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
  });

  it.each(['on a new connection', 'on a kept connection', 'that waited for the connection of another'])(
    '%s was sent when it has arrived',
    async (which) => {
      const server = await openServer(protocol, ({ body, answer }) => {
        if (body === 'first') answer();
      });
      const http = client(server.url);
      const first = which === 'on a new connection' ? null : http.post(post('first'), never());
      if (which === 'on a kept connection') await first;
      const caller = new AbortController();
      const second = http.post(post('second'), caller.signal);
      await eventually(() => {
        expect(server.taken.map(({ body }) => body)).toContain('second');
      });
      caller.abort();
      expect(await second).toEqual({ kind: 'failed', stage: 'sent', code: null, status: null });
      if (first !== null) expect(await first).toMatchObject({ kind: 'answered', status: 201 });
    },
  );
});

describe('a message that Twilio took', () => {
  const settings = {
    accountSid: `AC${'0123456789abcdef'.repeat(2)}`,
    authToken: 'a-token-that-nobody-may-see',
    from: '+15005550006',
    messagingServiceSid: null,
    statusCallback: () => null,
  };

  it('is never told to be worth another attempt, however slow the server', async () => {
    let seed = 20_261_121;
    const random = (): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return seed / 0x7fffffff;
    };
    const timers = new Set<NodeJS.Timeout>();
    const server = await openServer('http', ({ answer }) => timers.add(setTimeout(answer, random() * 80)));
    const timeouts = { connect: 15, answer: 50, total: 60 };
    const twilio = openTwilioSender({ ...settings, apiUrl: server.url, connections: 16, timeouts });
    stops.push(twilio.stop, () => {
      for (const timer of timers) clearTimeout(timer);
    });
    const kinds = new Map<string, string>();
    const sendMany = async (line: number): Promise<void> => {
      for (let index = 0; index < 30; index++) {
        const body = `m${String(line)}x${String(index)}`;
        const { kind } = await twilio.value.send({ ...MESSAGE, body }, never());
        kinds.set(body, kind);
      }
    };
    await Promise.all(Array.from({ length: 32 }, (_each, line) => sendMany(line)));
    expect(server.taken.filter(({ body }) => kinds.get(body) === 'retry').map(({ body }) => body)).toEqual([]);
    expect(new Set(kinds.values())).toContain('sent');
  });
});
