import { linkedTo, type Linked } from './signals.ts';
import { START, type Position } from '../ports/event-log/event-log.ts';

/** Whether this process may act for a role of which only one acts at a time. */
export interface Lease {
  readonly name: string;
  /**
   * Position of the record that gave this process the lease: whoever acts has folded everything up to there. Null while it is
   * not held, or no longer certain. To be asked before every act.
   */
  readonly heldSince: () => Position | null;
  /** Told whenever it is gained or lost. Answers how to stop listening. */
  readonly onChange: (listener: () => void) => () => void;
}

export const LEASE_TAKEN = 'LeaseTaken';

/** Nobody else can have it. */
export const ALWAYS_HELD: Lease = { name: 'none', heldSince: () => START, onChange: () => () => undefined };

/** Resolves when it is held, or when `signal` aborts. */
export function untilHeld(lease: Lease, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (lease.heldSince() === null && !signal.aborted) return;
      stopListening();
      signal.removeEventListener('abort', look);
      resolve();
    };
    const stopListening = lease.onChange(look);
    signal.addEventListener('abort', look);
    look();
  });
}

/** A signal that aborts when it is lost, or with `outer`. */
export function whileHeld(lease: Lease, outer: AbortSignal): Linked {
  const linked = linkedTo(outer);
  const look = (): void => {
    if (lease.heldSince() === null) linked.abort();
  };
  const stopListening = lease.onChange(look);
  look();
  return {
    ...linked,
    release: () => {
      stopListening();
      linked.release();
    },
  };
}
