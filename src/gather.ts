/** Things to be acted on together. */
export interface Gathering<T> {
  readonly add: (item: T) => void;
  /** Takes it back, unless it was acted on. */
  readonly withdraw: (item: T) => boolean;
  /** Takes everything back that was not acted on. */
  readonly takeAll: () => readonly T[];
}

/** Acts at once on all that comes within one turn of the event loop, when that is over: what costs by the act, and hardly by the thing. */
export function gather<T>(act: (items: readonly T[]) => void): Gathering<T> {
  let items: T[] = [];
  const takeAll = (): readonly T[] => {
    const taken = items;
    items = [];
    return taken;
  };
  const flush = (): void => {
    const taken = takeAll();
    if (taken.length > 0) act(taken);
  };
  return {
    add: (item) => {
      if (items.push(item) === 1) setImmediate(flush);
    },
    withdraw: (item) => {
      const index = items.indexOf(item);
      if (index === -1) return false;
      items.splice(index, 1);
      return true;
    },
    takeAll,
  };
}
