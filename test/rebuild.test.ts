import { spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.ts';
import { streamOf } from '../src/ids.ts';
import { openLmdbEventLog } from '../src/ports/event-log/lmdb.ts';
import type { RecordedEvent } from '../src/ports/event-log/event-log.ts';
import { openBufferedStates } from '../src/ports/state/buffered.ts';
import { openLmdbState } from '../src/ports/state/lmdb.ts';
import type { State } from '../src/ports/state/state.ts';
import { LOCAL, refold } from '../src/projections/rebuilt.ts';
import { foldLocals } from '../src/rebuild-locals.ts';
import { rebuild, type RebuildOptions } from '../src/rebuilding.ts';
import { STATES } from '../src/states.ts';
import { BACKUP_SCRIPT } from './support/backup-script.ts';
import { withDispatch } from './support/dispatching.ts';
import { eventually } from './support/eventually.ts';
import { startService, type Service } from './support/service.ts';
import { withTempDir } from './support/temp-dir.ts';
import { everything, recordingLog, requestedMany, requested, withWorld } from './support/world.ts';

const REBUILD = fileURLToPath(new URL('../dist/rebuild.js', import.meta.url));
const NEVER = new AbortController().signal;

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

function run(
  dataDir: string,
  args: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const env = { PATH: process.env['PATH'], DATA_DIR: dataDir, ...settings };
  const child = spawn(process.execPath, [REBUILD, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output, errors })));
}

/** All that a state holds besides how far it is: a batch without news moves that only now and then. */
function entriesIn(state: State): readonly unknown[] {
  return state.list([], { limit: Infinity }).filter(([key]) => key[0] !== 'checkpoint');
}

type Entries = Readonly<Record<string, readonly unknown[]>>;

/** Of all local states of a service that is stopped. */
async function statesOf(dataDir: string): Promise<Entries> {
  const [logId = ''] = await readdir(join(dataDir, 'state'));
  const { value: store, stop } = await openLmdbState(join(dataDir, 'state', logId));
  const entries = LOCAL.map((name) => [name, entriesIn(store.open(STATES[name]))] as const);
  await stop();
  return Object.fromEntries(entries);
}

/** So that a test sees whether they are made again. */
async function spoilStates(dataDir: string): Promise<void> {
  const [logId = ''] = await readdir(join(dataDir, 'state'));
  const { value: store, stop } = await openLmdbState(join(dataDir, 'state', logId));
  for (const name of LOCAL) await store.open(STATES[name]).commit([{ put: ['spoiled'], value: 'by the test' }]);
  await stop();
}

async function eventsIn(dataDir: string, stream?: string): Promise<readonly RecordedEvent[]> {
  const { value: log, stop } = await openLmdbEventLog(join(dataDir, 'log'));
  const found = stream === undefined ? await everything({ log }) : await log.read(stream);
  await stop();
  return found;
}

/** Somebody who was written to, and a request that waits for its time. */
async function use({ ask }: Service): Promise<void> {
  await ask('mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } }');
  const request = `mutation($deliverAt: DateTime) {
    requestNotification(input: {userId: "ada", content: {body: "Hello"}, deliverAt: $deliverAt}) { notification { id } }
  }`;
  const { requestNotification } = await ask<{ requestNotification: { notification: { id: string } } }>(request);
  await ask(request, { deliverAt: new Date(Date.now() + 86_400_000).toISOString() });
  await eventually(
    async () => {
      const { notification } = await ask<{ notification: { deliveries: readonly { status: string }[] } }>(
        'query($id: ID!) { notification(id: $id) { deliveries { status } } }',
        { id: requestNotification.notification.id },
      );
      expect(notification.deliveries.map(({ status }) => status)).toEqual(['SENT']);
    },
    { timeoutMs: 20_000 },
  );
}

async function stopped({ child, ended }: Service): Promise<void> {
  child.kill('SIGTERM');
  expect((await ended).code).toBe(0);
}

