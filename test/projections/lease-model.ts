import { setImmediate as everybodyWaits } from 'node:timers/promises';

import { foldLease } from '../../src/events/leases.ts';
import type { Started } from '../../src/lifecycle.ts';
import {
  LogUnavailable,
  WrongExpectedVersion,
  type Appended,
  type NewEvent,
  type Position,
  type RecordedEvent,
} from '../../src/ports/event-log/event-log.ts';
import type { LeaseClock } from '../../src/projections/lease-clock.ts';
import { startLease, type Lease, type LeaseOptions } from '../../src/projections/lease.ts';
import { recordingLog } from '../support/world.ts';

/** True time, in milliseconds, which no process sees, and what is going to happen. */
export interface Time {
  readonly now: () => number;
  readonly at: (time: number, task: () => void) => () => void;
  /** Lets pass `ms`, one thing after the other; `check` is asked after each. */
  readonly pass: (ms: number, check: () => void) => Promise<void>;
}

export function openTime(): Time {
  let now = 0;
  const agenda: { readonly time: number; readonly task: () => void }[] = [];
  const next = (until: number): (() => void) | null => {
    const [first] = agenda;
    if (!first || first.time > until) return null;
    agenda.shift();
    now = first.time;
    return first.task;
  };
  return {
    now: () => now,
    at: (time, task) => {
      const entry = { time: Math.max(time, now), task };
      const place = agenda.findIndex((other) => other.time > entry.time);
      agenda.splice(place === -1 ? agenda.length : place, 0, entry);
      return () => {
        const index = agenda.indexOf(entry);
        if (index !== -1) agenda.splice(index, 1);
      };
    },
    pass: async (ms, check) => {
      const until = now + ms;
      for (let task = next(until); task; task = next(until)) {
        task();
        await everybodyWaits();
        check();
      }
      now = until;
      check();
    },
  };
}

/** What becomes of one call of the log. */
export interface Fate {
  readonly kind: 'done' | 'request lost' | 'answer lost';
  /** Milliseconds until the log does it, and from there until the answer, or the news that there is none. */
  readonly there: number;
  readonly back: number;
  /** Whether there is not even that news. */
  readonly silent: boolean;
}

/** One stream, as it truly is. Calls that are under way outlive whoever made them. */
export interface Truth {
  readonly events: readonly RecordedEvent[];
  readonly last: () => RecordedEvent | null;
  readonly append: (events: readonly NewEvent[], expected: number) => Appended;
}

export function openTruth(): Truth {
  const events: RecordedEvent[] = [];
  const positionOf = (version: number): Position => String(version).padStart(6, '0') as Position;
  return {
    events,
    last: () => events.at(-1) ?? null,
    append: ([event], expected) => {
      const version = expected + 1;
      if (!event) throw new Error('nothing to append');
      const isRetry = events[expected]?.id === event.id;
      if (!isRetry && events.length !== expected) throw new WrongExpectedVersion('lease', expected, events.length);
      const position = positionOf(version);
      if (!isRetry) events.push({ ...event, stream: 'lease', version, position });
      return { version, position };
    },
  };
}

/** A machine with a data directory, on which one process at a time runs. */
export interface Machine {
  /** Whether a process runs, and whether it is stopped by a signal meanwhile. */
  readonly state: () => 'down' | 'up' | 'paused' | 'stopping';
  readonly lease: () => Lease | null;
  /** What its process is called in the stream. */
  readonly process: () => string;
  /** What the listener of its lease believes. */
  readonly believes: () => boolean;
  readonly start: () => void;
  readonly crash: () => void;
  readonly stop: () => void;
  readonly pause: () => void;
  readonly resume: () => void;
}

export interface MachineOptions {
  readonly name: string;
  readonly time: Time;
  readonly truth: Truth;
  /** Its seconds, in true seconds; about 1. */
  readonly rate: number;
  readonly nextFate: () => Fate;
  readonly timings?: LeaseOptions['timings'];
}

interface Process {
  readonly name: string;
  readonly lease: Started<Lease>;
  readonly held: { believed: boolean };
}

