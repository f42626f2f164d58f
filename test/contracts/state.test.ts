import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Started } from '../../src/lifecycle.ts';
import { openBufferedStates } from '../../src/ports/state/buffered.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { Change, Key, State, StateStore } from '../../src/ports/state/state.ts';
import { BACKUP_SCRIPT } from '../support/backup-script.ts';
import { SILENT } from '../support/pipeline.ts';
import { openTempDir, withTempDir } from '../support/temp-dir.ts';
import { exitOf, startTs } from '../support/ts-child.ts';

interface Adapter {
  readonly name: string;
  readonly open: (path: string) => Promise<Started<StateStore>>;
  /** Of the child that is killed. */
  readonly kind: 'embedded' | 'buffered';
}

function buffered(name: string, everyMs: number): Adapter {
  const open = async (path: string): Promise<Started<StateStore>> => {
    const { value: kept } = await openLmdbState(path, BACKUP_SCRIPT);
    return openBufferedStates(kept, { logger: SILENT, freeBytes: () => Infinity, everyMs });
  };
  return { name, open, kind: 'buffered' };
}

const ADAPTERS: readonly Adapter[] = [
  { name: 'the embedded state', open: (path) => openLmdbState(path, BACKUP_SCRIPT), kind: 'embedded' },
  buffered('the embedded state, written behind, later', 3_600_000),
  buffered('the embedded state, written behind, at once', 0),
];

