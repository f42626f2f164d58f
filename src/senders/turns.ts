import { setImmediate as otherWork } from 'node:timers/promises';

/** Runs a task when the turn of its owner comes; settles as the task does. */
export type Turns = <T>(owner: string, task: () => T) => Promise<T>;

/**
 * Runs tasks that cannot be interrupted, one after the other: the owners take turns, each with its tasks in the order of
 * its calls, so that nobody waits for more than one task of everybody else. Whenever they have used up `sliceMs`
 * milliseconds, the event loop gets to do everything else that is waiting before the next one starts.
 */
export function openTurns(sliceMs = 10): Turns {
  /** The owner whose turn is next comes first. */
  const waiting = new Map<string, (() => void)[]>();
  let running = false;

  const next = (): (() => void) | undefined => {
    const [turn] = waiting;
    if (turn === undefined) return undefined;
    const [owner, tasks] = turn;
    const task = tasks.shift();
    waiting.delete(owner);
    if (tasks.length > 0) waiting.set(owner, tasks);
    return task;
  };
  const runAll = async (): Promise<void> => {
    let usedMs = 0;
    for (let task = next(); task !== undefined; task = next()) {
      const from = performance.now();
      task();
      usedMs += performance.now() - from;
      if (usedMs < sliceMs) continue;
      await otherWork();
      usedMs = 0;
    }
    running = false;
  };
  return (owner, task) =>
    new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(task());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const tasks = waiting.get(owner);
      if (tasks === undefined) waiting.set(owner, [run]);
      else tasks.push(run);
      if (running) return;
      running = true;
      queueMicrotask(() => void runAll());
    });
}
