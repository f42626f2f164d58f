import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { describe, expect, it } from 'vitest';
import type { Lane } from '../../src/events/event.ts';
import { openLimit } from '../../src/senders/limit.ts';
import { openPlaces, type Places, takePlace } from '../../src/senders/places.ts';
import type { Failure } from '../../src/senders/email-smtp-outcome.ts';
import { openSmtpSender, type SmtpSenderOptions } from '../../src/senders/email-smtp.ts';
import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';
import { eventually } from '../support/eventually.ts';
import { openScriptedSmtp, type Script, type ScriptedSmtp, SILENCE } from '../support/smtp-server.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const MESSAGE: Message = {
  tenant: 'acme',
  notificationId: '0190b3a1-0000-7000-8000-000000000001',
  deliveryId: '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11',
  channel: 'EMAIL',
  lane: 'TRANSACTIONAL',
  address: 'anna@example.com',
  platform: null,
  attempt: 1,
  title: 'Your order is on its way',
  body: 'Hello Anna,\nit left our warehouse.',
  html: null,
  url: null,
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};

const use = stoppedAfterEach();

function sender(options: Partial<SmtpSenderOptions> & { url: string }): Sender {
  return use(openSmtpSender({ from: 'no-reply@heliograph.example', connections: 1, ...options }));
}

async function server(script: Script = () => undefined): Promise<ScriptedSmtp> {
  return use(await openScriptedSmtp(script));
}

const MINUTE = 60_000;
const never = (): AbortSignal => new AbortController().signal;

function clock(): { now: () => number; pass: (ms: number) => void } {
  let time = 1_000;
  return { now: () => time, pass: (ms) => (time += ms) };
}

async function takeAll(places: Places, count: number): Promise<void> {
  const answers = await Promise.all(Array.from({ length: count }, () => places.take('BULK', never())));
  expect(answers).toEqual(answers.map(() => 'taken'));
}

/** Who has got an answer so far, in order. */
function line(places: Places): { join: (name: string, lane: Lane, signal?: AbortSignal) => void; seen: string[] } {
  const seen: string[] = [];
  const join = (name: string, lane: Lane, signal = never()): void => {
    void places.take(lane, signal).then((answer) => seen.push(`${name} ${answer}`));
  };
  return { join, seen };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a place for a message', () => {
  it('is not kept for one that expired while it waited', async () => {
    const places = openPlaces(1, clock().now);
    await takeAll(places, 1);
    const limit = openLimit(never(), MINUTE);
    const expires = Date.now() + 20;
    const waiting = takePlace(places, { lane: 'BULK', expiresAt: new Date(expires).toISOString() }, limit);
    const next = takePlace(places, { lane: 'BULK', expiresAt: new Date(expires + MINUTE).toISOString() }, limit);
    await eventually(() => {
      expect(Date.now()).toBeGreaterThan(expires);
    });
    places.free();
    expect([await waiting, await next]).toEqual(['EXPIRED', null]);
    limit.clear();
  });
});

