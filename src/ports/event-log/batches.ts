import type { EventBatch } from './event-log.ts';

/**
 * One `step` after the other, until it answers that it is done; `end` is called when a step fails, and by `return()`. By hand,
 * because `return()` of an async generator waits for the `next()` under way.
 */
export function batchesOf(
  step: () => Promise<IteratorResult<EventBatch, undefined>>,
  end: () => void,
): AsyncIterator<EventBatch, undefined> {
  let last: Promise<unknown> = Promise.resolve();
  return {
    next: () => {
      const result = last.then(step);
      last = result.catch(end);
      return result;
    },
    return: () => {
      end();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}
