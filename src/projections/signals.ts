/*
 * By hand: what `AbortSignal.any` of Node 20 makes of a signal stays with it for as long as that one lives, and ours live
 * as long as the process.
 */

/** A signal that aborts together with any of the others, for their reason. */
export interface Linked {
  readonly signal: AbortSignal;
  readonly abort: () => void;
  /** Lets go of the others, which keep nothing of it. */
  readonly release: () => void;
}

export function linkedTo(...others: readonly AbortSignal[]): Linked {
  const own = new AbortController();
  const links = others.map((other) => ({ other, follow: () => own.abort(other.reason) }));
  for (const { other, follow } of links) {
    other.addEventListener('abort', follow);
    if (other.aborted) follow();
  }
  const release = (): void => {
    for (const { other, follow } of links) other.removeEventListener('abort', follow);
  };
  return { signal: own.signal, abort: () => own.abort(), release };
}

/** Gives `work` a signal that aborts after `ms` milliseconds, or with `signal`. */
export async function withDeadline<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const linked = linkedTo(signal);
  const timer = setTimeout(linked.abort, ms);
  try {
    return await work(linked.signal);
  } finally {
    clearTimeout(timer);
    linked.release();
  }
}

/** What comes of `work`, unless it is to stop first: nobody waits for it then. */
export function unlessStopped<T>(stopping: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new Error('stopped'));
    const settle = (): void => stopping.removeEventListener('abort', stop);
    stopping.addEventListener('abort', stop);
    if (stopping.aborted) stop();
    work.then(resolve, reject).finally(settle);
  });
}
