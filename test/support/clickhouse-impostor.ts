import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Started } from '../../src/lifecycle.ts';

/** Stands between a client and ClickHouse as proxies do, and answers 200 by itself when told to. */
export interface Impostor {
  readonly url: string;
  /** From now on, requests whose SQL matches get this answer and do not reach the server; null: all reach it. */
  readonly answer: (own: OwnAnswer | null) => void;
  /** How many it has answered by itself. */
  readonly answered: () => number;
}

export interface OwnAnswer {
  readonly to: RegExp;
  readonly body: string;
}

/** `target`: the server's address, asked for each request. */
export async function openImpostor(target: () => string): Promise<Started<Impostor>> {
  let own: OwnAnswer | null = null;
  let answered = 0;
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await buffer(incoming);
    if (own?.to.test(sqlOf(incoming, body)) === true) {
      answered += 1;
      response.writeHead(200).end(own.body);
      return;
    }
    const { method, headers, url = '/' } = incoming;
    const forwarded = request(new URL(url, target()), { method, headers, agent: false });
    const heard = once(forwarded, 'response');
    forwarded.end(body);
    const [answer] = (await heard) as [IncomingMessage];
    response.writeHead(answer.statusCode ?? 502, answer.headers).end(await buffer(answer));
  };
  const server = createServer((incoming, response) => {
    void serve(incoming, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const value: Impostor = {
    url: `http://127.0.0.1:${String(port)}`,
    answer: (next) => {
      own = next;
    },
    answered: () => answered,
  };
  const stop = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { value, stop };
}

/** Of an insert it is in the address, otherwise in the body. */
function sqlOf({ url = '/' }: IncomingMessage, body: Buffer): string {
  return new URL(url, 'http://any').searchParams.get('query') ?? body.toString('utf8');
}
