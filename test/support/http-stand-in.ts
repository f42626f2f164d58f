import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { Started } from '../../src/lifecycle.ts';

/** What is written when a request has arrived; `null`: nothing, ever. `cut`: the connection is cut afterwards. */
export interface Reply {
  readonly text: string | null;
  readonly cut?: true;
}

export interface StandIn {
  readonly url: string;
  readonly requests: readonly string[];
  readonly connections: () => number;
}

export type Script = (request: string, count: number) => Reply;

/** A server that answers exactly what it is told to, byte by byte. */
export async function openStandIn(script: Script): Promise<Started<StandIn>> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    let received = '';
    socket.setEncoding('utf8');
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk: string) => {
      received += chunk;
      const end = endOf(received);
      if (end === null) return;
      const request = received.slice(0, end);
      received = received.slice(end);
      requests.push(request);
      const { text, cut } = script(request, requests.length);
      if (text !== null) socket.write(text);
      if (cut) socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { value: { url: `http://127.0.0.1:${String(port)}`, requests, connections: () => connections }, stop };
}

function endOf(received: string): number | null {
  const head = received.indexOf('\r\n\r\n');
  if (head < 0) return null;
  const length = /^content-length: (\d+)/im.exec(received)?.[1] ?? '0';
  const end = head + 4 + Number(length);
  return received.length >= end ? end : null;
}

/** An answer to the byte; `headers` end in line breaks. */
export function http(status: number, body: string, headers = ''): string {
  const head = `HTTP/1.1 ${String(status)} Whatever\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n`;
  return `${head}${headers}\r\n${body}`;
}

/** An error in the words of Twilio's API. */
export function twilioError(status: number, code: number, message = 'No.', headers = ''): string {
  return http(status, JSON.stringify({ code, message, more_info: 'https://www.twilio.com/docs', status }), headers);
}

/** Announces more than it holds. */
export function longer(text: string): string {
  return text.replace(
    /Content-Length: (\d+)/,
    (_all, length: string) => `Content-Length: ${String(Number(length) + 9)}`,
  );
}
