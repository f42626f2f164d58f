import type { Change, Key, State } from '../ports/state/state.ts';

/** Changes to a state that are not committed yet, and the state as it will be with them. */
export interface Changes {
  readonly get: (key: Key) => unknown;
  readonly put: (key: Key, value: unknown) => void;
  readonly del: (key: Key) => void;
  readonly list: () => readonly Change[];
}

export function changesTo(state: State): Changes {
  const changes = new Map<string, Change>();
  return {
    get: (key) => {
      const change = changes.get(JSON.stringify(key));
      if (change === undefined) return state.get(key);
      return 'put' in change ? change.value : undefined;
    },
    put: (key, value) => void changes.set(JSON.stringify(key), { put: key, value }),
    del: (key) => void changes.set(JSON.stringify(key), { del: key }),
    list: () => [...changes.values()],
  };
}

export function applyChange(changes: Changes, change: Change): void {
  if ('put' in change) changes.put(change.put, change.value);
  else changes.del(change.del);
}
