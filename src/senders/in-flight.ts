import type { Sender } from './outcome.ts';

type Send = Sender['send'];

/** A `send` whose calls can be waited for. */
export interface InFlight {
  readonly send: Send;
  /** Resolves when every call that was made so far has settled. */
  readonly settled: () => Promise<void>;
}

export function trackInFlight(deliver: Send): InFlight {
  const inFlight = new Set<ReturnType<Send>>();
  return {
    send: (message, signal) => {
      const sending = deliver(message, signal);
      inFlight.add(sending);
      return sending.finally(() => inFlight.delete(sending));
    },
    settled: async () => {
      await Promise.allSettled(inFlight);
    },
  };
}
