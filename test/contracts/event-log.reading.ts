import { randomUUID } from 'node:crypto';

import type {
  EventBatch,
  EventFilter,
  EventLog,
  NewEvent,
  Position,
  RecordedEvent,
} from '../../src/ports/event-log/event-log.ts';

export function newEvent(given: { readonly type?: string; readonly data?: unknown } = {}): NewEvent {
  return {
    id: randomUUID(),
    type: given.type ?? 'OrderPlaced',
    data: 'data' in given ? given.data : { amount: 5 },
    metadata: {
      schemaVersion: 1,
      tenant: 'acme',
      occurredAt: '2026-01-01T00:00:00.000Z',
      correlationId: 'request-1',
      causationId: 'request-1',
    },
  };
}

export function newEvents(count: number): readonly NewEvent[] {
  return Array.from({ length: count }, () => newEvent());
}

export interface Following {
  readonly events: readonly RecordedEvent[];
  readonly batches: readonly EventBatch[];
  readonly signal: AbortSignal;
  /** Resolves when the subscription ends, rejects when it fails. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/** Subscribes in the background and keeps what comes. */
export function follow(log: EventLog, after: Position, filter: EventFilter): Following {
  const events: RecordedEvent[] = [];
  const batches: EventBatch[] = [];
  const abort = new AbortController();
  const run = async (): Promise<void> => {
    for await (const batch of log.subscribe(after, filter, abort.signal)) {
      batches.push(batch);
      events.push(...batch.events);
    }
  };
  const ended = run();
  return {
    events,
    batches,
    signal: abort.signal,
    ended,
    stop: () => {
      abort.abort();
      return ended;
    },
  };
}

/** The batches after `after` until everything up to `until` has been delivered. */
export async function collect(
  log: EventLog,
  after: Position,
  filter: EventFilter,
  until: Position,
): Promise<readonly EventBatch[]> {
  const batches: EventBatch[] = [];
  for await (const batch of log.subscribe(after, filter, new AbortController().signal)) {
    batches.push(batch);
    if (batch.position >= until) break;
  }
  return batches;
}

/** The first batch, and an end to the subscription. */
export async function nextBatch(batches: AsyncIterable<EventBatch>): Promise<EventBatch> {
  for await (const batch of batches) return batch;
  throw new Error('the subscription ended without a batch');
}
