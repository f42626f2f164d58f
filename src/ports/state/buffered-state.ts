import { openOutage, type Log } from '../../log.ts';
import { exclusive } from './exclusive.ts';
import { jsonSize } from './json.ts';
import { rangeOf, textOf } from './keys.ts';
import { mapInSlices } from './slices.ts';
import { merged, openOverlay, type Entry, type Overlay, type Size } from './overlay.ts';
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
  /** Whether so much may not gather between two writes. Of a single commit it is not asked. */
  readonly isTooMuch: (size: Size) => boolean;
  /** Called before each write, answers what is called after it. @throws when there is no room for it, and it is to be tried again later. */
  readonly admit: (size: Size) => () => void;
  /** Called before each commit. @throws when there are to be none any more. */
  readonly refuseClosed: () => void;
  /** Called after each commit. */
  readonly committed: () => void;
}

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
        const steps = changes.map(toEntry);
        await inTurn(async () => {
          await layers.roomFor(steps);
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

/** Everything that can be wrong with a change must come out here: later it would keep all others from being written. */
function toEntry(change: Change): Entry {
  if ('del' in change) return { text: textOf(change.del), key: change.del, value: undefined, bytes: 0 };
  const { put: key, value } = change;
  return { text: textOf(key), key, value, bytes: jsonSize(value) };
}

/** What gathered since the last write, above what is being written, above what lies below. */
interface Layers extends Pick<BufferedState, 'write' | 'isDirty'> {
  readonly find: (text: string) => Entry | undefined;
  readonly between: (prefix: Key, bounds: Bounds) => Iterable<Entry>;
  readonly apply: (commit: readonly Entry[]) => void;
  /** Resolves when this commit may gather too; rejects when that waits for a write, and the write failed. */
  readonly roomFor: (commit: readonly Entry[]) => Promise<void>;
  readonly writeAll: () => Promise<void>;
}

function openLayers(base: KeptState, { name, logger, isTooMuch, admit }: BufferOptions): Layers {
  const outage = openOutage(logger, {
    failed: 'a local state cannot be written; trying again',
    well: 'the local state is written again',
  });
  let current = openLayer();
  let writing: Layer | null = null;
  let underWay: Promise<void> | null = null;

  const write = (): Promise<void> => (underWay ??= writeNow().finally(() => (underWay = null)));

  async function writeNow(): Promise<void> {
    if (writing === null) {
      writing = current;
      current = openLayer();
    }
    try {
      await writeLayer(writing, base, admit);
    } catch (err) {
      outage.met({ state: name, err });
      throw err;
    }
    writing = null;
    outage.over({ state: name });
  }

  const isIdle = (): boolean => writing === null && underWay === null;
  return {
    write,
    isDirty: () => writing !== null || current.commits > 0,
    find: (text) => current.changes.get(text) ?? writing?.changes.get(text),
    between: (prefix, bounds) => {
      const range = rangeOf(prefix, bounds);
      return merged(current.changes.between(range), writing?.changes.between(range) ?? []);
    },
    apply: (commit) => {
      for (const entry of commit) current.changes.set(entry);
      if (commit.length > 0) current.commits += 1;
    },
    roomFor: async (commit) => {
      while (current.commits > 0 && isTooMuch(sizeWith(current.changes.size(), commit))) {
        // A write that begins here takes what gathered at once, and this commit need not wait for its end.
        if (isIdle()) write().catch(() => undefined);
        else await write();
      }
    },
    writeAll: async () => {
      if (!isIdle()) await write();
      if (current.commits > 0) await write();
    },
  };
}

/** What commits have gathered. */
interface Layer {
  readonly changes: Overlay;
  commits: number;
}

function openLayer(): Layer {
  return { changes: openOverlay(), commits: 0 };
}

function sizeWith({ keys, bytes }: Size, commit: readonly Entry[]): Size {
  return { keys: keys + commit.length, bytes: commit.reduce((sum, entry) => sum + entry.bytes, bytes) };
}

/** Of a single commit, which cannot be less, only its values are counted: what is open at the end is to be folded still. */
async function writeLayer(
  { changes: overlay, commits }: Layer,
  base: KeptState,
  admit: BufferOptions['admit'],
): Promise<void> {
  const changes = await changesIn(overlay, base);
  const written = admit({ keys: commits > 1 ? changes.length : 0, bytes: overlay.size().bytes });
  try {
    await base.commit(changes);
  } finally {
    written();
  }
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
