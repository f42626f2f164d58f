import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

import type { Started } from '../../../src/lifecycle.ts';
import type { Lift } from './faults.ts';

/** The port that clients connect to: it passes bytes on to the server, or does to them what networks do. */
export interface Front {
  readonly port: number;
  readonly connections: () => number;
  /** So far. */
  readonly accepted: () => number;
  /** Resets all connections. */
  readonly drop: () => void;
  /** Passes nothing on in either direction and closes nothing, until lifted. New connections are accepted into the void. */
  readonly freeze: () => Lift;
  /** What is connected now hangs for good; new connections work. */
  readonly hang: () => void;
  /** Refuses connections, and resets those there are; or waits until the server closes them. */
  readonly close: (gently?: boolean) => Promise<void>;
  /** Accepts connections again, on the same port. */
  readonly open: () => Promise<void>;
}

export async function openFront(target: number, port: number): Promise<Started<Front>> {
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket }>();
  let frozen = 0;
  let accepted = 0;
  const server = createServer((client) => {
    accepted++;
    const pair = { client, server: connect(target, '127.0.0.1') };
    pairs.add(pair);
    join(pair.client, pair.server, () => pairs.delete(pair));
    join(pair.server, pair.client, () => pairs.delete(pair));
    if (frozen > 0) setFlowing(pair, false);
  });
  const drop = (): void => {
    for (const pair of pairs) {
      pair.client.resetAndDestroy();
      pair.server.destroy();
    }
  };
  const listen = async (at: number): Promise<number> => {
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const close = async (gently = false): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    if (!gently) drop();
    await closed;
  };
  const freeze = (): Lift => {
    if (frozen++ === 0) for (const pair of pairs) setFlowing(pair, false);
    let lifted = false;
    return () => {
      if (lifted) return;
      lifted = true;
      if (--frozen === 0) for (const pair of pairs) setFlowing(pair, true);
    };
  };
  const hang = (): void => {
    for (const pair of pairs) setFlowing(pair, false);
  };
  const bound = await listen(port);
  const open = async (): Promise<void> => {
    if (!server.listening) await listen(bound);
  };
  const counts = { connections: () => pairs.size, accepted: () => accepted };
  return { value: { port: bound, ...counts, drop, freeze, hang, close, open }, stop: () => close() };
}

function join(from: Socket, to: Socket, closed: () => void): void {
  from.setNoDelay(true);
  from.pipe(to);
  from.on('error', () => to.destroy());
  from.on('close', () => {
    closed();
    to.destroy();
  });
}

function setFlowing({ client, server }: { client: Socket; server: Socket }, flowing: boolean): void {
  if (flowing) {
    client.pipe(server);
    server.pipe(client);
    return;
  }
  client.unpipe(server);
  server.unpipe(client);
  client.pause();
  server.pause();
}