export function openMachine(options: MachineOptions): Machine {
  const { name, time } = options;
  let starts = 0;
  let state: ReturnType<Machine['state']> = 'down';
  let running: Process | null = null;
  let deferred: (() => void)[] = [];
  const down = (): void => {
    [running, deferred, state] = [null, [], 'down'];
  };

  const start = (): void => {
    if (state !== 'down') return;
    starts += 1;
    const run = starts;
    /** What reaches a process: never once it is dead, and not while it is paused. */
    const deliver = (task: () => void): void => {
      if (run !== starts || state === 'down') return;
      if (state === 'paused') deferred.push(task);
      else task();
    };
    state = 'up';
    running = startProcess({ ...options, name: `${name}.${String(run)}` }, name, deliver);
  };

  const resume = (): void => {
    if (state !== 'paused') return;
    state = 'up';
    // In some other order than it came.
    const tasks = deferred.toReversed();
    deferred = [];
    for (const task of tasks) time.at(time.now(), task);
  };

  return {
    state: () => state,
    lease: () => running?.lease.value ?? null,
    process: () => running?.name ?? '',
    believes: () => running?.held.believed ?? false,
    start,
    crash: down,
    stop: () => {
      if (state !== 'up' || running === null) return;
      state = 'stopping';
      const run = starts;
      void running.lease.stop().then(() => {
        if (run === starts && state === 'stopping') down();
      });
    },
    pause: () => {
      if (state === 'up') state = 'paused';
    },
    resume,
  };
}

type Deliver = (task: () => void) => void;

function startProcess(options: MachineOptions, holder: string, deliver: Deliver): Process {
  const { name, timings } = options;
  let ids = 0;
  // The first one names the process.
  const random = (): string => (ids++ === 0 ? name : `${name}:${String(ids)}`);
  const held = { believed: false };
  const lease = startLease({
    log: logOf(options, deliver),
    name: 'route',
    holder,
    ids: { random },
    now: () => 0,
    logger: recordingLog(),
    clock: clockOf(options, deliver),
    ...(timings && { timings }),
  });
  lease.value.onChange(() => {
    held.believed = lease.value.heldSince() !== null;
  });
  return { name, lease, held };
}

function clockOf({ time, rate }: MachineOptions, deliver: Deliver): LeaseClock {
  return {
    now: () => 1_000 + time.now() * rate,
    after: (ms, task) => {
      let isOver = false;
      // As timers of Node: never less than a millisecond.
      const cancel = time.at(time.now() + Math.max(ms, 1) / rate, () => deliver(() => isOver || task()));
      return () => {
        isOver = true;
        cancel();
      };
    },
  };
}

function logOf({ time, truth, nextFate }: MachineOptions, deliver: Deliver): LeaseOptions['log'] {
  const call = <T>(work: () => T): Promise<T> =>
    new Promise((resolve, reject) => {
      const { kind, there, back, silent } = nextFate();
      const answer = (task: () => void): void => void time.at(time.now() + back, () => deliver(task));
      const lost = (): void => {
        if (!silent) answer(() => reject(new LogUnavailable('lost')));
      };
      time.at(time.now() + there, () => {
        if (kind === 'request lost') {
          lost();
          return;
        }
        try {
          const result = work();
          if (kind === 'answer lost') lost();
          else answer(() => resolve(result));
        } catch (error) {
          if (kind === 'answer lost') lost();
          else answer(() => reject(error instanceof Error ? error : new Error(String(error))));
        }
      });
    });
  return {
    last: () => call(truth.last),
    append: (_stream, events, expected) => call(() => truth.append(events, expected)),
    keepNewest: () => Promise.resolve(),
  };
}

/** What must be so at every moment; throws when it is not. */
export function checkSafety(truth: Truth, machines: readonly Machine[]): void {
  const holders = machines.filter((machine) => machine.lease()?.heldSince() != null);
  if (holders.length > 1) throw new Error(`held by ${holders.map((machine) => machine.process()).join(' and ')}`);
  const [holder] = holders;
  if (!holder) return;
  const newest = foldLease(truth.last());
  if (newest?.process !== holder.process()) throw new Error(`${holder.process()} acts though the log names another`);
  const taken = truth.events.findLast(({ type }) => type === 'LeaseTaken');
  if (taken?.position !== holder.lease()?.heldSince()) throw new Error('not since the record that gave it');
}

/** Terms, each higher than the one before. */
export function checkTerms({ events }: Truth): void {
  let last = 0;
  for (const { type, data } of events) {
    const term = Number((data as { readonly term: unknown }).term);
    if (type === 'LeaseTaken' ? term <= last : term !== last)
      throw new Error(`${type} of term ${String(term)} after ${String(last)}`);
    last = term;
  }
}