describe('places', () => {
  it('are given to transactional sends before bulk, and in order within a lane', async () => {
    const places = openPlaces(1, clock().now);
    await takeAll(places, 1);
    const { join, seen } = line(places);
    join('b1', 'BULK');
    join('b2', 'BULK');
    join('t1', 'TRANSACTIONAL');
    join('t2', 'TRANSACTIONAL');
    await settled();
    expect(seen).toEqual([]);
    for (let index = 0; index < 4; index++) {
      places.free();
      await settled();
      expect(seen).toHaveLength(index + 1);
    }
    expect(seen).toEqual(['t1 taken', 't2 taken', 'b1 taken', 'b2 taken']);
  });

  it('are not given to who gave up, before or while waiting', async () => {
    const places = openPlaces(1, clock().now);
    expect(await places.take('BULK', AbortSignal.abort())).toBe('aborted');
    await takeAll(places, 1);
    const caller = new AbortController();
    const { join, seen } = line(places);
    join('impatient', 'TRANSACTIONAL', caller.signal);
    join('patient', 'BULK');
    caller.abort();
    await settled();
    places.free();
    await settled();
    expect(seen).toEqual(['impatient aborted', 'patient taken']);
  });

  it('keep nobody waiting when they close', async () => {
    const places = openPlaces(1, clock().now);
    await takeAll(places, 1);
    const { join, seen } = line(places);
    join('waiting', 'BULK');
    places.close();
    join('late', 'BULK');
    places.free();
    await settled();
    expect(seen.toSorted()).toEqual(['late aborted', 'waiting aborted']);
  });

  it('become as few as the provider has taken, and at least one', async () => {
    const places = openPlaces(16, clock().now);
    await takeAll(places, 16);
    for (let refusal = 0; refusal < 13; refusal++) {
      expect(places.refused()).toBe(true);
      places.free();
    }
    expect(places.cap()).toBe(3);
    const { join, seen } = line(places);
    join('turned away', 'BULK');
    await settled();
    expect(seen).toEqual([]);
    places.free();
    await settled();
    expect(seen).toEqual(['turned away taken']);
  });

  it('say when a refusal met the only send', async () => {
    const places = openPlaces(16, clock().now);
    await takeAll(places, 1);
    expect(places.refused()).toBe(false);
    expect(places.cap()).toBe(1);
  });

  it('come back, twice as many each minute without a refusal, up to all of them', async () => {
    const { now, pass } = clock();
    const places = openPlaces(4, now);
    await takeAll(places, 2);
    expect(places.refused()).toBe(true);
    places.free();
    pass(MINUTE - 1);
    expect(places.cap()).toBe(1);
    pass(1);
    expect(places.cap()).toBe(2);
    await takeAll(places, 1);
    expect(places.refused()).toBe(true);
    places.free();
    pass(MINUTE - 1);
    expect(places.cap()).toBe(1);
    pass(1 + MINUTE);
    expect(places.cap()).toBe(4);
    pass(60 * MINUTE);
    expect(places.cap()).toBe(4);
  });

  it('that came back go to all who wait, as soon as one is freed', async () => {
    const { now, pass } = clock();
    const places = openPlaces(3, now);
    await takeAll(places, 2);
    places.refused();
    places.free();
    const { join, seen } = line(places);
    join('one', 'BULK');
    join('two', 'BULK');
    pass(MINUTE);
    places.free();
    await settled();
    expect(seen).toEqual(['one taken', 'two taken']);
  });
});

/** Takes so many connections at a time and turns the others away. */
async function openSmallServer(
  maxClients: number,
  onConnect: NonNullable<SMTPServerOptions['onConnect']> = (_session, answer) => {
    answer();
  },
): Promise<{ url: string; taken: string[]; opened: () => number }> {
  const taken: string[] = [];
  let opened = 0;
  const isRefused = (address: string): boolean => address.startsWith('gone');
  const smtp = new SMTPServer({
    maxClients,
    onConnect,
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    disableReverseLookup: true,
    closeTimeout: 1,
    onRcptTo: ({ address }, _session, answer) => {
      answer(isRefused(address) ? Object.assign(new Error('gone'), { responseCode: 550 }) : null);
    },
    onData: (stream, _session, answer) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        taken.push(/^Message-ID: <(.*)@/m.exec(Buffer.concat(chunks).toString())?.[1] ?? '');
        answer();
      });
    },
  });
  smtp.on('error', () => undefined);
  smtp.server.on('connection', () => opened++);
  const port = await new Promise<number>((resolve) => {
    smtp.listen(0, '127.0.0.1', () => {
      resolve((smtp.server.address() as AddressInfo).port);
    });
  });
  use({
    value: undefined,
    stop: () =>
      new Promise((resolve) => {
        smtp.close(resolve);
      }),
  });
  return { url: `smtp://127.0.0.1:${String(port)}`, taken, opened: () => opened };
}

