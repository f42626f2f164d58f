import { setTimeout as delay } from 'node:timers/promises';

import { openBell, type Bell } from '../../bell.ts';
import { withinMs } from '../../within.ts';
import type { EventLog, Position, RecordedEvent } from './event-log.ts';
import { openTailEvents, type TailEvents } from './tail-events.ts';
import { openTailStreams, type TailStreams } from './tail-streams.ts';

export interface TailLimits {
  /** How long a read waits until what was in the log when it was asked is in memory; then it asks the log. Milliseconds. */
  readonly catchUpMs: number;
  /** Pause before a subscription that failed is opened again; milliseconds. */
  readonly pauseMs: number;
  /** How many events are kept; fewer when they are large. Default 16,384. */
  readonly events?: number;
}

/** What has come since the subscription was opened. */
export interface Followed {
  readonly events: TailEvents;
  readonly streams: TailStreams;
}

export interface Tail {
  /** Opens the subscription, unless it is. */
  readonly start: () => void;
  readonly stop: () => void;
  readonly isStopped: () => boolean;
  /** Null while nothing is followed. */
  readonly followed: () => Followed | null;
  /** Resolves when something has come or the tail was lost; at the latest after `ms`, or when `signal` aborts. */
  readonly changed: Bell['next'];
  /** What has come, once that is everything that was in the log when it was asked; null when that is not so in time. All who ask at a time share the answer. */
  readonly caughtUp: () => Promise<CaughtUp | null>;
  /** It was asked and did not get there, and nothing has come since. */
  readonly isLate: () => boolean;
}

export interface CaughtUp extends Followed {
  /** Where the log ended. What has come after it may be a part of an append whose other part is still on its way. */
  readonly end: Position;
}

/** Follows the end of the log. What fails here fails those who follow the log themselves too, and they tell. */
export function openTail(log: EventLog, { catchUpMs, pauseMs, events: most }: TailLimits): Tail {
  const stopping = new AbortController();
  const bell = openBell();
  let followed: Followed | null = null;
  let running: Promise<void> | undefined;
  let late = false;

  const followOnce = async (): Promise<void> => {
    const streams = openTailStreams();
    const from = await log.head();
    const forgotten = ({ stream }: RecordedEvent): void => streams.evict(stream);
    const events = openTailEvents({ from, forgotten, ...(most !== undefined && { events: most }) });
    followed = { events, streams };
    for await (const batch of log.subscribe(from, {}, stopping.signal)) {
      events.add(batch);
      for (const event of batch.events) streams.add(event);
      late = false;
      bell.ring();
    }
  };
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await followOnce().catch(() => undefined);
      followed = null;
      bell.ring();
      await delay(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const reach = async (ask: () => Promise<Position | null>): Promise<CaughtUp | null> => {
    const tail = followed;
    const deadline = performance.now() + catchUpMs;
    const end = await ask();
    while (end !== null && tail !== null && tail === followed) {
      if (tail.events.end() >= end) return { ...tail, end };
      const ms = deadline - performance.now();
      if (ms <= 0) break;
      await bell.next({ ms });
    }
    late = true;
    return null;
  };
  return {
    start: () => void (running ??= run()),
    stop: () => {
      stopping.abort();
      bell.ring();
    },
    isStopped: () => stopping.signal.aborted,
    followed: () => followed,
    isLate: () => late,
    changed: bell.next,
    // Null when there is no answer in time, or a refusal.
    caughtUp: oneAtATime(() => withinMs(catchUpMs, log.head()).catch(() => null), reach),
  };
}

/**
 * Shares the work of those who ask. `first` is for all who have asked before it begins, and begins when the one before has
 * ended; `then` waits for nobody.
 */
function oneAtATime<A, B>(first: () => Promise<A>, then: (first: () => Promise<A>) => Promise<B>): () => Promise<B> {
  let under: Promise<unknown> = Promise.resolve();
  let next: Promise<B> | undefined;
  const begin = async (): Promise<B> => {
    await under;
    next = undefined;
    return then(() => {
      const asked = first();
      under = asked;
      return asked;
    });
  };
  return () => (next ??= begin());
}
