import { changesTo } from './changes.ts';
import type { DispatchOptions } from './dispatch.ts';
import { dueEntries, markFed, nextDue, type Entry } from './dispatch-index.ts';
import { wakeAt } from './wake.ts';
import { openOutage } from '../log.ts';
import type { Job, QueueName } from '../ports/broker/broker.ts';
import { QueueFull, QUEUES } from '../ports/broker/broker.ts';
import type { Exclusive } from '../ports/state/exclusive.ts';

export interface Feeder {
  /** Anything may be due, in any queue. */
  readonly wake: () => void;
  /** These are in the index now. */
  readonly added: (entries: readonly Pick<Entry, 'queue' | 'due'>[]) => void;
  /** Waits for publishes under way. */
  readonly stop: () => Promise<void>;
}

export interface FeederOptions extends Pick<DispatchOptions, 'state' | 'broker' | 'logger' | 'now' | 'publishing'> {
  readonly alone: Exclusive;
  /** Whether it is known what is open, and nobody else feeds. */
  readonly mayFeed: () => boolean;
}

/** Jobs published together, confirms awaited together. */
const WINDOW = 256;
const RETRY_MS = 250;
/** Of the pauses after jobs that were published and could not be marked. */
const LONGEST_RETRY_MS = 5_000;
const OUTAGE = { failed: 'a queue could not be fed; trying again', well: 'all queues are fed again' };

/** For all windows of all queues. */
interface Feeding extends FeederOptions {
  readonly pauses: Pauses;
  readonly isStopped: () => boolean;
}

/** Keeps every queue fed with what is due, each on its own: a queue that is full or fails holds up no other. */
export function openFeeder(options: FeederOptions): Feeder {
  const { logger, now } = options;
  const feeding = new Map<QueueName, Promise<void>>();
  const failing = new Set<QueueName>();
  const outage = openOutage(logger, OUTAGE);
  const { times: looks, look } = openLooks();
  const pauses = openPauses();
  let stopped = false;
  const wake = wakeAt(() => {
    if (!options.mayFeed()) return;
    const time = now();
    for (const [queue, at] of looks) {
      if (feeding.has(queue)) continue;
      const next = Math.max(at, time + pauses.leftMs(queue));
      if (next <= time) start(queue);
      else wake.at(next);
    }
  }, now);

  function start(queue: QueueName): void {
    looks.delete(queue);
    const task = feed({ ...options, pauses, isStopped: () => stopped }, queue)
      .then((next) => {
        failing.delete(queue);
        if (failing.size === 0) outage.over({});
        return next;
      })
      .catch((err: unknown) => {
        failing.add(queue);
        outage.met({ queue, err });
        return 'later' as const;
      })
      .then((next) => {
        feeding.delete(queue);
        // What was added meanwhile.
        wake.at(looks.get(queue) ?? null);
        look(queue, next === 'later' ? -Infinity : next);
        wake.at(next === 'later' ? now() + RETRY_MS : next);
      });
    feeding.set(queue, task);
  }

  return {
    wake: () => {
      for (const queue of QUEUES) look(queue, -Infinity);
      wake.now();
    },
    added: (entries) => {
      for (const { queue, due } of entries) look(queue, due);
      wake.now();
    },
    stop: async () => {
      stopped = true;
      wake.stop();
      await Promise.all(feeding.values());
    },
  };
}

/** Publishes what is due now; answers when to look again. What comes in meanwhile is told to `added`, and another look finds it. */
async function feed(options: Feeding, queue: QueueName): Promise<number | 'later' | null> {
  const { state, now, mayFeed, isStopped } = options;
  const time = now();
  for await (const due of dueEntries(state, queue, time, WINDOW)) {
    if (isStopped() || !mayFeed()) return time;
    if (!(await feedWindow(options, queue, due))) return 'later';
  }
  return nextDue(state, queue, time);
}

/** When each queue is to be looked at; one without a time waits for what is added. */
function openLooks(): {
  readonly times: Map<QueueName, number>;
  readonly look: (queue: QueueName, at: number | null) => void;
} {
  const times = new Map<QueueName, number>(QUEUES.map((queue) => [queue, -Infinity]));
  const look = (queue: QueueName, at: number | null): void => {
    if (at !== null) times.set(queue, Math.min(at, times.get(queue) ?? Infinity));
  };
  return { times, look };
}

interface Pauses {
  readonly grow: (queue: QueueName) => void;
  readonly end: (queue: QueueName) => void;
  /** 0: there is none. */
  readonly leftMs: (queue: QueueName) => number;
}

/**
 * How long to leave a queue alone whose jobs were published and could not be marked: longer each time, whoever asks for
 * another look meanwhile, because each look publishes the same jobs again.
 */
function openPauses(): Pauses {
  const pauses = new Map<QueueName, { readonly tries: number; readonly until: number }>();
  return {
    grow: (queue) => {
      const tries = (pauses.get(queue)?.tries ?? 0) + 1;
      const ms = Math.min(RETRY_MS * 2 ** (tries - 1), LONGEST_RETRY_MS);
      pauses.set(queue, { tries, until: performance.now() + ms });
    },
    end: (queue) => void pauses.delete(queue),
    leftMs: (queue) => Math.max(0, (pauses.get(queue)?.until ?? 0) - performance.now()),
  };
}

/** Publishes and marks; answers whether all were taken. A full queue is no fault: the rest stays in the index. */
async function feedWindow(options: Feeding, queue: QueueName, due: readonly Entry[]): Promise<boolean> {
  const { state, broker, now, alone, pauses } = options;
  // If the queues are emptied in the meantime, nobody knows into which memory a job went: the earlier one is gone.
  const { session } = broker;
  const refusals = await publish(options, due);
  const published = due.filter((_, index) => refusals[index] === null);
  await alone(async () => {
    const changes = changesTo(state);
    for (const entry of published) markFed(changes, entry, session, now());
    await state.commit(changes.list());
  }).catch((error: unknown) => {
    pauses.grow(queue);
    throw error;
  });
  if (published.length > 0) pauses.end(queue);
  const fault = refusals.find((refusal) => refusal !== null && !(refusal instanceof QueueFull));
  if (fault) throw fault;
  return published.length === due.length;
}

/** Null for each job that the broker confirmed. */
function publish(options: FeederOptions, due: readonly Entry[]): Promise<readonly (Error | null)[]> {
  const { broker, publishing } = options;
  const now = options.now();
  return Promise.all(
    due.map((entry) => {
      const { traceparent } = entry;
      const ended = traceparent === undefined ? undefined : publishing?.({ ...entry, traceparent });
      return broker.publish(entry.queue, jobOf(entry, now)).then(
        () => {
          ended?.();
          return null;
        },
        (error: unknown) => {
          ended?.(error);
          return error instanceof Error ? error : new Error(String(error));
        },
      );
    }),
  );
}

function jobOf({ tenant, notificationId, deliveryId, attempt, due, expires }: Entry, now: number): Job {
  return { tenant, notificationId, deliveryId, attempt, due: Math.min(due, now), expires };
}
