import { setImmediate as nextTurn } from 'node:timers/promises';

/** Takes a few milliseconds. */
const SLICE = 1_000;

/** What `map` makes of each; of many, a slice in each turn of the event loop. */
export async function mapInSlices<T, U>(items: Iterable<T>, map: (item: T) => U): Promise<readonly U[]> {
  const mapped: U[] = [];
  for (const item of items) {
    if (mapped.push(map(item)) % SLICE === 0) await nextTurn();
  }
  return mapped;
}
