/** What comes of `work`; null when the time is over, or nobody waits any longer. */
export function withinMs<T>(ms: number, work: Promise<T>, signal?: AbortSignal): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      resolve(null);
      settle();
    };
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    };
    const timer = setTimeout(giveUp, Math.max(0, ms));
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted === true) giveUp();
    work.then(resolve, reject).finally(settle);
  });
}
