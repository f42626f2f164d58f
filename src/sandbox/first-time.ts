/** The oldest make way for more. */
const CAPACITY = 10_000;

/** Whether a key comes for the first time; when it comes again, it is forgotten, so that the next time is a first one. */
export type FirstTime = (key: string) => boolean;

export function openFirstTime(): FirstTime {
  const seen = new Set<string>();
  return (key) => {
    if (seen.delete(key)) return false;
    const [oldest] = seen;
    if (seen.size >= CAPACITY && oldest !== undefined) seen.delete(oldest);
    seen.add(key);
    return true;
  };
}
