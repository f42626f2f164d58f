import type { Metadata } from '../../events/event.ts';

/**
 * Names a place in the whole log. Opaque, totally ordered: plain string comparison (`<`) is the order of the log,
 * and `START` lies before everything. Positions of different logs must not be compared.
 */
export type Position = string & { readonly __position: never };

/** Before the first event of any log. */
export const START = '' as Position;

/** An event that is to be appended. */
export interface NewEvent {
  /** Random for each execution of a command; reused only by a retry of that very append. */
  readonly id: string;
  readonly type: string;
  /** JSON; `data` and `metadata` together at most 256 KiB encoded. */
  readonly data: unknown;
  readonly metadata: Metadata;
}

/** An event as the log keeps it. */
export interface RecordedEvent extends NewEvent {
  readonly stream: string;
  /** Version of the stream once it held this event: 1 for its first. */
  readonly version: number;
  readonly position: Position;
}

export interface Appended {
  /** Version of the stream afterwards. */
  readonly version: number;
  /** Of the last event appended. */
  readonly position: Position;
}

/** Chooses what a subscription delivers; what is left out matches. Both given: both must match. */
export interface EventFilter {
  /** Stream name prefixes, for example `notification-`. */
  readonly streamPrefixes?: readonly string[];
  /** Exact event types. */
  readonly types?: readonly string[];
}

/** Some consecutive matches, at most a few hundred; may be empty when only the checkpoint moved. */
export interface EventBatch {
  /** In log order. */
  readonly events: readonly RecordedEvent[];
  /** Everything that matches up to and including this has been delivered: a resume from here misses and repeats nothing. */
  readonly position: Position;
  /** True when the batch reached what was the end of the log while it was read. */
  readonly live: boolean;
}

/**
 * The log of everything that happened. It alone is the truth; all else can be rebuilt from it.
 *
 * - A stream's *version* is the number of its events; 0 means that there is no such stream.
 * - An acknowledged append survives a crash of this process at any moment.
 * - All events of one append become visible together and stand next to each other in log order.
 */
export interface EventLog {
  /** Names this log for good; part of every cursor, so that a foreign one is recognised. */
  readonly id: string;

  /**
   * Appends `events` (1 to 1,000, together at most `MAX_APPEND_BYTES`) if the stream's version is `expectedVersion`, and answers when they are durable.
   *
   * A retry of the same append (same ids, same expected version) succeeds again with the same answer and appends
   * nothing. A rejection other than `WrongExpectedVersion` and `EventTooLarge` means *unknown*: it may have been appended.
   *
   * @throws WrongExpectedVersion when the stream is at another version; nothing was appended.
   * @throws EventTooLarge when an event is over 256 KiB; nothing was appended.
   * @throws RangeError when there are no or too many events, they are too large together, or the name of the stream is unusable.
   */
  append(stream: string, events: readonly NewEvent[], expectedVersion: number): Promise<Appended>;

  /** The stream's events after version `after` (default 0: all), oldest first; empty when there is no such stream. Streams are short by design. */
  read(stream: string, after?: number): Promise<readonly RecordedEvent[]>;

  /** The stream's newest event, however long it is; null when there is no such stream. */
  last(stream: string): Promise<RecordedEvent | null>;

  /**
   * From now on the log may forget all but the newest `count` (at least 1) events of this stream, which is bookkeeping: its name
   * begins with `lease-` or `ingest-`. Versions go on as before: `last` and appends at an expected version mind nothing, `read`
   * begins with what is left, and a retry of an append whose events are forgotten may be a conflict. What was said before of how many
   * to keep stays in force. A log may keep everything all the same (the embedded one does: nothing is ever removed from it).
   * Rejects when that could not be said; nothing is lost then, and it may be tried again.
   *
   * @throws RangeError for another stream, or another count.
   */
  keepNewest(stream: string, count: number): Promise<void>;

  /**
   * Everything after `after` (exclusive) that matches `filter`, first what is there, then live, in log order, at least once.
   * A slow reader slows nobody else and costs no memory: it is fed from the log, not from a buffer.
   * The first batch always comes, even empty, so that a reader learns when it has reached the end.
   * The iteration ends when `signal` aborts (without an error) or the log closes; `return()` releases it at once.
   *
   * @throws RangeError when `after` has not the form of a position or lies beyond the head.
   */
  subscribe(after: Position, filter: EventFilter, signal: AbortSignal): AsyncIterable<EventBatch>;

  /** The end of the log now: position of the last event, `START` when empty. */
  head(): Promise<Position>;

  /** Waits for appends under way, ends subscriptions. Everything afterwards rejects with LogClosed. */
  close(): Promise<void>;
}

export class WrongExpectedVersion extends Error {
  override readonly name = 'WrongExpectedVersion';
  constructor(
    readonly stream: string,
    readonly expected: number,
    readonly actual: number,
  ) {
    super(`stream ${stream} is at version ${String(actual)}, not ${String(expected)}`);
  }
}

export class LogClosed extends Error {
  override readonly name = 'LogClosed';
  constructor() {
    super('the event log is closed');
  }
}

/**
 * The server that holds the log gave no answer, or refused one. Of an append nobody knows whether it took place. The message
 * holds no credentials.
 */
export class LogUnavailable extends Error {
  override readonly name: string = 'LogUnavailable';
}

export class EventTooLarge extends Error {
  override readonly name = 'EventTooLarge';
  constructor(
    readonly type: string,
    readonly bytes: number,
  ) {
    super(`event ${type} has ${String(bytes)} bytes, more than ${String(MAX_EVENT_BYTES)}`);
  }
}

/** Data and metadata of one event, encoded. */
export const MAX_EVENT_BYTES = 256 * 1024;

/** Data, metadata and type (two bytes a letter) of all events of an append: what EventStoreDB up to 25.0 takes unless told otherwise. */
export const MAX_APPEND_BYTES = 1024 * 1024;
