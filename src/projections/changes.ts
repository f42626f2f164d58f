import { jsonSize } from '../ports/state/json.ts';
import { textOf } from '../ports/state/keys.ts';
import type { Change, Key, State } from '../ports/state/state.ts';

/** Changes to a state that are not committed yet, and the state as it will be with them. */
export interface Changes {
  readonly get: (key: Key) => unknown;
  /** @throws RangeError or TypeError when no state could keep it: a fold must hear of it, for a commit would fail again and again. */
  readonly put: (key: Key, value: unknown) => void;
  readonly del: (key: Key) => void;
  readonly list: () => readonly Change[];
}

/** Changes whose last ones can be taken back. */
export interface RevocableChanges extends Changes {
  /** Runs it; when it throws, what it changed is taken back before the error goes on. */
  readonly attempt: (task: () => void) => void;
}

/** Changes on top of a state. */
export function changesTo(state: Pick<State, 'get'>): RevocableChanges {
  const changes = new Map<string, Change>();
  /** What the task under way replaced, in its order. */
  const replaced: (readonly [text: string, before: Change | undefined])[] = [];
  const set = (key: Key, change: Change): void => {
    const text = textOf(key);
    replaced.push([text, changes.get(text)]);
    changes.set(text, change);
  };
  return {
    get: (key) => {
      const change = changes.get(textOf(key));
      if (change === undefined) return state.get(key);
      return 'put' in change ? change.value : undefined;
    },
    put: (key, value) => {
      jsonSize(value);
      set(key, { put: key, value });
    },
    del: (key) => {
      set(key, { del: key });
    },
    list: () => [...changes.values()],
    attempt: (task) => {
      replaced.length = 0;
      try {
        task();
      } catch (error) {
        for (const [text, before] of replaced.toReversed()) {
          if (before === undefined) changes.delete(text);
          else changes.set(text, before);
        }
        throw error;
      }
    },
  };
}
