export type Exclusive = <T>(task: () => Promise<T>) => Promise<T>;

/** Runs one task after the other, in order of arrival. */
export function exclusive(): Exclusive {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const next = last.then(task, task);
    last = next.catch(() => undefined);
    return next;
  };
}
