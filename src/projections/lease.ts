import { answered, MONOTONIC, passed, type LeaseClock } from './lease-clock.ts';
import { heldSince, release, tell, turn, type Run } from './lease-run.ts';
import { streamOf, type Ids } from '../ids.ts';
import type { Started } from '../lifecycle.ts';
import { openOutage, type Log } from '../log.ts';
import { START, type EventLog, type Position } from '../ports/event-log/event-log.ts';

/** Whether this process may act for a role of which only one acts at a time. */
export interface Lease {
  readonly name: string;
  /**
   * Position of the record that gave this process the lease: whoever acts has folded everything up to there. Null while it is
   * not held or no longer certain: half the time-to-live since the start of the last renewal that succeeded, on the monotonic
   * clock, which goes on while the process is stopped. To be asked before every act.
   */
  readonly heldSince: () => Position | null;
  /** Told whenever it is gained or lost, also by time alone. Must not throw. Answers how to stop listening. */
  readonly onChange: (listener: () => void) => () => void;
}

/** With the embedded log: whoever has the data directory's lock is alone anyway. */
export const ALWAYS_HELD: Lease = {
  name: 'data directory',
  heldSince: () => START,
  onChange: () => () => undefined,
};

export interface LeaseOptions {
  readonly log: Pick<EventLog, 'append' | 'last' | 'keepNewest'>;
  /** Of the role. */
  readonly name: string;
  /** Outlives restarts. Only one process at a time may go by it: that of the data directory which it lies in. */
  readonly holder: string;
  readonly ids: Pick<Ids, 'random'>;
  readonly now: () => number;
  readonly logger: Log;
  /** Whether it could act soon if it had it: one that has much to fold leaves it to one that has not. Default: yes. */
  readonly mayTake?: () => boolean;
  readonly timings?: Partial<LeaseTimings>;
  readonly clock?: LeaseClock;
}

/** Milliseconds. */
export interface LeaseTimings {
  /** A lease that was not renewed for so long is free; its holder acts for half of it at most. */
  readonly ttlMs: number;
  /** From the start of one renewal to that of the next. Less than half the time-to-live. */
  readonly renewMs: number;
  /** From one look of a candidate to the next. */
  readonly lookMs: number;
  /** An answer of the log is waited for so long. Less than half the time-to-live. */
  readonly answerMs: number;
  /** After a failure. */
  readonly pauseMs: number;
  /** To give the lease back, when it is to stop. */
  readonly releaseMs: number;
}

/** A holder that is killed is replaced after 12 seconds at most, where the log answers at once. */
const TIMINGS: LeaseTimings = {
  ttlMs: 10_000,
  renewMs: 2_000,
  lookMs: 1_000,
  answerMs: 2_500,
  pauseMs: 100,
  releaseMs: 1_000,
};

/**
 * Takes the lease of a role when it is free, and keeps it. The lease is a stream in which every append expects the version that
 * was read, so one of several wins. A candidate takes it when nothing was appended for the whole time-to-live since it saw the
 * newest event, by its own clock; the holder stops at half of that since *before* it sent its last one, by its own. So the two never
 * overlap unless one clock runs twice as fast as the other, or stands still together with its process (a virtual machine
 * that is suspended); what is done then is bounded by the versions that every append of a role expects.
 *
 * It is taken at once when it was given back, when nobody ever had it, and when the newest event is of an earlier run of the same
 * holder. Nothing that the log does ends this: it is told, and tried again.
 */
export function startLease(options: LeaseOptions): Started<Lease> {
  const run = newRun(options);
  const ended = takeAndKeep(run);
  const onChange = (listener: () => void): (() => void) => {
    run.listeners.add(listener);
    return () => void run.listeners.delete(listener);
  };
  return {
    value: { name: run.name, heldSince: () => heldSince(run), onChange },
    stop: () => stop(run, ended),
  };
}

function newRun(options: LeaseOptions): Run {
  const timings = { ...TIMINGS, ...options.timings };
  if (Math.max(timings.renewMs, timings.answerMs) >= timings.ttlMs / 2) {
    throw new RangeError('a renewal of a lease takes less than half its time-to-live');
  }
  const outage = openOutage(options.logger, {
    failed: 'the event log does not say who has a lease; trying again',
    well: 'the event log says again who has a lease',
  });
  return {
    ...options,
    timings,
    clock: options.clock ?? MONOTONIC,
    stream: streamOf.lease(options.name),
    process: options.ids.random(),
    outage,
    stopping: new AbortController(),
    listeners: new Set(),
    hold: null,
    trial: null,
    seen: null,
    hasHeld: false,
    told: false,
    forgetExpiry: () => undefined,
  };
}

async function takeAndKeep(run: Run): Promise<void> {
  while (!run.stopping.signal.aborted) {
    const waitMs = await turn(run);
    await passed(run.clock, waitMs, run.stopping.signal);
  }
}

/** Gives it back, so that somebody else has not to wait. Does not take longer than `releaseMs`. */
async function stop(run: Run, ended: Promise<void>): Promise<void> {
  const { clock, timings, name, logger } = run;
  run.stopping.abort();
  tell(run);
  await ended;
  run.forgetExpiry();
  if (run.hold === null && run.trial === null) return;
  try {
    await answered(clock, timings.releaseMs, release(run, clock.now() + timings.releaseMs));
  } catch (err) {
    logger.warn({ lease: name, err }, 'a lease could not be given back: it is free after its time-to-live');
  }
}