/** A data folder of a service that was used and stopped. */
async function used(path: string, settings: Readonly<Record<string, string>> = {}): Promise<string> {
  const dataDir = join(path, 'data');
  const service = await startService(dataDir, settings);
  await use(service);
  const [from, to] = [-1, 1].map((days) => new Date(Date.now() + days * 86_400_000).toISOString());
  const query = `{ funnel(input: {stages: [REQUESTED, SENT], from: "${String(from)}", to: "${String(to)}"}) { groups { stages { count } } } }`;
  await eventually(
    async () => {
      expect(await service.ask(query)).toEqual({ funnel: { groups: [{ stages: [{ count: 1 }, { count: 1 }] }] } });
    },
    { timeoutMs: 30_000, pauseMs: 200 },
  );
  await stopped(service);
  return dataDir;
}

function options(dataDir: string, changes: Partial<RebuildOptions> = {}): RebuildOptions {
  return {
    config: readConfig({ DATA_DIR: dataDir }),
    logger: recordingLog(),
    names: new Set(LOCAL),
    screen: { write: () => undefined, isTerminal: false, now: () => performance.now() },
    signal: NEVER,
    backupScript: BACKUP_SCRIPT,
    ...changes,
  };
}

describe('npm run rebuild', () => {
  it('refuses what it does not know, and names what it does', async () => {
    await withTempDir(async (path) => {
      for (const args of [[], ['routes'], ['route', 'x']]) {
        const { code, errors } = await run(path, args);
        expect(code).toBe(1);
        expect(errors).toContain('<route|dispatch|receipts|analytics|all>');
      }
      expect(await readdir(path)).toEqual([]);
    });
  });

  it('makes everything again as it was, and appends nothing but the plans of batches', async () => {
    await withTempDir(async (path) => {
      const dataDir = await used(path);
      const before = await statesOf(dataDir);
      const events = await eventsIn(dataDir);
      await spoilStates(dataDir);
      const { code, output, errors } = await run(dataDir, ['all'], { LOG_LEVEL: 'warn' });
      expect({ code, errors }).toEqual({ code: 0, errors: '' });
      expect(output).toMatch(/^route: done, \d+ events in [\d.]+ s/m);
      expect(output).toMatch(/^analytics: done, \d+ updates read, up to .*complete up to/m);
      expect(await statesOf(dataDir)).toEqual(before);
      const added = (await eventsIn(dataDir)).slice(events.length);
      expect(new Set(added.map(({ stream }) => stream))).toEqual(new Set([streamOf.ingest]));
      expect(added.map(({ type }) => type)).toEqual(['AnalyticsStartedOver', 'AnalyticsBatchPlanned']);
      const plans = events.filter(({ type }) => type === 'AnalyticsBatchPlanned');
      expect(added.at(-1)?.data).toMatchObject({ total: (plans.at(-1)?.data as { readonly total: number }).total });
    });
  }, 120_000);

  it('tells to stop the service that runs', async () => {
    await withTempDir(async (path) => {
      const service = await startService(path);
      const { code, errors } = await run(path, ['route']);
      expect({ code, errors }).toEqual({
        code: 1,
        errors: expect.stringContaining('needs the service stopped') as string,
      });
      await stopped(service);
    });
  }, 60_000);

  it('that is interrupted leaves what the next start of the service goes on from', async () => {
    await withTempDir(async (path) => {
      const dataDir = await used(path);
      const before = await statesOf(dataDir);
      await spoilStates(dataDir);
      const stopping = new AbortController();
      const now = (): number => {
        stopping.abort();
        return performance.now();
      };
      const screen = { write: () => undefined, isTerminal: true, now };
      await expect(rebuild(options(dataDir, { signal: stopping.signal, screen }))).rejects.toThrow('stopped');
      const service = await startService(dataDir);
      await eventually(async () => expect((await fetch(`${service.url}/readyz`)).status).toBe(200), {
        timeoutMs: 20_000,
      });
      await stopped(service);
      expect(await statesOf(dataDir)).toEqual(before);
    });
  }, 120_000);

  it('is not undone by a snapshot: those that there were are gone, and a fresh one is there', async () => {
    await withTempDir(async (path) => {
      const dir = join(path, 'snapshots');
      await mkdir(dir);
      const settings = { SNAPSHOT_DIR: dir, SNAPSHOT_EVERY: '24h' };
      const dataDir = join(path, 'data');
      const service = await startService(dataDir, settings);
      await eventually(() => expect(service.log()).toContain('made a snapshot'), { timeoutMs: 20_000 });
      await stopped(service);
      const [logId = ''] = await readdir(dir);
      const before = await readdir(join(dir, logId, 'all'));
      await rebuild(
        options(dataDir, { config: readConfig({ DATA_DIR: dataDir, ...settings }), names: new Set(['route']) }),
      );
      const after = await readdir(join(dir, logId, 'all'));
      expect([before.length, after.length]).toEqual([1, 1]);
      expect(after).not.toEqual(before);
    });
  }, 120_000);

  it('leaves the states alone when the snapshots cannot be removed', async () => {
    await withTempDir(async (path) => {
      const dataDir = await used(path);
      await spoilStates(dataDir);
      const before = await statesOf(dataDir);
      const config = readConfig({ DATA_DIR: dataDir, SNAPSHOT_DIR: join(path, 'not-mounted') });
      await expect(rebuild(options(dataDir, { config }))).rejects.toThrow('SNAPSHOT_DIR cannot be removed');
      expect(await statesOf(dataDir)).toEqual(before);
    });
  }, 120_000);
});

