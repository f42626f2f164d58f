/**
 * Runs `check` again and again until it neither throws nor rejects, and resolves with its answer. Polls at once, then at
 * every turn of the event loop for a while, then every 2 ms, or `pauseMs` where a check costs others time; checks never overlap.
 * @throws the last error of `check` once `timeoutMs` (default 5,000) have passed. A check that never settles counts as failed.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly pauseMs?: number } = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 5_000;
  const deadline = performance.now() + timeoutMs;
  for (let round = 0; ; round++) {
    try {
      return await within(check, deadline, timeoutMs);
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await nextRound(round, options.pauseMs);
  }
}

const EAGER_ROUNDS = 50;

function nextRound(round: number, pauseMs: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (round < EAGER_ROUNDS && pauseMs === undefined) setImmediate(resolve);
    else setTimeout(resolve, pauseMs ?? 2);
  });
}

async function within<T>(check: () => T | Promise<T>, deadline: number, timeoutMs: number): Promise<T> {
  const answer = check();
  if (!(answer instanceof Promise)) return answer;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => {
        reject(new Error(`check did not settle within ${String(timeoutMs)} ms`));
      },
      Math.max(0, deadline - performance.now()),
    );
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
