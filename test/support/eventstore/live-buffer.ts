/** What was committed since a subscription began, as far as memory goes: of more than 32 the oldest are dropped. */
export interface LiveBuffer<T> {
  readonly push: (item: T) => void;
  /**
   * Waits for the next item. `missed`: something was dropped before it.
   * @throws the reason of the signal once that aborts.
   */
  readonly next: () => Promise<{ readonly item: T; readonly missed: boolean }>;
}

const CAPACITY = 32;

export function openLiveBuffer<T>(signal: AbortSignal): LiveBuffer<T> {
  const items: T[] = [];
  let missed = false;
  let wake = (): void => undefined;
  signal.addEventListener('abort', () => wake(), { once: true });
  const next = async (): Promise<{ item: T; missed: boolean }> => {
    for (;;) {
      signal.throwIfAborted();
      const [item] = items.splice(0, 1);
      if (item !== undefined) {
        const answer = { item, missed };
        missed = false;
        return answer;
      }
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return {
    push: (item) => {
      items.push(item);
      if (items.length > CAPACITY) {
        items.shift();
        missed = true;
      }
      wake();
    },
    next,
  };
}
