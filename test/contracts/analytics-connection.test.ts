import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { start, type Started } from '../../src/lifecycle.ts';
import type { Analytics, AnalyticsError, InsertBatch } from '../../src/ports/analytics/analytics.ts';
import type { ChdbAnalytics } from '../../src/ports/analytics/chdb.ts';
import { openClickhouse, type ClickhouseOptions } from '../../src/ports/analytics/clickhouse.ts';
import { engineOf, openTestAnalytics } from '../support/analytics.ts';
import { openImpostor, type Impostor } from '../support/clickhouse-impostor.ts';
import { eventually } from '../support/eventually.ts';
import { randomFrom } from '../support/random.ts';
import { openTcpProxy, type Fault, type TcpProxy } from '../support/tcp-proxy.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { batchOf, counts, rowsOn } from './analytics.contract.ts';

/** The embedded engine as a server behind a connection that fails. */
interface Behind {
  readonly engine: ChdbAnalytics;
  readonly proxy: TcpProxy;
  /** With its own password unless told otherwise. */
  readonly connect: (options?: ClickhouseOptions, url?: Partial<Where>) => Analytics;
}

interface Where {
  readonly password: string;
  readonly database: string;
}

function openBehind(): Promise<Started<Behind>> {
  return start(async (scope) => {
    const folder = scope.use(await openTempDir());
    const engine = scope.use(await openTestAnalytics(folder));
    const proxy = scope.use(await openTcpProxy(() => Number(new URL(engineOf(engine).url).port)));
    const connect: Behind['connect'] = (options = {}, where = {}) => {
      const { password, database } = { password: engineOf(engine).password, database: 'default', ...where };
      const text = `http://default:${password}@127.0.0.1:${String(proxy.port)}/${database}`;
      const { analytics } = readConfig({ ANALYTICS_URL: text });
      if (analytics.kind !== 'clickhouse') throw new Error('not a server');
      return scope.use(openClickhouse(analytics, options));
    };
    return { engine, proxy, connect };
  });
}

/** Short, so that a silent server is given up while the test runs. */
const TIMEOUT_MS = { insert: 2_500 };
const PATIENCE = { timeoutMs: 30_000 };

const UNAVAILABLE = { name: 'AnalyticsError', kind: 'unavailable' };

