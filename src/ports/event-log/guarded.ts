import type { EventLog } from './event-log.ts';

/** New streams are refused first, so that what was accepted before can still be told to its end. */
export const RESERVE_FOR_ENDINGS = 64 * 1024 * 1024;
const RESERVE_FOR_NOBODY = 16 * 1024 * 1024;

/** Nothing was appended: the disk is too full to be sure of it. */
export class NoSpace extends Error {
  override readonly name = 'NoSpace';
  constructor(readonly freeBytes: number) {
    super(`only ${String(freeBytes)} bytes are left on the disk`);
  }
}

/**
 * `log`, but nothing is written on a disk that is almost full: new streams need 64 MiB, anything else 16 MiB. lmdb 3.5
 * damages its process's memory when a write fails for want of space (a message of its own overruns its buffer), so it
 * must not come to that.
 *
 * `onChange` is told when it begins to refuse and when it ends, once each.
 *
 * @throws NoSpace from `append`.
 */
export function openGuardedLog(
  log: EventLog,
  freeBytes: () => number,
  onChange: (refusing: boolean) => void = () => undefined,
): EventLog {
  let refusing = false;
  const turned = (to: boolean): void => {
    if (to !== refusing) onChange(to);
    refusing = to;
  };
  return {
    ...log,
    append: (stream, events, expectedVersion) => {
      const free = freeBytes();
      const needed = expectedVersion === 0 ? RESERVE_FOR_ENDINGS : RESERVE_FOR_NOBODY;
      turned(free < RESERVE_FOR_ENDINGS);
      return free < needed ? Promise.reject(new NoSpace(free)) : log.append(stream, events, expectedVersion);
    },
  };
}
