import type { Session } from 'chdb';
import { Refusal } from './chdb-statement.ts';
import { openWaitingRoom, type NoTurn } from './waiting-room.ts';

/** Sessions that take turns. A session of the engine does one thing at a time; what comes meanwhile waits here. */
export interface Lane {
  /**
   * Runs `work` on a session as soon as one is free, unless `signal` says before that nobody waits for it any more.
   * @throws Refusal when too many wait already, or the lane is closed.
   */
  readonly run: <T>(work: (session: Session) => Promise<T>, signal: AbortSignal) => Promise<T>;
  /** Turns away what waits, waits for what runs, and closes the sessions. */
  readonly close: () => Promise<void>;
}

export interface LaneOptions {
  readonly maxWaiting: number;
  /** After this time in milliseconds whatever runs is stuck. Above the time limit of every statement. */
  readonly stuckAfterMs: number;
  readonly onStuck: () => void;
}

const REFUSALS: Readonly<Record<NoTurn, () => Refusal>> = { full: tooMany, gone: left, closed: stopping };

export function openLane(sessions: readonly Session[], { maxWaiting, stuckAfterMs, onStuck }: LaneOptions): Lane {
  const room = openWaitingRoom(sessions, { maxWaiting, refusal: (why) => REFUSALS[why]() });
  return {
    run: (work, signal) =>
      room.run(async (session) => {
        const alarm = setTimeout(onStuck, stuckAfterMs);
        try {
          return await work(session);
        } finally {
          clearTimeout(alarm);
        }
      }, signal),
    close: async () => {
      await room.close();
      for (const session of sessions) session.close();
    },
  };
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