describe('ClickHouse behind a connection that fails', { timeout: 60_000 }, () => {
  let started: Started<Behind>;
  let proxy: TcpProxy;
  let analytics: Analytics;

  beforeAll(async () => {
    started = await openBehind();
    ({ proxy } = started.value);
    analytics = started.value.connect({ timeoutMs: TIMEOUT_MS });
    await analytics.migrate();
  });
  beforeEach(() => eventually(() => analytics.reset(), PATIENCE), PATIENCE.timeoutMs);
  afterAll(() => started.stop());

  /** Without connections that were open, which a change of the fault resets. */
  const fresh = (): Analytics => started.value.connect({ timeoutMs: TIMEOUT_MS });

  const whole = { events: 1_000, deliveries: 1_000, updates: 1_000 };

  it.each<[string, Fault]>([
    ['before the answer', { kind: 'cut-answer', bytes: 1 }],
    ['in the middle of the answer', { kind: 'cut-answer', bytes: 40 }],
    ['in the middle of its head', { kind: 'cut-request', bytes: 300 }],
    ['in the middle of its rows', { kind: 'cut-request', bytes: 100_000 }],
    ['by a server that does not read', { kind: 'silent' }],
    ['by a server that never answers', { kind: 'deaf' }],
  ])('keeps an insert once that is cut off %s and comes again', async (_, fault) => {
    const batch = batchOf(rowsOn(3, 1_000));
    proxy.become(fault);
    await expect(fresh().insert(batch)).rejects.toMatchObject(UNAVAILABLE);
    proxy.become({ kind: 'ok' });
    await eventually(() => analytics.insert(batch), PATIENCE);
    await eventually(() => analytics.insert(batch), PATIENCE);
    expect(await counts(analytics)).toEqual(whole);
  });

  it('has done what it did not answer', async () => {
    proxy.become({ kind: 'cut-answer', bytes: 40 });
    await expect(fresh().insert(batchOf(rowsOn(3, 1_000)))).rejects.toMatchObject(UNAVAILABLE);
    proxy.become({ kind: 'ok' });
    await eventually(async () => expect(await counts(analytics)).toEqual(whole), PATIENCE);
  });

  it('waits for a slow one', async () => {
    proxy.become({ kind: 'slow', bytes: 4_000 });
    const other = started.value.connect();
    await other.insert(batchOf(rowsOn(3, 1_000)));
    expect(await counts(other)).toEqual(whole);
    proxy.become({ kind: 'ok' });
  });

  it('goes on when the server is there again on the same port', async () => {
    const batch = batchOf(rowsOn(3, 1_000));
    await proxy.goDown();
    await expect(analytics.insert(batch)).rejects.toMatchObject(UNAVAILABLE);
    await expect(analytics.query('SELECT 1')).rejects.toMatchObject(UNAVAILABLE);
    await expect(analytics.migrate()).rejects.toMatchObject(UNAVAILABLE);
    await proxy.comeBack();
    await eventually(() => analytics.insert(batch), PATIENCE);
    // This time with connections that were open, and idle.
    await proxy.goDown();
    await proxy.comeBack();
    await eventually(() => analytics.insert(batch), PATIENCE);
    expect(await counts(analytics)).toEqual(whole);
  });

  it('keeps every row of many batches once, whatever happens to each', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = randomFrom(seed);
    for (let number = 0; number < 20; number += 1) {
      const rows = rowsOn(1 + Math.floor(random() * 4), 50, `batch ${String(number)}`).map((row, index) => ({
        ...row,
        delivery_id: `00000000-0000-5000-8000-${String(number * 50 + index).padStart(12, '0')}`,
      }));
      await insertUntilDone(batchOf(rows), random);
    }
    await eventually(
      async () =>
        expect(await counts(analytics), `seed ${String(seed)}`).toEqual({
          events: 1_000,
          deliveries: 1_000,
          updates: 1_000,
        }),
      PATIENCE,
    );
  });

  async function insertUntilDone(batch: InsertBatch, random: () => number): Promise<void> {
    for (;;) {
      proxy.become(anyFault(random));
      try {
        await fresh().insert(batch);
        proxy.become({ kind: 'ok' });
        return;
      } catch (error) {
        expect(error).toMatchObject(UNAVAILABLE);
      }
    }
  }

  it('never shows the password', async () => {
    const { connect, engine } = started.value;
    const errors: unknown[] = [];
    const note = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => errors.push(error));
    const others = [connect({}, { password: 'hunter2' }), connect({}, { database: 'nowhere' })];
    for (const other of others) await note(other.migrate());
    for (const fault of [{ kind: 'cut-answer', bytes: 1 }, { kind: 'silent' }] as const) {
      proxy.become(fault);
      await note(analytics.insert(batchOf(rowsOn(1, 10))));
    }
    await proxy.goDown();
    await note(analytics.query('SELECT 1'));
    await proxy.comeBack();
    proxy.become({ kind: 'ok' });
    expect(errors.map((error) => (error as AnalyticsError).kind)).toEqual([
      ...['refused', 'refused', 'unavailable', 'unavailable', 'unavailable'],
    ]);
    const { password } = engineOf(engine);
    const shown = errors.map((error) => inspect(error, { depth: 20, showHidden: true })).join('\n');
    for (const secret of ['hunter2', password, Buffer.from(`default:${password}`).toString('base64')]) {
      expect(shown).not.toContain(secret);
    }
  });
});

/** The embedded engine as a server behind something that answers in its stead. */
interface Impersonated {
  readonly impostor: Impostor;
  readonly analytics: Analytics;
}

