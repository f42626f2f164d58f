import { randomUUID } from 'node:crypto';

import fc from 'fast-check';
import { expect } from 'vitest';

import {
  EventTooLarge,
  MAX_EVENT_BYTES,
  WrongExpectedVersion,
  type Appended,
  type EventFilter,
  type EventLog,
  type NewEvent,
  type Position,
} from '../../src/ports/event-log/event-log.ts';
import { collect, newEvent } from './event-log.reading.ts';

/** What a log is: streams, and one list of everything. */
export interface Model {
  readonly streams: Map<string, Kept[]>;
  readonly all: Kept[];
  readonly appends: Done[];
  /** End of the log before the model began; others may have written before. */
  readonly base: Position;
  /** Of all streams of this run. */
  readonly prefix: string;
}

export interface Real {
  readonly current: () => EventLog;
  readonly reopen: () => Promise<void>;
}

type Kept = NewEvent & { readonly stream: string; readonly version: number };

interface Done {
  readonly stream: string;
  readonly events: readonly NewEvent[];
  readonly expectedVersion: number;
  readonly answer: Appended;
  /** Length of the list of everything afterwards. */
  readonly length: number;
}

type Command = fc.AsyncCommand<Model, Real>;

const STREAMS = ['a', 'ab', 'b', 'ü'] as const;
const TYPES = ['Placed', 'Paid', 'Shipped'] as const;

export function commandsOn(): fc.Arbitrary<Iterable<Command>> {
  const stream = fc.constantFrom(...STREAMS);
  const drafts = fc.array(draft(), { minLength: 1, maxLength: 5 });
  const pick = fc.nat();
  return fc.commands(
    [
      fc.tuple(stream, drafts).map(([name, events]) => append(name, events)),
      fc.tuple(stream, drafts, fc.constantFrom(-2, -1, 1, 2)).map((args) => appendElsewhere(...args)),
      fc.tuple(stream, drafts, fc.integer({ min: 2, max: 8 })).map((args) => appendConcurrently(...args)),
      pick.map((which) => retry(which)),
      fc.tuple(pick, draft()).map((args) => retryWithMore(...args)),
      fc.tuple(stream, drafts).map(([name, events]) => appendTooLarge(name, events)),
      fc.tuple(stream, fc.nat({ max: 8 })).map((args) => read(...args)),
      stream.map((name) => last(name)),
      fc.tuple(pick, filter()).map((args) => subscribe(...args)),
      fc.constant(head()),
      fc.constant(reopen()),
    ],
    { maxCommands: 40, size: 'max' },
  );
}

interface Draft {
  readonly type: string;
  readonly data: unknown;
}

function draft(): fc.Arbitrary<Draft> {
  const text = fc.oneof(
    { weight: 8, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
    { weight: 1, arbitrary: fc.constantFrom(2_000, 5_000, 90_000).map((length) => 'x'.repeat(length)) },
  );
  return fc.record({ type: fc.constantFrom(...TYPES), data: fc.record({ text, amount: fc.integer() }) });
}

function filter(): fc.Arbitrary<Filter> {
  return fc.record({
    streams: fc.option(fc.subarray([...STREAMS], { minLength: 1 })),
    types: fc.option(fc.subarray([...TYPES], { minLength: 1 })),
  });
}

interface Filter {
  readonly streams: readonly string[] | null;
  readonly types: readonly string[] | null;
}

function append(name: string, drafts: readonly Draft[]): Command {
  return command(`append ${String(drafts.length)} to ${name}`, async (model, log) => {
    const stream = model.prefix + name;
    const events = drafts.map(newEvent);
    const expectedVersion = versionOf(model, stream);
    keep(model, { stream, events, expectedVersion, answer: await log.append(stream, events, expectedVersion) });
  });
}

function appendElsewhere(name: string, drafts: readonly Draft[], offset: number): Command {
  return command(
    `append ${String(drafts.length)} to ${name} at a version off by ${String(offset)}`,
    async (model, log) => {
      const stream = model.prefix + name;
      const actual = versionOf(model, stream);
      const expected = actual + offset;
      if (expected < 0) return;
      const error: unknown = await log
        .append(stream, drafts.map(newEvent), expected)
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(WrongExpectedVersion);
      expect(error).toMatchObject({ stream, expected, actual });
    },
  );
}

function appendConcurrently(name: string, drafts: readonly Draft[], times: number): Command {
  return command(`append to ${name} ${String(times)} times at once`, async (model, log) => {
    const stream = model.prefix + name;
    const expectedVersion = versionOf(model, stream);
    const attempts = Array.from({ length: times }, () => drafts.map(newEvent));
    const results = await Promise.allSettled(attempts.map((events) => log.append(stream, events, expectedVersion)));
    const winners = results.flatMap((result, index) =>
      result.status === 'fulfilled' ? [{ index, answer: result.value }] : [],
    );
    expect(winners).toHaveLength(1);
    for (const { index, answer } of winners)
      keep(model, { stream, events: attempts[index] ?? [], expectedVersion, answer });
    const losers = results.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []));
    for (const reason of losers) expect(reason).toBeInstanceOf(WrongExpectedVersion);
  });
}

