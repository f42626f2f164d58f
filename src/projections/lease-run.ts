import { answered, type LeaseClock } from './lease-clock.ts';
import type { LeaseOptions, LeaseTimings } from './lease.ts';
import { bookkeepingEvent } from '../events/bookkeeping.ts';
import { foldLease, type LeaseEvent, type Tenure } from '../events/leases.ts';
import type { Outage } from '../log.ts';
import {
  WrongExpectedVersion,
  type NewEvent,
  type Position,
  type RecordedEvent,
} from '../ports/event-log/event-log.ts';

/** The newest alone is looked at; the others are for people who look back. */
const KEPT_EVENTS = 10;

/** As far as this process knows. */
interface Hold {
  readonly since: Position;
  readonly version: number;
  readonly term: number;
  /** Before the append was sent that it rests on; by our clock. */
  readonly from: number;
}

/** An append of which it is not known yet whether it took place. It can do so, late, for as long as the stream is at `expected`. */
interface Trial {
  readonly event: NewEvent;
  readonly expected: number;
  readonly term: number;
  /** Before it was sent first; by our clock. */
  readonly startedAt: number;
}

export interface Run extends Omit<LeaseOptions, 'timings'> {
  readonly timings: LeaseTimings;
  readonly clock: LeaseClock;
  readonly stream: string;
  /** Names this run of this process. */
  readonly process: string;
  readonly outage: Outage;
  readonly stopping: AbortController;
  readonly listeners: Set<() => void>;
  hold: Hold | null;
  trial: Trial | null;
  /** Somebody else's version, and when it was seen first. */
  seen: { readonly version: number; readonly at: number } | null;
  hasHeld: boolean;
  /** What the listeners were told last. */
  told: boolean;
  forgetExpiry: () => void;
}

export function heldSince({ hold, stopping, clock, timings }: Run): Position | null {
  if (hold === null || stopping.signal.aborted) return null;
  return clock.now() - hold.from < timings.ttlMs / 2 ? hold.since : null;
}

/** Answers in how many milliseconds the next one is due. */
export async function turn(run: Run): Promise<number> {
  try {
    const waitMs = await (run.hold === null || run.trial !== null ? look(run) : renew(run, run.hold));
    run.outage.over({ lease: run.name });
    return waitMs;
  } catch (err) {
    if (err instanceof WrongExpectedVersion) return 0;
    if (!run.stopping.signal.aborted) run.outage.met({ lease: run.name, err });
    return run.timings.pauseMs;
  }
}

/** Finds out who has it. */
async function look(run: Run): Promise<number> {
  const newest = await inTime(run, run.log.last(run.stream));
  if (newest !== null && newest.id === run.trial?.event.id) return succeeded(run, run.trial, newest);
  const version = newest?.version ?? 0;
  if (run.trial?.expected !== version) run.trial = null;
  const tenure = foldLease(newest);
  if (newest !== null && tenure?.process === run.process) return renew(run, stillOurs(run, newest, tenure));
  run.hold = null;
  tell(run);
  const waitMs = untilFree(run, tenure, version);
  return waitMs > 0 ? Math.min(waitMs, run.timings.lookMs) : take(run, version);
}

/** Nobody can have had it since; but since when it may rest on that is not known any more. */
function stillOurs(run: Run, { position, version }: RecordedEvent, { term }: Tenure): Hold {
  const known = run.hold ?? { since: position, from: -Infinity };
  run.hold = { ...known, version, term };
  return run.hold;
}

/** In how many milliseconds somebody else's lease may be taken. */
function untilFree(run: Run, tenure: Tenure | null, version: number): number {
  const now = run.clock.now();
  if (run.seen?.version !== version) run.seen = { version, at: now };
  if (run.mayTake?.() === false) return run.timings.lookMs;
  if (tenure === null) return 0;
  // Once we have had it, a former run of our own that takes it is none: somebody copied the data directory.
  if (tenure.holder === run.holder && !run.hasHeld) return 0;
  return run.seen.at + run.timings.ttlMs - now;
}

function take(run: Run, expected: number): Promise<number> {
  return attempt(run, 'LeaseTaken', { expected, term: expected + 1 });
}

function renew(run: Run, { version, term }: Hold): Promise<number> {
  return attempt(run, 'LeaseRenewed', { expected: version, term });
}

/** At a version that an append of ours may reach late, the very same append is made again: one of the two counts. */
async function attempt(run: Run, type: LeaseEvent['type'], at: Pick<Trial, 'expected' | 'term'>): Promise<number> {
  const { term, expected } = at;
  run.trial ??= {
    event: bookkeepingEvent(run, type, { holder: run.holder, process: run.process, term }),
    expected,
    term,
    startedAt: run.clock.now(),
  };
  const { trial } = run;
  return succeeded(run, trial, await inTime(run, run.log.append(run.stream, [trial.event], trial.expected)));
}

interface Place {
  readonly version: number;
  readonly position: Position;
}

function succeeded(run: Run, { event, term, startedAt }: Trial, { version, position }: Place): number {
  // What has run out since is over before it begins again: somebody who asked meanwhile waits to be told.
  tell(run);
  run.hold = { since: run.hold?.since ?? position, version, term, from: startedAt };
  run.trial = null;
  run.seen = null;
  run.hasHeld = true;
  if (event.type === 'LeaseTaken') keepFew(run);
  watchExpiry(run);
  tell(run);
  return Math.max(startedAt + run.timings.renewMs - run.clock.now(), 0);
}

function keepFew({ log, name, stream, logger, stopping }: Run): void {
  log.keepNewest(stream, KEPT_EVENTS).catch((err: unknown) => {
    if (!stopping.signal.aborted) logger.warn({ lease: name, err }, 'the event log keeps every renewal of a lease');
  });
}

function watchExpiry(run: Run): void {
  const { hold, clock, timings } = run;
  run.forgetExpiry();
  if (hold === null) return;
  const leftMs = hold.from + timings.ttlMs / 2 - clock.now();
  run.forgetExpiry = clock.after(Math.max(leftMs, 0), () => {
    tell(run);
    // Timers may come a little early.
    if (run.told) watchExpiry(run);
  });
}

/** Tells the listeners what they do not know yet. */
export function tell(run: Run): void {
  const holds = heldSince(run) !== null;
  if (holds === run.told) return;
  run.told = holds;
  const { name, holder, logger, stopping } = run;
  if (holds) logger.info({ lease: name, holder, term: run.hold?.term }, 'this process has the lease');
  else if (!stopping.signal.aborted) logger.warn({ lease: name, holder }, 'this process has the lease no longer');
  for (const listener of [...run.listeners]) listener();
}

/** Appends that it is given back, if it is ours. */
export async function release(run: Run, deadline: number): Promise<void> {
  while (run.clock.now() < deadline) {
    const newest = await run.log.last(run.stream);
    const tenure = foldLease(newest);
    if (newest === null || tenure?.process !== run.process) return;
    const event = bookkeepingEvent(run, 'LeaseReleased', {
      holder: run.holder,
      process: run.process,
      term: tenure.term,
    });
    const isDone = await run.log.append(run.stream, [event], newest.version).then(() => true, isConflict);
    if (isDone) return;
  }
}

/** A renewal that was under way comes in between. */
function isConflict(error: unknown): false {
  if (error instanceof WrongExpectedVersion) return false;
  throw error;
}

function inTime<T>({ clock, timings, stopping }: Run, answer: Promise<T>): Promise<T> {
  return answered(clock, timings.answerMs, answer, stopping.signal);
}
