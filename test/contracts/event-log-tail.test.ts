import { randomUUID } from 'node:crypto';

import { EventStoreDBClient } from '@eventstore/db-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openScope, type Scope } from '../../src/lifecycle.ts';
import {
  START,
  type EventBatch,
  type EventLog,
  type NewEvent,
  type Position,
  type RecordedEvent,
} from '../../src/ports/event-log/event-log.ts';
import { openEventStoreDb } from '../../src/ports/event-log/eventstoredb.ts';
import { openTailStreams } from '../../src/ports/event-log/tail-streams.ts';
import type { TailLimits } from '../../src/ports/event-log/tail-follow.ts';
import { withTail } from '../../src/ports/event-log/tail.ts';
import { eventually } from '../support/eventually.ts';
import { serverAt } from '../support/eventstore/address.ts';
import { startEventStore, type EventStoreStandIn } from '../support/eventstore/server.ts';
import { follow, newEvent, newEvents, type Following } from './event-log.reading.ts';

/** Patience of `eventually` with much to do on a busy machine. */
const BUSY = { timeoutMs: 20_000 };
/** Long enough that nothing is taken for late on a busy machine. */
const PATIENT: TailLimits = { catchUpMs: 20_000, pauseMs: 20 };

describe('an event log whose tail is in memory', () => {
  let scope: Scope;
  let server: EventStoreStandIn;
  let log: EventLog;
  /** Another process. */
  let other: EventLog;
  const newStream = (): string => `order-${randomUUID()}`;

  const open = async (around: (log: EventLog) => EventLog): Promise<EventLog> => {
    const limits = { attemptMs: 1_000, totalMs: 20_000, idleMs: 40, stallMs: 300 };
    const { value, stop } = await openEventStoreDb({ server: serverAt(server.url), limits });
    const opened = around(value);
    return scope.use({ value: opened, stop: () => opened.close().finally(stop) });
  };
  beforeEach(async () => {
    scope = openScope();
    server = scope.use(await startEventStore());
    log = await open((adapter) => withTail(adapter, PATIENT));
    other = await open((adapter) => adapter);
  });
  afterEach(() => scope.stop());

  const live = (following: Following): Promise<void> =>
    eventually(() => expect(following.batches.at(-1)?.live).toBe(true), BUSY);
  /** Until the subscriptions of their own are over, and the tail feeds all. */
  const fedByTail = (): Promise<void> => eventually(() => expect(server.counts.subscriptions()).toBe(1), BUSY);
  const followFromTail = async (): Promise<Following> => {
    const following = follow(log, await log.head(), {});
    await live(following);
    await fedByTail();
    return following;
  };
  const idsIn = (events: readonly Pick<RecordedEvent, 'id'>[]): readonly string[] => events.map(({ id }) => id);

  it('has one subscription at the server for all who follow it, once they have caught up', async () => {
    const before = newEvents(30);
    const stream = newStream();
    await other.append(stream, before, 0);
    const following = [1, 2, 3, 4].map(() => follow(log, START, { streamPrefixes: [stream] }));
    await Promise.all(following.map(live));
    await fedByTail();
    const begun = server.counts.subscribed();
    const after = newEvents(30);
    for (const [index, event] of after.entries()) await other.append(stream, [event], 30 + index);
    for (const { events } of following) {
      await eventually(() => expect(idsIn(events)).toEqual(idsIn([...before, ...after])), BUSY);
    }
    expect(server.counts.subscribed()).toBe(begun);
    await Promise.all(following.map((each) => each.stop()));
  });

  it('feeds a reader that has fallen behind what is kept from the log again', async () => {
    const short = await open((adapter) => withTail(adapter, { ...PATIENT, events: 200 }));
    const stream = newStream();
    const abort = new AbortController();
    const quick = follow(short, await short.head(), {});
    await live(quick);
    await fedByTail();
    const slow = short.subscribe(await short.head(), { streamPrefixes: [stream] }, abort.signal);
    const batches = slow[Symbol.asyncIterator]();
    await batches.next();
    await fedByTail();
    const events = newEvents(3_000);
    for (let version = 0; version < events.length; version += 100) {
      await other.append(stream, events.slice(version, version + 100), version);
    }
    await eventually(() => expect(quick.events).toHaveLength(events.length), BUSY);
    const begun = server.counts.subscribed();
    const seen: string[] = [];
    while (seen.length < events.length) {
      const batch = await batches.next();
      if (batch.done === true) break;
      seen.push(...idsIn(batch.value.events));
    }
    expect(seen).toEqual(idsIn(events));
    expect(server.counts.subscribed()).toBeGreaterThan(begun);
    // Having caught up, it gives its own subscription back.
    const rest = drain(batches);
    await fedByTail();
    abort.abort();
    expect(await rest).toEqual([]);
    await quick.stop();
  });

  it.each<[string, () => void]>([
    ['ends', () => server.endSubscriptions()],
    ['breaks', () => server.breakSubscriptions()],
    ['loses its connection', () => server.dropConnections()],
  ])('misses and repeats nothing when its subscription %s', async (_, befall) => {
    const following = await followFromTail();
    const stream = newStream();
    const all: NewEvent[] = [];
    for (let version = 0; version < 60; version += 2) {
      const events = newEvents(2);
      all.push(...events);
      await log.append(stream, events, version);
      if (version % 10 === 0) befall();
    }
    await eventually(() => expect(idsIn(following.events)).toEqual(idsIn(all)), BUSY);
    await following.stop();
  });

  it('answers a read of what it knows without a read of the stream', async () => {
    const following = await followFromTail();
    const stream = newStream();
    const events = newEvents(3);
    await other.append(stream, events.slice(0, 2), 0);
    await eventually(() => expect(following.events).toHaveLength(2), BUSY);
    await other.append(stream, events.slice(2), 2);
    const lift = server.failReads({ kind: 'silence' }, { stream });
    expect(idsIn(await log.read(stream))).toEqual(idsIn(events));
    expect(idsIn(await log.read(stream, 2))).toEqual(idsIn(events.slice(2)));
    lift();
    await following.stop();
  });

  it('keeps up a stream that was read once, also one that did not exist then', async () => {
    const [old, none] = [newStream(), newStream()];
    const first = newEvents(2);
    await other.append(old, first, 0);
    const following = await followFromTail();
    expect(idsIn(await log.read(old))).toEqual(idsIn(first));
    expect(await log.read(none)).toEqual([]);
    const lifts = [old, none].map((stream) => server.failReads({ kind: 'silence' }, { stream }));
    const [later, begun] = [newEvents(1), newEvents(1)];
    await other.append(old, later, 2);
    await other.append(none, begun, 0);
    expect(idsIn(await log.read(old))).toEqual(idsIn([...first, ...later]));
    expect(idsIn(await log.read(none))).toEqual(idsIn(begun));
    for (const lift of lifts) lift();
    await following.stop();
  });

  it('shows every append that was answered before the read, by whomever it was made', async () => {
    const following = await followFromTail();
    const streams = Array.from({ length: 8 }, newStream);
    await Promise.all(
      streams.map(async (stream, index) => {
        for (let version = 0; version < 40; version += 1) {
          await (version % 2 === index % 2 ? log : other).append(stream, newEvents(1), version);
          expect(await log.read(stream)).toHaveLength(version + 1);
        }
      }),
    );
    await following.stop();
  });

  it('reads the log where its tail does not get there in time', async () => {
    const impatient = await open((adapter) => withTail(adapter, { catchUpMs: 50, pauseMs: 20 }));
    const following = follow(impatient, await impatient.head(), {});
    await live(following);
    const stream = newStream();
    await impatient.append(stream, newEvents(1), 0);
    await eventually(() => expect(following.events).toHaveLength(1), BUSY);
    const lift = server.stallSubscriptions();
    await other.append(stream, newEvents(1), 1);
    expect(await impatient.read(stream)).toHaveLength(2);
    lift();
    await following.stop();
  });

  it('reads the log where that ends with what is not ours', async () => {
    const impatient = await open((adapter) => withTail(adapter, { catchUpMs: 20, pauseMs: 20 }));
    const following = follow(impatient, await impatient.head(), {});
    await live(following);
    const stream = newStream();
    await impatient.append(stream, newEvents(1), 0);
    const others = EventStoreDBClient.connectionString(server.url);
    await others.setStreamMetadata(newStream(), { maxCount: 5 });
    expect(await impatient.read(stream)).toHaveLength(1);
    await others.dispose();
    await following.stop();
  });

  it('shows an append whole or not at all, though its events come one by one', async () => {
    const asked: ((answer: IteratorResult<EventBatch>) => void)[] = [];
    const heads: ((head: Position) => void)[] = [];
    const byHand: EventLog = {
      ...log,
      head: () => new Promise((resolve) => heads.push(resolve)),
      read: () => Promise.reject(new Error('the log itself is not to be read')),
      subscribe: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise((next) => asked.push(next)) }) }),
    };
    const taken = (list: readonly unknown[]): Promise<void> => eventually(() => expect(list).toHaveLength(1), BUSY);
    /** Resolves once the tail has it. */
    const bring = async (version: number): Promise<void> => {
      await taken(asked);
      const { position } = recorded(version);
      asked.shift()?.({ done: false, value: { events: [recorded(version)], position, live: true } });
      await taken(asked);
    };
    const tailed = withTail(byHand, PATIENT);
    tailed.subscribe(START, {}, new AbortController().signal);
    await taken(heads);
    heads.shift()?.(START);
    await bring(1);
    const reading = tailed.read('order-1');
    await taken(heads);
    await bring(2);
    heads.shift()?.(recorded(1).position);
    expect((await reading).map(({ version }) => version)).toEqual([1]);
  });

  it('is read from the log as long as nobody follows it', async () => {
    const stream = newStream();
    await log.append(stream, newEvents(2), 0);
    expect(await log.read(stream)).toHaveLength(2);
    expect(server.counts.subscribed()).toBe(0);
  });

  it('ends its subscriptions without an error when it is closed, and leaves none at the server', async () => {
    const following = [await followFromTail(), follow(log, START, {})];
    await Promise.all(following.map(live));
    await log.close();
    await Promise.all(following.map((each) => each.ended));
    await expect(log.read(newStream())).rejects.toThrow('the event log is closed');
    await eventually(() => expect(server.counts.subscriptions()).toBe(0), BUSY);
  });
});

