import { randomUUID } from 'node:crypto';

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Started } from '../../src/lifecycle.ts';
import {
  EventTooLarge,
  MAX_APPEND_BYTES,
  MAX_EVENT_BYTES,
  START,
  WrongExpectedVersion,
  type EventLog,
  type Position,
} from '../../src/ports/event-log/event-log.ts';
import { eventually } from '../support/eventually.ts';
import { commandsOn, newModel, type Real } from './event-log.model.ts';
import { follow, newEvent, newEvents, nextBatch } from './event-log.reading.ts';
import { catchingUp, ending, filtering, ordering, type Given } from './event-log.subscriptions.ts';

/** What a log has to bring along to be put through the contract. It may hold events of others. */
export interface LogUnderTest {
  readonly log: EventLog;
  /** Closes the log and opens the same one again. */
  reopen(): Promise<EventLog>;
}

/** Every adapter keeps this, whatever server it talks to. */
export function eventLogContract(open: () => Promise<Started<LogUnderTest>>): void {
  let subject: LogUnderTest;
  let stop: () => Promise<void>;
  let log: EventLog;
  /** Keeps what one test writes apart from everything else in the log. */
  const newStream = (kind = 'order'): string => `${kind}-${randomUUID()}`;

  const reopen = async (): Promise<void> => {
    log = await subject.reopen();
  };

  beforeAll(async () => {
    ({ value: subject, stop } = await open());
    log = subject.log;
  });
  afterAll(() => stop());

  const given: Given = { log: () => log, newStream };
  describe('appending', () => {
    appending(given);
  });
  describe('appending in conflict', () => {
    conflicting(given);
  });
  describe('reading a stream', () => {
    reading(given);
  });
  describe('keeping only the newest', () => {
    keepingTheNewest(given);
  });
  describe('subscribing', () => {
    catchingUp(given);
    ordering(given);
    filtering(given);
    ending(given);
  });

  it('behaves like a list of streams and a list of everything, whatever is done to it', async () => {
    const real: Real = { current: () => log, reopen };
    await fc.assert(
      fc.asyncProperty(commandsOn(), async (commands) => {
        const base = await log.head();
        await fc.asyncModelRun(() => ({ model: newModel(base), real }), commands);
      }),
      { numRuns: 30 },
    );
  });

  it('keeps its id, its events and its answers to retries when it is closed and opened again', async () => {
    const stream = newStream();
    const events = newEvents(3);
    const { id } = log;
    const answer = await log.append(stream, events, 0);
    const before = await log.read(stream);
    await reopen();
    expect(log.id).toBe(id);
    expect(await log.read(stream)).toEqual(before);
    expect(await log.last(stream)).toEqual(before.at(-1));
    expect(await log.append(stream, events, 0)).toEqual(answer);
    expect(await log.read(stream)).toHaveLength(3);
  });

  it('finishes the appends under way when it is closed, ends its subscriptions, and refuses everything afterwards', async () => {
    const stream = newStream();
    const closing = log;
    const following = follow(closing, await closing.head(), { streamPrefixes: [stream] });
    await eventually(() => {
      expect(following.batches.at(-1)?.live).toBe(true);
    });
    const appends = [closing.append(stream, newEvents(2), 0), closing.append(stream, newEvents(2), 2)];
    await reopen();
    expect((await Promise.all(appends)).map(({ version }) => version)).toEqual([2, 4]);
    expect(await log.read(stream)).toHaveLength(4);
    await following.ended;
    await expect(closing.append(stream, newEvents(1), 4)).rejects.toThrow('the event log is closed');
    await expect(closing.read(stream)).rejects.toThrow('the event log is closed');
    await expect(closing.last(stream)).rejects.toThrow('the event log is closed');
    await expect(closing.head()).rejects.toThrow('the event log is closed');
    await expect(nextBatch(closing.subscribe(START, {}, following.signal))).rejects.toThrow('the event log is closed');
  });
}

