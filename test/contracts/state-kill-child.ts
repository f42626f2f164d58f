/**
 * Commits to two states in the directory given until somebody kills it, and says after each commit which number it held.
 * `state.test.ts` starts it.
 */
import { openLmdbState } from '../../src/ports/state/lmdb.ts';

const [directory = ''] = process.argv.slice(2);
const { value: store } = await openLmdbState(directory);
const states = [store.open('route'), store.open('dispatch')];
const start = Number(states[0]?.get(['checkpoint']) ?? 0);

for (let number = start + 1; ; number++) {
  const changes = [
    { put: ['checkpoint'], value: number },
    { put: ['number', number], value: 'x'.repeat(number % 3_000) },
  ];
  await Promise.all(states.map((state) => state.commit(changes)));
  process.stdout.write(`${String(number)}\n`);
}
