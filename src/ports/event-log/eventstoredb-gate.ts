import { EventStoreDBError } from './eventstoredb-connection.ts';

/** Lets in what there is room for; the rest waits outside, in order of arrival. */
export interface Gate {
  /** Waits until there is room; rejects at `deadline`, by this machine's clock. */
  readonly enter: (size: number, deadline: number) => Promise<void>;
  readonly leave: (size: number) => void;
}

/** Room for `limit` in all, or for one thing that is larger; `what` is what a rejection calls it. */
export function openGate(limit: number, what: string): Gate {
  const queue: { readonly size: number; readonly admit: () => void }[] = [];
  let inside = 0;
  const fits = (size: number): boolean => inside === 0 || inside + size <= limit;
  const admitNext = (): void => {
    for (let next = queue[0]; next && fits(next.size); next = queue[0]) {
      queue.shift();
      inside += next.size;
      next.admit();
    }
  };
  return {
    enter: (size, deadline) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          queue.splice(queue.indexOf(waiter), 1);
          reject(new EventStoreDBError(`EventStoreDB: no room for ${what} in time`, true));
        }, deadline - Date.now());
        const admit = (): void => {
          clearTimeout(timer);
          resolve();
        };
        const waiter = { size, admit };
        queue.push(waiter);
        admitNext();
      }),
    leave: (size) => {
      inside -= size;
      admitNext();
    },
  };
}