function appending({ log, newStream }: Given): void {
  it('answers with the version of the stream and the position of the last event', async () => {
    const stream = newStream();
    const answer = await log().append(stream, newEvents(3), 0);
    const [, , last] = await log().read(stream);
    expect(answer).toEqual({ version: 3, position: last?.position });
    expect(answer.position > START && answer.position <= (await log().head())).toBe(true);
  });

  it('appends nothing when one event is too large, and everything else at the same time', async () => {
    const stream = newStream();
    const other = newStream();
    const large = newEvent({ data: 'x'.repeat(MAX_EVENT_BYTES) });
    const [refused, ...taken] = await Promise.allSettled([
      log().append(stream, [newEvent(), large], 0),
      log().append(stream, newEvents(1), 0),
      log().append(other, newEvents(1), 0),
    ]);
    expect(refused).toMatchObject({ status: 'rejected', reason: { name: 'EventTooLarge', type: large.type } });
    expect(refused.status === 'rejected' && refused.reason).toBeInstanceOf(EventTooLarge);
    expect(taken.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(await log().read(stream)).toHaveLength(1);
  });

  it('takes events of just under the limit, and a thousand at once', async () => {
    const stream = newStream();
    const event = newEvent();
    const overhead = Buffer.byteLength(JSON.stringify('') + JSON.stringify(event.metadata));
    const largest = { ...event, data: 'x'.repeat(MAX_EVENT_BYTES - overhead) };
    await log().append(stream, [largest], 0);
    await log().append(stream, newEvents(1_000), 1);
    const events = await log().read(stream);
    expect(events).toHaveLength(1_001);
    expect(events[0]?.data).toBe(largest.data);
  });

  it('takes events that are together as large as an append may be, and refuses a byte more', async () => {
    const stream = newStream();
    const part = newEvent({ data: '' });
    const overhead = Buffer.byteLength(JSON.stringify('') + JSON.stringify(part.metadata)) + 2 * part.type.length;
    const events = (beyond: number) =>
      Array.from({ length: 8 }, (_, index) =>
        newEvent({ data: 'x'.repeat(MAX_APPEND_BYTES / 8 - overhead + (index === 0 ? beyond : 0)) }),
      );
    await expect(log().append(stream, events(1), 0)).rejects.toBeInstanceOf(RangeError);
    expect(await log().append(stream, events(0), 0)).toMatchObject({ version: 8 });
    expect(await log().read(stream)).toHaveLength(8);
  });

  it('refuses misuse with a RangeError', async () => {
    const stream = newStream();
    const misuses = [
      log().append(stream, [], 0),
      log().append(stream, newEvents(1_001), 0),
      log().append('', newEvents(1), 0),
      log().append('x'.repeat(201), newEvents(1), 0),
      log().append('order-\0', newEvents(1), 0),
      log().append(stream, newEvents(1), -1),
      log().append(stream, newEvents(1), 0.5),
      log().last(''),
      log().last('order-\0'),
      nextBatch(log().subscribe('nowhere' as Position, {}, new AbortController().signal)),
    ];
    for (const misuse of misuses) await expect(misuse).rejects.toBeInstanceOf(RangeError);
    expect(await log().read(stream)).toEqual([]);
  });
}

function conflicting({ log, newStream }: Given): void {
  it('refuses an append that expects another version, and says which one it is', async () => {
    const stream = newStream();
    await log().append(stream, newEvents(2), 0);
    for (const expected of [0, 1, 3]) {
      const error: unknown = await log()
        .append(stream, newEvents(1), expected)
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(WrongExpectedVersion);
      expect(error).toMatchObject({ stream, expected, actual: 2 });
    }
    expect(await log().read(stream)).toHaveLength(2);
  });

  it('lets exactly one of many appends at the same version win', async () => {
    const stream = newStream();
    const attempts = Array.from({ length: 20 }, () => log().append(stream, newEvents(2), 0));
    const results = await Promise.allSettled(attempts);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(WrongExpectedVersion);
    }
    expect(await log().read(stream)).toHaveLength(2);
  });

  it('takes a retry for what it is, also when others have appended since and when it runs beside the first attempt', async () => {
    const stream = newStream();
    const events = newEvents(3);
    const [first, beside] = await Promise.all([log().append(stream, events, 0), log().append(stream, events, 0)]);
    expect(beside).toEqual(first);
    await log().append(stream, newEvents(2), 3);
    expect(await log().append(stream, events, 0)).toEqual(first);
    expect(await log().read(stream)).toHaveLength(5);
  });

  it('does not take for a retry what has other ids, or what goes beyond the end of the stream', async () => {
    const stream = newStream();
    const events = newEvents(2);
    await log().append(stream, events, 0);
    const otherId = events.map((event, index) => (index === 1 ? { ...event, id: randomUUID() } : event));
    await expect(log().append(stream, otherId, 0)).rejects.toBeInstanceOf(WrongExpectedVersion);
    await expect(log().append(stream, [...events, newEvent()], 0)).rejects.toBeInstanceOf(WrongExpectedVersion);
    await expect(log().append(newStream(), events, 2)).rejects.toBeInstanceOf(WrongExpectedVersion);
  });
}

