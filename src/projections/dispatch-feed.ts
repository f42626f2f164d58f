import { changesTo } from './changes.ts';
import type { DispatchOptions } from './dispatch.ts';
import { dueEntries, markFed, nextDue, type Entry } from './dispatch-index.ts';
import { wakeAt } from './wake.ts';
import { openOutage } from '../log.ts';
import type { Job, QueueName } from '../ports/broker/broker.ts';
import { QueueFull, QUEUES } from '../ports/broker/broker.ts';
import type { Exclusive } from '../ports/state/exclusive.ts';

export interface Feeder {
  /** Something may be due. */
  readonly wake: () => void;
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

/** Keeps every queue fed with what is due, each on its own: a queue that is full or fails holds up no other. */
export function openFeeder(options: FeederOptions): Feeder {
  const { state, logger, now } = options;
  const feeding = new Map<QueueName, Promise<void>>();
  const failing = new Set<QueueName>();
  const outage = openOutage(logger, {
    failed: 'a queue could not be fed; trying again',
    well: 'all queues are fed again',
  });
  let stopped = false;
  const wake = wakeAt(() => {
    if (!options.mayFeed()) return;
    for (const queue of QUEUES) if (!feeding.has(queue)) start(queue);
  }, now);

  function start(queue: QueueName): void {
    const task = feed(queue)
      .then((next) => {
        failing.delete(queue);
        if (failing.size === 0) outage.over({});
        return next;
      })
      .catch((err: unknown) => {
        failing.add(queue);
        outage.met({ queue, err });
        return now() + RETRY_MS;
      })
      .then((next) => {
        feeding.delete(queue);
        wake.at(next);
      });
    feeding.set(queue, task);
  }

  /** Publishes what is due until nothing is; answers when to look again. */
  async function feed(queue: QueueName): Promise<number | null> {
    for (;;) {
      const time = now();
      const due = dueEntries(state, queue, time, WINDOW);
      if (due.length === 0 || stopped || !options.mayFeed()) return nextDue(state, queue, time);
      if (!(await feedWindow(options, due))) return now() + RETRY_MS;
    }
  }

  return {
    wake: wake.now,
    stop: async () => {
      stopped = true;
      wake.stop();
      await Promise.all(feeding.values());
    },
  };
}

/** Publishes and marks; answers whether all were taken. A full queue is no fault: the rest stays in the index. */
async function feedWindow(options: FeederOptions, due: readonly Entry[]): Promise<boolean> {
  const { state, broker, now, alone } = options;
  // If the queues are emptied in the meantime, nobody knows into which memory a job went: the earlier one is gone.
  const { session } = broker;
  const refusals = await publish(options, due);
  const published = due.filter((_, index) => refusals[index] === null);
  await alone(async () => {
    const changes = changesTo(state);
    for (const entry of published) markFed(changes, entry, session, now());
    await state.commit(changes.list());
  });
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
