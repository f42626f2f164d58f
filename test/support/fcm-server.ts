import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Started } from '../../src/lifecycle.ts';
import type { Message } from '../../src/senders/outcome.ts';

export const PUSH: Message = {
  tenant: 'acme',
  notificationId: '0190b3a1-0000-7000-8000-000000000001',
  deliveryId: '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11',
  channel: 'PUSH',
  lane: 'TRANSACTIONAL',
  address: 'eYh3kZ0oS0q1:APA91bF-token-of-annas-phone',
  platform: 'ANDROID',
  attempt: 1,
  title: 'Your order is on its way',
  body: 'It left our warehouse.',
  html: null,
  url: null,
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};

export const ACCOUNT = { projectId: 'acme-shop', accessToken: 'ya29.an-access-token-of-ours' };
/** As a sender takes it. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Post {
  readonly request: IncomingMessage;
  readonly body: string;
}

export interface StandIn {
  readonly address: Address;
  /** Requests that arrived as a whole. */
  readonly posts: readonly Post[];
  /** Connections so far. */
  readonly connections: () => number;
  readonly sockets: ReadonlySet<Socket>;
}

export type Answering = (response: ServerResponse, post: Post, index: number) => void;

/** Stands in for FCM, and answers as told. */
export async function openStandIn(answer: Answering): Promise<Started<StandIn>> {
  const posts: Post[] = [];
  const server = createServer((request, response) => {
    readAll(request).then(
      (body) => {
        const post = { request, body };
        posts.push(post);
        answer(response, post, posts.length - 1);
      },
      () => undefined,
    );
  });
  server.keepAliveTimeout = 60_000;
  return listening(server, posts);
}

/** Lets `server` listen on this machine. */
export async function listening(server: Server, posts: readonly Post[] = []): Promise<Started<StandIn>> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const { port } = server.address() as AddressInfo;
  const address = { host: '127.0.0.1', port };
  return { value: { address, posts, sockets, connections: () => connections }, stop };
}

export async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

export const NAME = 'projects/acme-shop/messages/0:1500415314455276%31bd1c9631bd1c96';
export const ACCEPT: Answering = (response) => response.end(JSON.stringify({ name: NAME }));

export interface GoogleError {
  readonly code: number;
  readonly status: string;
  readonly message?: string;
  /** Of FCM. */
  readonly errorCode?: string;
  readonly apns?: { readonly statusCode: number; readonly reason: string };
  readonly field?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error as Google writes it. */
export function refuse({
  code,
  status,
  message = 'No.',
  errorCode,
  apns,
  field,
  headers = {},
}: GoogleError): Answering {
  const type = (name: string): object => ({ '@type': `type.googleapis.com/${name}` });
  const details = [
    errorCode === undefined ? [] : [{ ...type('google.firebase.fcm.v1.FcmError'), errorCode }],
    apns === undefined ? [] : [{ ...type('google.firebase.fcm.v1.ApnsError'), ...apns }],
    field === undefined ? [] : [{ ...type('google.rpc.BadRequest'), fieldViolations: [{ field, description: '' }] }],
  ].flat();
  return (response) => {
    response.writeHead(code, { 'Content-Type': 'application/json; charset=UTF-8', ...headers });
    response.end(JSON.stringify({ error: { code, message, status, details } }));
  };
}

/** An error as a front end writes it. */
export function page(code: number, text: string): Answering {
  return (response) => {
    response.writeHead(code, { 'Content-Type': 'text/html' });
    response.end(`<html><style>p{margin:1em}</style><title>Error ${String(code)}</title><p>${text}</p></html>`);
  };
}

export const HANG: Answering = () => undefined;
export const RESET: Answering = (response) => response.socket?.resetAndDestroy();
