import type { KeptState, KeptStore } from './state.ts';

/** Below what the event log leaves, so that its last events can still be folded. */
export const RESERVE = 8 * 1024 * 1024;

/** `store`, but commits are refused on a disk that is almost full, for the reason that the event log has. */
export function openGuardedStates(store: KeptStore, freeBytes: () => number): KeptStore {
  return { ...store, open: (name) => guarded(store.open(name), freeBytes) };
}

function guarded(state: KeptState, freeBytes: () => number): KeptState {
  return {
    ...state,
    commit: (changes) => {
      const free = freeBytes();
      if (free < RESERVE) return Promise.reject(new Error(`only ${String(free)} bytes are left on the disk`));
      return state.commit(changes);
    },
  };
}
