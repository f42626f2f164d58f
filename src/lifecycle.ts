/** Something that runs: what its users need, and how to end it. Holders of `value` never see `stop`. */
export interface Started<T> {
  readonly value: T;
  /** Ends it and waits for what is in flight. Called once. */
  readonly stop: () => Promise<void>;
}

/** Opened things in the order of opening; closes them last in, first out. */
export interface Scope {
  /** Takes charge of `started` and hands out its value. */
  readonly use: <T>(started: Started<T>) => T;
  /** Stops everything, never half-way: a failing stop does not keep the others open. Rethrows the first error. */
  readonly stop: () => Promise<void>;
}

export function openScope(): Scope {
  const stops: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | undefined;
  return {
    use: ({ value, stop }) => {
      stops.push(stop);
      return value;
    },
    stop: () => (stopping ??= stopAll(stops.toReversed())),
  };
}

/** Runs `open` in a scope: when it throws, what was opened so far is closed again before the error goes on. */
export async function start<T>(open: (scope: Scope) => Promise<T>): Promise<Started<T>> {
  const scope = openScope();
  return { value: await orStop(open(scope), scope.stop), stop: scope.stop };
}

/** What `work` comes to; when it fails, what runs already is stopped before the error goes on. */
export async function orStop<T>(work: Promise<T>, stop: () => Promise<void>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

/** Several that stop side by side; a failing stop does not cut the others short. */
export function together(...all: readonly Started<unknown>[]): Started<void> {
  return {
    value: undefined,
    stop: async () => {
      const results = await Promise.allSettled(all.map(({ stop }) => stop()));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    },
  };
}

async function stopAll(stops: readonly (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const stop of stops) {
    try {
      await stop();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
