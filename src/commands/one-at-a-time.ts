/** Runs the tasks of one name one after the other, in the order of the calls; the answer settles as the task does. */
export type OneAtATime = <T>(name: string, task: () => Promise<T>) => Promise<T>;

/**
 * For what many may do to one stream at the same moment. `handle` alone would keep the stream whole, but of n callers
 * each would read it up to a hundred times, and others who append to it, such as workers, would hardly get a word in.
 */
export function openOneAtATime(): OneAtATime {
  /** Of each name the end of its last task; they never reject. */
  const ends = new Map<string, Promise<void>>();
  return (name, task) => {
    const answer = (ends.get(name) ?? Promise.resolve()).then(task);
    const leave = (): void => {
      if (ends.get(name) === end) ends.delete(name);
    };
    const end = answer.then(leave, leave);
    ends.set(name, end);
    return answer;
  };
}
