/** For whoever must not go on. Each call makes a promise of its own, so that it goes with the one that waits for it. */
export function never(): Promise<never> {
  return new Promise(() => undefined);
}
