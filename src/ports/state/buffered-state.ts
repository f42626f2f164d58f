import { openOutage, type Log } from '../../log.ts';
import { exclusive } from './exclusive.ts';
import { jsonSize } from './json.ts';
import { rangeOf, textOf } from './keys.ts';
import { mapInSlices } from './slices.ts';
import { merged, openOverlay, type Entry, type Overlay } from './overlay.ts';
import { DEFAULT_LIMIT, type Bounds, type Change, type KeptState, type Key, type State } from './state.ts';

/** A state whose commits gather in memory. */
export interface BufferedState {
  readonly state: State;
  /** Writes what gathered, while new commits gather again; whoever asks during a write shares it. Rejects when it failed: nothing is lost, and the next write begins with it. */
  readonly write: () => Promise<void>;
  /** All that was committed before is on the disk when this resolves. */
  readonly flush: () => Promise<void>;
  /** Whether something is to be written. */
  readonly isDirty: () => boolean;
}

export interface BufferOptions {
  /** Of the state, for the server's log. */
  readonly name: string;
  readonly logger: Log;
  /** How many keys may gather between two writes; with fewer in hand than a commit has, that one may go beyond. */
  readonly capacity: () => number;
  /** Called before each commit. @throws when there are to be none any more. */
  readonly refuseClosed: () => void;
  /** Called after each commit. */
  readonly committed: () => void;
}

/** Of values, for the while between two writes. */
const MAX_BYTES = 16 * 1024 * 1024;

export function bufferState(base: KeptState, options: BufferOptions): BufferedState {
  const inTurn = exclusive();
  const layers = openLayers(base, options);
  return {
    state: {
      get: (key) => {
        const found = layers.find(textOf(key));
        return found ? found.value : base.get(key);
      },
      list: (prefix, bounds = {}) => list(base, layers, prefix, bounds),
      count: (prefix, bounds = {}) => count(base, layers, prefix, bounds),
      commit: async (changes) => {
        options.refuseClosed();
        const steps = changes.map(toStep);
        await inTurn(async () => {
          await layers.room();
          layers.apply(steps);
        });
        options.committed();
      },
      clear: () =>
        inTurn(async () => {
          await layers.writeAll();
          await base.clear();
        }),
    },
    write: layers.write,
    flush: () => inTurn(layers.writeAll),
    isDirty: layers.isDirty,
  };
}

interface Step {
  readonly entry: Entry;
  readonly bytes: number;
}

/** Everything that can be wrong with a change must come out here: later it would keep all others from being written. */
function toStep(change: Change): Step {
  if ('del' in change) return { entry: { text: textOf(change.del), key: change.del, value: undefined }, bytes: 0 };
  const { put: key, value } = change;
  return { entry: { text: textOf(key), key, value }, bytes: jsonSize(value) };
}

/** What gathered since the last write, above what is being written, above what lies below. */
interface Layers extends Pick<BufferedState, 'write' | 'isDirty'> {
  readonly find: (text: string) => Entry | undefined;
  readonly between: (prefix: Key, bounds: Bounds) => Iterable<Entry>;
  readonly apply: (steps: readonly Step[]) => void;
  /** Resolves when more may gather; rejects when that waits for a write, and the write failed. */
  readonly room: () => Promise<void>;
  readonly writeAll: () => Promise<void>;
}

function openLayers(base: KeptState, { name, logger, capacity }: BufferOptions): Layers {
  const outage = openOutage(logger, {
    failed: 'a local state cannot be written; trying again',
    well: 'the local state is written again',
  });
  let [current, bytes] = [openOverlay(), 0];
  let writing: Overlay | null = null;
  let underWay: Promise<void> | null = null;

  const write = (): Promise<void> => (underWay ??= writeNow().finally(() => (underWay = null)));

  async function writeNow(): Promise<void> {
    if (writing === null) {
      writing = current;
      [current, bytes] = [openOverlay(), 0];
    }
    try {
      await base.commit(await changesIn(writing, base));
    } catch (err) {
      outage.met({ state: name, err });
      throw err;
    }
    writing = null;
    outage.over({ state: name });
  }

  const isIdle = (): boolean => writing === null && underWay === null;
  const isFull = (): boolean => current.size() > 0 && (current.size() >= capacity() || bytes >= MAX_BYTES);
  return {
    write,
    isDirty: () => writing !== null || current.size() > 0,
    find: (text) => current.get(text) ?? writing?.get(text),
    between: (prefix, bounds) => {
      const range = rangeOf(prefix, bounds);
      return merged(current.between(range), writing?.between(range) ?? []);
    },
    apply: (steps) => {
      for (const { entry, bytes: size } of steps) {
        current.set(entry);
        bytes += size;
      }
    },
    room: async () => {
      while (isFull()) {
        // A write that begins here takes what gathered at once, and this commit need not wait for its end.
        if (isIdle()) write().catch(() => undefined);
        else await write();
      }
    },
    writeAll: async () => {
      if (!isIdle()) await write();
      if (current.size() > 0) await write();
    },
  };
}

/** What was put and deleted again since the last write leaves nothing to do. */
async function changesIn(overlay: Overlay, base: KeptState): Promise<readonly Change[]> {
  const changes = await mapInSlices(overlay.all(), ({ key, value }): Change | null => {
    if (value !== undefined) return { put: key, value };
    return base.has(key) ? { del: key } : null;
  });
  return changes.filter((change) => change !== null);
}

type Listed = readonly (readonly [Key, unknown])[];

function list(base: KeptState, layers: Layers, prefix: Key, bounds: Bounds & { readonly limit?: number }): Listed {
  const { limit = DEFAULT_LIMIT } = bounds;
  const found: (readonly [Key, unknown])[] = [];
  for (const entry of merged(layers.between(prefix, bounds), base.entries(prefix, bounds))) {
    if (found.length >= limit) break;
    if ('read' in entry) found.push(entry.read());
    else if (entry.value !== undefined) found.push([entry.key, entry.value]);
  }
  return found;
}

function count(base: KeptState, layers: Layers, prefix: Key, bounds: Bounds): number {
  let sum = base.count(prefix, bounds);
  for (const { key, value } of layers.between(prefix, bounds)) {
    sum += Number(value !== undefined) - Number(base.has(key));
  }
  return sum;
}
