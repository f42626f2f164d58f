import type { NotificationView, TimelineEntry } from './commands.ts';
import { foldNotification } from '../events/fold.ts';
import { cursorOf } from '../ids.ts';
import type { EventLog, RecordedEvent } from '../ports/event-log/event-log.ts';

/** State and story of a notification from its stream; null when there is none. */
export function notificationView(log: Pick<EventLog, 'id'>, events: readonly RecordedEvent[]): NotificationView | null {
  const state = foldNotification(events);
  return state === null ? null : { state, timeline: events.flatMap((event) => timelineEntries(log, event)) };
}

/** One entry for each thing that happened: a routing tells one for each delivery it decided on. */
function timelineEntries(log: Pick<EventLog, 'id'>, event: RecordedEvent): readonly TimelineEntry[] {
  const updates = updatesOf(event.data as Readonly<Record<string, unknown>>);
  return updates.map(({ deliveryId, ...detail }, index) => ({
    cursor: cursorOf(log.id, event.position, index),
    type: event.type,
    occurredAt: event.metadata.occurredAt,
    deliveryId: typeof deliveryId === 'string' ? deliveryId : null,
    detail: withoutPrivate(detail),
  }));
}

function updatesOf(data: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  const { decisions, ...rest } = data;
  return Array.isArray(decisions) && decisions.length > 0
    ? decisions.map((decision: Readonly<Record<string, unknown>>) => ({ ...rest, ...decision }))
    : [data];
}

/** What was said and to what address stays with the request and the delivery; the story tells what happened. */
const PRIVATE: ReadonlySet<string> = new Set(['content', 'data', 'address', 'inputHash']);

function withoutPrivate(detail: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(detail).filter(([field, value]) => !PRIVATE.has(field) && value !== null));
}
