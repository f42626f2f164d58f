import { setTimeout as delay } from 'node:timers/promises';
import { changesTo, type Changes, type RevocableChanges } from './changes.ts';
import { followLog, PAUSE_MS } from './follow.ts';
import { LEASE_TAKEN } from './held.ts';
import { ALWAYS_HELD, type Lease } from './lease.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventBatch, EventFilter, EventLog, Position, RecordedEvent } from '../ports/event-log/event-log.ts';
import { START } from '../ports/event-log/event-log.ts';
import type { Exclusive } from '../ports/state/exclusive.ts';
import type { State } from '../ports/state/state.ts';

/** Something derived from the log, with local state that holds its own checkpoint. */
export interface Projection {
  readonly name: string;
  readonly filter: EventFilter;
  readonly state: State;
  /** Folds one event into `changes`. Synchronous and without other effects: a throw means that it cannot deal with this event. */
  readonly fold: (event: RecordedEvent, changes: Changes) => void;
  /** Called after each commit; `live` once the end of the log was reached. Must not throw. */
  readonly committed: (live: boolean) => void;
}

export interface ProjectionStatus {
  readonly name: string;
  readonly position: Position;
  /** Whether the end of the log has been reached since the start. */
  readonly live: boolean;
  /** Events that it could not deal with and went past, since its state was made. */
  readonly parked: number;
  /** Whether it may act on what it has folded now: at the end of the log, as the only process, knowing all that others did before. */
  readonly mayAct: boolean;
  /**
   * When the oldest event in hand was recorded, in milliseconds since the epoch; until the end of the log is reached, the last
   * one that is handled. Null: none is in hand.
   */
  readonly unhandledSince: number | null;
}

export interface RunOptions {
  readonly log: EventLog;
  readonly logger: Log;
  /** One writer at a time: commits of this projection's other parts run under it too. */
  readonly exclusive: Exclusive;
  /** While another process holds it, this one only folds. Default: there is no other. */
  readonly lease?: Lease;
  /** The subscription is restarted when it brings nothing for this long while the log has moved on; milliseconds. */
  readonly stallMs?: number;
  /** Pause before a failed subscription or commit is tried again; milliseconds. */
  readonly pauseMs?: number;
}

/** Where a state says how far the log is folded into it. */
export const CHECKPOINT = ['checkpoint'] as const;
const FOLD_TRIES = 3;
/** A batch in which nothing matched moves the checkpoint at most so often: each commit is flushed to the disk. */
const IDLE_COMMIT_MS = 5_000;

/** What one run of a projection keeps in memory. */
interface Run {
  readonly projection: Projection;
  readonly options: RunOptions;
  live: boolean;
  parked: number;
  unhandledSince: number | null;
  /** Everything up to here is folded; the checkpoint in the state may lie a little before, never beyond. */
  position: Position;
  /** When the checkpoint was last committed, on the monotonic clock; milliseconds. */
  committedAt: number;
}

/**
 * Follows the log from the state's own checkpoint, which is committed together with what was folded: after a crash it
 * goes on there; batches in which nothing matched move the checkpoint only now and then. Never gives up: a failing commit
 * is repeated. An event that cannot be folded three times in a row is parked, reported and passed.
 */
export function runProjection(projection: Projection, options: RunOptions): Started<() => ProjectionStatus> {
  const { name, filter, state } = projection;
  const parked = state.count(['parked']);
  const run: Run = {
    projection,
    options,
    live: false,
    parked,
    unhandledSince: null,
    position: checkpointOf(projection.state),
    committedAt: -Infinity,
  };
  const { stop } = followLog({
    ...options,
    name,
    // So that it learns at once that it has folded all that came before the lease.
    filter: filter.types ? { ...filter, types: [...filter.types, LEASE_TAKEN] } : filter,
    position: () => run.position,
    handle: (batch, stopping) => apply(run, batch, stopping),
  });
  return { value: () => statusOf(run), stop };
}

function statusOf({ projection, options, position, live, parked, unhandledSince }: Run): ProjectionStatus {
  const since = (options.lease ?? ALWAYS_HELD).heldSince();
  const mayAct = live && since !== null && position >= since;
  return { name: projection.name, position, live, parked, unhandledSince, mayAct };
}

async function apply(run: Run, batch: EventBatch, stopping: AbortSignal): Promise<void> {
  run.unhandledSince ??= recordedAt(batch.events[0]);
  await run.options.exclusive(async () => {
    if (batch.events.length > 0 || performance.now() - run.committedAt > IDLE_COMMIT_MS)
      await commit(run, batch, stopping);
    run.position = batch.position;
  });
  run.live ||= batch.live;
  // Once it has been at the end, a batch that is not may still have been the last: what follows need not match.
  run.unhandledSince = run.live ? null : (recordedAt(batch.events.at(-1)) ?? run.unhandledSince);
  run.projection.committed(run.live);
}

function recordedAt(event: RecordedEvent | undefined): number | null {
  return event === undefined ? null : Date.parse(event.metadata.occurredAt);
}

async function commit(run: Run, { events, position }: EventBatch, stopping: AbortSignal): Promise<void> {
  const changes = changesTo(run.projection.state);
  for (const event of events) if (event.type !== LEASE_TAKEN) foldOrPark(run, event, changes);
  changes.put(CHECKPOINT, position);
  await commitSurely(run, changes, stopping);
  run.committedAt = performance.now();
}

function foldOrPark(run: Run, event: RecordedEvent, changes: RevocableChanges): void {
  for (let attempt = 1; attempt <= FOLD_TRIES; attempt += 1) {
    try {
      changes.attempt(() => {
        run.projection.fold(event, changes);
      });
      return;
    } catch (error) {
      if (attempt === FOLD_TRIES) park(run, { event, error }, changes);
    }
  }
}

function park(run: Run, { event, error }: { event: RecordedEvent; error: unknown }, changes: Changes): void {
  const { projection, options } = run;
  const { position, stream, type, id, metadata } = event;
  changes.put(['parked', position], { stream, type, id, error: String(error) });
  run.parked += 1;
  options.logger.error(
    { projection: projection.name, stream, type, position, requestId: metadata.correlationId, err: error },
    'parked an event that cannot be folded',
  );
}

/** The state is local: what keeps it from committing, a full disk say, is waited out; the log is not read further meanwhile. */
async function commitSurely({ projection, options }: Run, changes: Changes, stopping: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await projection.state.commit(changes.list());
      return;
    } catch (error) {
      if (stopping.aborted) throw error;
      options.logger.error(
        { projection: projection.name, err: error },
        'local state cannot be committed; trying again',
      );
      await delay(options.pauseMs ?? PAUSE_MS, undefined, { signal: stopping }).catch(() => undefined);
    }
  }
}

/** Up to where the log is folded into a state. */
export function checkpointOf(state: Pick<State, 'get'>): Position {
  return (state.get(CHECKPOINT) as Position | undefined) ?? START;
}
