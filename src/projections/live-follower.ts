import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cursors, Place } from '../ids.ts';
import type { Log } from '../log.ts';
import { openAsked } from './asked.ts';
import type { LiveHistory } from './live-history.ts';
import type { LiveLimits } from './live-limits.ts';
import type { LivePages } from './live-pages.ts';
import { unavailable } from './live-refusals.ts';
import type { Entry, LiveRing, Waiting } from './live-ring.ts';
import { concerns, isAfter, markOf, placeOf, updateOf } from './live-story.ts';
import type { LiveUpdate, Mark, Told } from './live-story.ts';
import { SlowSubscriber, type DeliveryRequest, type DeliveryUpdate } from './live-updates.ts';
import { limited, type Gate, type Pace } from './turns.ts';

/** What all subscribers of one process share. */
export interface Shared {
  readonly ring: LiveRing;
  readonly waiting: Waiting;
  readonly history: LiveHistory;
  readonly pages: LivePages;
  readonly gate: Gate;
  readonly pace: Pace;
  readonly cursors: Cursors;
  readonly logger: Log;
  readonly limits: LiveLimits;
  /** As every subscriber is told it; null: it is about no delivery that was decided on. */
  readonly told: (entry: Entry) => DeliveryUpdate | Promise<DeliveryUpdate | null>;
}

/** A place and a filter: nothing is queued for a subscriber. */
interface Reader {
  readonly shared: Shared;
  readonly request: DeliveryRequest;
  /** Aborts when nobody reads any more. */
  readonly signal: AbortSignal;
  mark: Mark;
  /** Of the last update given; before the first, where it began. */
  place: Place;
  /** Whether there was once nothing left to read. */
  caughtUp: boolean;
}

export interface Beginning extends Pick<Reader, 'request' | 'place' | 'mark' | 'caughtUp'> {
  /** Called once, however it ends. */
  readonly ended: () => void;
}

export interface Follower {
  readonly updates: AsyncIterableIterator<DeliveryUpdate, undefined>;
  /** Ends it when it reads too slowly; asks nothing of anybody. */
  readonly dropIfSlow: () => void;
  readonly end: () => void;
}

export function openFollower(shared: Shared, { ended, ...from }: Beginning): Follower {
  const ending = new AbortController();
  const reader: Reader = { ...from, shared, signal: ending.signal };
  let answering = false;
  const onAsk = async (): Promise<void> => {
    if (answering) return;
    answering = true;
    dropIfSlow();
    while (asked.size() > 0) await answer();
    answering = false;
  };
  const asked = openAsked<DeliveryUpdate>({
    onAsk: () => void onAsk(),
    onEnd: () => {
      ending.abort();
      shared.pages.drop(reader);
      ended();
    },
  });
  const dropIfSlow = (): void => {
    if (reader.signal.aborted || !isSlow(reader)) return;
    const slow = new SlowSubscriber(shared.cursors.of(reader.request.tenant, reader.place));
    asked.fail(slow);
    tellSlow(reader, slow);
  };
  const answer = async (): Promise<void> => {
    try {
      const update = await lookOn(reader);
      if (update) asked.give(update);
    } catch (error) {
      if (!reader.signal.aborted) asked.fail(unavailable(shared.logger, error));
    }
  };
  return {
    updates: asked.iterator,
    dropIfSlow: () => {
      if (!answering) dropIfSlow();
    },
    end: asked.end,
  };
}

/** Whether memory went past it after it had caught up, which is its own doing while it asks for nothing. */
function isSlow({ caughtUp, shared, mark }: Reader): boolean {
  return caughtUp && !shared.ring.covers(mark);
}

function tellSlow({ request, shared }: Reader, { cursor }: SlowSubscriber): void {
  try {
    request.onSlow?.(cursor);
  } catch (err) {
    shared.logger.error({ projection: 'live', err }, 'a slow subscriber could not be told');
  }
}

/** The next update that the reader wants; null: nothing yet, look again. It is asking all the while, so nothing is its fault. */
async function lookOn(reader: Reader): Promise<DeliveryUpdate | null> {
  const { pages, ring, pace } = reader.shared;
  const held = pages.take(reader);
  const looking = held ? fromPage(reader, held) : ring.covers(reader.mark) ? inMemory(reader) : readPage(reader);
  const update = await looking;
  if (update) await pace.next(reader.request.tenant);
  if (isSlow(reader)) reader.caughtUp = false;
  return update;
}

function fromPage(reader: Reader, held: Told | Mark): DeliveryUpdate | null {
  if ('update' in held) return give(reader, held.update, updateOf(reader.shared.cursors, held));
  reader.mark = held;
  return null;
}

async function readPage(reader: Reader): Promise<null> {
  const { shared, signal: unread } = reader;
  const { tenant, filter } = reader.request;
  const page = await shared.gate.pass({ tenant, signal: unread }, async () => {
    await nextTurn();
    const stretch = { tenant, filter, after: reader.mark, to: shared.ring.start() };
    const most = shared.pages.room();
    return limited(shared.limits.readMs, unread, (signal) => shared.history.page(stretch, most, signal));
  });
  if (page && !unread.aborted) shared.pages.hold(reader, page);
  return null;
}

async function inMemory(reader: Reader): Promise<DeliveryUpdate | null> {
  const { ring, limits } = reader.shared;
  const { entry, mark, atEnd } = ring.find(reader.mark, limits.scan, (update) => concerns(reader.request, update));
  if (entry) return giveEntry(reader, entry);
  reader.mark = mark;
  if (!atEnd) {
    await nextTurn();
    return null;
  }
  reader.caughtUp = true;
  const news = await untilNews(reader);
  return news && giveEntry(reader, news);
}

/** Null when it has ended. */
function untilNews(reader: Reader): Promise<Entry | null> {
  const { signal } = reader;
  return new Promise((resolve) => {
    const settle = (entry: Entry | null): void => {
      signal.removeEventListener('abort', ended);
      resolve(entry);
    };
    const leave = reader.shared.waiting.add(reader.request, (entry) => {
      const wanted = isAfter(entry.update, reader.mark) && concerns(reader.request, entry.update);
      if (wanted) settle(entry);
      return wanted;
    });
    const ended = (): void => {
      leave();
      settle(null);
    };
    signal.addEventListener('abort', ended, { once: true });
  });
}

async function giveEntry(reader: Reader, entry: Entry): Promise<DeliveryUpdate | null> {
  const update = await reader.shared.told(entry);
  if (reader.signal.aborted) return null;
  if (update) return give(reader, entry.update, update);
  reader.mark = markOf(entry.update);
  return null;
}

function give(reader: Reader, update: LiveUpdate, told: DeliveryUpdate): DeliveryUpdate {
  reader.mark = markOf(update);
  reader.place = placeOf(update);
  return told;
}
