/** Who waits for a turn. Tenants take turns, and within a tenant whoever came first: many of one do not keep others back. */
export interface FairQueue<T> {
  /** What is in it already keeps its place. */
  readonly add: (tenant: string, item: T) => void;
  readonly delete: (tenant: string, item: T) => void;
  /** Takes out whose turn it is; null: nobody waits. */
  readonly shift: () => T | null;
  readonly size: () => number;
}

export function openFairQueue<T>(): FairQueue<T> {
  /** In the order of their turns; none is empty. */
  const tenants = new Map<string, Set<T>>();
  let size = 0;

  const remove = (tenant: string, item: T): void => {
    const items = tenants.get(tenant);
    if (!items?.delete(item)) return;
    size -= 1;
    if (items.size === 0) tenants.delete(tenant);
  };
  return {
    add: (tenant, item) => {
      const items = tenants.get(tenant) ?? new Set();
      size += items.has(item) ? 0 : 1;
      tenants.set(tenant, items.add(item));
    },
    delete: remove,
    shift: () => {
      for (const [tenant, items] of tenants) {
        for (const item of items) {
          remove(tenant, item);
          // Behind all others.
          if (tenants.delete(tenant)) tenants.set(tenant, items);
          return item;
        }
      }
      return null;
    },
    size: () => size,
  };
}

/** Lets a few at a time. */
export interface Gate {
  /** Runs `work` when it is its turn; null when `signal` aborts before. */
  readonly pass: <T>(of: Passing, work: () => Promise<T>) => Promise<T | null>;
}

export interface Passing {
  readonly tenant: string;
  readonly signal: AbortSignal;
}

export function openGate(most: number): Gate {
  const queue = openFairQueue<() => void>();
  let inside = 0;

  const enter = ({ tenant, signal }: Passing): Promise<boolean> =>
    new Promise((resolve) => {
      const settle = (entered: boolean) => (): void => {
        queue.delete(tenant, admit);
        signal.removeEventListener('abort', leave);
        if (entered) inside += 1;
        resolve(entered);
      };
      const [admit, leave] = [settle(true), settle(false)];
      if (signal.aborted) leave();
      else if (inside < most) admit();
      else {
        queue.add(tenant, admit);
        signal.addEventListener('abort', leave, { once: true });
      }
    });
  return {
    pass: async (of, work) => {
      if (!(await enter(of))) return null;
      try {
        return await work();
      } finally {
        inside -= 1;
        queue.shift()?.();
      }
    },
  };
}

/** Spreads what is done for many over turns of the event loop, whoever it is for. */
export interface Pace {
  /** Null: now; otherwise resolves in the turn that it is to be done in. */
  readonly next: (tenant: string) => Promise<void> | null;
}

/** @param most How many times a turn. */
export function openPace(most: number): Pace {
  const queue = openFairQueue<() => void>();
  let [left, isCounting] = [most, false];

  const count = (): void => {
    left -= 1;
    if (isCounting) return;
    isCounting = true;
    setImmediate(turn);
  };
  const turn = (): void => {
    [left, isCounting] = [most, false];
    while (left > 0) {
      const proceed = queue.shift();
      if (!proceed) return;
      count();
      proceed();
    }
  };
  return {
    next: (tenant) => {
      if (left <= 0)
        return new Promise((resolve) => {
          queue.add(tenant, resolve);
        });
      count();
      return null;
    },
  };
}

/** Counts places that are taken, of all tenants together and of each. */
export interface Quota {
  /** Answers how to give the place back, once; null: there is none left, or none for this tenant. */
  readonly take: (tenant: string) => (() => void) | null;
  readonly size: () => number;
}

/** @param share What part of the places one tenant may hold, though always one. */
export function openQuota(most: number, share: number): Quota {
  const taken = new Map<string, number>();
  const mostOfOne = Math.max(1, Math.floor(most * share));
  let size = 0;

  const giveBack = (tenant: string): void => {
    const left = (taken.get(tenant) ?? 0) - 1;
    if (left > 0) taken.set(tenant, left);
    else taken.delete(tenant);
    size -= 1;
  };
  return {
    take: (tenant) => {
      const before = taken.get(tenant) ?? 0;
      if (size >= most || before >= mostOfOne) return null;
      taken.set(tenant, before + 1);
      size += 1;
      return () => {
        giveBack(tenant);
      };
    },
    size: () => size,
  };
}

/**
 * What `work` answers, or null as soon as `outer`, where there is one, aborts. The signal that `work` gets aborts when its
 * answer is not wanted any more.
 * @throws Error when it takes longer than `ms`; what `work` throws.
 */
export async function limited<T>(
  ms: number,
  outer: AbortSignal | null,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | null> {
  const unwanted = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let dropped = (): void => undefined;
  const cut = new Promise<null>((resolve, reject) => {
    dropped = () => {
      resolve(null);
    };
    timer = setTimeout(() => {
      reject(new Error(`no answer within ${String(ms)} ms`));
    }, ms);
  });
  outer?.addEventListener('abort', dropped, { once: true });
  if (outer?.aborted) dropped();
  try {
    return await Promise.race([work(unwanted.signal), cut]);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', dropped);
    unwanted.abort();
  }
}
