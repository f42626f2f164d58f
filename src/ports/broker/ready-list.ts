export interface Published {
  /** Milliseconds on any clock. */
  readonly publishedAt: number;
}

/** First in, first out, and the earliest publication in it; all in constant time, on average. */
export interface ReadyList<T> {
  readonly size: () => number;
  readonly push: (held: T) => void;
  readonly shift: () => T | undefined;
  readonly oldest: () => number | undefined;
}

export function openReadyList<T extends Published>(): ReadyList<T> {
  const jobs = openDeque<T>();
  /** Those that nothing behind them is older than: its first is the oldest of all. */
  const oldest = openDeque<T>();
  return {
    size: jobs.size,
    push: (held) => {
      jobs.push(held);
      for (let last = oldest.last(); last !== undefined && last.publishedAt > held.publishedAt; last = oldest.last()) {
        oldest.pop();
      }
      oldest.push(held);
    },
    shift: () => {
      const held = jobs.shift();
      if (held !== undefined && oldest.first() === held) oldest.shift();
      return held;
    },
    oldest: () => oldest.first()?.publishedAt,
  };
}

interface Deque<T> {
  readonly size: () => number;
  readonly first: () => T | undefined;
  readonly last: () => T | undefined;
  readonly push: (item: T) => void;
  readonly pop: () => void;
  readonly shift: () => T | undefined;
}

function openDeque<T>(): Deque<T> {
  let items: (T | undefined)[] = [];
  let head = 0;
  return {
    size: () => items.length - head,
    first: () => items[head],
    last: () => (items.length > head ? items[items.length - 1] : undefined),
    push: (item) => {
      items.push(item);
    },
    pop: () => {
      if (items.length > head) items.pop();
    },
    shift: () => {
      if (items.length <= head) return undefined;
      const item = items[head];
      items[head] = undefined;
      head += 1;
      if (head >= 1_024 && head * 2 > items.length) {
        items = items.slice(head);
        head = 0;
      }
      return item;
    },
  };
}
