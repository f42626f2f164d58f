import { setImmediate as nextTurn } from 'node:timers/promises';

import { expect, it } from 'vitest';

import {
  START,
  type Appended,
  type EventBatch,
  type EventFilter,
  type EventLog,
  type RecordedEvent,
} from '../../src/ports/event-log/event-log.ts';
import { eventually } from '../support/eventually.ts';
import { collect, follow, newEvent, newEvents, nextBatch } from './event-log.reading.ts';

/** The log that is open now, and names of streams that nobody has used. */
export interface Given {
  readonly log: () => EventLog;
  readonly newStream: (kind?: string) => string;
}

export function catchingUp({ log, newStream }: Given): void {
  it('delivers what is there and then, live, what is appended after it caught up', async () => {
    const stream = newStream();
    const base = await log().head();
    await append(log(), stream, ['A', 'B']);
    const following = follow(log(), base, { streamPrefixes: [stream] });
    await eventually(() => {
      expect(typesOf(following.events)).toEqual(['A', 'B']);
      expect(following.batches.at(-1)?.live).toBe(true);
    });
    await append(log(), stream, ['C'], 2);
    await eventually(() => {
      expect(typesOf(following.events)).toEqual(['A', 'B', 'C']);
    });
    expect(following.events).toEqual(await log().read(stream));
    await following.stop();
  });

  it('says that it is live even when there is nothing to deliver', async () => {
    const batch = await nextBatch(log().subscribe(await log().head(), {}, new AbortController().signal));
    expect(batch).toMatchObject({ events: [], live: true });
  });

  it('delivers everything to each of several subscribers', async () => {
    const stream = newStream();
    const base = await log().head();
    const followers = [1, 2, 3].map(() => follow(log(), base, { streamPrefixes: [stream] }));
    for (let version = 0; version < 20; version++) await append(log(), stream, ['A'], version);
    for (const following of followers) {
      await eventually(() => {
        expect(following.events.map(({ version }) => version)).toEqual(range(1, 20));
      });
      await following.stop();
    }
  });

  it('lets a slow subscriber hold up nobody, and still gives it everything', async () => {
    const stream = newStream();
    const base = await log().head();
    const filter = { streamPrefixes: [stream] };
    const slow = log().subscribe(base, filter, new AbortController().signal)[Symbol.asyncIterator]();
    const first = await slow.next();
    const quick = follow(log(), base, filter);
    for (let version = 0; version < 2_000; version += 500) await log().append(stream, newEvents(500), version);
    await eventually(() => expect(quick.events).toHaveLength(2_000), { timeoutMs: 20_000 });
    await quick.stop();
    const events: RecordedEvent[] = first.done === true ? [] : [...first.value.events];
    while (events.length < 2_000) {
      const batch = await slow.next();
      if (batch.done === true) break;
      expect(batch.value.events.length).toBeLessThanOrEqual(1_000);
      events.push(...batch.value.events);
    }
    expect(events.map(({ version }) => version)).toEqual(range(1, 2_000));
    await slow.return?.();
  });
}

