import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Bounds, Key, State } from '../ports/state/state.ts';

export interface PagesOf extends Bounds {
  readonly prefix: Key;
  /** Of a page, at the most. */
  readonly size: number;
}

/**
 * Entries that are to be moved elsewhere, one page after the other. Each is looked for in a turn of the event loop of its own,
 * because commits need not take one, and behind the page before: to go past all that was moved away from there, again and
 * again, takes long. What comes in before that place meanwhile is not found. No key may be the beginning of another one.
 */
export async function* pagesOf(
  state: State,
  { prefix, size, ...bounds }: PagesOf,
): AsyncGenerator<readonly (readonly [Key, unknown])[], void> {
  for (let from = bounds.from; ;) {
    const page = state.list(prefix, { ...bounds, ...(from && { from }), limit: size });
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < size) return;
    from = [...last[0], 0];
    await nextTurn();
  }
}