function retry(which: number): Command {
  return command('retry an append', async (model, log) => {
    const done = model.appends[which % model.appends.length];
    if (done) expect(await log.append(done.stream, done.events, done.expectedVersion)).toEqual(done.answer);
  });
}

function retryWithMore(which: number, more: Draft): Command {
  return command('retry an append with one event more', async (model, log) => {
    const done = model.appends[which % model.appends.length];
    if (!done) return;
    const attempt = log.append(done.stream, [...done.events, newEvent(more)], done.expectedVersion);
    await expect(attempt).rejects.toBeInstanceOf(WrongExpectedVersion);
  });
}

function appendTooLarge(name: string, drafts: readonly Draft[]): Command {
  return command(`append one event too large to ${name}`, async (model, log) => {
    const stream = model.prefix + name;
    const events = [...drafts.map(newEvent), newEvent({ data: 'x'.repeat(MAX_EVENT_BYTES) })];
    await expect(log.append(stream, events, versionOf(model, stream))).rejects.toBeInstanceOf(EventTooLarge);
  });
}

function read(name: string, after: number): Command {
  return command(`read ${name} after ${String(after)}`, async (model, log) => {
    const stream = model.prefix + name;
    const expected = (model.streams.get(stream) ?? []).slice(after);
    expect(withoutPosition(await log.read(stream, after))).toEqual(expected);
  });
}

function last(name: string): Command {
  return command(`read the last event of ${name}`, async (model, log) => {
    const stream = model.prefix + name;
    const newest = await log.last(stream);
    expect(newest && withoutPosition([newest])).toEqual(model.streams.get(stream)?.slice(-1) ?? null);
  });
}

function subscribe(which: number, { streams, types }: Filter): Command {
  return command(`subscribe to ${JSON.stringify({ streams, types })}`, async (model, log) => {
    const from = model.appends[which % (model.appends.length + 1)];
    const prefixes = (streams ?? ['']).map((name) => model.prefix + name);
    const chosen: EventFilter = { streamPrefixes: prefixes, ...(types && { types }) };
    const expected = model.all
      .slice(from?.length ?? 0)
      .filter(
        ({ stream, type }) => prefixes.some((prefix) => stream.startsWith(prefix)) && (types?.includes(type) ?? true),
      );
    const batches = await collect(log, from?.answer.position ?? model.base, chosen, await log.head());
    expect(withoutPosition(batches.flatMap(({ events }) => events))).toEqual(expected);
  });
}

function head(): Command {
  return command('ask for the head', async (model, log) => {
    const end = await log.head();
    expect(end >= (model.appends.at(-1)?.answer.position ?? model.base)).toBe(true);
  });
}

function reopen(): Command {
  return command('close and open again', async (_model, _log, reopenLog) => {
    await reopenLog();
  });
}

type Run = (model: Model, log: EventLog, reopen: Real['reopen']) => Promise<void>;

function command(name: string, run: Run): Command {
  return {
    check: () => true,
    run: (model, real) => run(model, real.current(), real.reopen),
    toString: () => name,
  };
}

function versionOf(model: Model, stream: string): number {
  return model.streams.get(stream)?.length ?? 0;
}

function keep(model: Model, done: Omit<Done, 'length'>): void {
  const { stream, events, expectedVersion, answer } = done;
  const kept = events.map((event, index) => ({ ...event, stream, version: expectedVersion + index + 1 }));
  expect(answer.version).toBe(expectedVersion + events.length);
  model.streams.set(stream, [...(model.streams.get(stream) ?? []), ...kept]);
  model.all.push(...kept);
  model.appends.push({ ...done, length: model.all.length });
}

function withoutPosition(events: readonly (Kept & { readonly position: Position })[]): readonly Kept[] {
  return events.map(({ id, type, data, metadata, stream, version }) => ({ id, type, data, metadata, stream, version }));
}

/** A prefix that no other run has used. */
export function newModel(base: Position): Model {
  return { streams: new Map(), all: [], appends: [], base, prefix: `${randomUUID()}-` };
}