export function ordering({ log, newStream }: Given): void {
  it('goes on after a position without repeating or missing anything', async () => {
    const stream = newStream();
    const base = await log().head();
    const first = await append(log(), stream, ['A', 'B']);
    await append(log(), stream, ['C', 'D'], 2);
    const rest = await collect(log(), first.position, { streamPrefixes: [stream] }, await log().head());
    expect(typesOf(rest.flatMap(({ events }) => events))).toEqual(['C', 'D']);
    for (const event of await log().read(stream)) {
      const after = await collect(log(), event.position, { streamPrefixes: [stream] }, await log().head());
      expect(after.flatMap(({ events }) => events)).toEqual(await log().read(stream, event.version));
    }
    expect(base < first.position).toBe(true);
  });

  it('keeps the events of one append next to each other', async () => {
    const prefix = newStream();
    const base = await log().head();
    const streams = range(1, 20).map((index) => `${prefix}-${String(index)}`);
    await Promise.all(streams.map((stream) => log().append(stream, newEvents(10), 0)));
    const batches = await collect(log(), base, {}, await log().head());
    const own = batches.flatMap(({ events }) => events).filter(({ stream }) => stream.startsWith(prefix));
    for (let index = 0; index < own.length; index += 10) {
      const together = own.slice(index, index + 10);
      expect(new Set(together.map(({ stream }) => stream)).size).toBe(1);
      expect(together.map(({ version }) => version)).toEqual(range(1, 10));
    }
    expect(own).toHaveLength(200);
  });

  it('gives positions that only grow, batch after batch', async () => {
    const batches: readonly EventBatch[] = await collect(log(), START, {}, await log().head());
    const positions = batches.flatMap(({ events, position }) => [...events.map((event) => event.position), position]);
    expect(positions.every((position, index) => index === 0 || position >= (positions[index - 1] ?? START))).toBe(true);
    const events = batches.flatMap((batch) => batch.events.map((event) => event.position));
    expect(new Set(events).size).toBe(events.length);
  });
}

export function filtering({ log, newStream }: Given): void {
  it.each<[string, (a: string, b: string) => EventFilter, readonly string[]]>([
    ['types', () => ({ types: ['A', 'C'] }), ['A', 'C', 'A']],
    ['a stream prefix', (a) => ({ streamPrefixes: [a] }), ['A', 'B', 'C']],
    ['several stream prefixes', (a, b) => ({ streamPrefixes: [a, b] }), ['A', 'B', 'C', 'A', 'B']],
    ['both, and then both must match', (_, b) => ({ streamPrefixes: [b], types: ['B', 'C'] }), ['B']],
    ['a prefix that only name and type together would have', (a) => ({ streamPrefixes: [`${a}A`] }), []],
    ['a prefix longer than any name', (a) => ({ streamPrefixes: [`${a}-and-more`] }), []],
  ])('filters by %s', async (_, filterFor, expected) => {
    const [a, b] = [newStream('left'), newStream('right')];
    const base = await log().head();
    await append(log(), a, ['A', 'B', 'C']);
    await append(log(), b, ['A', 'B']);
    const batches = await collect(log(), base, filterFor(a, b), await log().head());
    const own = batches.flatMap(({ events }) => events).filter(({ stream }) => stream === a || stream === b);
    expect(typesOf(own)).toEqual(expected);
  });

  it('moves the position past events that do not match', async () => {
    const stream = newStream();
    const following = follow(log(), await log().head(), { streamPrefixes: [newStream('nobody')] });
    const { position } = await log().append(stream, newEvents(50), 0);
    await eventually(() => {
      expect((following.batches.at(-1)?.position ?? START) >= position).toBe(true);
    });
    expect(following.events).toEqual([]);
    await following.stop();
  });
}

export function ending({ log }: Given): void {
  it('ends without an error when its signal aborts, also while it waits, and before it began', async () => {
    const abort = new AbortController();
    const live = log().subscribe(await log().head(), {}, abort.signal);
    const batches = live[Symbol.asyncIterator]();
    await batches.next();
    const waiting = batches.next();
    await nextTurn();
    abort.abort();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await batches.next()).toEqual({ done: true, value: undefined });
    const late = log().subscribe(START, {}, abort.signal)[Symbol.asyncIterator]();
    expect(await late.next()).toEqual({ done: true, value: undefined });
  });

  it('is released at once by return(), also while it waits', async () => {
    const live = log().subscribe(await log().head(), {}, new AbortController().signal);
    const batches = live[Symbol.asyncIterator]();
    await batches.next();
    const waiting = batches.next();
    await nextTurn();
    await batches.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await batches.next()).toEqual({ done: true, value: undefined });
  });
}

function append(log: EventLog, stream: string, types: readonly string[], expectedVersion = 0): Promise<Appended> {
  return log.append(
    stream,
    types.map((type) => newEvent({ type })),
    expectedVersion,
  );
}

function typesOf(events: readonly RecordedEvent[]): readonly string[] {
  return events.map(({ type }) => type);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
