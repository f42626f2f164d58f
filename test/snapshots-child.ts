/**
 * Makes one snapshot after the other of a state that changes meanwhile, or has the state put back from a snapshot again and
 * again, until somebody kills it; a line each. `snapshots.test.ts` starts it.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openScope } from '../src/lifecycle.ts';
import type { Position } from '../src/ports/event-log/event-log.ts';
import { openLmdbState } from '../src/ports/state/lmdb.ts';
import { BACKUP_SCRIPT } from './support/backup-script.ts';
import { makeSnapshot, openStates, STATES } from '../src/states.ts';

const [work = '', dataDir = '', dir = ''] = process.argv.slice(2);
const silent = (): void => undefined;
const options = {
  dataDir,
  log: { id: 'log', head: () => Promise.resolve('9' as Position) },
  logger: { debug: silent, info: silent, warn: silent, error: silent },
  freeBytes: () => Infinity,
  snapshots: { dir, logId: 'log', roles: 'all' },
  open: (path: string) => openLmdbState(path, BACKUP_SCRIPT),
};
const value = 'x'.repeat(2_000);

for (let round = 1; ; round++) {
  const scope = openScope();
  if (work === 'restore') await rm(join(dataDir, 'state'), { recursive: true, force: true });
  const store = await openStates(scope, options);
  const entries = Array.from({ length: 500 }, (_, index) => ({ put: ['number', index], value: [round, value] }));
  if (work === 'make')
    await store.open(STATES.route).commit([...entries, { put: ['checkpoint'], value: String(round % 9) }]);
  if (work === 'make') await makeSnapshot({ ...options, store, now: Date.now }, new AbortController().signal);
  process.stdout.write(`${String(round)}\n`);
  await scope.stop();
}
