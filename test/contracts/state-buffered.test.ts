import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openBufferedStates } from '../../src/ports/state/buffered.ts';
import { bufferState, type BufferedState } from '../../src/ports/state/buffered-state.ts';
import { openGuardedStates } from '../../src/ports/state/guarded.ts';
import type { Size } from '../../src/ports/state/overlay.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { Change, KeptState, Key, State, StateStore } from '../../src/ports/state/state.ts';
import { BACKUP_SCRIPT } from '../support/backup-script.ts';
import { eventually } from '../support/eventually.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { SILENT } from '../support/pipeline.ts';

const HOUR_MS = 3_600_000;
const MIB = 1024 * 1024;

/** A state on the disk that tells what is written to it, fails when told to, and answers a write when it is let. */
interface Disk {
  readonly state: KeptState;
  readonly writes: (readonly Change[])[];
  /** How many values were decoded. */
  read: number;
  /** How many ranges are being gone through. */
  open: number;
  fails: boolean;
  /** Null: writes are answered at once. */
  held: (() => void)[] | null;
  readonly letGo: () => void;
  /** When nothing is being written. */
  readonly idle: () => Promise<unknown>;
}

function diskOf(state: KeptState): Disk {
  let last: Promise<unknown> = Promise.resolve();
  const disk: Disk = {
    state: {
      ...state,
      commit: (changes) => {
        const written = write(changes);
        last = written.catch(() => undefined);
        return written;
      },
      get: (key) => {
        disk.read += 1;
        return state.get(key);
      },
      *entries(prefix, bounds) {
        disk.open += 1;
        try {
          for (const { text, read } of state.entries(prefix, bounds)) {
            yield { text, read: () => ((disk.read += 1), read()) };
          }
        } finally {
          disk.open -= 1;
        }
      },
    },
    read: 0,
    open: 0,
    idle: () => last,
    writes: [],
    fails: false,
    held: null,
    letGo: () => {
      for (const answer of disk.held ?? []) answer();
      disk.held = null;
    },
  };
  async function write(changes: readonly Change[]): Promise<void> {
    if (disk.fails) throw new Error('no space');
    disk.writes.push(changes);
    await state.commit(changes);
    if (disk.held !== null) await new Promise<void>((resolve) => disk.held?.push(resolve));
  }
  return disk;
}

interface Given {
  readonly disk: Disk;
  readonly warnings: readonly string[];
  /** Above the disk as it is: what the one before had not written is lost. */
  readonly open: () => BufferedState;
}

function withDisk(work: (given: Given) => Promise<void>, capacity = 10_000): Promise<void> {
  return withTempDir(async (path) => {
    const { value: store, stop } = await openLmdbState(path);
    const disk = diskOf(store.open('test'));
    const warnings: string[] = [];
    const logger = { ...SILENT, warn: (_: object, message: string) => void warnings.push(message) };
    const nothing = (): void => undefined;
    const isTooMuch = ({ keys }: Size): boolean => keys > capacity;
    const options = {
      name: 'test',
      logger,
      isTooMuch,
      admit: () => nothing,
      refuseClosed: nothing,
      committed: nothing,
    };
    try {
      await work({ disk, warnings, open: () => bufferState(disk.state, options) });
    } finally {
      await stop();
    }
  });
}

