import { join } from 'node:path';
import { openTempDir } from './temp-dir.ts';
import { start, type Started } from '../../src/lifecycle.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { State } from '../../src/ports/state/state.ts';

/** A state of its own in a fresh directory; `stop` removes it. */
export function openTempState(): Promise<Started<State>> {
  return start(async (scope) => {
    const folder = scope.use(await openTempDir());
    return scope.use(await openLmdbState(join(folder, 'state'))).open('test');
  });
}
