import { LogUnavailable } from '../ports/event-log/event-log.ts';

/** What a lease knows of time. */
export interface LeaseClock {
  /** Monotonic; milliseconds. */
  readonly now: () => number;
  /** Runs `task` once after `ms` milliseconds. Answers how to prevent it. */
  readonly after: (ms: number, task: () => void) => () => void;
}

export const MONOTONIC: LeaseClock = {
  now: () => performance.now(),
  after: (ms, task) => {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * What the log answers within `ms`.
 * @throws LogUnavailable after that, and at once when `stopping` aborts: the answer is not waited for any longer.
 */
export function answered<T>(clock: LeaseClock, ms: number, answer: Promise<T>, stopping?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (why: string): void => {
      settle();
      reject(new LogUnavailable(why));
    };
    const stop = (): void => giveUp('nobody waits for the answer any longer');
    const cancel = clock.after(ms, () => giveUp(`no answer within ${String(ms)} ms`));
    const settle = (): void => {
      cancel();
      stopping?.removeEventListener('abort', stop);
    };
    stopping?.addEventListener('abort', stop);
    if (stopping?.aborted === true) stop();
    answer.then(resolve, reject).finally(settle);
  });
}

/** Ends early, without an error, when `stopping` aborts. */
export function passed(clock: LeaseClock, ms: number, stopping: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      stopping.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.after(ms, end);
    stopping.addEventListener('abort', end);
    if (stopping.aborted) end();
  });
}