describe('a state that is written behind', () => {
  it('never writes what came and went, and deletes what was written', () =>
    withDisk(async ({ disk, open }) => {
      const { state, write } = open();
      await state.commit([{ put: ['stays'], value: 1 }]);
      await write();
      await state.commit([
        { put: ['comes'], value: 1 },
        { put: ['checkpoint'], value: 1 },
      ]);
      await state.commit([{ del: ['comes'] }, { del: ['stays'] }, { put: ['checkpoint'], value: 2 }]);
      await write();
      expect(disk.writes.at(-1)).toHaveLength(2);
      expect(disk.writes.at(-1)).toEqual(
        expect.arrayContaining([{ del: ['stays'] }, { put: ['checkpoint'], value: 2 }]),
      );
    }));

  it('decodes only what it gives out, and leaves nothing open on the disk', () =>
    withDisk(async ({ disk, open }) => {
      const { state, flush } = open();
      await state.commit(Array.from({ length: 100 }, (_, number) => ({ put: ['n', number], value: number })));
      await flush();
      await state.commit(Array.from({ length: 90 }, (_, number) => ({ del: ['n', number] })));
      disk.read = 0;
      expect(state.list(['n'], { limit: 2 })).toEqual([
        [['n', 90], 90],
        [['n', 91], 91],
      ]);
      expect(state.count(['n'])).toBe(10);
      await flush();
      expect(state.list(['n'])).toHaveLength(10);
      expect([disk.read, disk.open]).toEqual([12, 0]);
    }));

  it.each([new Date(0), 1n, { a: [Number.NaN] }, { a: [undefined] }, new Map(), () => 1])(
    'refuses at once what could not be written: %s',
    (value) =>
      withDisk(async ({ disk, open }) => {
        const { state, flush } = open();
        const commit = state.commit([
          { put: ['a'], value: 1 },
          { put: ['b'], value },
        ]);
        await expect(commit).rejects.toThrow('not JSON');
        await flush();
        expect([disk.writes.flat(), state.list([])]).toEqual([[], []]);
      }),
  );

  it('keeps and repeats what could not be written, and takes more meanwhile, up to a bound', () =>
    withDisk(async ({ disk, warnings, open }) => {
      const { state, write, flush } = open();
      disk.fails = true;
      for (const number of [1, 2, 3]) await state.commit([{ put: ['n', number], value: number }]);
      await expect(write()).rejects.toThrow('no space');
      for (const number of [4, 5, 6]) await state.commit([{ put: ['n', number], value: number }]);
      await expect(state.commit([{ put: ['n', 7], value: 7 }])).rejects.toThrow('no space');
      expect(warnings).toContain('a local state cannot be written; trying again');
      expect(state.count(['n'])).toBe(6);
      disk.fails = false;
      await state.commit([{ put: ['n', 7], value: 7 }]);
      await flush();
      expect(
        open()
          .state.list(['n'])
          .map(([, value]) => value),
      ).toEqual([1, 2, 3, 4, 5, 6, 7]);
    }, 3));

  it('takes a commit while another is being written, and no more than that beyond the bound', () =>
    withDisk(async ({ disk, open }) => {
      const { state } = open();
      disk.held = [];
      for (const number of [1, 2, 3, 4]) await state.commit([{ put: ['n', number], value: number }]);
      let isTaken = false;
      const fifth = state.commit([{ put: ['n', 5], value: 5 }]).then(() => (isTaken = true));
      await eventually(() => expect(disk.held).toHaveLength(1));
      expect([isTaken, state.count(['n'])]).toEqual([false, 4]);
      disk.letGo();
      await fifth;
      expect(state.count(['n'])).toBe(5);
    }, 2));

  it(
    'is at every moment what was committed, and after a crash what was committed some time ago',
    () =>
      withDisk(async (given) => {
        await fc.assert(
          fc.asyncProperty(fc.array(step(), { minLength: 1, maxLength: 60 }), (steps) => play(given, steps)),
          { numRuns: 150 },
        );
      }, 12),
    60_000,
  );
});

/** States written behind on a real disk, of which `free` says what is left. */
async function withStates(
  work: (given: { readonly kept: StateStore; readonly store: StateStore; readonly folder: string }) => Promise<void>,
  options: { readonly everyMs: number; readonly free?: () => number },
): Promise<void> {
  await withTempDir(async (folder) => {
    const { value: kept } = await openLmdbState(join(folder, 'state'), BACKUP_SCRIPT);
    const freeBytes = options.free ?? (() => Infinity);
    const guarded = openGuardedStates(kept, freeBytes);
    const { value: store, stop } = openBufferedStates(guarded, { ...options, logger: SILENT, freeBytes });
    try {
      await work({ kept, store, folder });
    } finally {
      await stop();
    }
  });
}

