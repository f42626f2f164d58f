/** Places that take turns. What finds none free waits, in the order of the calls. */
export interface WaitingRoom<Place> {
  /**
   * Runs `work` as soon as a place is free, unless `signal` says before that nobody waits for it any more.
   * @throws what `refusal` makes of the reason why it was never run.
   */
  readonly run: <T>(work: (place: Place) => Promise<T>, signal?: AbortSignal) => Promise<T>;
  /** Turns away what waits and whatever comes from now on. Resolves when nothing runs any more. */
  readonly close: () => Promise<void>;
}

/** `full`: too many wait already. `gone`: its signal came first. `closed`: the room was. */
export type NoTurn = 'full' | 'gone' | 'closed';

export interface WaitingRoomOptions {
  readonly maxWaiting: number;
  readonly refusal: (why: NoTurn) => Error;
}

interface Waiting<Place> {
  readonly start: (place: Place) => void;
  readonly refuse: (why: NoTurn) => void;
}

export function openWaitingRoom<Place>(
  places: readonly Place[],
  { maxWaiting, refusal }: WaitingRoomOptions,
): WaitingRoom<Place> {
  const free = places.map((place) => ({ place }));
  const waiting = new Set<Waiting<Place>>();
  let closed = false;
  let idle: (() => void) | undefined;

  const turn = (signal: AbortSignal | undefined): Promise<Place> => {
    if (closed) return Promise.reject(refusal('closed'));
    if (signal?.aborted === true) return Promise.reject(refusal('gone'));
    const found = free.pop();
    if (found) return Promise.resolve(found.place);
    if (waiting.size >= maxWaiting) return Promise.reject(refusal('full'));
    return wait(signal);
  };
  const wait = (signal: AbortSignal | undefined): Promise<Place> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        waiting.delete(mine);
        signal?.removeEventListener('abort', gone);
      };
      const mine: Waiting<Place> = {
        start: (place) => {
          leave();
          resolve(place);
        },
        refuse: (why) => {
          leave();
          reject(refusal(why));
        },
      };
      const gone = (): void => mine.refuse('gone');
      waiting.add(mine);
      signal?.addEventListener('abort', gone);
    });
  const giveBack = (place: Place): void => {
    const [next] = waiting;
    if (next) next.start(place);
    else free.push({ place });
    if (free.length === places.length) idle?.();
  };
  return {
    run: async (work, signal) => {
      const place = await turn(signal);
      try {
        return await work(place);
      } finally {
        giveBack(place);
      }
    },
    close: async () => {
      closed = true;
      for (const { refuse } of waiting) refuse('closed');
      if (free.length < places.length) await new Promise<void>((resolve) => (idle = resolve));
    },
  };
}
