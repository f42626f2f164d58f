import type { ClientEvent } from './clients.ts';
import type { Metadata } from './event.ts';
import { SCHEMA_VERSION } from './event.ts';
import type { IngestEvent } from './ingest.ts';
import type { LeaseEvent } from './leases.ts';
import type { NotificationEvent } from './notifications.ts';
import type { ReceiptEvent } from './receipts.ts';
import type { TemplateEvent } from './templates.ts';
import type { HolderEvent, UserEvent } from './users.ts';

export type HeliographEvent =
  NotificationEvent | UserEvent | HolderEvent | TemplateEvent | ClientEvent | ReceiptEvent | IngestEvent | LeaseEvent;

/** Lifts `data` of one type from the schema version it is listed under to the next one. */
export type Upcasters = Readonly<Record<string, Readonly<Record<number, (data: unknown) => unknown>>>>;

/** Nothing has changed shape since version 1. */
const UPCASTERS: Upcasters = {};

interface Stored {
  readonly type: string;
  readonly data: unknown;
  readonly metadata: Metadata;
}

/**
 * An event from the log in today's shape. The log holds only what this service appended, so the type is taken at its
 * word; folds ignore types they do not know. An event from a newer version of this service keeps its shape.
 */
export function decode(stored: Stored): HeliographEvent {
  return { type: stored.type, data: upcast(stored, UPCASTERS, SCHEMA_VERSION) ?? {} } as HeliographEvent;
}

export function upcast({ type, data, metadata }: Stored, upcasters: Upcasters, to: number): unknown {
  let lifted = data;
  for (let version = metadata.schemaVersion; version < to; version += 1) {
    lifted = upcasters[type]?.[version]?.(lifted) ?? lifted;
  }
  return lifted;
}
