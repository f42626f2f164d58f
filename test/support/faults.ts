/** For commands in tests: a fault of ours in one item of a bulk request fails the test run loudly. */
export function reportFault(error: unknown): void {
  throw error;
}
