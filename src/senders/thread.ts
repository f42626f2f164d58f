import { setTimeout as delay } from 'node:timers/promises';
import { openBell } from '../bell.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Outcome, Sender } from './outcome.ts';
import { NOT_HANDED_OVER } from './thread-desk.ts';
import { type Life, startLife, type ThreadOptions, timesOf } from './thread-life.ts';

/** A sender in a thread of its own. */
export interface SenderThread extends Sender {
  /** Whether its thread runs; while it does not, messages wait. */
  readonly isUp: () => boolean;
}

export interface SenderThreadOptions extends ThreadOptions {
  readonly logger: Log;
}

/** A thread that has run for so long, in milliseconds, is taken to be well. */
const LASTING_MS = 60_000;
const LONGEST_PAUSE = 30;

/**
 * Opens a sender in a thread of its own: the providers' libraries cost as much as all the rest of a delivery, and what breaks
 * in them ends that thread and not the process. A message that the thread had and did not answer when it ended is `unknown`.
 * While there is no thread, which is started again, messages wait for it until they are aborted, and are `retry` then: jobs stay
 * in their queues meanwhile, as with a provider that is slow.
 * @throws when the options are unusable; the error names no secret.
 */
export async function openSenderThread(options: SenderThreadOptions): Promise<Started<SenderThread>> {
  const stopping = new AbortController();
  const isStopping = (): boolean => stopping.signal.aborted;
  const first = await startLife(options, stopping.signal);
  const { provider, channel } = first;
  let life: Life | null = first;
  const back = openBell();
  const supervise = async (): Promise<void> => {
    const pauses = openPauses(timesOf(options).pause);
    for (let current: Life | null = first; current !== null;) {
      const how = await current.ended;
      life = null;
      if (isStopping()) return;
      options.logger.error({ provider, ...how }, 'the thread of a sender ended; starting it again');
      current = await startAgain(options, pauses, stopping.signal);
      // Whoever stops did not see this one.
      if (isStopping()) return current?.stop();
      life = current;
      back.ring();
    }
  };
  const supervised = supervise();
  const stop = async (): Promise<void> => {
    stopping.abort();
    back.ring();
    await life?.stop();
    await supervised;
  };
  const send: Sender['send'] = async (message, signal) => {
    while (life === null && !signal.aborted && !isStopping()) await back.next({ signal });
    return life?.send(message, signal) ?? (isStopping() ? NOT_HANDED_OVER : LATER);
  };
  return { value: { provider, channel, send, isUp: () => life !== null }, stop };
}

/** A thread that does not come back is not asked for all the time. */
const LATER: Outcome = { ...NOT_HANDED_OVER, afterMs: 5_000 };

/** Null: it is not wanted any more. */
async function startAgain(
  options: SenderThreadOptions,
  pauses: () => number,
  stopping: AbortSignal,
): Promise<Life | null> {
  const isWanted = (): boolean => !stopping.aborted;
  while (isWanted()) {
    await delay(pauses(), undefined, { signal: stopping }).catch(() => undefined);
    if (!isWanted()) break;
    try {
      return await startLife(options, stopping);
    } catch (err) {
      if (isWanted())
        options.logger.error({ provider: options.plan.kind, err }, 'the thread of a sender does not start');
    }
  }
  return null;
}

/** Longer each time, until the thread has lasted. */
function openPauses(shortest: number): () => number {
  let pause = shortest;
  let lastAt = -Infinity;
  return () => {
    const now = performance.now();
    pause = now - lastAt > LASTING_MS ? shortest : Math.min(pause * 2, shortest * LONGEST_PAUSE);
    lastAt = now;
    return pause;
  };
}
