import { bufferState, type BufferedState, type BufferOptions } from './buffered-state.ts';
import { RESERVE } from './guarded.ts';
import type { Size } from './overlay.ts';
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
/** What may gather in a state. */
const [MAX_KEYS, MAX_BYTES] = [20_000, 16 * 1024 * 1024];
/** What a change takes of the disk at the most, besides its value: a page of its own, and its share of those that lead there. */
const CHANGE_BYTES = 8 * 1024;

/**
 * The states of a store, written behind: a commit is answered when it is in memory, and what has gathered in all states is
 * written once a second, whole commits in their order, so that what comes and goes meanwhile is never written. A crash sets
 * each state back by that much. When too much has gathered it is written sooner, and commits wait for it. On a disk that is
 * almost full little gathers, so that all of it fits; what would not fit all the same is not written. What cannot be written
 * is told, kept and tried again.
 */
export function openBufferedStates(base: KeptStore, options: BufferingOptions): Started<StateStore> {
  const { logger, freeBytes, everyMs = EVERY_MS } = options;
  const buffers = new Map<string, BufferedState>();
  let timer: NodeJS.Timeout | undefined;
  let closing: Promise<void> | undefined;

  const { room, admit } = openRoom(freeBytes);
  const isTooMuch = (size: Size): boolean =>
    size.keys > MAX_KEYS || size.bytes > MAX_BYTES || onDisk(size) > room() / buffers.size;
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
  async function flush(): Promise<void> {
    await Promise.all([...buffers.values()].map((each) => each.flush()));
  }
  const close = (): Promise<void> => (closing ??= stop());
  const refuseClosed = (): void => {
    if (closing) throw new Error('the state store is closed');
  };
  const store: StateStore = {
    ...base,
    open: (name) => {
      refuseClosed();
      const parts = { name, logger, isTooMuch, admit, refuseClosed, committed: schedule };
      const found = buffers.get(name) ?? bufferState(base.open(name), parts);
      buffers.set(name, found);
      return found.state;
    },
    flush,
    backup: async (order, signal) => {
      await flush();
      return base.backup(order, signal);
    },
    close,
  };
  return { value: store, stop: close };
}

function onDisk({ keys, bytes }: Size): number {
  return keys * CHANGE_BYTES + bytes;
}

/** What is left for states; what is being written may take all of its part yet. */
function openRoom(freeBytes: () => number): { readonly room: () => number; readonly admit: BufferOptions['admit'] } {
  let underWay = 0;
  const room = (): number => freeBytes() - RESERVE - underWay;
  return {
    room,
    admit: (size) => {
      const [needed, left] = [onDisk(size), room()];
      if (needed > left)
        throw new Error(
          `${String(needed)} bytes are to be written, and only ${String(left)} are left on the disk for it`,
        );
      underWay += needed;
      return () => {
        underWay -= needed;
      };
    },
  };
}
