import { EventStoreDBError } from './eventstoredb-connection.ts';

/** Lets in what there is room for; the rest waits outside, in order of arrival. */
export interface Gate {
  /** Waits until there is room; rejects at `deadline`, by this machine's clock. */
  readonly enter: (size: number, deadline: number) => Promise<void>;
  readonly leave: (size: number) => void;
  /** Rejects those that wait. */
  readonly refuse: (error: Error) => void;
}

interface Waiter {
  readonly size: number;
  readonly admit: () => void;
  readonly refuse: (error: Error) => void;
}

/** Room for `limit` in all, or for one thing that is larger; `what` is what a rejection calls it. */
export function openGate(limit: number | (() => number), what: string): Gate {
  const queue: Waiter[] = [];
  let inside = 0;
  const room = typeof limit === 'number' ? () => limit : limit;
  const fits = (size: number): boolean => inside === 0 || inside + size <= room();
  const admitNext = (): void => {
    for (let next = queue[0]; next && fits(next.size); next = queue[0]) {
      queue.shift();
      inside += next.size;
      next.admit();
    }
  };
  return {
    enter: (size, deadline) => {
      if (queue.length === 0 && fits(size)) {
        inside += size;
        return Promise.resolve();
      }
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          queue.splice(queue.indexOf(waiter), 1);
          reject(new EventStoreDBError(`EventStoreDB: no room for ${what} in time`, true));
        }, deadline - Date.now());
        const admit = (): void => {
          clearTimeout(timer);
          resolve();
        };
        const refuse = (error: Error): void => {
          clearTimeout(timer);
          reject(error);
        };
        const waiter = { size, admit, refuse };
        queue.push(waiter);
      });
    },
    leave: (size) => {
      inside -= size;
      admitNext();
    },
    refuse: (error) => {
      for (const waiter of queue.splice(0)) waiter.refuse(error);
    },
  };
}

/** Lets through as many at once as the server answers in time. */
export interface Door {
  /** Rejects those that wait; what is under way goes on. */
  readonly close: (error: Error) => void;
  /**
   * Runs `work` when it is its turn; rejects after `waitMs` if that has not come. Each attempt that `work` makes goes through
   * `attempt`, so that it is known how they fare.
   */
  readonly pass: <T>(waitMs: number, work: (attempt: <A>(made: Promise<A>) => Promise<A>) => Promise<T>) => Promise<T>;
}

export interface DoorOptions {
  readonly most: number;
  /** What a rejection calls it that waits. */
  readonly what: string;
  /** An attempt that failed after so long had no answer in time; one that failed sooner was refused. Milliseconds. */
  readonly overdueMs: number;
}

/** Fewer would be no congestion but an outage. */
const LEAST_AT_ONCE = 8;

/**
 * At most `most` at once, and fewer while attempts run out of their time: those that were given up keep the server busy for
 * nobody, so that as many again would never be answered. One more for each round of answers, half as many when one is overdue,
 * once for all that began before: the rule of TCP (Chiu and Jain, 1989).
 */
export function openDoor({ most, what, overdueMs }: DoorOptions): Door {
  let limit = most;
  let shrunkAt = -Infinity;
  const gate = openGate(() => limit, what);
  const answered = (): void => {
    limit = Math.min(most, limit + 1 / limit);
  };
  const overdue = (begunAt: number): void => {
    if (begunAt < shrunkAt) return;
    shrunkAt = performance.now();
    limit = Math.max(LEAST_AT_ONCE, limit / 2);
  };
  const attempt = async <A>(made: Promise<A>): Promise<A> => {
    const begunAt = performance.now();
    try {
      const answer = await made;
      answered();
      return answer;
    } catch (error) {
      if (performance.now() - begunAt >= overdueMs) overdue(begunAt);
      throw error;
    }
  };
  return {
    close: gate.refuse,
    pass: async (waitMs, work) => {
      await gate.enter(1, Date.now() + waitMs);
      try {
        return await work(attempt);
      } finally {
        gate.leave(1);
      }
    },
  };
}
