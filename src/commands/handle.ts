import type { DomainEvent, Metadata } from '../events/event.ts';
import { DomainError } from '../errors.ts';
import type { Appended, EventLog, NewEvent, Position, RecordedEvent } from '../ports/event-log/event-log.ts';
import { WrongExpectedVersion } from '../ports/event-log/event-log.ts';
import { NoSpace } from '../ports/event-log/guarded.ts';
import { AppendUnknown } from '../ports/event-log/supervised.ts';

/** What a decision wants recorded. */
export interface Draft<E extends DomainEvent = DomainEvent> {
  readonly event: E;
  readonly metadata: Metadata;
}

export interface Aggregate<S> {
  readonly stream: string;
  readonly fold: (events: readonly RecordedEvent[]) => S | null;
}

export interface Handled<S> {
  /** Before the drafts were appended. */
  readonly state: S | null;
  /** Of the stream afterwards. */
  readonly version: number;
  /** Of the last event of the stream; null when there is none, or when nothing was appended to what was only believed. */
  readonly position: Position | null;
  readonly appended: readonly NewEvent[];
}

/** What a stream is believed to hold. */
export interface Believed<S> {
  readonly state: S | null;
  readonly version: number;
}

/** How often a decision is made again because somebody else was quicker. */
const ATTEMPTS = 100;

/**
 * Reads, folds, decides, appends at the version it read. When somebody else was quicker it decides again on what is
 * there now, under new event ids: reused ids would let two callers both believe that they had won.
 *
 * With `believed` the first decision is made on that, without a read: the append at its version proves it right. A caller
 * that nothing is appended for must know that it holds.
 *
 * @throws DomainError CONFLICT when others were quicker a hundred times in a row; whatever `decide` throws.
 */
export async function handle<S>(
  { log, newId }: { readonly log: EventLog; readonly newId: () => string },
  { stream, fold }: Aggregate<S>,
  decide: (state: S | null) => readonly Draft[] | Promise<readonly Draft[]>,
  believed?: Believed<S>,
): Promise<Handled<S>> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const at = attempt === 1 && believed ? { ...believed, position: null } : await look(log, { stream, fold });
    const drafts = await decide(at.state);
    const appended = drafts.map(({ event: { type, data }, metadata }) => ({ id: newId(), type, data, metadata }));
    if (appended.length === 0) return { ...at, appended };
    const answer = await appendUnlessConflict(log, stream, appended, at.version);
    if (answer !== null) return { state: at.state, version: answer.version, position: answer.position, appended };
  }
  throw new DomainError('CONFLICT', 'somebody else kept changing the same thing; try again');
}

async function look<S>(log: EventLog, { stream, fold }: Aggregate<S>): Promise<Omit<Handled<S>, 'appended'>> {
  const past = await log.read(stream);
  const last = past.at(-1);
  return { state: fold(past), version: last?.version ?? 0, position: last?.position ?? null };
}

/**
 * Null when somebody else was quicker.
 * @throws DomainError UNAVAILABLE when the log gave no answer, and the events may have been recorded, or when its disk is almost
 * full, and they were not.
 */
export async function appendUnlessConflict(
  log: EventLog,
  stream: string,
  events: readonly NewEvent[],
  version: number,
): Promise<Appended | null> {
  try {
    return await log.append(stream, events, version);
  } catch (error) {
    if (error instanceof WrongExpectedVersion) return null;
    if (error instanceof AppendUnknown) throw new DomainError('UNAVAILABLE', 'the event log gave no answer in time');
    if (error instanceof NoSpace) throw new DomainError('UNAVAILABLE', 'the disk is almost full; nothing was recorded');
    throw error;
  }
}
