import { once } from 'node:events';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { Outbox } from '../../src/api/outbox.ts';
import { MAX_STRANGERS_WAITING, MAX_WAITING, openOutbox } from '../../src/api/outbox.ts';
import { eventually } from '../support/eventually.ts';
import type { TestApi, TestSocket } from './given-api.ts';
import { askSocket, connect, givenApi } from './given-api.ts';
import { COHORT, DELIVERIES, FUNNEL, updateAt } from './live-client.ts';

const MIB = 1024 * 1024;
/** More than the two ends of a connection hold by themselves. */
const BIG = 48 * MIB;
/** For what moves tens of MiB. */
const patience = { timeoutMs: 20_000 };

interface Pair {
  readonly outbox: Outbox;
  readonly client: WebSocket;
  /** What the client has received whole. */
  readonly received: string[];
  readonly closed: Promise<readonly [number, string]>;
  /** What waited when a message did not fit. */
  readonly full: number[];
}

/** Both ends of a real connection. */
async function givenPair(limit = MAX_WAITING): Promise<Pair> {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  onTestFinished(() => {
    for (const each of wss.clients) each.terminate();
    wss.close();
  });
  await once(wss, 'listening');
  const { port } = wss.address() as AddressInfo;
  const accepted = once(wss, 'connection');
  const client = new WebSocket(`ws://127.0.0.1:${String(port)}`, { maxPayload: 0 });
  const received: string[] = [];
  client.on('message', (data: Buffer) => received.push(data.toString()));
  const closed = new Promise<readonly [number, string]>((resolve) =>
    client.once('close', (code, reason) => {
      resolve([code, reason.toString()]);
    }),
  );
  await once(client, 'open');
  const [ws] = (await accepted) as [WebSocket];
  const full: number[] = [];
  const outbox = openOutbox(ws, { limit: () => limit, onFull: (bytes) => full.push(bytes) });
  return { outbox, client, received, closed, full };
}

/** Every promise that is settled by now has told so. */
async function settled(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise((resolve) => setImmediate(resolve));
}

describe('An outbox', () => {
  it('sends what it is given in order and whole, long or short', async () => {
    const { outbox, received } = await givenPair();
    const messages = ['a', 'ü'.repeat(300_000), '', 'b', 'x'.repeat(3 * MIB), 'c'];
    await Promise.all(messages.map((each) => outbox.send(each)));
    await eventually(() => {
      expect(received).toHaveLength(messages.length);
    });
    expect(received.every((each, index) => each === messages[index])).toBe(true);
  });

  it('says that a message has left when it has, and not before', async () => {
    const { outbox, client, received } = await givenPair();
    const left: string[] = [];
    client.pause();
    void outbox.send('x'.repeat(BIG)).then(() => left.push('big'));
    void outbox.send('small').then(() => left.push('small'));
    await settled();
    expect(left).toEqual([]);
    client.resume();
    await eventually(() => {
      expect(received).toHaveLength(2);
      expect(left).toEqual(['big', 'small']);
    }, patience);
  });

  it('tells one that reads slowly from one that does not read', async () => {
    const { outbox, client, received } = await givenPair();
    expect(outbox.beat()).toBe('idle');
    client.pause();
    void outbox.send('x'.repeat(BIG));
    expect(outbox.beat()).toBe('idle');
    for (let round = 0; round < 3; round++) {
      // The connection itself takes some that the client does not read.
      await eventually(() => {
        expect(outbox.beat()).toBe('stuck');
      });
      client.resume();
      await eventually(() => {
        expect(outbox.beat()).toBe('moving');
      });
      client.pause();
    }
    expect(received).toEqual([]);
    client.resume();
    await eventually(() => {
      expect(received).toHaveLength(1);
      expect(outbox.beat()).toBe('idle');
    }, patience);
  });

  it('takes a message over the limit alone, and nothing more until it has left', async () => {
    const { outbox, client, received, full } = await givenPair();
    client.pause();
    const message = 'x'.repeat(MAX_WAITING + 1);
    void outbox.send(message);
    expect(full).toEqual([]);
    void outbox.send('one too many');
    expect(full).toEqual([expect.any(Number)]);
    expect(full[0]).toBeGreaterThan(MAX_WAITING);
    client.resume();
    await eventually(() => {
      expect(received).toHaveLength(1);
    }, patience);
    expect(received[0] === message).toBe(true);
    await outbox.send('later');
    expect(full).toHaveLength(1);
  });

  it('counts what a message takes besides its text: many small ones do not slip through', async () => {
    const { outbox, full } = await givenPair(MAX_STRANGERS_WAITING);
    for (let index = 0; index < 256; index++) void outbox.send('');
    expect(full).toEqual([]);
    void outbox.send('');
    expect(full).toEqual([MAX_STRANGERS_WAITING]);
  });

  it('closes after what is waiting, and takes nothing more', async () => {
    const { outbox, client, received, closed } = await givenPair();
    client.pause();
    void outbox.send('x'.repeat(BIG));
    void outbox.send('last');
    outbox.close(4000, 'enough');
    outbox.close(4001, 'too late');
    let left = false;
    void outbox.send('after').then(() => (left = true));
    expect(outbox.isClosing()).toBe(true);
    client.resume();
    expect(await closed).toEqual([4000, 'enough']);
    expect(received.map(({ length }) => length)).toEqual([BIG, 4]);
    expect(left).toBe(false);
  });

  it('cuts: closes in the place of what is waiting', async () => {
    const { outbox, client, received, closed } = await givenPair();
    await outbox.send('before');
    client.pause();
    const left: string[] = [];
    void outbox.send('x'.repeat(BIG)).then(() => left.push('big'));
    void outbox.send('small').then(() => left.push('small'));
    outbox.cut(4410, 'slow');
    client.resume();
    expect(await closed).toEqual([4410, 'slow']);
    expect([received, left]).toEqual([['before'], []]);
  });

  it('cuts what was to be closed after what is waiting, with the code of the close', async () => {
    const { outbox, client, received, closed } = await givenPair();
    client.pause();
    void outbox.send('x'.repeat(BIG));
    outbox.close(4000, 'enough');
    outbox.cut(4410, 'slow');
    client.resume();
    expect(await closed).toEqual([4000, 'enough']);
    expect(received).toEqual([]);
  });
});

