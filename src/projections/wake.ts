export interface Wake {
  /** Runs the task soon; however often it is asked meanwhile, once. */
  readonly now: () => void;
  /** Runs the task at this time (milliseconds since the epoch), or earlier when asked for earlier; null = not by itself. */
  readonly at: (time: number | null) => void;
  /** For good: what is asked for afterwards is not done. */
  readonly stop: () => void;
}

/** Clocks are set forward, and timers do not hear of it: whatever is further away is looked at again then. */
const LONGEST_MS = 5_000;

/** One task, one timer: asked from many sides, run once for all of them. */
export function wakeAt(task: () => void, clock: () => number): Wake {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let planned = Infinity;
  let soon: NodeJS.Immediate | undefined;
  const clear = (): void => {
    clearTimeout(timer);
    planned = Infinity;
  };
  const now = (): void => {
    if (stopped) return;
    soon ??= setImmediate(() => {
      soon = undefined;
      clear();
      task();
    });
  };
  const wait = (): void => {
    const leftMs = planned - clock();
    timer = leftMs > LONGEST_MS ? setTimeout(wait, LONGEST_MS) : setTimeout(now, Math.max(leftMs, 0));
  };
  return {
    now,
    at: (time) => {
      if (stopped || time === null || time >= planned) return;
      clear();
      planned = time;
      wait();
    },
    stop: () => {
      stopped = true;
      clear();
      clearImmediate(soon);
    },
  };
}
