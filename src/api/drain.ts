/** Counts what is under way, so that a stop can wait for it. */
export interface Drain {
  /** From now on nothing new is to be started. */
  readonly begin: () => void;
  readonly begun: () => boolean;
  /** Something began; call the answer, once or more often, when it has ended. */
  readonly enter: () => () => void;
  /** Resolves when nothing is under way any more, or after `patienceMs`. */
  readonly idle: (patienceMs: number) => Promise<void>;
}

export function openDrain(): Drain {
  const underWay = new Set<symbol>();
  const waiting = new Set<() => void>();
  let begun = false;
  const leave = (one: symbol): void => {
    underWay.delete(one);
    if (underWay.size === 0)
      waiting.forEach((resolve) => {
        resolve();
      });
  };
  return {
    begin: () => {
      begun = true;
    },
    begun: () => begun,
    enter: () => {
      const one = Symbol('under way');
      underWay.add(one);
      return () => {
        leave(one);
      };
    },
    idle: async (patienceMs) => {
      if (underWay.size === 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, patienceMs);
        waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    },
  };
}
