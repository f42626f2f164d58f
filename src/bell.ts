/** Wakes whoever waits for it; who comes later waits for the next time. */
export interface Bell {
  readonly ring: () => void;
  /** Resolves when it rings; at the latest after `ms`, or when `signal` aborts, at once where that has. */
  readonly next: (wait: { readonly ms?: number; readonly signal?: AbortSignal }) => Promise<void>;
}

export function openBell(): Bell {
  const waiting = new Set<() => void>();
  return {
    ring: () => {
      for (const resume of waiting) resume();
    },
    next: ({ ms, signal }) =>
      new Promise((resolve) => {
        const resume = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', resume);
          waiting.delete(resume);
          resolve();
        };
        const timer = ms === undefined ? undefined : setTimeout(resume, ms);
        signal?.addEventListener('abort', resume);
        waiting.add(resume);
        // One that has aborted already says nothing any more.
        if (signal?.aborted === true) resume();
      }),
  };
}
