import { setTimeout as delay } from 'node:timers/promises';

import {
  EventTooLarge,
  LogClosed,
  LogUnavailable,
  WrongExpectedVersion,
  type Appended,
  type EventLog,
} from './event-log.ts';

/** Whether the append took place is not known; `cause` is what its last attempt said. The same ids may be tried again. */
export class AppendUnknown extends LogUnavailable {
  override readonly name = 'AppendUnknown';
  constructor(
    readonly stream: string,
    readonly attempts: number,
    cause: unknown,
  ) {
    super(`no answer to an append to stream ${stream} in ${String(attempts)} attempts`, { cause });
  }
}

export interface Supervision {
  /** Limit of one attempt, in milliseconds. */
  readonly timeoutMs: number;
  /** Attempts in all, at least 1. */
  readonly attempts: number;
  /** None begins later than this after the first; milliseconds. Default: no limit. */
  readonly beginMs?: number;
}

const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 1_000;

/**
 * `log`, but an append is cut off after `timeoutMs` and, when cut off or failed in an unknown way, made again with the
 * same ids and expected version. An earlier attempt that succeeds late does no harm: the log takes the later one for
 * the retry it is, whichever arrives first.
 *
 * `WrongExpectedVersion` is final even after an attempt that hangs: that one expects a version the stream has left for good.
 *
 * @throws AppendUnknown after the last attempt.
 */
export function openSupervisedLog(log: EventLog, options: Supervision): EventLog {
  return {
    id: log.id,
    append: (stream, events, expectedVersion) =>
      appendUntilKnown(stream, options, () => log.append(stream, events, expectedVersion)),
    read: (stream, after) => log.read(stream, after),
    last: (stream) => log.last(stream),
    keepNewest: (stream, count) => log.keepNewest(stream, count),
    subscribe: (after, filter, signal) => log.subscribe(after, filter, signal),
    head: () => log.head(),
    close: () => log.close(),
  };
}

async function appendUntilKnown(
  stream: string,
  { timeoutMs, attempts, beginMs = Infinity }: Supervision,
  append: () => Promise<Appended>,
): Promise<Appended> {
  const begunAt = performance.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await within(timeoutMs, append());
    } catch (error) {
      if (isFinal(error)) throw error;
      // It will not open again. An earlier attempt may have succeeded all the same.
      if (error instanceof LogClosed && attempt === 1) throw error;
      const isLast = attempt >= attempts || performance.now() - begunAt > beginMs;
      if (isLast || error instanceof LogClosed) throw new AppendUnknown(stream, attempt, error);
    }
    await delay(Math.min(FIRST_BACKOFF_MS * 2 ** (attempt - 1), MAX_BACKOFF_MS));
  }
}

function isFinal(error: unknown): boolean {
  return error instanceof WrongExpectedVersion || error instanceof EventTooLarge || error instanceof RangeError;
}

/** By hand: every append goes through here, and Promise.race costs three times as much. */
function within<T>(timeoutMs: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no answer within ${String(timeoutMs)} ms`));
    }, timeoutMs);
    answer.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
