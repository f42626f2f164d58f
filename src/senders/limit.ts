/** The caller gave up, or the sender was closed. */
export const STOPPED = 'STOPPED';
/** The sender's own limit for one attempt, waiting for a free connection included, ran out. */
export const OUT_OF_TIME = 'OUT_OF_TIME';
/** That limit ran out while waiting for a free connection: the message was not offered to the provider. */
export const NO_PLACE = 'NO_PLACE';

/** The message expired before there was a free connection: it was not offered to the provider. */
export const EXPIRED = 'EXPIRED';

/** Until when one attempt may last. */
export interface Limit {
  readonly signal: AbortSignal;
  /** Which end was reached, once the signal aborted. */
  readonly reached: () => typeof STOPPED | typeof OUT_OF_TIME | null;
  /** To be called when the attempt is over: nothing ends it any more. */
  readonly clear: () => void;
}

/** Ends when the caller says so or after `totalMs` milliseconds, and remembers which. */
export function openLimit(caller: AbortSignal, totalMs: number): Limit {
  const controller = new AbortController();
  let reached: ReturnType<Limit['reached']> = null;
  const end = (reason: typeof STOPPED | typeof OUT_OF_TIME): void => {
    reached ??= reason;
    controller.abort();
  };
  const onAbort = (): void => {
    end(STOPPED);
  };
  const timer = setTimeout(end, totalMs, OUT_OF_TIME);
  if (caller.aborted) onAbort();
  else caller.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    reached: () => reached,
    clear: () => {
      clearTimeout(timer);
      caller.removeEventListener('abort', onAbort);
    },
  };
}

/** Why no place was had before the limit or the closing of the sender. */
export function withoutPlace({ reached }: Limit): typeof STOPPED | typeof NO_PLACE {
  return reached() === OUT_OF_TIME ? NO_PLACE : STOPPED;
}
