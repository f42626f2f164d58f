import { afterEach } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';

/** What is given to the answered function is stopped after the test, the last one first. Called once in a file, outside of tests. */
export function stoppedAfterEach(): <T>(started: Started<T>) => T {
  const stops: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });
  return ({ value, stop }) => {
    stops.push(stop);
    return value;
  };
}