describe('The turns of an outbox', () => {
  it('come in the order asked, each after the big message of the one before has left', async () => {
    const { outbox, client, received } = await givenPair();
    const given: number[] = [];
    client.pause();
    const asked = Array.from({ length: 5 }, async (_, turn) => {
      await outbox.turn();
      given.push(turn);
      await outbox.send(`${String(turn)}${'x'.repeat(BIG / 2)}`);
    });
    await settled();
    // What the connection takes by itself may be more than the first message, but is not all of them.
    expect(given.length).toBeLessThan(5);
    client.resume();
    await Promise.all(asked);
    expect(given).toEqual([0, 1, 2, 3, 4]);
    await eventually(() => {
      expect(received.map((each) => each[0])).toEqual(['0', '1', '2', '3', '4']);
    }, patience);
  });

  it('go on when one is not used', async () => {
    const { outbox } = await givenPair();
    const turns = Array.from({ length: 100 }, () => outbox.turn());
    expect(await Promise.all(turns)).toHaveLength(100);
  });

  it('come although small messages wait all the time', async () => {
    const { outbox, client } = await givenPair();
    client.pause();
    // The connection takes what it can; behind that there is always something that waits.
    let waiting = 0;
    const flood = (): void => {
      waiting += 1;
      void outbox.send('x'.repeat(10_000)).then(() => (waiting -= 1));
    };
    await eventually(async () => {
      while (waiting < 10) flood();
      const before = waiting;
      await settled();
      expect(waiting).toBe(before);
    }, patience);
    expect(outbox.beat()).not.toBe('moving');
    await outbox.turn();
    expect(waiting).toBeGreaterThan(0);
  });

  it('never come on a socket that is closing', async () => {
    const { outbox, client } = await givenPair();
    client.pause();
    outbox.close(4000, 'enough');
    let given = false;
    void outbox.turn().then(() => (given = true));
    await settled();
    expect(given).toBe(false);
    client.resume();
  });
});

const PING_MS = 1_000;