function recorded(version: number): RecordedEvent {
  const position = String(version).padStart(4, '0') as Position;
  return { ...newEvent({ data: { version } }), stream: 'order-1', version, position };
}

/** What still comes, until the end. */
async function drain(batches: AsyncIterator<EventBatch>): Promise<readonly RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for (let batch = await batches.next(); batch.done !== true; batch = await batches.next()) {
    events.push(...batch.value.events);
  }
  return events;
}

describe('whole streams in memory', () => {
  const versionsOf = (events: readonly RecordedEvent[] | undefined): readonly number[] | undefined =>
    events?.map(({ version }) => version);

  it('hold what came while they were read, also when that is older or newer than what was read', async () => {
    const streams = openTailStreams();
    await streams.load('order-1', () => {
      for (const version of [2, 3, 4]) streams.add(recorded(version));
      return Promise.resolve([recorded(1), recorded(2), recorded(3)]);
    });
    expect(versionsOf(streams.get('order-1'))).toEqual([1, 2, 3, 4]);
    streams.add(recorded(4));
    streams.add(recorded(5));
    expect(versionsOf(streams.get('order-1'))).toEqual([1, 2, 3, 4, 5]);
  });

  it('are not kept when something is missing between what was read and what came', async () => {
    const streams = openTailStreams();
    await streams.load('order-1', () => {
      streams.add(recorded(3));
      return Promise.resolve([recorded(1)]);
    });
    expect(streams.get('order-1')).toBeUndefined();
    await streams.load('order-1', () => Promise.resolve([recorded(1)]));
    streams.add(recorded(3));
    expect(streams.get('order-1')).toBeUndefined();
    await streams.load('order-1', () => {
      streams.add(recorded(3));
      return Promise.resolve([]);
    });
    expect(streams.get('order-1')).toBeUndefined();
  });

  it('are not kept when their beginning is gone, they are long, or they are heavy', async () => {
    const streams = openTailStreams();
    const heavy = { ...recorded(1), data: 'x'.repeat(20_000) };
    const long = Array.from({ length: 51 }, (_, index) => recorded(index + 1));
    for (const events of [[recorded(2), recorded(3)], long, [heavy]]) {
      expect(await streams.load('order-1', () => Promise.resolve(events))).toBe(events);
      expect(streams.get('order-1')).toBeUndefined();
    }
  });

  it('are forgotten when they have grown long or heavy', async () => {
    const streams = openTailStreams();
    for (const [most, data] of [
      [50, 'x'],
      [5, 'x'.repeat(3_000)],
    ] as const) {
      await streams.load('order-1', () => Promise.resolve([{ ...recorded(1), data }]));
      for (let version = 2; version <= most; version += 1) streams.add({ ...recorded(version), data });
      const before = streams.get('order-1')?.length ?? 0;
      expect(before).toBeGreaterThan(0);
      streams.add({ ...recorded(most + 1), data });
      expect(streams.get('order-1')).toBeUndefined();
    }
  });

  it.each([
    ['hold events', [recorded(1)]],
    ['do not exist', []],
  ])('are forgotten when too many of them %s, those that nobody has asked for the longest first', async (_, events) => {
    const streams = openTailStreams();
    for (let index = 0; index <= 2_048; index += 1) {
      await streams.load(`order-${String(index)}`, () => Promise.resolve(events));
      streams.get('order-0');
    }
    expect(streams.get('order-0')).toEqual(events);
    expect(streams.get('order-1')).toBeUndefined();
    expect(streams.get('order-2')).toEqual(events);
  });

  it('keep their places however many are looked for that do not exist', async () => {
    const streams = openTailStreams();
    await streams.load('user-1', () => Promise.resolve([recorded(1)]));
    for (let index = 0; index < 5_000; index += 1) {
      const stream = `order-${String(index)}`;
      await streams.load(stream, () => {
        if (index % 2 === 0) streams.add({ ...recorded(1), stream });
        return Promise.resolve([]);
      });
      if (index % 2 === 1) streams.add({ ...recorded(1), stream });
      expect(versionsOf(streams.get(stream))).toEqual([1]);
    }
    expect(versionsOf(streams.get('user-1'))).toEqual([1]);
  });

  it('are as they have become when they begin while they are read', async () => {
    const streams = openTailStreams();
    await streams.load('order-1', () => {
      streams.add(recorded(1));
      return Promise.resolve([]);
    });
    streams.add(recorded(2));
    expect(versionsOf(streams.get('order-1'))).toEqual([1, 2]);
  });

  it('are forgotten as not asked for, though events of theirs come', async () => {
    const streams = openTailStreams();
    for (let index = 0; index <= 2_048; index += 1) {
      await streams.load(`order-${String(index)}`, () => Promise.resolve([recorded(1)]));
      if (index === 1) streams.add({ ...recorded(2), stream: 'order-0' });
    }
    expect(streams.get('order-0')).toBeUndefined();
    expect(versionsOf(streams.get('order-1'))).toEqual([1]);
  });

  it('are forgotten with the events they began with, unless they were read lately', async () => {
    const streams = openTailStreams();
    streams.add(recorded(1));
    streams.evict('order-1');
    expect(streams.get('order-1')).toBeUndefined();
    await streams.load('order-1', () => Promise.resolve([recorded(1)]));
    streams.add(recorded(2));
    streams.evict('order-1');
    expect(versionsOf(streams.get('order-1'))).toEqual([1, 2]);
  });
});
