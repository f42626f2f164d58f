import { randomUUID } from 'node:crypto';
import type { Channel } from '../events/event.ts';
import type { Platform } from '../events/notifications.ts';
import { tokenHint } from '../events/users.ts';
import type { Change, State } from '../ports/state/state.ts';

/** One message as its recipient would have got it. */
export interface OutboxEntry {
  readonly id: string;
  readonly channel: Channel;
  /** Of the device that a push went to; null on the other channels. */
  readonly platform: Platform | null;
  /** E-mail address, phone number or push token; what the outbox hands out holds only the `tokenHint` of a token. */
  readonly address: string;
  readonly title: string | null;
  readonly text: string | null;
  readonly html: string | null;
  /** What the provider was told besides; of an e-mail decoded, by name as written, repeated ones joined by line breaks. */
  readonly headers: Readonly<Record<string, string>>;
  /** RFC 3339, UTC. */
  readonly receivedAt: string;
}

/** What the sandbox providers accepted: like a mailbox, it is there after a restart, and a message that was accepted is in it. */
export interface Outbox {
  /** Resolves once the message is kept. */
  readonly add: (entry: Omit<OutboxEntry, 'id'>) => Promise<OutboxEntry>;
  /** Newest first; `address` leaves only messages to exactly that address, whole or as shown, whatever its case. */
  readonly list: (filter?: { readonly address?: string | undefined }) => readonly OutboxEntry[];
  /** Another text whenever the list may have changed; without line breaks or quotes. */
  readonly revision: () => string;
}

const LONGEST_CONTENT = 64 * 1024 * 1024;
const PAGE = 1_000;

interface Kept {
  readonly number: number;
  /** As given; a token is whole. */
  readonly address: string;
  readonly shown: OutboxEntry;
  /** In characters. */
  readonly size: number;
}

/** Keeps the newest `capacity` messages, fewer when their content exceeds 64 million characters. */
export function openOutbox(state: State, capacity = 10_000): Outbox {
  const kept = [...readAll(state)];
  let content = kept.reduce((sum, { size }) => sum + size, 0);
  let next = (kept.at(-1)?.number ?? 0) + 1;
  const dropOldest = (): readonly Change[] => {
    const dropped: Change[] = [];
    while (kept.length > capacity || (content > LONGEST_CONTENT && kept.length > 1)) {
      const oldest = kept.shift();
      if (oldest === undefined) break;
      content -= oldest.size;
      dropped.push({ del: ['message', oldest.number] });
    }
    return dropped;
  };
  return {
    add: async (message) => {
      const entry = { id: randomUUID(), ...message };
      const number = next++;
      await state.commit([{ put: ['message', number], value: entry }]);
      const added = keptAs(number, entry);
      kept.push(added);
      content += added.size;
      await state.commit(dropOldest());
      return added.shown;
    },
    list: ({ address } = {}) => {
      const wanted = address?.toLowerCase();
      const isWanted = (each: Kept): boolean =>
        wanted === undefined || [each.address, each.shown.address].some((one) => one.toLowerCase() === wanted);
      return kept
        .filter(isWanted)
        .reverse()
        .map(({ shown }) => shown);
    },
    revision: () => kept.at(-1)?.shown.id ?? 'empty',
  };
}

function keptAs(number: number, entry: OutboxEntry): Kept {
  const { channel, address } = entry;
  const shown = channel === 'PUSH' ? { ...entry, address: tokenHint(address) } : entry;
  return { number, address, shown, size: sizeOf(entry) };
}

/** As version 1 kept them, which knew no push. */
type Stored = Omit<OutboxEntry, 'platform'> & Partial<Pick<OutboxEntry, 'platform'>>;

function* readAll(state: State): Iterable<Kept> {
  let from = 0;
  for (;;) {
    const page = state.list(['message'], { from: ['message', from], limit: PAGE });
    for (const [key, value] of page) {
      const number = Number(key[1]);
      yield keptAs(number, { platform: null, ...(value as Stored) });
      from = number + 1;
    }
    if (page.length < PAGE) return;
  }
}

function sizeOf(entry: OutboxEntry): number {
  const texts = [entry.address, entry.title, entry.text, entry.html, ...Object.entries(entry.headers).flat()];
  return texts.reduce((sum, text) => sum + (text?.length ?? 0), 0);
}
