import type { Changes } from './changes.ts';
import { changesTo } from './changes.ts';
import { decode } from '../events/codec.ts';
import type { Receipt } from '../events/outcome.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';
import type { State } from '../ports/state/state.ts';

/** `receipt/<stream>` holds the entry, and `due/<due>/<stream>` points to it. */
export interface Entry {
  readonly stream: string;
  readonly receipt: Receipt;
  /** Milliseconds since the epoch, as `due`. */
  readonly parkedAt: number;
  readonly due: number;
}

/** When a parked receipt is tried again, by its age; all in milliseconds. */
export interface ReceiptSchedule {
  /** Ascending. */
  readonly at: readonly number[];
  /** Between tries after those. */
  readonly every: number;
  /** The age of the last try. */
  readonly until: number;
  /** Until a try is made again that the log did not answer. */
  readonly afterFault: number;
}

const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000];

export const RECEIPT_SCHEDULE: ReceiptSchedule = {
  at: [SECOND, 5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, HOUR],
  every: HOUR,
  until: 72 * HOUR,
  afterFault: 15 * SECOND,
};

/** The first time of the schedule after `now`. */
export function nextTry({ at, every, until }: ReceiptSchedule, parkedAt: number, now: number): number {
  const age = now - parkedAt;
  const last = at.at(-1) ?? 0;
  const next = at.find((each) => each > age) ?? last + (Math.floor((age - last) / every) + 1) * every;
  return parkedAt + Math.min(next, until);
}

export const RECEIPT_TYPES = ['ReceiptParked', 'ReceiptSettled'] as const;

export function foldReceipts(
  event: RecordedEvent,
  changes: Changes,
  schedule: ReceiptSchedule,
): 'parked' | 'settled' | null {
  const { stream, metadata } = event;
  const decoded = decode(event);
  switch (decoded.type) {
    case 'ReceiptParked': {
      const parkedAt = Date.parse(metadata.occurredAt);
      const due = nextTry(schedule, parkedAt, parkedAt);
      drop(changes, stream);
      put(changes, { stream, receipt: decoded.data.receipt, parkedAt, due });
      return 'parked';
    }
    case 'ReceiptSettled':
      drop(changes, stream);
      return 'settled';
    default:
      return null;
  }
}

function put(changes: Changes, entry: Entry): void {
  changes.put(['receipt', entry.stream], entry);
  changes.put(['due', entry.due, entry.stream], entry.stream);
}

function drop(changes: Changes, stream: string): void {
  const entry = entryOf(changes, stream);
  if (entry === null) return;
  changes.del(['receipt', stream]);
  changes.del(['due', entry.due, stream]);
}

function entryOf(state: Pick<State, 'get'>, stream: string): Entry | null {
  return (state.get(['receipt', stream]) as Entry | undefined) ?? null;
}

/** Longest due first. */
export function dueEntries(state: State, now: number, limit: number): readonly Entry[] {
  const pointers = state.list(['due'], { to: ['due', now + 1], limit });
  return entriesOf(
    state,
    pointers.map(([, stream]) => String(stream)),
  );
}

export function entriesOf(state: State, streams: Iterable<string>): readonly Entry[] {
  return Array.from(streams, (stream) => entryOf(state, stream)).filter((entry) => entry !== null);
}

/** When the first entry that is still to come is due; null when there is none. */
export function nextDue(state: State, now: number): number | null {
  const due = state.list(['due'], { from: ['due', now + 1], limit: 1 })[0]?.[0][1];
  return typeof due === 'number' ? due : null;
}

/** Nothing when it was ended meanwhile. */
export async function postpone(state: State, { stream }: Entry, due: number): Promise<void> {
  const changes = changesTo(state);
  const entry = entryOf(state, stream);
  if (entry === null) return;
  drop(changes, stream);
  put(changes, { ...entry, due });
  await state.commit(changes.list());
}
