import { randomUUID } from 'node:crypto';

import { binaryEvent, EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { openScope, type Scope } from '../../src/lifecycle.ts';
import { START, WrongExpectedVersion, type EventLog, type Position } from '../../src/ports/event-log/event-log.ts';
import { openEventStoreDb, type EventStoreDbLimits } from '../../src/ports/event-log/eventstoredb.ts';
import { eventually } from '../support/eventually.ts';
import { serverAt } from '../support/eventstore/address.ts';
import type { AppendFault, ReadFault } from '../support/eventstore/faults.ts';
import { startEventStore, type EventStoreStandIn } from '../support/eventstore/server.ts';
import { collect, follow, newEvent, newEvents, nextBatch } from './event-log.reading.ts';

const QUICK: Partial<EventStoreDbLimits> = {
  attemptMs: 250,
  totalMs: 4_000,
  idleMs: 40,
  stallMs: 300,
  giveUpMs: 4_000,
};

/** Patience of `eventually` with much to do on a busy machine. */
const BUSY = { timeoutMs: 20_000 };
/** Not in a hurry on a busy machine. */
const PATIENT: Partial<EventStoreDbLimits> = { attemptMs: 1_000, totalMs: 20_000 };

describe('the EventStoreDB event log', () => {
  let scope: Scope;
  let server: EventStoreStandIn;
  let log: EventLog;
  let troubles: unknown[];
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  const newStream = (): string => `order-${randomUUID()}`;

  const open = async (url: string, limits: Partial<EventStoreDbLimits> = {}): Promise<EventLog> =>
    scope.use(
      await openEventStoreDb({
        server: serverAt(url),
        limits: { ...QUICK, ...limits },
        onTrouble: (error) => void troubles.push(error),
      }),
    );

  beforeAll(() => {
    process.on('unhandledRejection', note);
    process.on('uncaughtException', note);
  });
  beforeEach(async () => {
    scope = openScope();
    troubles = [];
    unhandled.length = 0;
    server = scope.use(await startEventStore());
    log = await open(server.url);
  });
  afterEach(async () => {
    await scope.stop();
    expect(unhandled).toEqual([]);
  });
  afterAll(() => {
    process.off('unhandledRejection', note);
    process.off('uncaughtException', note);
  });

  const idsOf = async (stream: string): Promise<readonly string[]> => (await log.read(stream)).map(({ id }) => id);

  describe('appending', () => {
    it.each<[string, AppendFault]>([
      ['is lost', { kind: 'silence', committed: false }],
      ['is made, and its answer lost', { kind: 'silence', committed: true }],
      ['is answered after it was given up', { kind: 'late', ms: 400 }],
      ['times out at the server', { kind: 'deadline-exceeded', committed: false }],
      ['times out at the server that made it', { kind: 'deadline-exceeded', committed: true }],
      ['meets the end of its call', { kind: 'end', committed: false }],
      ['is made, and its call ends', { kind: 'end', committed: true }],
      ['meets the end of its connection', { kind: 'reset', committed: false }],
      ['is made, and its connection ends', { kind: 'reset', committed: true }],
      ['is refused by a server that is going down', { kind: 'unavailable', committed: false }],
      ['is made by a server that is going down', { kind: 'unavailable', committed: true }],
    ])('appends once and answers when an attempt %s', async (_, fault) => {
      const stream = newStream();
      const events = newEvents(2);
      server.failAppends(fault, { stream, times: 1 });
      const answer = await log.append(stream, events, 0);
      expect(answer).toEqual({ version: 2, position: (await log.last(stream))?.position });
      await log.append(stream, newEvents(1), 2);
      expect((await idsOf(stream)).slice(0, 2)).toEqual(events.map(({ id }) => id));
      expect(await log.read(stream)).toHaveLength(3);
    });

    it('goes to the node that leads', async () => {
      const leader = scope.use(await startEventStore({ log: server.log() }));
      const stream = newStream();
      const to = { host: '127.0.0.1', port: leader.port };
      server.failAppends({ kind: 'not-leader', leader: to }, { stream });
      expect(await log.append(stream, newEvents(1), 0)).toMatchObject({ version: 1 });
      expect(leader.counts.appends()).toBe(1);
      expect(await log.append(stream, newEvents(1), 1)).toMatchObject({ version: 2 });
      expect(leader.counts.appends()).toBe(2);
    });

    it('waits for a server that restarts', async () => {
      const stream = newStream();
      await server.goDown();
      const append = log.append(stream, newEvents(2), 0);
      await expect(Promise.race([append, nextTurns(20)])).resolves.toBe('not yet');
      await server.comeBack();
      expect(await append).toMatchObject({ version: 2 });
    });

    it('finds a leader through a node that is asked for it', async () => {
      const found = await open(server.discoverUrl);
      expect(await found.append(newStream(), newEvents(1), 0)).toMatchObject({ version: 1 });
      expect(found.id).toBe(log.id);
    });

    it('says what it does not know when nobody answers, without the address or a password', async () => {
      const hasty = await open(server.url.replace('esdb://', 'esdb://admin:hunter2@'), { totalMs: 600 });
      const stream = newStream();
      server.failAppends({ kind: 'silence', committed: true }, { stream });
      const error: unknown = await hasty.append(stream, newEvents(1), 0).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: 'EventStoreDBError', transient: true });
      expect(JSON.stringify(error) + String(error)).not.toMatch(/hunter2|esdb:/);
      expect(await log.read(stream)).toHaveLength(1);
    });

    it('keeps the conflicts apart from the faults', async () => {
      const stream = newStream();
      const other = newEvents(1);
      server.failAppends({ kind: 'silence', committed: false }, { stream, times: 1 });
      const losing = log.append(stream, newEvents(1), 0);
      await eventually(() => {
        expect(server.counts.appends()).toBeGreaterThan(0);
      });
      const rival = await open(server.url);
      await rival.append(stream, other, 0);
      await expect(losing).rejects.toBeInstanceOf(WrongExpectedVersion);
      expect(await idsOf(stream)).toEqual(other.map(({ id }) => id));
    });

    it('has many under way at once over one call, and makes each of them once when it breaks', async () => {
      const streams = Array.from({ length: 2_000 }, newStream);
      const patient = await open(server.url, { attemptMs: 3_000, totalMs: 20_000 });
      await patient.append(newStream(), newEvents(1), 0);
      const [before, calls] = [server.counts.appends(), server.counts.batchStreams()];
      const appends = streams.map((stream) => patient.append(stream, newEvents(2), 0));
      await eventually(() => {
        expect(server.counts.appends()).toBeGreaterThan(before + 200);
      }, BUSY);
      expect(server.counts.batchStreams()).toBe(calls);
      server.endBatchStreams();
      server.dropConnections();
      expect((await Promise.all(appends)).every(({ version }) => version === 2)).toBe(true);
      const written = await collect(log, START, { streamPrefixes: ['order-'] }, await log.head());
      const counts = new Map<string, number>();
      for (const { stream } of written.flatMap(({ events }) => events)) {
        counts.set(stream, (counts.get(stream) ?? 0) + 1);
      }
      expect(streams.every((stream) => counts.get(stream) === 2)).toBe(true);
    });

    const whileOpen = async (open: Promise<unknown>, work: () => Promise<unknown>): Promise<void> => {
      const ended = new AbortController();
      const end = (): void => ended.abort();
      open.then(end, end);
      while (!ended.signal.aborted) await work();
    };

    it('lets one without an answer disturb no other: call and connection stay while answers come', async () => {
      const slow = newStream();
      const patient = await open(server.url, PATIENT);
      await patient.append(newStream(), newEvents(1), 0);
      const before = [server.counts.batchCalls(), server.counts.accepted()];
      server.failAppends({ kind: 'silence', committed: true }, { stream: slow, times: 3 });
      const append = patient.append(slow, newEvents(1), 0);
      await whileOpen(append, () => patient.append(newStream(), newEvents(1), 0));
      expect(await append).toMatchObject({ version: 1 });
      expect([server.counts.batchCalls(), server.counts.accepted()]).toEqual(before);
    });

    it('gives up a call that answers nobody, but not the connection while others are answered over it', async () => {
      const stream = newStream();
      const patient = await open(server.url, PATIENT);
      await patient.append(newStream(), newEvents(1), 0);
      const [calls, accepted] = [server.counts.batchCalls(), server.counts.accepted()];
      server.failAppends({ kind: 'silence', committed: false }, { times: 1 });
      const append = patient.append(stream, newEvents(1), 0);
      await whileOpen(append, () => patient.read(stream));
      expect(await append).toMatchObject({ version: 1 });
      expect([server.counts.batchCalls(), server.counts.accepted()]).toEqual([calls + 1, accepted]);
    });

    it('leaves a connection that hangs for one that works in time for the second attempt', async () => {
      // Two logs in one process share a connection to one server (grpc-js), so this is another server.
      const other = scope.use(await startEventStore());
      const patient = await open(other.url, { attemptMs: 2_000, totalMs: 3_900 });
      const ended = new AbortController();
      const write = async (): Promise<void> => {
        while (!ended.signal.aborted) await patient.append(newStream(), newEvents(1), 0);
      };
      const writers = Promise.all(Array.from({ length: 20 }, write));
      const before = other.counts.appends();
      await eventually(() => expect(other.counts.appends()).toBeGreaterThan(before + 100), BUSY);
      other.hangConnections();
      const hung = other.counts.appends();
      await eventually(() => expect(other.counts.appends()).toBeGreaterThan(hung + 100), BUSY);
      ended.abort();
      await writers;
    });

    it.each<[string, AppendFault]>([
      ['answers no append', { kind: 'silence', committed: false }],
      ['refuses every append', { kind: 'deadline-exceeded', committed: false }],
    ])('leaves a node that %s, though it answers everything else', async (_, fault) => {
      const watching = follow(log, START, {});
      await log.append(newStream(), newEvents(1), 0);
      const accepted = server.counts.accepted();
      const lift = server.failAppends(fault);
      const append = log.append(newStream(), newEvents(1), 0);
      await whileOpen(
        eventually(() => expect(server.counts.accepted()).toBeGreaterThan(accepted)),
        () => log.head(),
      );
      expect(server.counts.accepted()).toBeGreaterThan(accepted);
      lift();
      expect(await append).toMatchObject({ version: 1 });
      await watching.stop();
    });

    it('is not disturbed by the faults of another log in the same process', async () => {
      const elsewhere = scope.use(await startEventStore());
      const faulty = await open(elsewhere.url, { totalMs: 500 });
      const stream = newStream();
      const lift = server.failAppends({ kind: 'hold' }, { stream });
      const healthy = open(server.url, { attemptMs: 3_000 }).then((other) => other.append(stream, newEvents(1), 0));
      await eventually(() => {
        expect(server.log().lastNumber(stream)).toBe(0);
      });
      for (const kind of ['unavailable', 'end', 'reset', 'silence'] as const) {
        const broken = newStream();
        elsewhere.failAppends({ kind, committed: false }, { stream: broken });
        await expect(faulty.append(broken, newEvents(1), 0)).rejects.toMatchObject({ name: 'EventStoreDBError' });
      }
      const appends = server.counts.appends();
      lift();
      expect(await healthy).toMatchObject({ version: 1 });
      expect(server.counts.appends()).toBe(appends);
    });

    it('refuses what the server has no place for', async () => {
      const small = scope.use(await startEventStore({ maxAppendSize: 300_000 }));
      const narrow = await open(small.url);
      const large = Array.from({ length: 2 }, () => newEvent({ data: 'x'.repeat(200_000) }));
      await expect(narrow.append(newStream(), large, 0)).rejects.toThrow(
        'larger than EventStoreDB is configured to take',
      );
      for (const refused of [
        log.append('$settings', newEvents(1), 0),
        log.append(newStream(), [newEvent({ type: '$metadata' })], 0),
        log.append(newStream(), [{ ...newEvent(), id: 'one' }], 0),
      ]) {
        await expect(refused).rejects.toBeInstanceOf(RangeError);
      }
    });
  });

  describe('reading', () => {
    it.each<[string, ReadFault]>([
      ['is never answered', { kind: 'silence' }],
      ['ends without an answer', { kind: 'end' }],
      ['is refused by a server that is going down', { kind: 'unavailable' }],
    ])('answers when a read %s', async (_, fault) => {
      const stream = newStream();
      const events = newEvents(3);
      await log.append(stream, events, 0);
      for (const read of [
        () => log.read(stream).then((found) => found.length),
        () => log.last(stream).then((found) => found?.version),
      ]) {
        server.failReads(fault, { stream, times: 1 });
        expect(await read()).toBe(3);
      }
      server.failReads(fault, { stream: '$all', times: 1 });
      expect(await log.head()).toBe((await log.last(stream))?.position);
    });

    it.each([0, 1, 2])(
      'reads a stream to its end though a call breaks off after %d events as if that were all',
      async (after) => {
        const stream = newStream();
        await log.append(stream, newEvents(3), 0);
        const cut = (): void => void server.failReads({ kind: 'cut', after }, { stream, times: 1 });
        cut();
        expect(await log.read(stream)).toHaveLength(3);
        cut();
        expect((await log.read(stream, 1)).map(({ version }) => version)).toEqual([2, 3]);
      },
    );

    it('asks for no more than 64 streams at once, and for the others in their turn', async () => {
      const patient = await open(server.url, { attemptMs: 2_000, totalMs: 20_000 });
      const streams = Array.from({ length: 200 }, newStream);
      await Promise.all(streams.map((stream) => patient.append(stream, newEvents(2), 0)));
      const before = server.counts.reads();
      const lift = server.failReads({ kind: 'silence' }, { stream: 'order-' });
      const reads = streams.map((stream) => patient.read(stream));
      await eventually(() => expect(server.counts.reads()).toBe(before + 64), BUSY);
      // The log itself is not asked for its end through the same gate.
      await patient.head();
      expect(server.counts.reads()).toBe(before + 65);
      lift();
      expect((await Promise.all(reads)).map((found) => found.length)).toEqual(streams.map(() => 2));
    });

    it('reads from the node that leads', async () => {
      const leader = scope.use(await startEventStore({ log: server.log() }));
      server.failReads({ kind: 'not-leader', leader: { host: '127.0.0.1', port: leader.port } });
      const stream = newStream();
      expect(await log.read(stream)).toEqual([]);
      expect(leader.counts.reads()).toBeGreaterThan(0);
    });
  });

  describe('subscribing', () => {
    const follows = (stream: string, after: Position = START) => follow(log, after, { streamPrefixes: [stream] });
    const versions = (following: ReturnType<typeof follow>) => following.events.map(({ version }) => version);
    const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
    const live = async (following: ReturnType<typeof follow>): Promise<void> => {
      await eventually(() => {
        expect(following.batches.at(-1)?.live).toBe(true);
      });
    };

    it.each<[string, () => void]>([
      ['ends without a word', () => server.endSubscriptions()],
      ['breaks', () => server.breakSubscriptions()],
      ['loses its connection', () => server.dropConnections()],
    ])('goes on where it was when it %s', async (_, befall) => {
      const stream = newStream();
      await log.append(stream, newEvents(2), 0);
      const following = follows(stream);
      await live(following);
      for (let version = 2; version < 60; version += 2) {
        await log.append(stream, newEvents(2), version);
        if (version % 10 === 0) befall();
      }
      await eventually(() => {
        expect(versions(following)).toEqual(upTo(60));
      });
      expect(troubles.length).toBeGreaterThan(0);
      await following.stop();
    });

    it('is opened again when it stalls while the log moves on', async () => {
      const stream = newStream();
      const following = follows(stream);
      await live(following);
      const before = server.counts.subscribed();
      const lift = server.stallSubscriptions();
      await log.append(stream, newEvents(5), 0);
      await eventually(() => {
        expect(server.counts.subscribed()).toBeGreaterThan(before);
      });
      expect(versions(following)).toEqual([]);
      lift();
      await eventually(() => {
        expect(versions(following)).toEqual(upTo(5));
      });
      expect(String(troubles[0])).toContain('does not bring what lies in the log');
      await following.stop();
    });

    it.each<[string, ReadFault]>([
      ['is never answered', { kind: 'silence' }],
      ['ends at once', { kind: 'end' }],
      ['is refused', { kind: 'unavailable' }],
    ])('begins when the first attempt %s', async (_, fault) => {
      const stream = newStream();
      await log.append(stream, newEvents(3), 0);
      server.failSubscribing(fault, { times: 1 });
      const following = follows(stream);
      await eventually(() => {
        expect(versions(following)).toEqual(upTo(3));
        expect(following.batches.at(-1)?.live).toBe(true);
      });
      await following.stop();
    });

    it('follows the node that leads', async () => {
      const leader = scope.use(await startEventStore({ log: server.log() }));
      const stream = newStream();
      await log.append(stream, newEvents(3), 0);
      server.failSubscribing({ kind: 'not-leader', leader: { host: '127.0.0.1', port: leader.port } });
      const following = follows(stream);
      await eventually(() => {
        expect(versions(following)).toEqual(upTo(3));
      });
      expect(leader.counts.subscribed()).toBe(1);
      await following.stop();
    });

    it('waits for a server that restarts, and tells its reader when that takes too long', async () => {
      const stream = newStream();
      const following = follows(stream);
      await live(following);
      const impatient = follow(await open(server.url, { giveUpMs: 100, totalMs: 100 }), START, {});
      await live(impatient);
      await server.goDown();
      await expect(impatient.ended).rejects.toMatchObject({ name: 'EventStoreDBError' });
      await server.comeBack();
      await log.append(stream, newEvents(2), 0);
      await eventually(() => {
        expect(versions(following)).toEqual(upTo(2));
      });
      await following.stop();
    });

    it('says live only at what was the end when it began, or later', async () => {
      const stream = newStream();
      await log.append(stream, newEvents(700), 0);
      await log.append(newStream(), newEvents(300), 0);
      const head = await log.head();
      const following = follows(stream);
      await live(following);
      const first = following.batches.find((batch) => batch.live);
      expect((first?.position ?? START) >= head).toBe(true);
      expect(versions(following)).toEqual(upTo(700));
      await following.stop();
    });

    it('is not live while it catches up after an interruption, and is again once it has, though nothing more comes', async () => {
      const stream = newStream();
      await log.append(stream, newEvents(1), 0);
      const following = follow(await open(server.url, { idleMs: 20_000 }), START, { streamPrefixes: [stream] });
      await live(following);
      const known = following.batches.length;
      const away = server.failSubscribing({ kind: 'unavailable' });
      server.breakSubscriptions();
      await log.append(stream, newEvents(900), 1);
      away();
      await eventually(() => {
        expect(versions(following)).toEqual(upTo(901));
        expect(following.batches.at(-1)?.live).toBe(true);
      });
      const head = await log.head();
      const early = following.batches.slice(known).filter((batch) => batch.live && batch.position < head);
      expect(early).toEqual([]);
      await following.stop();
    });

    it('goes live with a server that does not say when it has caught up', async () => {
      const old = scope.use(await startEventStore({ version: '23.6.0' }));
      const other = await open(old.url);
      await other.append(newStream(), newEvents(40), 0);
      const following = follow(other, START, { streamPrefixes: ['nobody-'] });
      await live(following);
      expect(following.batches.at(-1)?.position).toBe(await other.head());
      await following.stop();
    });

    it('holds no more than a batch for a reader that is slow', async () => {
      const stream = newStream();
      const large = (): readonly ReturnType<typeof newEvent>[] =>
        Array.from({ length: 8 }, () => newEvent({ data: 'x'.repeat(100_000) }));
      const subscription = log.subscribe(START, { streamPrefixes: [stream] }, new AbortController().signal);
      const batches = subscription[Symbol.asyncIterator]();
      await batches.next();
      for (let version = 0; version < 160; version += 8) await log.append(stream, large(), version);
      const sizes: number[] = [];
      for (let sum = 0; sum < 160; sum += sizes.at(-1) ?? 0) {
        const batch = await batches.next();
        if (batch.done === true) break;
        sizes.push(batch.value.events.length);
      }
      expect(Math.max(...sizes)).toBeLessThanOrEqual(11);
      await batches.return?.();
    });

    it('passes over what others write to the same server, and their streams are not read as ours', async () => {
      const stream = newStream();
      const others = EventStoreDBClient.connectionString(server.url);
      const base = await log.head();
      await others.appendToStream(`${stream}-a`, binaryEvent({ type: 'Photo', data: Buffer.from([1, 2, 3]) }));
      await others.appendToStream(`${stream}-b`, jsonEvent({ type: 'OrderPlaced', data: { theirs: true } }));
      await others.setStreamMetadata(`${stream}-b`, { maxCount: 5 });
      await log.append(`${stream}-c`, newEvents(1), 0);
      const batches = await collect(log, base, {}, await log.head());
      expect(batches.flatMap(({ events }) => events).map((event) => event.stream)).toEqual([`${stream}-c`]);
      await expect(log.read(`${stream}-a`)).rejects.toThrow('an event that we did not write');
      await others.dispose();
    });

    it('refuses a position that lies beyond the end, or in another log', async () => {
      const beyond = `${'f'.repeat(15)}0${'f'.repeat(15)}0`.replace(/^./, '0') as Position;
      for (const position of [beyond, '0000000000000007' as Position]) {
        await expect(nextBatch(log.subscribe(position, {}, new AbortController().signal))).rejects.toBeInstanceOf(
          RangeError,
        );
      }
    });

    it('ends its subscriptions at the server when nobody reads them any more', async () => {
      const following = [1, 2, 3].map(() => follow(log, START, {}));
      await Promise.all(following.map(live));
      expect(server.counts.subscriptions()).toBe(3);
      await Promise.all(following.map((each) => each.stop()));
      await eventually(() => {
        expect(server.counts.subscriptions()).toBe(0);
      });
    });
  });

  it('leaves no connection open when it is closed', async () => {
    const fresh = scope.use(await startEventStore());
    const { value, stop } = await openEventStoreDb({ server: serverAt(fresh.url) });
    const following = follow(value, START, {});
    await value.append(newStream(), newEvents(1), 0);
    expect(fresh.counts.connections()).toBeGreaterThan(0);
    await stop();
    await following.ended;
    await eventually(() => {
      expect(fresh.counts.connections()).toBe(0);
    });
  });

  describe('its name', () => {
    it('is the same for everyone who opens the log, now and later, and another one in another log', async () => {
      const fresh = scope.use(await startEventStore());
      const together = await Promise.all([1, 2, 3, 4].map(() => open(fresh.url)));
      expect(new Set(together.map(({ id }) => id)).size).toBe(1);
      expect(together[0]?.id).not.toBe(log.id);
      await fresh.goDown();
      await fresh.comeBack();
      expect((await open(fresh.url)).id).toBe(together[0]?.id);
    });

    it('is waited for while the server starts, and no longer than that', async () => {
      await server.goDown();
      await expect(open(server.url, { startMs: 150 })).rejects.toThrow('EventStoreDB');
      const opening = open(server.url);
      await server.comeBack();
      expect((await opening).id).toBe(log.id);
    });
  });
});

async function nextTurns(turns: number): Promise<'not yet'> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  return 'not yet';
}