function reading({ log, newStream }: Given): void {
  it('gives back what was appended, with stream, version and position', async () => {
    const stream = newStream();
    const events = [
      newEvent({ data: null }),
      newEvent({ data: { text: 'Grüße, 世界 🛰', list: [1, -2.5, true, null] } }),
    ];
    await log().append(stream, events, 0);
    const read = await log().read(stream);
    expect(read).toMatchObject(events.map((event, index) => ({ ...event, stream, version: index + 1 })));
    expect(read.map(({ position }) => position)).toEqual(read.map(({ position }) => position).toSorted());
  });

  it('gives what comes after a version, and nothing of a stream that does not exist', async () => {
    const stream = newStream();
    await log().append(stream, newEvents(5), 0);
    expect((await log().read(stream, 3)).map(({ version }) => version)).toEqual([4, 5]);
    expect(await log().read(stream, 5)).toEqual([]);
    expect(await log().read(stream, 9)).toEqual([]);
    expect(await log().read(newStream())).toEqual([]);
  });

  it('gives the newest event alone, and none of a stream that does not exist', async () => {
    const stream = newStream();
    expect(await log().last(stream)).toBeNull();
    const only = newEvent();
    await log().append(stream, [only], 0);
    expect(await log().last(stream)).toMatchObject({ ...only, stream, version: 1 });
    await log().append(stream, newEvents(999), 1);
    const { position } = await log().append(stream, [newEvent({ data: null })], 1_000);
    expect(await log().last(stream)).toEqual((await log().read(stream)).at(-1));
    expect(await log().last(stream)).toMatchObject({ stream, version: 1_001, position, data: null });
  });

  it('knows the newest event as soon as its append is answered', async () => {
    const stream = newStream();
    for (const version of Array.from({ length: 20 }).keys()) {
      const event = newEvent();
      await log().append(stream, [event], version);
      expect((await log().last(stream))?.id).toBe(event.id);
    }
  });

  it('keeps streams apart whose names begin alike', async () => {
    const stream = newStream();
    const names = [stream, `${stream}-`, `${stream}1`, `${stream}\u0001`, `${stream}é`];
    for (const [index, name] of names.entries()) await log().append(name, newEvents(index + 1), 0);
    for (const [index, name] of names.entries()) {
      expect((await log().read(name)).map((event) => event.stream)).toEqual(
        Array.from({ length: index + 1 }, () => name),
      );
      expect(await log().last(name)).toMatchObject({ stream: name, version: index + 1 });
    }
  });
}

function keepingTheNewest({ log, newStream }: Given): void {
  it('goes on counting versions as if nothing had been forgotten', async () => {
    const stream = newStream('lease');
    await log().keepNewest(stream, 3);
    for (const version of Array.from({ length: 10 }).keys()) {
      const answer = await log().append(stream, newEvents(1), version);
      expect(answer.version).toBe(version + 1);
      expect(await log().last(stream)).toMatchObject({ version: version + 1, position: answer.position });
    }
    await expect(log().append(stream, newEvents(1), 9)).rejects.toMatchObject({ expected: 9, actual: 10 });
    await expect(log().append(stream, newEvents(1), 0)).rejects.toMatchObject({ expected: 0, actual: 10 });
    await expect(log().append(stream, newEvents(1), 11)).rejects.toMatchObject({ expected: 11, actual: 10 });
  });

  it('reads at least the newest ones, each with its own version', async () => {
    const stream = newStream('ingest');
    const events = newEvents(10);
    await log().append(stream, events, 0);
    await log().keepNewest(stream, 3);
    const ids = (versions: readonly { readonly version: number }[]) =>
      versions.map(({ version }) => events[version - 1]?.id);
    for (const after of [0, 2, 7, 8]) {
      const read = await log().read(stream, after);
      expect(read.length).toBeGreaterThanOrEqual(Math.min(3, 10 - after));
      expect(read.every(({ version }) => version > after)).toBe(true);
      expect(read.map(({ id }) => id)).toEqual(ids(read));
      expect(read.at(-1)?.version).toBe(10);
    }
    expect(await log().read(stream, 10)).toEqual([]);
    expect(await log().last(stream)).toMatchObject({ id: events[9]?.id, version: 10 });
  });

  it('takes a retry of a kept append for what it is, and lets one of several at one version win', async () => {
    const stream = newStream('lease');
    await log().append(stream, newEvents(5), 0);
    await log().keepNewest(stream, 2);
    const events = newEvents(1);
    const first = await log().append(stream, events, 5);
    expect(await log().append(stream, events, 5)).toEqual(first);
    const rivals = await Promise.allSettled(Array.from({ length: 5 }, () => log().append(stream, newEvents(1), 6)));
    expect(rivals.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await log().last(stream)).toMatchObject({ version: 7 });
  });

  it('may be told again and by several at the same time, and tells no subscriber', async () => {
    const stream = newStream('lease');
    const { position } = await log().append(stream, newEvents(1), 0);
    await Promise.all(Array.from({ length: 3 }, () => log().keepNewest(stream, 2)));
    await log().keepNewest(stream, 2);
    const following = follow(log(), position, {});
    const { position: end } = await log().append(stream, newEvents(1), 1);
    const delivered = await eventually(() => {
      const events = following.batches.flatMap((batch) => batch.events);
      expect(events.at(-1)?.position).toBe(end);
      return events;
    });
    await following.stop();
    expect(delivered.map((event) => event.stream)).toEqual([stream]);
  });

  it('is refused for streams that are no bookkeeping, and for less than one event', async () => {
    for (const stream of [newStream('notification'), newStream('user'), 'leases', '$lease-a', '']) {
      await expect(log().keepNewest(stream, 10)).rejects.toBeInstanceOf(RangeError);
    }
    for (const count of [0, -1, 0.5, NaN, Infinity]) {
      await expect(log().keepNewest(newStream('lease'), count)).rejects.toBeInstanceOf(RangeError);
    }
  });
}
