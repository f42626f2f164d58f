import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  EventTooLarge,
  LogClosed,
  MAX_EVENT_BYTES,
  WrongExpectedVersion,
  type Appended,
  type EventLog,
} from '../../src/ports/event-log/event-log.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { AppendUnknown, openSupervisedLog } from '../../src/ports/event-log/supervised.ts';
import { eventually } from '../support/eventually.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { newEvent, newEvents, nextBatch } from './event-log.reading.ts';

/** What befalls one attempt at an append on its way to the real log and back. */
type Fault = (append: () => Promise<Appended>) => Promise<Appended>;

const passes: Fault = (append) => append();
const failsBefore: Fault = () => Promise.reject(new Error('connection refused'));
const failsAfter: Fault = (append) => append().then(() => Promise.reject(new Error('connection reset')));
const hangsBefore: Fault = () => new Promise(() => undefined);
const losesTheAnswer: Fault = (append) => append().then(() => new Promise(() => undefined));

describe('a supervised event log', () => {
  let real: EventLog;
  let stop: () => Promise<void>;
  let streams = 0;
  const newStream = (): string => `order-${String(++streams)}`;

  beforeAll(async () => {
    const directory = await openTempDir();
    const log = await openLmdbEventLog(directory.value);
    real = log.value;
    stop = () => log.stop().then(directory.stop);
  });
  afterAll(() => stop());

  /** The real log with one fault after another in front of it, under supervision. */
  const supervise = (faults: readonly Fault[], timeoutMs = 500) => {
    const attempts: Fault[] = [];
    const scripted: EventLog = {
      ...real,
      append: (stream, events, expectedVersion) => {
        const fault = faults[attempts.length] ?? passes;
        attempts.push(fault);
        return fault(() => real.append(stream, events, expectedVersion));
      },
    };
    return { log: openSupervisedLog(scripted, { timeoutMs, attempts: 3 }), attempts };
  };

  it('is not asked again once it is closed, and what an earlier attempt has done stays unknown', async () => {
    const isClosed: Fault = () => Promise.reject(new LogClosed());
    const atOnce = supervise([isClosed]);
    await expect(atOnce.log.append(newStream(), newEvents(1), 0)).rejects.toThrow(LogClosed);
    expect(atOnce.attempts).toEqual([isClosed]);
    const afterwards = supervise([failsAfter, isClosed]);
    await expect(afterwards.log.append(newStream(), newEvents(1), 0)).rejects.toThrow(AppendUnknown);
    expect(afterwards.attempts).toEqual([failsAfter, isClosed]);
  });

  it.each<[string, readonly Fault[]]>([
    ['nothing goes wrong', []],
    ['an attempt fails before it appends', [failsBefore]],
    ['an attempt fails after it has appended', [failsAfter]],
    ['an attempt hangs before it appends', [hangsBefore]],
    ['the answer to an attempt is lost', [losesTheAnswer]],
    ['only the last attempt passes', [losesTheAnswer, failsAfter]],
  ])('appends once and answers when %s', async (_, faults) => {
    const { log, attempts } = supervise(faults);
    const stream = newStream();
    const events = newEvents(2);
    expect(await log.append(stream, events, 0)).toEqual({ version: 2, position: await real.head() });
    expect((await real.read(stream)).map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    expect(attempts).toHaveLength(faults.length + 1);
  });

  it('is not disturbed by a first attempt that arrives beside or after the second', async () => {
    for (const order of ['beside', 'after'] as const) {
      const late: { arrive?: () => Promise<Appended> } = {};
      const delayed: Fault = (append) =>
        new Promise((resolve, reject) => {
          late.arrive = async () => {
            const answer = append();
            answer.then(resolve, reject);
            return answer;
          };
        });
      const beside: Fault = async (append) => {
        const [, answer] = await Promise.all([late.arrive?.(), append()]);
        return answer;
      };
      const { log } = supervise([delayed, order === 'beside' ? beside : passes]);
      const stream = newStream();
      const events = newEvents(2);
      const answer = await log.append(stream, events, 0);
      await log.append(stream, newEvents(1), 2);
      expect(await late.arrive?.()).toEqual(answer);
      expect(await real.read(stream)).toHaveLength(3);
    }
  });

  it('takes the answer of an attempt that somebody else forestalled for final', async () => {
    const stream = newStream();
    const forestalled: Fault = () => real.append(stream, newEvents(1), 0).then(() => new Promise(() => undefined));
    const { log, attempts } = supervise([forestalled]);
    await expect(log.append(stream, newEvents(1), 0)).rejects.toBeInstanceOf(WrongExpectedVersion);
    expect(attempts).toHaveLength(2);
    expect(await real.read(stream)).toHaveLength(1);
  });

  it('never tries again what was refused for good', async () => {
    const { log, attempts } = supervise([]);
    const stream = newStream();
    await expect(log.append(stream, newEvents(1), 7)).rejects.toBeInstanceOf(WrongExpectedVersion);
    const large = newEvent({ data: 'x'.repeat(MAX_EVENT_BYTES) });
    await expect(log.append(stream, [large], 0)).rejects.toBeInstanceOf(EventTooLarge);
    await expect(log.append(stream, [], 0)).rejects.toBeInstanceOf(RangeError);
    expect(attempts).toHaveLength(3);
  });

  it('says that it does not know after the last attempt, and why', async () => {
    const stream = newStream();
    const { log, attempts } = supervise([losesTheAnswer, hangsBefore, failsAfter]);
    const error: unknown = await log.append(stream, newEvents(1), 0).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AppendUnknown);
    expect(error).toMatchObject({ stream, attempts: 3, cause: { message: 'connection reset' } });
    expect(attempts).toHaveLength(3);
    expect(await real.read(stream)).toHaveLength(1);
    const hanging = supervise([hangsBefore, hangsBefore, hangsBefore], 5).log.append(stream, newEvents(1), 1);
    await expect(hanging).rejects.toMatchObject({ cause: { message: 'no answer within 5 ms' } });
  });

  it('takes charge of a rejection that comes after it has given up waiting', async () => {
    const late: { fail?: () => void } = {};
    const failsLate: Fault = () =>
      new Promise((_resolve, reject) => {
        late.fail = () => {
          reject(new Error('too late'));
        };
      });
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    await supervise([failsLate]).log.append(newStream(), newEvents(1), 0);
    late.fail?.();
    let turns = 0;
    await eventually(() => {
      expect(++turns).toBeGreaterThan(5);
    });
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  it('passes everything else on', async () => {
    const { log } = supervise([]);
    const stream = newStream();
    await log.append(stream, newEvents(2), 0);
    expect(log.id).toBe(real.id);
    expect(await log.head()).toBe(await real.head());
    expect(await log.read(stream, 1)).toEqual(await real.read(stream, 1));
    const batch = await nextBatch(log.subscribe(await real.head(), {}, new AbortController().signal));
    expect(batch).toMatchObject({ events: [], live: true });
  });
});