describe.each(ADAPTERS)('$name', ({ open, kind }) => {
  let directory: Started<string>;
  let store: Started<StateStore>;
  let names = 0;
  const openState = (): State => store.value.open(`state-${String(++names)}`);

  beforeAll(async () => {
    directory = await openTempDir();
    store = await open(directory.value);
  });
  afterAll(async () => {
    await store.stop();
    await directory.stop();
  });

  it('gives back what was committed, and undefined for what is not there', async () => {
    const state = openState();
    const value = { text: 'Grüße 🛰', list: [1, -2.5, true, null], nested: { empty: {} } };
    await state.commit([
      { put: ['user', 1], value },
      { put: ['user', 2], value: null },
    ]);
    expect(state.get(['user', 1])).toEqual(value);
    expect(state.get(['user', 2])).toBeNull();
    expect(state.get(['user', 3])).toBeUndefined();
    expect(state.get(['user'])).toBeUndefined();
  });

  it('applies the changes of a commit in order', async () => {
    const state = openState();
    await state.commit([
      { put: ['a'], value: 1 },
      { put: ['a'], value: 2 },
      { put: ['b'], value: 1 },
      { del: ['b'] },
      { del: ['c'] },
      { del: ['d'] },
      { put: ['d'], value: 4 },
    ]);
    expect(state.list(['a'])).toEqual([[['a'], 2]]);
    expect(state.get(['b'])).toBeUndefined();
    expect(state.get(['d'])).toBe(4);
    await state.commit([]);
  });

  it.each<[string, Change]>([
    ['an empty key', { put: [], value: 1 }],
    ['a key too long', { put: ['x'.repeat(2_000)], value: 1 }],
    ['a number that has no order', { put: [Number.NaN], value: 1 }],
    ['half a character', { del: ['\ud800'] }],
    ['a value that is not JSON', { put: ['b'], value: undefined }],
  ])('commits nothing at all when one change has %s', async (_, change) => {
    const state = openState();
    await expect(state.commit([{ put: ['a'], value: 1 }, change])).rejects.toThrow();
    await state.commit([{ put: ['z'], value: 1 }]);
    expect(state.list([])).toEqual([[['z'], 1]]);
  });

  it('keeps many states apart, and hands out the same one for the same name', async () => {
    const states = Array.from({ length: 20 }, openState);
    await Promise.all(states.map((state, index) => state.commit([{ put: ['key'], value: index }])));
    expect(states.map((state) => state.get(['key']))).toEqual(states.map((_, index) => index));
    expect(store.value.open('twice')).toBe(store.value.open('twice'));
  });

  it('orders keys element by element: numbers before strings, numbers by value, strings by their bytes', async () => {
    const state = openState();
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(key(), { maxLength: 60, selector: JSON.stringify }), async (keys) => {
        await refill(state, keys);
        expect(state.list([]).map(([found]) => found)).toEqual(keys.toSorted(compareKeys));
        for (const each of keys) expect(state.get(each)).toBe(JSON.stringify(each));
      }),
      { numRuns: 15 },
    );
  });

  it('lists what starts with a prefix, element by element, from and to where it is told', async () => {
    const state = openState();
    const bounds = fc.record({
      from: fc.option(key()),
      to: fc.option(key()),
      limit: fc.option(fc.integer({ min: 1, max: 9 })),
    });
    const prefixed = fc.uniqueArray(key(), { maxLength: 60, selector: JSON.stringify });
    await fc.assert(
      fc.asyncProperty(prefixed, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 2 }), bounds)), async (keys, queries) => {
        await refill(state, keys);
        for (const [which, length, { from, to, limit }] of queries) {
          const prefix = (keys[which % keys.length] ?? []).slice(0, length);
          const expected = keys
            .filter((each) => prefix.every((element, index) => each[index] === element))
            .filter((each) => (!from || compareKeys(each, from) >= 0) && (!to || compareKeys(each, to) < 0));
          const options = { ...(from && { from }), ...(to && { to }), ...(limit && { limit }) };
          const found = state.list(prefix, options).map(([each]) => each);
          expect(found).toEqual(expected.toSorted(compareKeys).slice(0, limit ?? keys.length));
        }
      }),
      { numRuns: 15 },
    );
  });

  it('does not take a longer string for a prefix, lists a thousand unless told otherwise', async () => {
    const state = openState();
    const keys: Key[] = [
      ['a'],
      ['a', ''],
      ['a', 'b'],
      ['a', 1],
      ['a\0'],
      ['a\0\u0003'],
      ['ab'],
      ['ab', 'c'],
      ['', 'a'],
      ['b'],
    ];
    await state.commit(keys.map((each) => ({ put: each, value: 0 })));
    expect(state.list(['a']).map(([each]) => each)).toEqual([['a'], ['a', 1], ['a', ''], ['a', 'b']]);
    expect(state.list(['']).map(([each]) => each)).toEqual([['', 'a']]);
    await state.commit(Array.from({ length: 1_500 }, (_, index) => ({ put: ['n', index], value: index })));
    expect(state.list(['n'])).toHaveLength(1_000);
    expect(state.list(['n'], { limit: 2_000 }).map(([, value]) => value)).toEqual(
      Array.from({ length: 1_500 }, (_, i) => i),
    );
  });

  it('is empty once it is cleared, of what was committed before, and leaves other states alone', async () => {
    const [state, other] = [openState(), openState()];
    await other.commit([{ put: ['a'], value: 1 }]);
    const before = state.commit(Array.from({ length: 2_000 }, (_, index) => ({ put: ['n', index], value: index })));
    const cleared = state.clear();
    const after = state.commit([{ put: ['b'], value: 2 }]);
    await Promise.all([before, cleared, after]);
    expect(state.list([])).toEqual([[['b'], 2]]);
    expect(other.get(['a'])).toBe(1);
  });

  it('names the states it holds, and removes one that is not in use', async () => {
    await withTempDir(async (path) => {
      const first = await open(path);
      await first.value.open('route').commit([{ put: ['a'], value: 1 }]);
      first.value.open('dispatch');
      expect(first.value.names().toSorted()).toEqual(['dispatch', 'route']);
      await expect(first.value.remove('route')).rejects.toThrow('in use');
      await first.stop();
      const second = await open(path);
      await second.value.remove('route');
      expect(second.value.names()).toEqual(['dispatch']);
      expect(second.value.open('route').list([])).toEqual([]);
      await second.stop();
    });
  });

  it('copies all states as of one moment while they are committed to, and tells what the copy holds', async () => {
    await withTempDir(async (path) => {
      const source = await open(join(path, 'source'));
      const state = source.value.open('route');
      source.value.open('nothing');
      let [number, stopped] = [0, false];
      const commits = async (): Promise<void> => {
        while (!stopped) await state.commit(commitOf(++number));
      };
      const committing = commits();
      const file = join(path, 'data.mdb');
      const backup = await source.value.backup(
        { scratch: join(path, 'scratch'), file, key: ['checkpoint'] },
        new AbortController().signal,
      );
      stopped = true;
      await committing;
      await source.stop();
      const bytes = await readFile(file);
      expect(backup.bytes).toBe(bytes.length);
      expect(backup.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
      expect((await readdir(path)).toSorted()).toEqual(['data.mdb', 'source']);
      const copy = await open(path);
      const checkpoint = copy.value.open('route').get(['checkpoint']);
      expect(backup.values).toEqual({ route: checkpoint ?? null, nothing: null });
      if (checkpoint !== undefined) expectWholeCommits(copy.value.open('route'), 1);
      await copy.stop();
    });
  });

  it('ends a copy when told to, and goes on', async () => {
    await withTempDir(async (path) => {
      const stopping = new AbortController();
      const order = { scratch: join(path, 'scratch'), file: join(path, 'copy'), key: ['checkpoint'] };
      const copying = store.value.backup(order, stopping.signal);
      stopping.abort();
      await expect(copying).rejects.toThrow(/SIGKILL|aborted/);
      const state = openState();
      await state.commit([{ put: ['a'], value: 1 }]);
      expect(state.get(['a'])).toBe(1);
      await expect(store.value.backup({ ...order, file: path }, new AbortController().signal)).rejects.toThrow(
        'EEXIST',
      );
    });
  });

  it('refuses everything once it is closed, and holds it all when it is opened again', async () => {
    await withTempDir(async (path) => {
      const first = await open(path);
      const state = first.value.open('route');
      const committing = state.commit([{ put: ['a'], value: 1 }]);
      await first.stop();
      await committing;
      expect(() => state.get(['a'])).toThrow('the state store is closed');
      expect(() => first.value.open('dispatch')).toThrow('the state store is closed');
      await expect(state.commit([{ put: ['a'], value: 2 }])).rejects.toThrow('the state store is closed');
      const second = await open(path);
      expect(second.value.open('route').get(['a'])).toBe(1);
      await second.stop();
    });
  });

  const keeps =
    kind === 'embedded' ? 'has kept every acknowledged commit' : 'has gone back to an earlier commit at most';
  it(`${keeps}, each of them whole, when the process is killed without warning`, async () => {
    await withTempDir(async (path) => {
      const names = ['route', 'dispatch'];
      const written = names.map(() => 0);
      for (const kills of kind === 'embedded' ? [20, 100] : [300, 1_000]) {
        const acknowledged = await commitUntilKilled(path, kind, kills);
        const reopened = await open(path);
        for (const [index, name] of names.entries()) {
          const state = reopened.value.open(name);
          expectWholeCommits(state, kind === 'embedded' ? acknowledged : (written[index] ?? 0));
          written[index] = Number(state.get(['checkpoint']) ?? 0);
        }
        await reopened.stop();
      }
      expect(Math.min(...written)).toBeGreaterThan(0);
    });
  }, 60_000);
});