describe('states that are written behind', () => {
  it('are written after a while, all of them', () =>
    withStates(
      async ({ kept, store }) => {
        const names = ['route', 'dispatch'];
        await Promise.all(names.map((name) => store.open(name).commit([{ put: ['a'], value: name }])));
        expect(names.map((name) => kept.open(name).get(['a']))).toEqual([undefined, undefined]);
        await eventually(() => expect(names.map((name) => kept.open(name).get(['a']))).toEqual(names));
      },
      { everyMs: 20 },
    ));

  it('are written before a copy of them is made', () =>
    withStates(
      async ({ store, folder }) => {
        await store.open('route').commit([{ put: ['checkpoint'], value: 'here' }]);
        const order = { scratch: join(folder, 'scratch'), file: join(folder, 'copy'), key: ['checkpoint'] };
        const { values } = await store.backup(order, new AbortController().signal);
        expect(values).toEqual({ route: 'here' });
      },
      { everyMs: HOUR_MS },
    ));

  it('gather little on a disk that is almost full, wait for room, and lose nothing', () => {
    let free = 8 * MIB + 3 * 8 * 1024;
    return withStates(
      async ({ kept, store }) => {
        const state = store.open('route');
        const put = (number: number): Promise<void> => state.commit([{ put: ['n', number], value: number }]);
        for (const number of [1, 2, 3, 4]) await put(number);
        await eventually(() => expect(kept.open('route').count(['n'])).toBeGreaterThanOrEqual(3));
        free = 7 * MIB;
        await expect(
          put(5)
            .then(() => put(6))
            .then(() => put(7)),
        ).rejects.toThrow('left on the disk');
        free = 1_000 * MIB;
        await eventually(() => expect(kept.open('route').count(['n'])).toBe(state.count(['n'])));
        expect(state.count(['n'])).toBeGreaterThanOrEqual(4);
      },
      { everyMs: 20, free: () => free },
    );
  });

  it('gather all together no more than the disk has room for', () =>
    withStates(
      async ({ kept, store }) => {
        const names = ['route', 'dispatch', 'receipts'];
        const states = names.map((name) => store.open(name));
        for (const state of states) {
          for (let number = 0; number < 2_000; number += 1) await state.commit([{ put: ['n', number], value: number }]);
        }
        const mostUnwritten = (16 * MIB) / (8 * 1024);
        await eventually(() => {
          const written = names.reduce((sum, name) => sum + kept.open(name).count([]), 0);
          expect(written).toBeGreaterThanOrEqual(3 * 2_000 - mostUnwritten);
        });
      },
      { everyMs: HOUR_MS, free: () => 24 * MIB },
    ));

  it.each([
    ['many keys', 1_000, 'short'],
    ['large values', 2, 'x'.repeat(MIB)],
  ])('are not written, nor lost, when the disk has filled since they gathered: %s', (_, count, value) => {
    let free = 200 * MIB;
    return withStates(
      async ({ kept, store }) => {
        const state = store.open('route');
        for (let number = 0; number < count; number += 1) await state.commit([{ put: ['n', number], value }]);
        free = 9 * MIB;
        await expect(store.flush()).rejects.toThrow('left on the disk');
        expect([kept.open('route').count([]), state.count([])]).toEqual([0, count]);
        free = 200 * MIB;
        await store.flush();
        expect(kept.open('route').count([])).toBe(count);
      },
      { everyMs: HOUR_MS, free: () => free },
    );
  });

  it('write a single commit as long as the disk is not almost full, however many keys it has', () =>
    withStates(
      async ({ kept, store }) => {
        const changes = Array.from({ length: 1_000 }, (_, number) => ({ put: ['n', number], value: number }));
        await store.open('route').commit(changes);
        await store.flush();
        expect(kept.open('route').count([])).toBe(1_000);
      },
      { everyMs: HOUR_MS, free: () => 9 * MIB },
    ));
});

/** In their order. */
const KEYS: readonly Key[] = [
  [-1],
  [2, 'a'],
  ['a'],
  ['a', 1],
  ['a', 2],
  ['a', 2, 'x'],
  ['a', 'é'],
  ['a\0'],
  ['ab'],
  ['b', 'a'],
];

type Step =
  | { readonly kind: 'commit'; readonly changes: readonly (readonly [key: number, value: number | null])[] }
  | { readonly kind: 'write' | 'hold' | 'let go' | 'fail' | 'mend' | 'clear' | 'crash' }
  | { readonly kind: 'look'; readonly prefix: Key; readonly from: number; readonly to: number; readonly limit: number };

function step(): fc.Arbitrary<Step> {
  const index = fc.nat({ max: KEYS.length - 1 });
  const changes = fc.array(fc.tuple(index, fc.option(fc.nat())), { maxLength: 6 });
  const kinds = ['write', 'hold', 'let go', 'fail', 'mend', 'clear', 'crash'] as const;
  const prefix = fc.constantFrom<Key>([], ['a'], ['a', 2], ['b']);
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('commit' as const), changes }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom(...kinds) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('look' as const),
        prefix,
        from: index,
        to: index,
        limit: fc.integer({ min: 1, max: 5 }),
      }),
    },
  );
}

