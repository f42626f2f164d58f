import { setTimeout as delay } from 'node:timers/promises';

import type messages from '@eventstore/db-client/generated/streams_pb.js';

import { batchesOf } from './batches.ts';
import { LogClosed, type EventBatch, type EventFilter, type Position } from './event-log.ts';
import {
  bytesOf,
  checkPosition,
  compileFilter,
  decodeEvent,
  eventIn,
  positionOf,
  readAll,
  subscribeAll,
  toPosition,
  type WireEvent,
} from './eventstoredb-codec.ts';
import { EventStoreDBError, persistently, withCall, type Connection, type Limits } from './eventstoredb-connection.ts';
import { openInbox, type Inbox } from './eventstoredb-inbox.ts';

export interface SubscriptionLimits {
  /** After so long without a word from the server it is looked up where the log ends; milliseconds. */
  readonly idleMs: number;
  /** A subscription that has not brought for so long what lies in the log is opened anew; milliseconds. */
  readonly stallMs: number;
  /** So long without a word, through all attempts to open it again, a failure is handed to the reader; milliseconds. */
  readonly giveUpMs: number;
}

/** What a subscription needs to know of its log. */
export interface Feed {
  readonly connection: Connection;
  readonly limits: Limits & SubscriptionLimits;
  /** The end of the log, read from now on. */
  readonly head: () => Promise<Position>;
  /** The same, up to `idleMs` old. */
  readonly recentHead: () => Promise<Position>;
  readonly closed: () => boolean;
  /** How to end each subscription that is open. */
  readonly endings: Set<() => void>;
  /** Told of what was mended without the reader's noticing. */
  readonly onTrouble: (error: unknown) => void;
}

export function subscribe(
  feed: Feed,
  after: Position,
  filter: EventFilter,
  signal: AbortSignal,
): AsyncIterable<EventBatch> {
  return { [Symbol.asyncIterator]: () => iterate(feed, after, filter, signal) };
}

function iterate(
  feed: Feed,
  after: Position,
  filter: EventFilter,
  signal: AbortSignal,
): AsyncIterator<EventBatch, undefined> {
  const refused = feed.closed();
  const inbox = openInbox(after);
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
    inbox.close();
    feed.endings.delete(end);
    signal.removeEventListener('abort', end);
  };
  let begun = false;
  const begin = (): void => {
    begun = true;
    feed.endings.add(end);
    signal.addEventListener('abort', end);
    follow({ feed, inbox, matches: compileFilter(filter), filter, ending: ending.signal }).catch(inbox.fail);
  };
  const step = async (): Promise<IteratorResult<EventBatch, undefined>> => {
    if (refused && !ending.signal.aborted) throw new LogClosed();
    if (signal.aborted || feed.closed()) end();
    if (!begun && !ending.signal.aborted) begin();
    const batch = await inbox.take();
    return batch ? { done: false, value: batch } : { done: true, value: undefined };
  };

  return batchesOf(step, end);
}

interface Following {
  readonly feed: Feed;
  readonly inbox: Inbox;
  readonly filter: EventFilter;
  readonly matches: (event: WireEvent) => boolean;
  readonly ending: AbortSignal;
}

/** When all was last well, on the monotonic clock. */
interface Pulse {
  at: number;
}

