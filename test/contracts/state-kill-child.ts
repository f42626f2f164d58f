/**
 * Commits to two states in the directory given until somebody kills it, and says after each commit which number it held in the first;
 * they are `embedded`, or `buffered` above that.
 * `state.test.ts` starts it.
 */
import { setImmediate } from 'node:timers/promises';
import { openBufferedStates } from '../../src/ports/state/buffered.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';

const [directory = '', kind] = process.argv.slice(2);
const { value: kept } = await openLmdbState(directory);
const silent = (): void => undefined;
const logger = { debug: silent, info: silent, warn: silent, error: silent };
const options = { logger, freeBytes: () => Infinity, everyMs: 20 };
const store = kind === 'buffered' ? openBufferedStates(kept, options).value : kept;
const states = [store.open('route'), store.open('dispatch')];
/** Of each of them: a crash need not set both back to the same commit. */
const starts = states.map((state) => Number(state.get(['checkpoint']) ?? 0));

for (let step = 1; ; step++) {
  const committing = states.map((state, index) => {
    const number = (starts[index] ?? 0) + step;
    return state.commit([
      { put: ['checkpoint'], value: number },
      { put: ['number', number], value: 'x'.repeat(number % 3_000) },
    ]);
  });
  await Promise.all(committing);
  process.stdout.write(`${String((starts[0] ?? 0) + step)}\n`);
  // So that timers have their turn.
  await setImmediate();
}
