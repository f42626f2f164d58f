import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Started } from '../../src/lifecycle.ts';
import { listening, readAll } from './fcm-server.ts';
import { CERTIFICATE, KEY } from './tls-certificate.ts';

/** A request as it arrived as a whole. */
export interface Asked {
  /** Of the request, as in `example.com/path`. */
  readonly place: string;
  readonly authorization: string;
  readonly body: string;
}

export interface Answered {
  readonly status: number;
  /** Written as JSON. */
  readonly body: object;
}

/** To be preloaded (`--import`) into a process that is to take it for the real one; it also has to trust our certificate. */
export const ELSEWHERE = new URL('elsewhere.mjs', import.meta.url).href;

/** An API of somebody else's on this machine, over TLS and under its own names; answers its port. */
export async function openHttpsServer(answer: (asked: Asked) => Promise<Answered>): Promise<Started<number>> {
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { headers, url = '' } = request;
    const place = `${headers.host ?? ''}${url}`;
    const { status, body } = await answer({
      place,
      authorization: headers.authorization ?? '',
      body: await readAll(request),
    });
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  };
  const server = createServer({ key: KEY, cert: CERTIFICATE }, (request, response) => {
    // Of a client that went away half-way.
    serve(request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.on('tlsClientError', () => undefined);
  const { value, stop } = await listening(server);
  return { value: value.address.port, stop };
}