interface Life {
  readonly pulse: Pulse;
  /** On the monotonic clock. */
  readonly begunAt: number;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

/** Keeps a subscription open at the server from where the inbox stands, whatever becomes of it, until the reader has enough. */
async function follow(following: Following): Promise<void> {
  const { feed, inbox, ending } = following;
  checkPosition(inbox.position());
  const head = await feed.head();
  if (inbox.position() > head) {
    throw new RangeError(`position ${inbox.position()} lies beyond the end of the log, ${head}`);
  }
  inbox.setGoal(head);
  if (inbox.position() === head) inbox.offer();
  const pulse = { at: performance.now() };
  for (let failures = 0; !ending.aborted; failures++) {
    const heardAt = pulse.at;
    const error = await followOnce(following, pulse).then(
      () => new EventStoreDBError('EventStoreDB ended a subscription', true),
      (reason: unknown) => reason,
    );
    if (isOver(ending)) return;
    const quietMs = performance.now() - pulse.at;
    if (!(error instanceof EventStoreDBError) || !error.transient || quietMs > feed.limits.giveUpMs) throw error;
    feed.onTrouble(error);
    // The log goes on meanwhile: what was its end is no longer.
    inbox.setGoal(null);
    if (pulse.at > heardAt) failures = 0;
    await pause(Math.min(FIRST_PAUSE_MS * 2 ** failures, MAX_PAUSE_MS), ending);
  }
}

/** One life of a subscription. Resolves when the server ends it, which it may do without a word. */
async function followOnce(following: Following, pulse: Pulse): Promise<void> {
  const { feed, inbox, filter, ending } = following;
  const { connection } = feed;
  const request = subscribeAll(inbox.position(), filter);
  const life = { pulse, begunAt: performance.now() };
  await withCall(
    connection,
    (streams) => {
      // A call that is cancelled in the turn in which it is made may stay open at the server.
      if (ending.aborted) throw new EventStoreDBError('EventStoreDB: nobody waits for a subscription any more', false);
      return streams.read(request, ...connection.argumentsOf());
    },
    async (call, heard) => {
      const cancel = (): void => call.cancel();
      ending.addEventListener('abort', cancel);
      try {
        const answers: AsyncIterator<messages.ReadResp> = call[Symbol.asyncIterator]();
        for (let next = answers.next(); ; next = answers.next()) {
          const answer = await untilHeard(following, next, life);
          if (answer.done === true) return;
          heard();
          await handle(following, answer.value);
          await inbox.room();
          pulse.at = performance.now();
        }
      } finally {
        ending.removeEventListener('abort', cancel);
      }
    },
  );
}

/** Waits for the server's next word, and looks into the log itself whenever it is silent. */
async function untilHeard<T>(following: Following, next: Promise<T>, { pulse, begunAt }: Life): Promise<T> {
  const { feed, inbox } = following;
  const heardWithin = watch(next);
  // What came in one piece goes into one batch.
  if (await heardWithin(AT_ONCE)) return next;
  inbox.offer();
  while (!(await heardWithin(feed.limits.idleMs))) {
    const missing = await lookAhead(following);
    if (!missing) pulse.at = performance.now();
    else if (performance.now() - Math.max(pulse.at, begunAt) > feed.limits.stallMs) {
      throw new EventStoreDBError('EventStoreDB: a subscription does not bring what lies in the log', true);
    }
    inbox.offer();
  }
  return next;
}

async function handle(following: Following, answer: messages.ReadResp): Promise<void> {
  const event = eventIn(answer);
  if (event) take(following, event);
  else if (answer.hasCheckpoint()) await checkpoint(following, toPosition(answer.getCheckpoint()));
  else if (answer.hasFellBehind()) following.inbox.setGoal(null);
  else if (answer.hasCaughtUp()) await caughtUp(following);
}

/** It comes again and again to a reader that keeps falling behind: then silence is soon enough to look ahead. */
async function caughtUp(following: Following): Promise<void> {
  const { feed, inbox } = following;
  if (inbox.position() < inbox.goal()) await lookAhead(following);
  else inbox.setGoal(await feed.recentHead());
}

function take({ inbox, matches }: Following, event: WireEvent): void {
  const position = positionOf(event);
  if (position === null || position <= inbox.position()) return;
  const decoded = matches(event) ? decodeEvent(event) : null;
  if (decoded) inbox.put(decoded, bytesOf(event));
  else inbox.moveTo(position);
}

/**
 * Servers have sent checkpoints that lie beyond the last event, and then put an event there (KurrentDB #4970): one counts
 * only when the log has got there. What is ahead of it in the call is in the inbox already.
 */
async function checkpoint({ feed, inbox }: Following, position: Position | null): Promise<void> {
  if (position === null || position <= inbox.position()) return;
  if (position <= (await feed.recentHead()) || position <= (await feed.head())) inbox.moveTo(position);
}

/** The first page is short, because what is found missing is often the next event. */
const PAGE_EVENTS = [20, 100, 500, 500, 500, 500] as const;

/**
 * Moves the inbox over what lies ahead in the log and does not match, up to the end: the server tells of such events only
 * in checkpoints, which come late, and of nothing at all when it has lost a subscription. Each event is looked at, so that
 * no word of the server about the end of anything is relied on. True when there is one that the subscription ought to bring,
 * or when a read shows nothing on the way to the end of the log, where there must be something.
 */
async function lookAhead(following: Following): Promise<boolean> {
  const { feed, inbox } = following;
  inbox.setGoal(await feed.recentHead());
  const head = inbox.goal();
  for (const count of PAGE_EVENTS) {
    const before = inbox.position();
    if (before >= head) break;
    const missing = await persistently(
      feed.limits,
      (deadline) => lookAtPage(following, { head, count, deadline }),
      () => following.ending.aborted,
    );
    if (missing || inbox.position() === before) return true;
  }
  return false;
}

interface Page {
  readonly head: Position;
  readonly count: number;
  readonly deadline: number;
}

async function lookAtPage({ feed, inbox, matches }: Following, { head, count, deadline }: Page): Promise<boolean> {
  const { connection } = feed;
  const request = readAll(inbox.position(), count);
  return withCall(
    connection,
    (streams) => streams.read(request, ...connection.argumentsOf(deadline)),
    async (call, heard) => {
      for await (const answer of call) {
        heard();
        const event = eventIn(answer as messages.ReadResp);
        const position = event && positionOf(event);
        if (!event || !position || position <= inbox.position()) continue;
        if (matches(event) && decodeEvent(event)) return true;
        inbox.moveTo(position);
        if (position >= head) break;
      }
      return false;
    },
  );
}

/** Instead of milliseconds: in this turn of the event loop. */
export const AT_ONCE = 'at once';

/**
 * Tells, as often as asked, whether `next` is settled within a time. It is listened to once: a promise keeps all its
 * listeners until it is settled, and a silent server leaves one pending for days.
 */
export function watch(next: Promise<unknown>): (limit: number | typeof AT_ONCE) => Promise<boolean> {
  let isSettled = false;
  let wake = (): void => undefined;
  const settle = (): void => {
    isSettled = true;
    wake();
  };
  next.then(settle, settle);
  return (limit) =>
    new Promise((resolve) => {
      const tell = (): void => resolve(isSettled);
      if (limit === AT_ONCE) {
        wake = tell;
        setImmediate(tell);
        return;
      }
      const timer = setTimeout(tell, isSettled ? 0 : limit);
      wake = () => {
        clearTimeout(timer);
        tell();
      };
    });
}

function isOver(ending: AbortSignal): boolean {
  return ending.aborted;
}

async function pause(ms: number, ending: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: ending }).catch(() => undefined);
}
