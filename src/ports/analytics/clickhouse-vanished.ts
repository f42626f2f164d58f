import { setTimeout as delay } from 'node:timers/promises';
import { AnalyticsError } from './analytics.ts';

export interface Patience {
  /** Without a sign of life for so long, the server is asked whether it is still at it; milliseconds. */
  readonly quietMs: number;
  /** Ends the work and the questions. */
  readonly signal: AbortSignal;
}

/** An answer may be on its way while the server says that it is done. */
const NOES = 2;

/**
 * Waits for `work`, as long as there is reason to: a connection may be dead without anybody's being told, and an insert may take
 * minutes. `work` says when something of it has moved. One that does not know whether it is at it (`isAtIt` rejects) is waited for.
 * @throws AnalyticsError `unavailable` once the server has said twice that it is not at it; what was done is unknown.
 */
export async function unlessVanished<T>(
  work: (signal: AbortSignal, moved: () => unknown) => Promise<T>,
  isAtIt: (signal: AbortSignal) => Promise<boolean>,
  { quietMs, signal }: Patience,
): Promise<T> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  const seen = { movedAt: performance.now(), vanished: false };
  const watch = async (): Promise<void> => {
    for (let noes = 0; noes < NOES;) {
      await delay(quietMs / 2, undefined, { signal: ending.signal, ref: false });
      const isQuiet = performance.now() - seen.movedAt >= quietMs;
      noes = isQuiet && !(await isAtIt(ending.signal).catch(() => true)) ? noes + 1 : 0;
    }
    seen.vanished = true;
    end();
  };
  // Ends with the work.
  watch().catch(() => undefined);
  try {
    return await work(ending.signal, () => (seen.movedAt = performance.now()));
  } catch (error) {
    if (!seen.vanished) throw error;
    const message = 'ClickHouse gave no answer to an insert, and is not at it any more';
    throw new AnalyticsError('unavailable', message, { cause: error });
  } finally {
    end();
    signal.removeEventListener('abort', end);
  }
}
