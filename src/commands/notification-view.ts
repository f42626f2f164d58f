import type { NotificationView, TimelineEntry } from './commands.ts';
import { foldNotification } from '../events/fold.ts';
import { updatesOf } from '../events/updates.ts';
import type { Cursors, Place } from '../ids.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';

/** State and story of a notification from its stream; null when there is none. */
export function notificationView(cursors: Cursors, events: readonly RecordedEvent[]): NotificationView | null {
  const state = foldNotification(events);
  if (state === null) return null;
  return { state, timeline: () => events.flatMap((event) => timelineEntries(cursors, state.id, event)) };
}

/** One entry for each thing that happened: a routing tells one for each delivery it decided on. */
function timelineEntries(cursors: Cursors, notificationId: string, event: RecordedEvent): readonly TimelineEntry[] {
  const { position, type, metadata } = event;
  const at = Date.parse(metadata.occurredAt);
  return updatesOf(event.data).map(({ index, hasNext, deliveryId, detail }) => {
    const place: Place = { position, index, at, notificationId: hasNext ? notificationId : null };
    return {
      cursor: cursors.of(metadata.tenant, place),
      type,
      occurredAt: metadata.occurredAt,
      deliveryId,
      detail: withoutPrivate(detail),
    };
  });
}

/** What was said and to what address stays with the request and the delivery; the story tells what happened. The id stands beside it. */
const PRIVATE: ReadonlySet<string> = new Set(['deliveryId', 'content', 'data', 'address', 'inputHash', 'keyHash']);

function withoutPrivate(detail: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(detail).filter(([field, value]) => !PRIVATE.has(field) && value !== null));
}
