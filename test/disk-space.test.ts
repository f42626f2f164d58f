import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freeSpaceOn } from '../src/disk-space.ts';
import { openLmdbEventLog } from '../src/ports/event-log/lmdb.ts';
import { NoSpace, openGuardedLog } from '../src/ports/event-log/guarded.ts';
import { openGuardedStates } from '../src/ports/state/guarded.ts';
import { openLmdbState } from '../src/ports/state/lmdb.ts';
import { createCommands } from '../src/commands/create.ts';
import { CALLER } from './support/pipeline.ts';
import { withTempDir } from './support/temp-dir.ts';
import { withWorld } from './support/world.ts';

const MIB = 1024 * 1024;

describe('the space on the disk', () => {
  it('is what the file system says, of the fullest one', () =>
    withTempDir((folder) => {
      const { bavail, bsize } = statfsSync(folder);
      const free = freeSpaceOn([folder, folder])();
      expect(Math.abs(free - bavail * bsize)).toBeLessThan(512 * MIB);
      expect(() => freeSpaceOn([folder, join(folder, 'missing')])()).toThrow('ENOENT');
      return Promise.resolve();
    }));
});

describe('a log on a disk that is almost full', () => {
  it('refuses new streams first, then everything, and goes on when there is space again', () =>
    withWorld(async ({ log, context }) => {
      let free = 1_000 * MIB;
      const changes: boolean[] = [];
      const guarded = openGuardedLog(
        log,
        () => free,
        (refusing) => changes.push(refusing),
      );
      const commands = createCommands({ ...context, log: guarded });
      await commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
      const before = await log.head();

      free = 63 * MIB;
      const refusal = { code: 'UNAVAILABLE' };
      await expect(commands.registerUser(CALLER, { id: 'bob' })).rejects.toMatchObject(refusal);
      expect(await log.head()).toBe(before);
      await commands.registerUser(CALLER, { id: 'ada', locale: 'de' });

      free = 15 * MIB;
      await expect(commands.registerUser(CALLER, { id: 'ada', locale: 'fr' })).rejects.toMatchObject(refusal);
      free = 64 * MIB;
      await commands.registerUser(CALLER, { id: 'bob' });
      expect(changes).toEqual([true, false]);
    }));

  it('says how much is left', () =>
    withTempDir(async (folder) => {
      const { value: log, stop } = await openLmdbEventLog(join(folder, 'log'));
      await expect(openGuardedLog(log, () => 7).append('a', [], 0)).rejects.toEqual(new NoSpace(7));
      await stop();
    }));

  it('keeps a little for local state', () =>
    withTempDir(async (folder) => {
      let free = 9 * MIB;
      const { value: store, stop } = await openLmdbState(join(folder, 'state'));
      const state = openGuardedStates(store, () => free).open('test');
      await state.commit([{ put: ['a'], value: 1 }]);
      free = 7 * MIB;
      await expect(state.commit([{ put: ['a'], value: 2 }])).rejects.toThrow('left on the disk');
      expect(state.get(['a'])).toBe(1);
      await stop();
    }));
});
