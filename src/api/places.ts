/** Few at a time, the others in the order they came. */
export interface Places<T> {
  /** Resolves with true once it has a place, which it keeps until `giveBack`; with false once it has given up. */
  readonly take: (one: T) => Promise<boolean>;
  /** It waits no longer. One that has a place keeps it. */
  readonly giveUp: (one: T) => void;
  /** More than once is harmless, and so is it for one that has none. */
  readonly giveBack: (one: T) => void;
  /** Whoever waits has given up, and whoever comes. */
  readonly close: () => void;
}

export function openPlaces<T>(count: number): Places<T> {
  const taken = new Set<T>();
  const waiting = new Map<T, (hasPlace: boolean) => void>();
  let closed = false;
  const giveUp = (one: T): void => {
    waiting.get(one)?.(false);
    waiting.delete(one);
  };
  const fill = (): void => {
    for (const [one, resolve] of waiting) {
      if (taken.size >= count) return;
      waiting.delete(one);
      taken.add(one);
      resolve(true);
    }
  };
  return {
    take: (one) =>
      new Promise((resolve) => {
        waiting.set(one, resolve);
        if (closed) giveUp(one);
        fill();
      }),
    giveUp,
    giveBack: (one) => {
      giveUp(one);
      if (taken.delete(one)) fill();
    },
    close: () => {
      closed = true;
      for (const one of waiting.keys()) giveUp(one);
    },
  };
}
