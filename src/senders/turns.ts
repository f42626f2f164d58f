import { setImmediate as otherWork } from 'node:timers/promises';

/** Runs a task when its turn comes; settles as the task does. */
export type Turns = <T>(task: () => T) => Promise<T>;

/**
 * Runs tasks that cannot be interrupted one after the other, in the order of the calls. Whenever they have used up
 * `sliceMs` milliseconds, the event loop gets to do everything else that is waiting before the next one starts.
 */
export function openTurns(sliceMs = 10): Turns {
  let last: Promise<unknown> = Promise.resolve();
  let usedMs = 0;
  const run = async <T>(task: () => T): Promise<T> => {
    if (usedMs >= sliceMs) {
      await otherWork();
      usedMs = 0;
    }
    const from = performance.now();
    try {
      return task();
    } finally {
      usedMs += performance.now() - from;
    }
  };
  return (task) => {
    const result = last.then(() => run(task));
    last = result.catch(() => undefined);
    return result;
  };
}