/** As the child of the test with kills commits them. */
function commitOf(number: number): readonly Change[] {
  return [
    { put: ['checkpoint'], value: number },
    { put: ['number', number], value: 'x'.repeat(number % 3_000) },
  ];
}

async function commitUntilKilled(path: string, kind: Adapter['kind'], commits: number): Promise<number> {
  const child = startTs(new URL('./state-kill-child.ts', import.meta.url), [path, kind]);
  const exited = exitOf(child);
  let last = 0;
  let left = commits;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line);
    if (--left === 0) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  expect(left).toBeLessThanOrEqual(0);
  return last;
}

function expectWholeCommits(state: State, acknowledged: number): void {
  const checkpoint = Number(state.get(['checkpoint']) ?? 0);
  expect(checkpoint).toBeGreaterThanOrEqual(acknowledged);
  const numbers = state.list(['number'], { limit: checkpoint + 10 });
  expect(numbers.map(([each]) => each[1])).toEqual(Array.from({ length: checkpoint }, (_, index) => index + 1));
  expect(numbers.every(([each, value]) => value === 'x'.repeat(Number(each[1]) % 3_000))).toBe(true);
}

/** Makes `keys` all that the state holds. */
async function refill(state: State, keys: readonly Key[]): Promise<void> {
  await state.commit(state.list([], { limit: 10_000 }).map(([each]) => ({ del: each })));
  await state.commit(keys.map((each) => ({ put: each, value: JSON.stringify(each) })));
}

function key(): fc.Arbitrary<Key> {
  const tricky = fc.constantFrom('', 'a', 'ab', 'a\0', 'a\0b', '\0', '\u0001', '\u0002', '\u0003', 'é', '\uffff', '🛰');
  const text = fc.oneof(tricky, fc.string({ unit: 'binary', maxLength: 80 }));
  const number = fc.oneof(
    fc.constantFrom(0, -1, 1, -0.5, 2 ** 53, -(2 ** 53), 2 ** 53 - 1, Number.MIN_VALUE),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  );
  return fc.array(fc.oneof(text, number), { minLength: 1, maxLength: 3 });
}

function compareKeys(a: Key, b: Key): number {
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    const order = compareElements(left, right);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function compareElements(a: string | number, b: string | number): number {
  if (typeof a === 'number') return typeof b === 'number' ? a - b : -1;
  return typeof b === 'number' ? 1 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}