describe('a server that allows fewer connections than we open', () => {
  const ids = Array.from({ length: 60 }, (_, index) => `d-${String(index)}`);

  it('gets every message once, and none is handed back', async () => {
    const smtp = await openSmallServer(3);
    const failures: Failure[] = [];
    const small = sender({ url: smtp.url, connections: 16, onFailure: (failure) => failures.push(failure) });
    const outcomes = await Promise.all(ids.map((deliveryId) => small.send({ ...MESSAGE, deliveryId }, never())));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(failures).toEqual([]);
    expect(smtp.taken.toSorted()).toEqual(ids.toSorted());
  });

  it('is not asked for another connection while one of ours resets itself after a refused recipient', async () => {
    const smtp = await openSmallServer(1);
    const small = sender({ url: smtp.url, connections: 4 });
    const send = (deliveryId: string, address = MESSAGE.address): Promise<Outcome> =>
      small.send({ ...MESSAGE, deliveryId, address }, never());
    await Promise.all(['a', 'b', 'c', 'd'].map((id) => send(id)));
    const before = smtp.opened();
    const outcomes = await Promise.all(
      ids.map((id, index) => send(id, index % 2 === 0 ? 'gone@example.com' : MESSAGE.address)),
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(ids.map((_, index) => (index % 2 === 0 ? 'rejected' : 'sent')));
    expect(smtp.opened()).toBe(before);
  });

  it('that turns away every connection makes one attempt of each message that it was alone with', async () => {
    const smtp = await server(({ step }) => (step === 'connect' ? '421 too many connections' : undefined));
    const small = sender({ url: smtp.url, connections: 16 });
    const outcomes = await Promise.all(ids.map((deliveryId) => small.send({ ...MESSAGE, deliveryId }, never())));
    expect(new Set(outcomes.map((outcome) => 'reason' in outcome && outcome.reason))).toEqual(
      new Set(['PROVIDER_BUSY']),
    );
    expect(await small.send(MESSAGE, never())).toMatchObject({ reason: 'PROVIDER_BUSY', afterMs: null });
  });

  it('gets a message that was turned away late over the connection that the other has left', async () => {
    let connections = 0;
    let turnAway = (): void => undefined;
    const smtp = await openSmallServer(2, (_session, answer) => {
      if (++connections === 1) answer();
      else {
        turnAway = () => {
          answer(Object.assign(new Error('too many connections'), { responseCode: 421 }));
        };
      }
    });
    const small = sender({ url: smtp.url, connections: 2 });
    const both = ['a', 'b'].map((deliveryId) => small.send({ ...MESSAGE, deliveryId }, never()));
    await Promise.race(both);
    await eventually(() => {
      expect(connections).toBe(2);
    });
    turnAway();
    expect((await Promise.all(both)).map(({ kind }) => kind)).toEqual(['sent', 'sent']);
    expect(smtp.taken.toSorted()).toEqual(['a', 'b']);
  });
});

describe('a message that waits for a connection', () => {
  const BUSY: Script = ({ step, connection }) => {
    if (step === 'connect' && connection > 1) return '421 too many connections';
    return step === 'message' ? SILENCE : undefined;
  };

  it('goes back uncounted when its time is over', async () => {
    const smtp = await server();
    const crowded = sender({ url: smtp.url, timeouts: { total: 60 } });
    let isOver = false;
    const crowd = ['one', 'two'].map(async (deliveryId) => {
      while (!isOver) await crowded.send({ ...MESSAGE, deliveryId }, never());
    });
    const outcome = await crowded.send({ ...MESSAGE, lane: 'BULK' }, never());
    isOver = true;
    await Promise.all(crowd);
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'SENDER_BUSY', afterMs: 5_000 });
  });

  it('after it was turned away can be given up', async () => {
    const smtp = await server(BUSY);
    const small = sender({ url: smtp.url, connections: 2, timeouts: { silence: 400 } });
    const first = small.send(MESSAGE, never());
    await eventually(() => {
      expect(smtp.moments.some(({ step }) => step === 'message')).toBe(true);
    });
    const caller = new AbortController();
    const second = small.send({ ...MESSAGE, deliveryId: 'second' }, caller.signal);
    await eventually(() => {
      expect(smtp.moments.filter(({ step }) => step === 'connect')).toHaveLength(2);
    });
    caller.abort();
    expect(await second).toMatchObject({ kind: 'retry', reason: 'SENDER_STOPPED' });
    expect(await first).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
  });

  it('in bulk lets transactional ones go first', async () => {
    const smtp = await server();
    const small = sender({ url: smtp.url, connections: 1 });
    const order: string[] = [];
    const send = async (deliveryId: string, lane: Message['lane']): Promise<void> => {
      expect((await small.send({ ...MESSAGE, deliveryId, lane }, never())).kind).toBe('sent');
      order.push(deliveryId);
    };
    await Promise.all([
      send('first', 'BULK'),
      send('b1', 'BULK'),
      send('b2', 'BULK'),
      send('t1', 'TRANSACTIONAL'),
      send('t2', 'TRANSACTIONAL'),
    ]);
    expect(order).toEqual(['first', 't1', 't2', 'b1', 'b2']);
  });
});
