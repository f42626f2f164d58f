import type { Metadata } from './event.ts';
import type { IngestEvent } from './ingest.ts';
import type { LeaseEvent } from './leases.ts';
import { metadata } from './metadata.ts';

interface Recorder {
  readonly ids: { readonly random: () => string };
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

type BookkeepingEvent = IngestEvent | LeaseEvent;

/** Nobody asked for it, and it belongs to no tenant. */
export function bookkeepingEvent<T extends BookkeepingEvent['type']>(
  { ids, now }: Recorder,
  type: T,
  data: Extract<BookkeepingEvent, { readonly type: T }>['data'],
): { readonly id: string; readonly type: T; readonly data: unknown; readonly metadata: Metadata } {
  const [id, correlationId] = [ids.random(), ids.random()];
  const origin = { tenant: '', correlationId, causationId: correlationId };
  return { id, type, data, metadata: metadata(origin, now()) };
}
