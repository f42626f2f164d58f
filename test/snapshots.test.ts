import { mkdir, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { openScope, type Scope } from '../src/lifecycle.ts';
import type { Position } from '../src/ports/event-log/event-log.ts';
import { openLmdbState } from '../src/ports/state/lmdb.ts';
import type { StateStore } from '../src/ports/state/state.ts';
import { ALL_ROLES } from '../src/roles.ts';
import { keepingOf, keepSnapshots, makeSnapshot, openStates, STATES, type StatesOptions } from '../src/states.ts';
import { BACKUP_SCRIPT } from './support/backup-script.ts';
import { eventually } from './support/eventually.ts';
import { withTempDir } from './support/temp-dir.ts';
import { exitOf, startTs } from './support/ts-child.ts';

interface Setting {
  readonly options: StatesOptions;
  readonly dir: string;
  /** Of the snapshots. */
  readonly folder: string;
  readonly told: string[];
  /** Opens the states, works with them and closes them again. */
  readonly opened: <T>(work: (store: StateStore, scope: Scope) => T | Promise<T>, head?: string) => Promise<T>;
  readonly snapshot: () => Promise<void>;
  readonly loseState: () => Promise<void>;
}

function withSetting(work: (setting: Setting) => Promise<void>): Promise<void> {
  return withTempDir(async (path) => {
    const [dataDir, dir] = [join(path, 'data'), join(path, 'snapshots')];
    await mkdir(dir);
    const told: string[] = [];
    const tell = (_: object, message: string): void => void told.push(message);
    let head = '5';
    const log = { id: 'log', head: () => Promise.resolve(head as Position) };
    const logger = { debug: tell, info: tell, warn: tell, error: tell };
    const keeping = keepingOf(
      { snapshotDir: dir, snapshotEveryMs: 100, roles: ALL_ROLES },
      { dataDir, log, logger, freeBytes: () => 2 ** 40 },
    );
    const options = { ...keeping, behindMs: 0, open: (folder: string) => openLmdbState(folder, BACKUP_SCRIPT) };
    const opened: Setting['opened'] = async (use, at = '5') => {
      head = at;
      const scope = openScope();
      try {
        return await use(await openStates(scope, options), scope);
      } finally {
        await scope.stop();
      }
    };
    const snapshot = (): Promise<void> =>
      opened((store) => makeSnapshot({ ...options, store, now: Date.now }, new AbortController().signal));
    const loseState = (): Promise<void> => rm(join(dataDir, 'state'), { recursive: true });
    await work({ options, dir, folder: join(dir, 'log', 'all'), told, opened, snapshot, loseState });
  });
}

async function foldedTo(store: StateStore, checkpoint: string): Promise<void> {
  await store.open(STATES.route).commit([
    { put: ['checkpoint'], value: checkpoint },
    { put: ['user', 'ada'], value: checkpoint },
  ]);
}

function userIn(store: StateStore): unknown {
  return store.open(STATES.route).get(['user', 'ada']);
}

async function names(folder: string): Promise<readonly string[]> {
  return (await readdir(folder)).toSorted();
}

describe('the states of a process', () => {
  it('come from the newest snapshot when the disk was lost, and from the disk when it was not', () =>
    withSetting(async ({ opened, snapshot, loseState, told }) => {
      await opened((store) => foldedTo(store, '3'));
      await snapshot();
      await opened((store) => foldedTo(store, '4'));
      expect(await opened(userIn)).toBe('4');
      expect(told).not.toContain('began from a snapshot');
      await loseState();
      expect(await opened(userIn)).toBe('3');
      expect(told).toContain('began from a snapshot');
    }));

  it('come from the snapshot before one that is damaged, and from none when all are', () =>
    withSetting(async ({ opened, snapshot, loseState, folder, told }) => {
      await opened((store) => foldedTo(store, '3'));
      await snapshot();
      await opened((store) => foldedTo(store, '4'));
      await snapshot();
      const [older = '', newer = ''] = await names(folder);
      const bytes = await readFile(join(folder, newer, 'data.mdb'));
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      await writeFile(join(folder, newer, 'data.mdb'), bytes);
      await loseState();
      expect(await opened(userIn)).toBe('3');
      expect(told).toContain('a snapshot cannot be used; trying the one before it');
      await writeFile(join(folder, older, 'manifest.json'), '{"format":');
      await loseState();
      expect(await opened(userIn)).toBeUndefined();
      expect(told.at(-1)).toBe('no snapshot to begin from: the local states are folded from the log');
    }));

  it('do not come from a snapshot that is ahead of the log, nor from one of another log or other roles', () =>
    withSetting(async ({ opened, snapshot, loseState, dir }) => {
      await opened((store) => foldedTo(store, '5'));
      await snapshot();
      await loseState();
      expect(await opened(userIn, '4')).toBeUndefined();
      await loseState();
      const found = join(dir, 'log', 'all');
      await mkdir(join(dir, 'log', 'route'));
      expect(await names(found)).toHaveLength(1);
      expect(await opened(userIn, '5')).toBe('5');
    }));

  it('start over when they are ahead of a log that was set back, and only those', () =>
    withSetting(async ({ opened, told }) => {
      await opened(async (store) => {
        await foldedTo(store, '5');
        await store.open(STATES.dispatch).commit([{ put: ['checkpoint'], value: '4' }]);
      });
      await opened((store) => {
        expect(userIn(store)).toBeUndefined();
        expect(store.open(STATES.dispatch).get(['checkpoint'])).toBe('4');
      }, '4');
      expect(told).toEqual([
        'a local state is ahead of the event log, which was set back: it is folded from the start',
      ]);
    }));

  it('are kept when the log says at first that it ends before them, as a server does that is behind', () =>
    withSetting(async ({ opened, options, told }) => {
      await opened((store) => foldedTo(store, '5'));
      let asked = 0;
      const head = (): Promise<Position> => Promise.resolve((asked++ === 0 ? '4' : '5') as Position);
      const scope = openScope();
      const store = await openStates(scope, { ...options, log: { id: 'log', head }, behindMs: 30_000 });
      expect(userIn(store)).toBe('5');
      expect(told).toEqual([]);
      await scope.stop();
    }));

  it('lose those of former versions', () =>
    withSetting(async ({ opened, told }) => {
      await opened((store) => store.open('route-1').commit([{ put: ['a'], value: 1 }]));
      await opened((store) => {
        expect(store.names()).not.toContain('route-1');
      });
      expect(told).toEqual(['removed a local state that this version has no use for']);
    }));
});

describe('snapshots', () => {
  it(
    'are made soon after the end of the log was reached, and again; two are kept',
    () =>
      withSetting(async ({ opened, options, folder, told }) => {
        await opened(async (store, scope) => {
          await foldedTo(store, '3');
          let isLive = false;
          scope.use(keepSnapshots({ ...options, store, isLive: () => isLive, everyMs: 100, now: Date.now }));
          await eventually(() => expect(told).toEqual([]));
          expect(await readdir(options.snapshots?.dir ?? '')).toEqual([]);
          isLive = true;
          await eventually(() => expect(told.length).toBeGreaterThan(3), { timeoutMs: 20_000 });
          expect(new Set(told)).toEqual(new Set(['made a snapshot']));
        });
        expect((await names(folder)).filter((name) => !name.startsWith('half-')).length).toBeLessThanOrEqual(3);
      }),
    40_000,
  );

  it('leave two behind, and no half ones that nobody writes to any more', () =>
    withSetting(async ({ opened, snapshot, folder }) => {
      await opened((store) => foldedTo(store, '3'));
      for (let count = 0; count < 3; count += 1) await snapshot();
      for (const half of ['half-old', 'half-new']) await mkdir(join(folder, half));
      await utimes(join(folder, 'half-old'), 0, 0);
      await snapshot();
      const found = await names(folder);
      expect(found).toHaveLength(3);
      expect(found).toContain('half-new');
    }));

  it(
    'that cannot be made are told, and nothing of them stays',
    () =>
      withSetting(async ({ opened, options, dir, told }) => {
        await rm(dir, { recursive: true });
        await opened(async (store, scope) => {
          scope.use(keepSnapshots({ ...options, store, isLive: () => true, everyMs: 100, now: Date.now }));
          await eventually(() => expect(told).toContain('a snapshot could not be made; trying again'));
          await foldedTo(store, '3');
          await mkdir(dir);
          await eventually(() => expect(told).toContain('snapshots are made again'), { timeoutMs: 20_000 });
        });
        expect(told).toContain('SNAPSHOT_DIR cannot be read: the local states are folded from the start of the log');
      }),
    40_000,
  );

  it('are not made on a disk that has no space for the copy beside the states', () =>
    withSetting(async ({ opened, options, dir }) => {
      await opened(async (store) => {
        const making = makeSnapshot(
          { ...options, freeBytes: () => 2 ** 20, store, now: Date.now },
          new AbortController().signal,
        );
        await expect(making).rejects.toThrow('free disk');
      });
      expect(await readdir(dir)).toEqual([]);
    }));

  it(
    'are whole or not there when their maker is killed without warning',
    () =>
      withSetting(async ({ opened, dir, folder, options, loseState, told }) => {
        for (const rounds of [2, 5]) await workUntilKilled('make', options.dataDir, dir, rounds);
        const whole = (await names(folder)).filter((name) => !name.startsWith('half-'));
        expect(whole.length).toBeGreaterThan(0);
        for (const name of whole.toReversed()) {
          await loseState();
          await opened(expectOneRound, '9');
          await rm(join(folder, name), { recursive: true });
        }
        expect(new Set(told)).toEqual(new Set(['began from a snapshot']));
      }),
    60_000,
  );

  it(
    'are put back whole or not at all when that is cut short without warning',
    () =>
      withSetting(async ({ opened, dir, options, told }) => {
        await workUntilKilled('make', options.dataDir, dir, 2);
        for (const rounds of [1, 7, 20]) {
          await workUntilKilled('restore', options.dataDir, dir, rounds);
          await opened(expectOneRound, '9');
        }
        expect(told).not.toContain('a snapshot cannot be used; trying the one before it');
      }),
    60_000,
  );
});

/** Kills it at some moment after that many rounds. */
async function workUntilKilled(work: string, dataDir: string, dir: string, rounds: number): Promise<void> {
  const child = startTs(new URL('./snapshots-child.ts', import.meta.url), [work, dataDir, dir]);
  const exited = exitOf(child);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  let left = rounds;
  createInterface({ input: child.stdout }).on('line', () => --left === 0 && child.kill('SIGKILL'));
  expect([await exited, errors]).toEqual([[null, 'SIGKILL'], '']);
}

/** All of what one commit holds and of no other. */
function expectOneRound(store: StateStore): void {
  const entries = store.open(STATES.route).list(['number']);
  expect(entries).toHaveLength(500);
  const rounds = new Set(entries.map(([, value]) => (value as readonly unknown[])[0]));
  expect([...rounds]).toHaveLength(1);
}
