import type { ClientEvent, ClientState } from './clients.ts';
import { evolveClient } from './clients.ts';
import { decode } from './codec.ts';
import type { Metadata } from './event.ts';
import type { NotificationState } from './notification.ts';
import { evolveNotification } from './notification.ts';
import type { NotificationEvent } from './notifications.ts';
import type { ReceiptEvent, ReceiptState } from './receipts.ts';
import { evolveReceipt } from './receipts.ts';
import type { TemplateState } from './templates.ts';
import { evolveTemplate } from './templates.ts';
import type { UserEvent, UserState } from './users.ts';
import { evolveUser } from './users.ts';

/** An event as a log hands it out. */
export interface Stored {
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: Metadata;
}

/** A stream holds the events of one kind of thing; which kind, its name says, and events of unknown types are passed over. */
export function foldNotification(
  events: readonly Stored[],
  from: NotificationState | null = null,
): NotificationState | null {
  return events.reduce<NotificationState | null>(
    (state, stored) => evolveNotification(state, decode(stored) as NotificationEvent, stored),
    from,
  );
}

export function foldUser(events: readonly Stored[]): UserState | null {
  return events.reduce<UserState | null>(
    (state, stored) => evolveUser(state, decode(stored) as UserEvent, stored.metadata.tenant),
    null,
  );
}

/** The ids of all users noted, in order; null when there is no such stream. */
export function foldHolders(events: readonly Stored[]): readonly string[] | null {
  const users: string[] = [];
  for (const stored of events) {
    const { type, data } = decode(stored);
    if (type === 'HolderNoted') users.push(data.userId);
  }
  return events.length === 0 ? null : users;
}

export function foldTemplate(events: readonly Stored[]): TemplateState | null {
  return events.reduce<TemplateState | null>(
    (state, stored) => evolveTemplate(state, decode(stored), stored.metadata.tenant),
    null,
  );
}

export function foldClient(events: readonly Stored[]): ClientState | null {
  return events.reduce<ClientState | null>(
    (state, stored) => evolveClient(state, decode(stored) as ClientEvent, stored.metadata.tenant),
    null,
  );
}

export function foldReceipt(events: readonly Stored[]): ReceiptState | null {
  return events.reduce<ReceiptState | null>(
    (state, stored) => evolveReceipt(state, decode(stored) as ReceiptEvent, stored),
    null,
  );
}
