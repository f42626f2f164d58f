import type { Session } from 'chdb';
import { Refusal } from './chdb-statement.ts';
import { openWaitingRoom, type NoTurn } from './waiting-room.ts';

/** Sessions that take turns. A session of the engine does one thing at a time; what comes meanwhile waits here. */
export interface Lane {
  /**
   * Runs `work` on a session as soon as one is free, unless `signal` says before that nobody waits for it any more. When it
   * fails, its session is used for nothing else.
   * @throws Refusal when too many wait already, or the lane is closed.
   */
  readonly run: <T>(work: (session: Session) => Promise<T>, signal: AbortSignal) => Promise<T>;
  /** Turns away what waits, waits for what runs, and closes the sessions. */
  readonly close: () => Promise<void>;
}

export interface LaneOptions {
  readonly open: () => Session;
  readonly sessions: number;
  readonly maxWaiting: number;
  /** After this time in milliseconds whatever runs is stuck. Above the time limit of every statement. */
  readonly stuckAfterMs: number;
  readonly onStuck: () => void;
  /** No session can be opened in the place of one that failed. */
  readonly onBroken: (reason: string) => void;
}

/** Holds a session, and another one after a failure. */
interface Place {
  session: Session;
}

const REFUSALS: Readonly<Record<NoTurn, () => Refusal>> = { full: tooMany, gone: left, closed: stopping };

export function openLane(options: LaneOptions): Lane {
  const { open, maxWaiting, stuckAfterMs, onStuck } = options;
  const places = Array.from({ length: options.sessions }, (): Place => ({ session: open() }));
  const room = openWaitingRoom(places, { maxWaiting, refusal: (why) => REFUSALS[why]() });
  return {
    run: (work, signal) =>
      room.run(async (place) => {
        const alarm = setTimeout(onStuck, stuckAfterMs);
        try {
          return await work(place.session);
        } catch (error) {
          renew(place, options);
          throw error;
        } finally {
          clearTimeout(alarm);
        }
      }, signal),
    close: async () => {
      await room.close();
      for (const { session } of places) session.close();
    },
  };
}

/**
 * What a query had answered before it failed stays in its session, and comes first in the answer to the next one that
 * succeeds there, whoever asks (chdb 3.4.0, measured; half a millisecond).
 */
function renew(place: Place, { open, onBroken }: LaneOptions): void {
  try {
    // Before the other is closed: the engine ends with its last session.
    const session = open();
    place.session.close();
    place.session = session;
  } catch (error) {
    onBroken(error instanceof Error ? error.message : String(error));
  }
}

export function stopping(): Refusal {
  return new Refusal(503, 236, 'ABORTED', 'The engine is stopping');
}

function tooMany(): Refusal {
  return new Refusal(503, 202, 'TOO_MANY_SIMULTANEOUS_QUERIES', 'Too many simultaneous queries');
}

function left(): Refusal {
  return new Refusal(503, 236, 'ABORTED', 'Nobody waits for the answer any more');
}
