import type { EventLog, Position } from './event-log.ts';

/** Names one update for clients: log, position, and index within the event. Opaque to them. */
export function cursorOf(log: Pick<EventLog, 'id'>, position: Position, index = 0): string {
  return Buffer.from(`${log.id}/${position}/${String(index)}`).toString('base64url');
}
