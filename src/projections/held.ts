import type { Lease } from './lease.ts';
import { linkedTo, type Linked } from './signals.ts';

/** Tells whoever folds that it has folded all that was recorded before this process took the lease. */
export const LEASE_TAKEN = 'LeaseTaken';

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
