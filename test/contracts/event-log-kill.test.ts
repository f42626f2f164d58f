import { createInterface } from 'node:readline';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { START, type EventLog, type RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { exitOf, startTs } from '../support/ts-child.ts';
import type { Line } from './event-log-kill-child.ts';
import { collect, newEvent } from './event-log.reading.ts';

const ROUNDS = 3;

describe('the embedded event log, killed without warning while it appends', () => {
  it('has kept every acknowledged append, tears none apart, and takes the others again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: ROUNDS, maxLength: ROUNDS }),
        (killAfter) => withTempDir((directory) => rounds(directory, killAfter)),
      ),
      { numRuns: 1, endOnFailure: true },
    );
  }, 120_000);
});

/** Kills one child after another over the same log, each after so many acknowledgements. */
async function rounds(directory: string, killAfter: readonly number[]): Promise<void> {
  const lines: Line[] = [];
  for (const acknowledgements of killAfter) {
    lines.push(...(await appendUntilKilled(directory, acknowledgements)));
    const { value: log, stop } = await openLmdbEventLog(directory);
    try {
      await expectNothingLost(log, lines);
      await expectNothingTorn(log, lines);
      await retryUnacknowledged(log, lines);
      await expectWholeLog(log, lines);
    } finally {
      await stop();
    }
  }
}

async function appendUntilKilled(directory: string, acknowledgements: number): Promise<readonly Line[]> {
  const child = startTs(new URL('./event-log-kill-child.ts', import.meta.url), [directory]);
  const exited = exitOf(child);
  const lines: Line[] = [];
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  let left = acknowledgements;
  for await (const text of createInterface({ input: child.stdout })) {
    if (!text.endsWith('}')) break; // cut off by the kill
    const line = JSON.parse(text) as Line;
    lines.push(line);
    if (line.kind === 'acknowledged' && --left === 0) child.kill('SIGKILL');
  }
  expect([await exited, complaints]).toEqual([[null, 'SIGKILL'], '']);
  return lines;
}

async function expectNothingLost(log: EventLog, lines: readonly Line[]): Promise<void> {
  for (const { stream, expectedVersion, ids, length } of lines.filter(({ kind }) => kind === 'acknowledged')) {
    const events = (await log.read(stream, expectedVersion)).slice(0, ids.length);
    expect(events.map(({ id }) => id)).toEqual(ids);
    expect(events.every(({ data }) => data === 'x'.repeat(length))).toBe(true);
  }
}

async function expectNothingTorn(log: EventLog, lines: readonly Line[]): Promise<void> {
  for (const { stream, expectedVersion, ids } of unacknowledged(lines)) {
    const events = await log.read(stream, expectedVersion);
    expect([[], ids]).toContainEqual(events.map(({ id }) => id));
  }
}

async function retryUnacknowledged(log: EventLog, lines: readonly Line[]): Promise<void> {
  for (const { stream, expectedVersion, ids, length } of unacknowledged(lines)) {
    const events = ids.map((id) => ({ ...newEvent({ data: 'x'.repeat(length) }), id }));
    const { version } = await log.append(stream, events, expectedVersion);
    expect(version).toBe(expectedVersion + ids.length);
  }
}

function unacknowledged(lines: readonly Line[]): readonly Line[] {
  const key = ({ stream, expectedVersion }: Line): string => `${stream} ${String(expectedVersion)}`;
  const done = new Set(lines.filter(({ kind }) => kind === 'acknowledged').map(key));
  return lines.filter((line) => line.kind === 'trying' && !done.has(key(line)));
}

/** Everything that was ever tried is there once, in a log without gaps, in streams without gaps. */
async function expectWholeLog(log: EventLog, lines: readonly Line[]): Promise<void> {
  const events = (await collect(log, START, {}, await log.head())).flatMap((batch) => batch.events);
  expect(events.map(({ position }) => Number(position))).toEqual(events.map((_, index) => index + 1));
  const tried = lines.filter(({ kind }) => kind === 'trying').flatMap(({ ids }) => ids);
  expect(events.map(({ id }) => id).toSorted()).toEqual(tried.toSorted());
  for (const [stream, own] of byStream(events)) {
    expect(own.map(({ version }) => version)).toEqual(own.map((_, index) => index + 1));
    expect(await log.read(stream)).toEqual(own);
  }
}

function byStream(events: readonly RecordedEvent[]): ReadonlyMap<string, readonly RecordedEvent[]> {
  const streams = new Map<string, RecordedEvent[]>();
  for (const event of events) {
    const own = streams.get(event.stream) ?? [];
    own.push(event);
    streams.set(event.stream, own);
  }
  return streams;
}