describe('a rebuild whose states cannot be written', () => {
  it('fails, and does not say that it is done', () =>
    withWorld(async ({ log, folder }) => {
      const { value: kept, stop } = await openLmdbState(join(folder, 'full'));
      const full = {
        ...kept,
        open: (name: string) => ({ ...kept.open(name), commit: () => Promise.reject(new Error('no space')) }),
      };
      const common = { logger: recordingLog(), freeBytes: () => Infinity };
      const states = openBufferedStates(full, { ...common, everyMs: 3_600_000 });
      const lines: string[] = [];
      const screen = {
        write: (text: string) => void lines.push(text),
        isTerminal: false,
        now: () => performance.now(),
      };
      const folding = { ...common, log, dataDir: folder, snapshots: null, states: states.value, locals: LOCAL, screen };
      await expect(foldLocals({ ...folding, signal: NEVER })).rejects.toThrow('no space');
      expect(lines.join('')).toContain('route: ');
      expect(lines.join('')).not.toContain('done');
      await states.stop();
      await stop();
    }));
});

describe('a state that is folded again', () => {
  it('is what it was, but for when and in which session of the broker jobs were published', () =>
    withDispatch(async (world, broker) => {
      await requestedMany(world, 20);
      await requested(world, { deliverAt: new Date(world.clock.now() + 60_000) });
      await eventually(() => expect(broker.jobs).toHaveLength(20));
      const reached = (['route', 'dispatch'] as const).map(
        (name) =>
          new Promise<void>((resolve) => {
            const { log, logger } = world;
            world.use(
              refold(name, {
                log,
                logger,
                state: world.state(`${name}-again`),
                folded: () => undefined,
                live: resolve,
              }),
            );
          }),
      );
      await Promise.all(reached);
      expect(entriesIn(world.state('route-again'))).toEqual(entriesIn(world.state('route')));
      expect(world.state('dispatch').count(['fed'])).toBe(20);
      const unfed = (state: State): readonly unknown[] =>
        state.list(['delivery']).map(([key, entry]) => [key, { ...(entry as object), fedAt: null, session: null }]);
      await eventually(() => expect(unfed(world.state('dispatch-again'))).toEqual(unfed(world.state('dispatch'))));
      expect(world.state('dispatch-again').count(['due'])).toBe(20);
    }));
});
