import { setTimeout as delay } from 'node:timers/promises';
import { linkedTo, type Linked } from './signals.ts';
import type { Started } from '../lifecycle.ts';
import { openOutage, type Log, type Outage } from '../log.ts';
import type { EventBatch, EventFilter, EventLog, Position } from '../ports/event-log/event-log.ts';

export interface FollowOptions {
  /** Of the projection, for the server's log. */
  readonly name: string;
  readonly log: EventLog;
  readonly logger: Log;
  readonly filter: EventFilter;
  /** Everything up to here is handled: where a subscription begins, exclusive. */
  readonly position: () => Position;
  /** One batch after the other; the signal aborts when it is to stop. A rejection opens the subscription again. */
  readonly handle: (batch: EventBatch, stopping: AbortSignal) => Promise<void> | void;
  /** The subscription is restarted when it brings nothing for this long while the log has moved on; milliseconds. */
  readonly stallMs?: number | undefined;
  /** Pause before a failed subscription is opened again; milliseconds. */
  readonly pauseMs?: number | undefined;
}

interface Following {
  readonly options: FollowOptions;
  readonly stopping: AbortSignal;
  readonly outage: Outage;
  /** Batches handled; tells the watchdog whether anything moved. */
  handled: number;
  busy: boolean;
}

const STALL_MS = 30_000;
export const PAUSE_MS = 1_000;

/** Follows the log and never gives up: a subscription that fails, ends or stalls is opened again where it was. */
export function followLog(options: FollowOptions): Started<void> {
  const stopping = new AbortController();
  const outage = openOutage(options.logger, {
    failed: 'a subscription to the event log failed; opening it again',
    well: 'the subscription to the event log goes on',
  });
  const following: Following = { options, stopping: stopping.signal, outage, handled: 0, busy: false };
  const ended = follow(following);
  return {
    value: undefined,
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

async function follow(following: Following): Promise<void> {
  const { name } = following.options;
  while (!isStopping(following)) {
    const err = await followOnce(following).then(
      () => null,
      (error: unknown) => error,
    );
    if (isStopping(following)) return;
    following.outage.met({ projection: name, err });
    await pause(following);
  }
}

async function followOnce(following: Following): Promise<void> {
  const { log, filter, position, stallMs = STALL_MS } = following.options;
  const attempt = linkedTo(following.stopping);
  const watch = setInterval(() => void restartWhenStalled(following, attempt), stallMs);
  try {
    for await (const batch of log.subscribe(position(), filter, attempt.signal)) await handle(following, batch);
  } finally {
    clearInterval(watch);
    attempt.release();
  }
}

async function handle(following: Following, batch: EventBatch): Promise<void> {
  following.busy = true;
  try {
    await following.options.handle(batch, following.stopping);
    following.handled += 1;
    following.outage.over({ projection: following.options.name });
  } finally {
    following.busy = false;
  }
}

function isStopping({ stopping }: Following): boolean {
  return stopping.aborted;
}

/** A subscription can die without a word: then the log's head moves on and nothing arrives. */
async function restartWhenStalled(following: Following, attempt: Linked): Promise<void> {
  const { name, log, logger, position } = following.options;
  const before = following.handled;
  try {
    const head = await log.head();
    await pause(following);
    const stalled = !following.busy && following.handled === before && position() < head;
    if (!stalled || attempt.signal.aborted || isStopping(following)) return;
    logger.error({ projection: name }, 'no progress while the log moves on; opening the subscription again');
    attempt.abort();
  } catch (err) {
    logger.warn({ projection: name, err }, 'the log did not say where it ends');
  }
}

async function pause({ options, stopping }: Following): Promise<void> {
  await delay(options.pauseMs ?? PAUSE_MS, undefined, { signal: stopping }).catch(() => undefined);
}
