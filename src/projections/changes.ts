import type { Change, Key, State } from '../ports/state/state.ts';

/** Changes to a state that are not committed yet, and the state as it will be with them. */
export interface Changes {
  readonly get: (key: Key) => unknown;
  readonly put: (key: Key, value: unknown) => void;
  readonly del: (key: Key) => void;
  readonly list: () => readonly Change[];
}

/** Changes on top of a state, or of other changes. */
export function changesTo(state: Pick<State, 'get'>): Changes {
  const changes = new Map<string, Change>();
  return {
    get: (key) => {
      const change = changes.get(JSON.stringify(key));
      if (change === undefined) return state.get(key);
      return 'put' in change ? change.value : undefined;
    },
    put: (key, value) => {
      if (value === undefined) throw new TypeError('undefined is not a value');
      changes.set(textOf(key), { put: key, value });
    },
    del: (key) => void changes.set(textOf(key), { del: key }),
    list: () => [...changes.values()],
  };
}

/** @throws TypeError when no state could keep the key: a fold must hear of it, for a commit would fail again and again. */
function textOf(key: Key): string {
  const good = key.every((part: unknown) =>
    typeof part === 'number' ? Number.isFinite(part) : typeof part === 'string' && part.isWellFormed(),
  );
  if (!good) throw new TypeError(`${JSON.stringify(key)} cannot be a key`);
  return JSON.stringify(key);
}

export function applyChange(changes: Changes, change: Change): void {
  if ('put' in change) changes.put(change.put, change.value);
  else changes.del(change.del);
}
