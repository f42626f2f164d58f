import type { Lane } from '../events/event.ts';
import { EXPIRED, type Limit, withoutPlace } from './limit.ts';
import type { Message } from './outcome.ts';

/** The sends that may be under way towards one provider at the same time, fewer after it refused connections. */
export interface Places {
  /**
   * Waits for a place; transactional before bulk, first come first served within a lane. `aborted` when the signal
   * aborts first or the places are closed. Who has `taken` a place must free it.
   */
  readonly take: (lane: Lane, signal: AbortSignal) => Promise<'taken' | 'aborted'>;
  readonly free: () => void;
  /**
   * To be called by the holder of a place, before freeing it, whose connection the provider refused. From then on there
   * are no more places than the others that are taken, and at least one. Answers whether there are others, so that it
   * makes sense to wait for a place again; if not, the provider refuses even a single connection.
   */
  readonly refused: () => boolean;
  /** How many may be taken now, from 1 to `max`. */
  readonly cap: () => number;
  /** Aborts those who wait and whoever comes; places taken stay taken. */
  readonly close: () => void;
}

interface Waiter {
  readonly settle: (answer: 'taken' | 'aborted') => void;
}

/** For so long without a refusal, and twice as many are tried; milliseconds. A refusal too many costs nobody anything. */
const RECOVERY_MS = 60_000;

/** @param now Milliseconds on a clock that never goes back. */
export function openPlaces(max: number, now: () => number): Places {
  const waiting: Record<Lane, Set<Waiter>> = { TRANSACTIONAL: new Set(), BULK: new Set() };
  const limit = openCap(max, now);
  let taken = 0;
  let closed = false;

  const admit = (): void => {
    while (taken < limit.cap()) {
      const [next] = waiting.TRANSACTIONAL.size > 0 ? waiting.TRANSACTIONAL : waiting.BULK;
      if (next === undefined) return;
      taken++;
      next.settle('taken');
    }
  };
  const take = (lane: Lane, signal: AbortSignal): Promise<'taken' | 'aborted'> => {
    if (closed || signal.aborted) return Promise.resolve('aborted');
    if (taken < limit.cap() && waiting.TRANSACTIONAL.size === 0 && waiting.BULK.size === 0) {
      taken++;
      return Promise.resolve('taken');
    }
    return new Promise((resolve) => {
      const onAbort = (): void => {
        waiter.settle('aborted');
      };
      const waiter: Waiter = {
        settle: (answer) => {
          waiting[lane].delete(waiter);
          signal.removeEventListener('abort', onAbort);
          resolve(answer);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      waiting[lane].add(waiter);
      admit();
    });
  };
  return {
    take,
    free: () => {
      taken--;
      admit();
    },
    refused: () => {
      const others = taken - 1;
      limit.lower(others);
      return others > 0;
    },
    cap: limit.cap,
    close: () => {
      closed = true;
      for (const waiter of [...waiting.TRANSACTIONAL, ...waiting.BULK]) waiter.settle('aborted');
    },
  };
}

/**
 * Takes a place for a message that is still worth something when it has one.
 * @returns null when a place was taken, else why not: then there is nothing to free.
 */
export async function takePlace(
  places: Places,
  { lane, expiresAt }: Pick<Message, 'lane' | 'expiresAt'>,
  limit: Limit,
): Promise<ReturnType<typeof withoutPlace> | typeof EXPIRED | null> {
  if ((await places.take(lane, limit.signal)) === 'aborted') return withoutPlace(limit);
  if (expiresAt === null || !(Date.parse(expiresAt) <= Date.now())) return null;
  places.free();
  return EXPIRED;
}

/** Computed whenever it is asked for, so that no timer is needed: while somebody waits, somebody else frees a place. */
function openCap(max: number, now: () => number): { cap: () => number; lower: (to: number) => void } {
  let lowered = max;
  let since = now();
  const cap = (): number => Math.min(max, lowered * 2 ** Math.floor((now() - since) / RECOVERY_MS));
  const lower = (to: number): void => {
    lowered = Math.max(1, Math.min(cap(), to));
    since = now();
  };
  return { cap, lower };
}