type Model = ReadonlyMap<number, number>;

interface Played {
  /** After each commit since what is surely written. */
  history: Model[];
  buffered: BufferedState;
  held: boolean;
}

async function play({ disk, open }: Given, steps: readonly Step[]): Promise<void> {
  disk.letGo();
  disk.fails = false;
  await disk.state.clear();
  const played: Played = { history: [new Map()], buffered: open(), held: false };
  for (const each of steps) {
    await take(played, { disk, open }, each);
    expectToBe(played.buffered.state, played.history.at(-1) ?? new Map());
  }
}

async function take(played: Played, { disk, open }: Pick<Given, 'disk' | 'open'>, step: Step): Promise<void> {
  const { history, buffered } = played;
  switch (step.kind) {
    case 'commit':
      // Where it would wait for a write that is held, nobody would let that go.
      if (played.held) disk.letGo();
      played.held = false;
      return buffered.state.commit(step.changes.map(toChange)).then(
        () => void history.push(after(history.at(-1) ?? new Map(), step.changes)),
        () => expect(disk.fails).toBe(true),
      );
    case 'write':
      if (played.held) void buffered.write().catch(() => undefined);
      else
        await buffered.flush().then(
          () => history.splice(0, history.length - 1),
          () => expect(disk.fails).toBe(true),
        );
      return;
    case 'look':
      expectListed(buffered.state, history.at(-1) ?? new Map(), step);
      return;
    case 'clear':
      disk.letGo();
      disk.fails = false;
      played.held = false;
      await buffered.state.clear();
      played.history = [new Map()];
      return;
    case 'crash':
      disk.letGo();
      played.held = false;
      await disk.idle();
      played.buffered = open();
      played.history = [expectOneOf(history, played.buffered.state)];
      return;
    default:
      if (step.kind === 'hold') disk.held ??= [];
      if (step.kind === 'let go') disk.letGo();
      played.held = step.kind === 'hold' || (played.held && step.kind !== 'let go');
      disk.fails = step.kind === 'fail' || (disk.fails && step.kind !== 'mend');
  }
}

function toChange([index, value]: readonly [number, number | null]): Change {
  const key = KEYS[index] ?? [];
  return value === null ? { del: key } : { put: key, value };
}

function after(model: Model, changes: readonly (readonly [number, number | null])[]): Model {
  const next = new Map(model);
  for (const [index, value] of changes) {
    if (value === null) next.delete(index);
    else next.set(index, value);
  }
  return next;
}

function listed(model: Model): readonly (readonly [Key, number])[] {
  return KEYS.flatMap((key, index) => {
    const value = model.get(index);
    return value === undefined ? [] : [[key, value] as const];
  });
}

function expectToBe(state: State, model: Model): void {
  expect(state.list([])).toEqual(listed(model));
  expect(state.count([])).toBe(model.size);
  expect(KEYS.map((key) => state.get(key))).toEqual(KEYS.map((_, index) => model.get(index)));
}

function expectListed(
  state: State,
  model: Model,
  { prefix, from, to, limit }: Extract<Step, { readonly kind: 'look' }>,
): void {
  const [first, end] = [KEYS[from] ?? [], KEYS[to] ?? []];
  const expected = listed(
    after(
      model,
      KEYS.flatMap((_, index) => (index < from || index >= to ? [[index, null]] : [])),
    ),
  ).filter(([key]) => prefix.every((element, at) => key[at] === element));
  expect(state.list(prefix, { from: first, to: end, limit })).toEqual(expected.slice(0, limit));
  expect(state.count(prefix, { from: first, to: end })).toBe(expected.length);
}

/** As the crash left it: all of some commit and nothing of those after it, none of them from before the last write. */
function expectOneOf(history: readonly Model[], state: State): Model {
  const found = new Map(
    state.list([]).map(([key, value]) => [KEYS.findIndex((each) => each.join('/') === key.join('/')), value as number]),
  );
  expect(history.map((model) => listed(model))).toContainEqual(listed(found));
  return found;
}
