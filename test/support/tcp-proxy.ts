import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Started } from '../../src/lifecycle.ts';

/**
 * What happens to a connection made from now on. `ok`: nothing. `cut-request`: it is reset once `bytes` have gone to the server;
 * `cut-answer`: once `bytes` of answers have come back, of which the client gets these many; `silent`: nothing of it reaches the
 * server, and nothing ever comes back; `deaf`: the server gets all of it, and nothing ever comes back.
 */
export type Fault =
  | { readonly kind: 'ok' }
  | { readonly kind: 'silent' | 'deaf' }
  | { readonly kind: 'cut-request' | 'cut-answer'; readonly bytes: number }
  /** In both directions, at most `bytes` go on each millisecond. */
  | { readonly kind: 'slow'; readonly bytes: number };

/** Stands between a client and a server on this machine, and fails on command. */
export interface TcpProxy {
  readonly port: number;
  /** What becomes of connections made from now on; those that are open are reset. */
  readonly become: (fault: Fault) => void;
  /**
   * Until lifted, nothing of what is open comes through, and nothing is closed; what connects meanwhile is taken and hears nothing.
   * `answers`: the server gets everything, but nothing comes back.
   */
  readonly freeze: (what?: 'everything' | 'answers') => () => void;
  /** What is open now is dead, and nobody is told; connections made from now on are well. */
  readonly hang: () => void;
  /** Resets what is open and refuses connections. */
  readonly goDown: () => Promise<void>;
  /** Listens again, on the same port. */
  readonly comeBack: () => Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

type Flow = 'everything' | 'requests' | 'nothing';

/** `target`: the port to connect to, asked for each connection. */
export async function openTcpProxy(target: () => number): Promise<Started<TcpProxy>> {
  const open = new Set<Socket>();
  /** Of those without a fault. */
  const pairs = new Set<Pair>();
  const freezes = new Map<symbol, Flow>();
  const flow = (): Flow => {
    const all = new Set(freezes.values());
    return all.has('nothing') ? 'nothing' : all.has('requests') ? 'requests' : 'everything';
  };
  let fault: Fault = { kind: 'ok' };
  const reset = (): void => {
    for (const socket of open) socket.resetAndDestroy();
  };
  const join = (client: Socket): void => {
    const server = connect(target(), '127.0.0.1');
    for (const socket of [client, server]) hold(socket, open);
    const pair = { client, server };
    const end = (): void => {
      pairs.delete(pair);
      client.resetAndDestroy();
      server.resetAndDestroy();
    };
    client.once('close', end);
    server.once('close', end);
    if (fault.kind === 'ok') {
      pairs.add(pair);
      setFlow(pair, flow());
    } else {
      carry(pair, fault, end);
    }
  };
  const server = createServer(join);
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const goDown = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    reset();
    await closed;
  };
  const freeze: TcpProxy['freeze'] = (what = 'everything') => {
    const own = Symbol();
    freezes.set(own, what === 'everything' ? 'nothing' : 'requests');
    for (const pair of pairs) setFlow(pair, flow());
    return () => {
      freezes.delete(own);
      for (const pair of pairs) setFlow(pair, flow());
    };
  };
  const hang = (): void => {
    for (const pair of pairs) setFlow(pair, 'nothing');
    pairs.clear();
  };
  const value: TcpProxy = {
    port,
    freeze,
    hang,
    become: (next) => {
      fault = next;
      reset();
    },
    goDown,
    comeBack: () => listen(server, port),
  };
  return { value, stop: goDown };
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}

function hold(socket: Socket, open: Set<Socket>): void {
  open.add(socket);
  socket.once('close', () => open.delete(socket));
  // The other side hears of it when this one closes.
  socket.on('error', () => undefined);
}

function setFlow({ client, server }: Pair, flow: Flow): void {
  for (const [from, to, flows] of [
    [client, server, flow !== 'nothing'],
    [server, client, flow === 'everything'],
  ] as const) {
    from.unpipe(to);
    if (flows) from.pipe(to);
    else from.pause();
  }
}

function carry({ client, server }: Pair, fault: Exclude<Fault, { readonly kind: 'ok' }>, end: () => void): void {
  switch (fault.kind) {
    case 'silent':
      client.resume();
      return;
    case 'deaf':
      client.pipe(server);
      server.resume();
      return;
    case 'cut-request':
      passUpTo(client, server, fault.bytes, end);
      server.pipe(client);
      return;
    case 'cut-answer':
      client.pipe(server);
      passUpTo(server, client, fault.bytes, end);
      return;
    case 'slow':
      trickle(client, server, fault.bytes);
      trickle(server, client, fault.bytes);
  }
}

function passUpTo(from: Socket, to: Socket, bytes: number, end: () => void): void {
  let left = bytes;
  from.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, left);
    left -= part.length;
    // What was let through arrives before the reset.
    if (left > 0) to.write(part);
    else to.write(part, end);
  });
}

function trickle(from: Socket, to: Socket, bytes: number): void {
  from.on('data', (chunk: Buffer) => {
    from.pause();
    const step = (at: number): void => {
      if (at >= chunk.length || to.destroyed) {
        from.resume();
        return;
      }
      to.write(chunk.subarray(at, at + bytes));
      setTimeout(step, 1, at + bytes);
    };
    step(0);
  });
}
