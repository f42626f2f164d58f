import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventBatch, EventLog, Position, RecordedEvent } from '../ports/event-log/event-log.ts';
import { followLog } from './follow.ts';
import { reportPassed } from './live-refusals.ts';
import { NOTIFICATIONS, unlessPassed } from './live-story.ts';

export interface TailOptions {
  readonly log: EventLog;
  readonly logger: Log;
  /** Where to begin, exclusive. */
  readonly from: Position;
  /** The subscription is opened again when it brings nothing for this long while the log has moved on; milliseconds. */
  readonly stallMs: number;
  /** Pause before a failed subscription is opened again; milliseconds. */
  readonly pauseMs: number;
  /** Each event once, in log order. A throw is reported and passed. */
  readonly event: (event: RecordedEvent) => void;
}

/** Follows the notifications of the log for good. `value` tells how far it is. */
export function startTail(options: TailOptions): Started<() => Position> {
  const { log, logger, stallMs, pauseMs } = options;
  const passed = reportPassed(logger);
  let position = options.from;
  // In one go: whoever looks sees whole batches.
  const handle = (batch: EventBatch): void => {
    for (const event of batch.events) {
      // A log may deliver an event again; nobody is told twice.
      if (event.position <= position) continue;
      ({ position } = event);
      unlessPassed(event, passed, () => {
        options.event(event);
      });
    }
    if (batch.position > position) ({ position } = batch);
  };
  const filter = NOTIFICATIONS;
  const { stop } = followLog({ name: 'live', log, logger, filter, position: () => position, handle, stallMs, pauseMs });
  return { value: () => position, stop };
}
