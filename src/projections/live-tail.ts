import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventBatch, EventLog, Position, RecordedEvent } from '../ports/event-log/event-log.ts';
import { followLog } from './follow.ts';
import { reportPassed } from './live-refusals.ts';
import { NOTIFICATIONS, unlessPassed } from './live-story.ts';

export interface TailOptions {
  readonly log: EventLog;
  readonly logger: Log;
  /** How long it goes on when nobody is there any more; milliseconds. */
  readonly lingerMs: number;
  /** The subscription is opened again when it brings nothing for this long while the log has moved on; milliseconds. */
  readonly stallMs: number;
  /** Pause before a failed subscription is opened again; milliseconds. */
  readonly pauseMs: number;
  /** Where the log ends. */
  readonly head: () => Promise<Position>;
  /** Before the first event after `from`, and when it ends: what was told up to there is of no use any more. */
  readonly forget: (from: Position) => void;
  /** Each event once, in log order. A throw is reported and passed. */
  readonly event: (event: RecordedEvent) => void;
}

/** Follows the notifications of the log while somebody is there. */
export interface Tail {
  /**
   * Somebody is there. Answers where the log ends: all that comes after is going to be told.
   * @throws what `head` throws.
   */
  readonly attend: () => Promise<Position>;
  /** Nobody is there, unless `attend` is called again before `lingerMs` have passed. */
  readonly idle: () => void;
  /** How far it is; null while nobody is there. */
  readonly position: () => Position | null;
}

export function openTail(options: TailOptions): Started<Tail> {
  let following: Started<() => Position> | null = null;
  let begun: Promise<void> | null = null;
  let ended = Promise.resolve();
  let lingering: NodeJS.Timeout | undefined;
  let stopped = false;

  const stay = (): void => {
    clearTimeout(lingering);
    lingering = undefined;
  };
  const begin = async (): Promise<void> => {
    const from = await options.head();
    if (stopped) return;
    options.forget(from);
    following = followFrom(from, options);
  };
  const end = (): void => {
    stay();
    if (!following) return;
    const { value: position, stop } = following;
    [following, begun] = [null, null];
    const stopping = stop();
    ended = ended.then(() => stopping);
    options.forget(position());
  };
  return {
    value: {
      attend: async () => {
        stay();
        begun ??= begin().catch((error: unknown) => {
          begun = null;
          throw error;
        });
        await begun;
        return options.head();
      },
      idle: () => {
        if (!stopped) lingering ??= setTimeout(end, options.lingerMs);
      },
      position: () => following?.value() ?? null,
    },
    stop: async () => {
      stopped = true;
      end();
      await ended;
    },
  };
}

/** For good. `value` tells how far it is. */
function followFrom(
  from: Position,
  { log, logger, stallMs, pauseMs, event: tell }: TailOptions,
): Started<() => Position> {
  const passed = reportPassed(logger);
  let position = from;
  // In one go: whoever looks sees whole batches.
  const handle = (batch: EventBatch, stopping: AbortSignal): void => {
    if (stopping.aborted) return;
    for (const event of batch.events) {
      // A log may deliver an event again; nobody is told twice.
      if (event.position <= position) continue;
      ({ position } = event);
      unlessPassed(event, passed, () => {
        tell(event);
      });
    }
    if (batch.position > position) ({ position } = batch);
  };
  const filter = NOTIFICATIONS;
  const { stop } = followLog({ name: 'live', log, logger, filter, position: () => position, handle, stallMs, pauseMs });
  return { value: () => position, stop };
}