function openImpersonated(): Promise<Started<Impersonated>> {
  return start(async (scope) => {
    const engine = scope.use(await openTestAnalytics(scope.use(await openTempDir())));
    const impostor = scope.use(await openImpostor(() => engineOf(engine).url));
    const { username, password } = engineOf(engine);
    const analytics = scope.use(openClickhouse({ url: impostor.url, username, password }));
    return { impostor, analytics };
  });
}

describe('a 200 from somebody else', { timeout: 60_000 }, () => {
  let started: Started<Impersonated>;
  let impostor: Impostor;
  let analytics: Analytics;
  let id: string;
  const before = batchOf(rowsOn(2, 100, 'before'));
  const kept = { events: 100, deliveries: 100, updates: 100 };

  beforeAll(async () => {
    started = await openImpersonated();
    ({ impostor, analytics } = started.value);
    await analytics.migrate('log');
  });
  beforeEach(async () => {
    impostor.answer(null);
    id = await analytics.reset('log');
    await analytics.insert(before);
  });
  afterAll(() => started.stop());

  /** Nothing has changed, and the real one is believed. */
  async function expectUntouched(): Promise<void> {
    impostor.answer(null);
    expect(await counts(analytics)).toEqual(kept);
    expect(await analytics.migrate('log')).toBe(id);
    expect(await counts(analytics)).toEqual(kept);
  }

  const everything = /(?:)/;

  describe.each([
    ['that is empty', ''],
    ['in one word', 'OK'],
    ['with a page', '<html>hello</html>'],
    ['with a page and a line break', '<html>hello</html>\n'],
    ['with what reads like a row', '{"text":"00000000-0000-4000-8000-000000000000","used":0,"number":0}\n'],
  ])('%s', (_, body) => {
    it('acknowledges no insert', async () => {
      const batch = batchOf(rowsOn(2, 50));
      impostor.answer({ to: /^INSERT INTO delivery_events/, body });
      const count = impostor.answered();
      for (let time = 0; time < 3; time += 1) await expect(analytics.insert(batch)).rejects.toMatchObject(UNAVAILABLE);
      expect(impostor.answered()).toBe(count + 3);
      await expectUntouched();
      await analytics.insert(batch);
      expect(await counts(analytics)).toEqual({ events: 150, deliveries: 150, updates: 150 });
    });

    it('answers no query', async () => {
      impostor.answer({ to: everything, body });
      for (let time = 0; time < 12; time += 1) {
        await expect(analytics.query('SELECT 1 AS one')).rejects.toMatchObject(UNAVAILABLE);
      }
      await expect(analytics.query('SELECT {many:Array(String)}', { many: MANY })).rejects.toMatchObject(UNAVAILABLE);
      await expectUntouched();
    });

    it.each([
      ['everything', everything],
      ['whether there are tables', /system\.tables/],
      ['which migrations were applied', /FROM schema_migrations/],
      ['which store it is', /FROM store/],
    ])('has no tables made or emptied, asked for %s', async (__, to) => {
      impostor.answer({ to, body });
      await expect(analytics.migrate('log')).rejects.toMatchObject(UNAVAILABLE);
      await expectUntouched();
    });

    it('has no new id drawn by an emptying that did not take place', async () => {
      impostor.answer({ to: /^TRUNCATE/, body });
      await expect(analytics.reset('log')).rejects.toMatchObject(UNAVAILABLE);
      await expectUntouched();
    });
  });
});

/** Too many for an address, so that they are sent in another way. */
const MANY = Array.from({ length: 20_000 }, (_, index) => `value ${String(index)}`);

/** Those that need no time limit; every other time nothing happens. */
function anyFault(random: () => number): Fault {
  const bytes = 1 + Math.floor(random() ** 3 * 20_000);
  if (random() < 0.5) return { kind: 'ok' };
  return random() < 0.5 ? { kind: 'cut-request', bytes } : { kind: 'cut-answer', bytes: 1 + (bytes % 300) };
}