/** An API whose pings come when the test calls `ping`, and its ends of the connections that are opened from now on. */
async function givenPings(): Promise<{
  readonly api: TestApi;
  readonly ping: () => void;
  readonly accepted: readonly Socket[];
}> {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const accepted: Socket[] = [];
  const onSocket = (message: unknown): void => void accepted.push((message as { readonly socket: Socket }).socket);
  subscribe('net.server.socket', onSocket);
  onTestFinished(() => {
    unsubscribe('net.server.socket', onSocket);
    vi.useRealTimers();
  });
  const api = await givenApi({ timings: { pingMs: PING_MS } });
  const ping = (): void => void vi.advanceTimersByTime(PING_MS);
  return { api, ping, accepted };
}

function bigFunnel(api: TestApi): void {
  const group = (_: unknown, index: number): { key: string; dimensions: []; stages: [] } => ({
    key: `${String(index)}-${'x'.repeat(BIG / 1_000)}`,
    dimensions: [],
    stages: [],
  });
  api.fake.readModels.figures = { cursor: 'big', groups: Array.from({ length: 1_000 }, group) };
}

function answered({ messages }: TestSocket): boolean {
  return messages.some(({ type }) => type === 'next');
}

describe('Somebody who follows a funnel of 48 MiB', () => {
  it('and reads it slowly but steadily gets it whole, however many pings that takes', async () => {
    const { api, ping, accepted } = await givenPings();
    bigFunnel(api);
    const socket = await connect(api);
    const [end] = accepted;
    if (!end) throw new Error('nobody has connected');
    socket.ws.pause();
    socket.subscribe('1', FUNNEL, { input: COHORT });
    let pings = 0;
    while (!answered(socket)) {
      const before = end.bytesWritten;
      socket.ws.resume();
      await eventually(() => {
        expect(answered(socket) || end.bytesWritten > before + 100_000).toBe(true);
      }, patience);
      socket.ws.pause();
      ping();
      pings++;
    }
    socket.ws.resume();
    expect(pings).toBeGreaterThan(3);
    const { payload } = await socket.next(({ type }) => type === 'next');
    expect(JSON.stringify(payload) === JSON.stringify({ data: { funnelUpdated: told(api) } })).toBe(true);
    expect((await askSocket(socket, '2', '{ head }')).errors).toEqual([]);
    expect(api.warnings).toEqual([]);
  });

  it('and reads nothing of it is dropped by the pings', async () => {
    const { api, ping, accepted } = await givenPings();
    bigFunnel(api);
    const socket = await connect(api);
    socket.ws.pause();
    socket.subscribe('1', FUNNEL, { input: COHORT });
    await eventually(() => {
      expect(accepted[0]?.writableLength).toBeGreaterThan(0);
      expect(accepted[0]?.bytesWritten).toBeGreaterThan(MIB);
    });
    await eventually(() => {
      ping();
      expect(api.warnings).toEqual(['a WebSocket client does not read']);
    });
    socket.ws.resume();
    expect(await socket.closed).toBe(1006);
    expect(answered(socket)).toBe(false);
    await eventually(() => {
      expect(api.fake.readModels.open()).toBe(0);
    });
  });
});

function told({ fake }: TestApi): unknown {
  const { cursor, groups } = fake.readModels.figures;
  return { cursor, groups: groups.map(({ key }) => ({ key })) };
}

describe('A socket with 64 MiB waiting', () => {
  it('is closed with 4410 in the place of what waits', async () => {
    const { api } = await givenPings();
    const socket = await connect(api);
    const reason = new Promise((resolve) =>
      socket.ws.once('close', (_code, text) => {
        resolve(text.toString());
      }),
    );
    socket.ws.pause();
    for (let index = 0; index < 100; index++) socket.subscribe(String(index), DELIVERIES);
    const { deliveriesFollowed } = api.fake.readModels;
    await eventually(() => {
      expect(deliveriesFollowed).toHaveLength(100);
    });
    const update = { ...updateAt('a'), type: 'x'.repeat(MIB) };
    for (const { stream } of deliveriesFollowed) stream.push(update);
    await eventually(() => {
      expect(api.warnings).toContain('a WebSocket client reads less than it asks for');
    }, patience);
    socket.ws.resume();
    expect([await socket.closed, await reason]).toEqual([4410, 'slow; resume after the last cursor received, if any']);
    expect(socket.messages.filter(({ type }) => type === 'next').length).toBeLessThan(64);
    await eventually(() => {
      expect(api.fake.readModels.open()).toBe(0);
    });
    expect(api.errors).toEqual([]);
  });
});
