import { bufferState, type BufferedState } from './buffered-state.ts';
import { RESERVE } from './guarded.ts';
import type { KeptStore, StateStore } from './state.ts';
import type { Started } from '../../lifecycle.ts';
import type { Log } from '../../log.ts';

export interface BufferingOptions {
  readonly logger: Log;
  /** On the disk that the states are written to. */
  readonly freeBytes: () => number;
  /** From one write to the next; milliseconds, default 1,000. */
  readonly everyMs?: number;
}

const EVERY_MS = 1_000;
const MAX_CHANGES = 20_000;
/** What a change takes of the disk at the most: a page of its own, and its share of those that lead there. */
const CHANGE_BYTES = 8 * 1024;

/**
 * The states of a store, written behind: a commit is answered when it is in memory, and what has gathered in all states is
 * written once a second, whole commits in their order, so that what comes and goes meanwhile is never written. A crash sets
 * each state back by that much. When too much has gathered it is written sooner, and commits wait for it; on a disk that is
 * almost full little gathers, so that what is written fits. What cannot be written is told, kept and tried again.
 */
export function openBufferedStates(base: KeptStore, options: BufferingOptions): Started<StateStore> {
  const { logger, freeBytes, everyMs = EVERY_MS } = options;
  const buffers = new Map<string, BufferedState>();
  let timer: NodeJS.Timeout | undefined;
  let closing: Promise<void> | undefined;

  const capacity = (): number => Math.min(MAX_CHANGES, (freeBytes() - RESERVE) / CHANGE_BYTES);
  const schedule = (): void => {
    if (!closing) timer ??= setTimeout(() => void writeAll(), everyMs);
  };
  const dirty = (): readonly BufferedState[] => [...buffers.values()].filter(({ isDirty }) => isDirty());
  /** All in one turn, so that they share one flush of the disk. */
  async function writeAll(): Promise<void> {
    timer = undefined;
    await Promise.allSettled(dirty().map(({ write }) => write()));
    if (dirty().length > 0) schedule();
  }
  async function stop(): Promise<void> {
    clearTimeout(timer);
    await Promise.allSettled([...buffers.values()].map((each) => each.flush()));
    await base.close();
  }
  const close = (): Promise<void> => (closing ??= stop());
  const refuseClosed = (): void => {
    if (closing) throw new Error('the state store is closed');
  };
  const store: StateStore = {
  async function flush(): Promise<void> {
    await Promise.all([...buffers.values()].map((each) => each.flush()));
  }
    ...base,
    open: (name) => {
      refuseClosed();
      const parts = { name, logger, capacity, refuseClosed, committed: schedule };
      const found = buffers.get(name) ?? bufferState(base.open(name), parts);
      buffers.set(name, found);
      return found.state;
    },
    backup: async (order, signal) => {
      await flush();
      return base.backup(order, signal);
    },
    close,
    flush,
  };
  return { value: store, stop: close };
}
