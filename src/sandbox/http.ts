import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What is kept of the body of a request; bytes. */
const LARGEST_REQUEST = 64 * 1024;
/** Longer than senders keep an idle connection. */
export const KEEP_ALIVE_MS = 60_000;

/** Answers the port. */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Breaks open connections; resolves once all of them are closed. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}

/** Of a request that is too large, the rest is read and dropped. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= LARGEST_REQUEST) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
