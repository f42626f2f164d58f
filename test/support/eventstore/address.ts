import { parseEsdbUrl, type EventStoreDBServer } from '../../../src/esdb-url.ts';

/** How to reach the server that a URL names. */
export function serverAt(url: string): EventStoreDBServer {
  const server = parseEsdbUrl(url);
  if ('wrong' in server) throw new Error(`the URL of the server ${server.wrong}`);
  return server;
}
