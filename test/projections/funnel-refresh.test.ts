import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DomainError } from '../../src/errors.ts';
import type { Log } from '../../src/log.ts';
import type { FunnelFigures } from '../../src/projections/funnel-figures.ts';
import type { FunnelInput } from '../../src/projections/funnel-input.ts';
import {
  openFunnelUpdates,
  type FunnelUpdatesLimits,
  type RefreshedFunnels,
} from '../../src/projections/funnel-refresh.ts';
import { INPUT } from './funnel-given.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const INPUT_2: FunnelInput = { ...INPUT, campaign: 'spring' };

function figuresOf(count: number, cursor = String(count)): FunnelFigures {
  const stage = { stage: 'SENT', count, fromPrevious: null, fromFirst: null, medianSecondsFromPrevious: null } as const;
  return { cursor, groups: [{ key: null, dimensions: [], stages: [stage] }] };
}

/** Figures that the test decides on, and an ingest that it commits for. */
interface Scene {
  figures: FunnelFigures;
  failure: Error | null;
  /** How long a query takes. */
  tookMs: number;
  /** When figures were asked for, and how many times at once at most. */
  readonly asked: readonly number[];
  readonly atOnce: () => number;
  readonly warnings: readonly string[];
  readonly updates: RefreshedFunnels;
  readonly listeners: () => number;
  readonly commit: (tenant?: string) => void;
  readonly stop: () => Promise<void>;
}

type Listener = (tenants: ReadonlySet<string>) => void;

function openScene(limits: Partial<FunnelUpdatesLimits> = {}): Scene {
  const [asked, warnings, listeners]: [number[], string[], Set<Listener>] = [[], [], new Set()];
  let [running, most] = [0, 0];
  const read = async (): Promise<FunnelFigures> => {
    asked.push(Date.now());
    running += 1;
    most = Math.max(most, running);
    const { figures, failure, tookMs } = scene;
    if (tookMs > 0) await new Promise((resolve) => setTimeout(resolve, tookMs));
    running -= 1;
    if (failure) throw failure;
    return figures;
  };
  const silent = (): void => undefined;
  const warn = (_: object, message: string): void => void warnings.push(message);
  const logger: Log = { debug: silent, info: silent, warn, error: silent };
  const onCommitted = (listener: Listener) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  const { value, stop } = openFunnelUpdates({
    funnels: { read },
    ingest: { onCommitted },
    now: Date.now,
    logger,
    limits,
  });
  const scene: Scene = {
    figures: figuresOf(1),
    failure: null,
    tookMs: 0,
    asked,
    atOnce: () => most,
    warnings,
    updates: value,
    listeners: () => listeners.size,
    commit: (tenant = 'acme') => {
      for (const listener of listeners) listener(new Set([tenant]));
    },
    stop,
  };
  return scene;
}

/** Reads on and on, and keeps what it was given. */
function reader(scene: Scene, input: FunnelInput = INPUT, tenant = 'acme') {
  const iterator = scene.updates.follow(tenant, input);
  const told: FunnelFigures[] = [];
  const over = (async () => {
    for await (const figures of { [Symbol.asyncIterator]: () => iterator }) told.push(figures);
  })();
  const failed = over.then(
    () => null,
    (error: unknown) => error,
  );
  return { iterator, told, failed };
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

describe('the figures of a funnel, followed', () => {
  it('come at once, and again when they changed after a commit', async () => {
    const scene = openScene();
    const { told } = reader(scene);
    await pass(1);
    expect(told).toEqual([figuresOf(1)]);
    scene.figures = figuresOf(2);
    await pass(10_000);
    expect(scene.asked).toHaveLength(1);
    scene.commit();
    await pass(1);
    expect(told).toEqual([figuresOf(1), figuresOf(2)]);
    await scene.stop();
  });

  it('cost the same for 1 and for 1,000 readers, who all are told the same', async () => {
    const asked: number[] = [];
    for (const count of [1, 1_000]) {
      const scene = openScene();
      const readers = Array.from({ length: count }, () => reader(scene));
      await pass(1);
      for (const version of [2, 3, 4]) {
        scene.figures = figuresOf(version);
        scene.commit();
        await pass(1_500);
      }
      const late = reader(scene);
      await pass(1);
      expect(late.told).toEqual([figuresOf(4)]);
      for (const { told } of readers) expect(told).toEqual([1, 2, 3, 4].map((version) => figuresOf(version)));
      asked.push(scene.asked.length);
      await scene.stop();
    }
    expect(asked).toEqual([4, 4]);
  });

  it('are asked for at most once a second, however often something is committed, and the last commit is seen', async () => {
    const scene = openScene();
    const { told } = reader(scene);
    await pass(1);
    for (let version = 2; version <= 501; version += 1) {
      scene.figures = figuresOf(version);
      scene.commit();
      await pass(10);
    }
    await pass(1_000);
    const gaps = scene.asked.slice(1).map((time, index) => time - (scene.asked[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1_000);
    expect(scene.asked.length).toBeGreaterThan(4);
    expect(told.at(-1)).toEqual(figuresOf(501));
    await scene.stop();
  });

  it('are asked for a tenth of the time at most where that takes long', async () => {
    const scene = openScene();
    scene.tookMs = 700;
    reader(scene);
    for (let round = 0; round < 300; round += 1) {
      await pass(100);
      scene.commit();
    }
    const gaps = scene.asked.slice(1).map((time, index) => time - (scene.asked[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(7_000);
    expect(scene.asked.length).toBeGreaterThan(3);
    const stopped = scene.stop();
    await pass(700);
    await stopped;
  });

  it('are not told again where only the cursor moved, but whoever has not read them yet gets the newer cursor', async () => {
    const scene = openScene();
    const { told } = reader(scene);
    const slow = scene.updates.follow('acme', INPUT);
    const first = slow.next();
    await pass(1);
    await first;
    scene.figures = figuresOf(2, 'a');
    scene.commit();
    await pass(1_100);
    scene.figures = figuresOf(2, 'b');
    scene.commit();
    await pass(1_100);
    expect(scene.asked).toHaveLength(3);
    expect(told).toEqual([figuresOf(1), figuresOf(2, 'a')]);
    expect(await slow.next()).toEqual({ done: false, value: figuresOf(2, 'b') });
    await scene.stop();
  });

  it('are the newest and not all for a slow reader', async () => {
    const scene = openScene();
    const slow = scene.updates.follow('acme', INPUT);
    const first = slow.next();
    await pass(1);
    expect(await first).toEqual({ done: false, value: figuresOf(1) });
    for (const version of [2, 3, 4, 5]) {
      scene.figures = figuresOf(version);
      scene.commit();
      await pass(1_000);
    }
    expect(await slow.next()).toEqual({ done: false, value: figuresOf(5) });
    const next = slow.next();
    scene.figures = figuresOf(6);
    scene.commit();
    await pass(1_000);
    expect(await next).toEqual({ done: false, value: figuresOf(6) });
    await scene.stop();
  });

  it('are not asked for again when something of another tenant was committed, and never shared with one', async () => {
    const scene = openScene();
    const ours = reader(scene);
    await pass(2_000);
    scene.figures = figuresOf(2);
    scene.commit('other');
    await pass(2_000);
    expect(scene.asked).toHaveLength(1);
    expect(ours.told).toEqual([figuresOf(1)]);
    const theirs = reader(scene, INPUT, 'other');
    await pass(1);
    expect(theirs.told).toEqual([figuresOf(2)]);
    expect(scene.updates.load()).toEqual({ funnels: 2, readers: 2 });
    await scene.stop();
  });

  it('are asked for again when something was committed while they were asked for', async () => {
    const scene = openScene();
    scene.tookMs = 50;
    const { told } = reader(scene);
    await pass(25);
    scene.figures = figuresOf(2);
    scene.commit();
    await pass(2_000);
    expect(told).toEqual([figuresOf(1), figuresOf(2)]);
    await scene.stop();
  });

  it('of many funnels are asked for a few at a time, each in its turn', async () => {
    const scene = openScene({ queriesAtOnce: 2 });
    scene.tookMs = 10;
    const readers = Array.from({ length: 20 }, (_, index) =>
      reader(scene, { ...INPUT, campaign: `c${String(index)}` }),
    );
    await pass(200);
    expect(scene.atOnce()).toBe(2);
    expect(scene.asked).toHaveLength(20);
    for (const { told } of readers) expect(told).toHaveLength(1);
    await scene.stop();
  });

  it('of a tenant with few funnels come in time, however many another one has', async () => {
    const scene = openScene({ queriesAtOnce: 1 });
    scene.tookMs = 50;
    for (let index = 0; index < 200; index += 1) reader(scene, { ...INPUT, campaign: `c${String(index)}` }, 'big');
    const { told } = reader(scene, INPUT, 'small');
    for (let version = 1; version <= 5; version += 1) {
      scene.figures = figuresOf(version);
      scene.commit('big');
      scene.commit('small');
      await pass(1_200);
    }
    expect(told).toEqual([1, 2, 3, 4, 5].map((version) => figuresOf(version)));
    const stopped = scene.stop();
    await pass(50);
    await stopped;
  });

  it('are not kept back by a clock that was set back', async () => {
    const scene = openScene();
    const { told } = reader(scene);
    await pass(1);
    vi.setSystemTime(Date.now() - 3_600_000);
    scene.figures = figuresOf(2);
    scene.commit();
    await pass(2_000);
    expect(told).toEqual([figuresOf(1), figuresOf(2)]);
    await scene.stop();
  });
});

describe('a failing query', () => {
  it('is told to whoever waits for the first figures, and the next reader tries again', async () => {
    const scene = openScene();
    scene.failure = new DomainError('ANALYTICS_UNAVAILABLE', 'no');
    const [one, other] = [reader(scene), reader(scene)];
    await pass(1);
    expect(await one.failed).toBe(scene.failure);
    expect(await other.failed).toBe(scene.failure);
    expect(scene.asked).toHaveLength(1);
    expect(scene.updates.load()).toEqual({ funnels: 0, readers: 0 });
    scene.failure = null;
    const later = reader(scene);
    await pass(1);
    expect(later.told).toEqual([figuresOf(1)]);
    await scene.stop();
  });

  it('leaves the figures as they are, is warned of once, and made good later', async () => {
    const scene = openScene();
    const early = reader(scene);
    await pass(1_000);
    scene.failure = new DomainError('ANALYTICS_UNAVAILABLE', 'no');
    scene.figures = figuresOf(2);
    scene.commit();
    await pass(12_000);
    expect(scene.asked).toHaveLength(4);
    const late = reader(scene);
    await pass(1);
    expect(late.told).toEqual([figuresOf(1)]);
    expect(scene.warnings).toEqual(['a funnel cannot be refreshed; its figures stay']);
    scene.failure = null;
    await pass(6_000);
    expect(early.told).toEqual([figuresOf(1), figuresOf(2)]);
    expect(late.told).toEqual([figuresOf(1), figuresOf(2)]);
    await scene.stop();
  });

  it('is none where the funnel cannot be asked at all: nothing is queried', async () => {
    const scene = openScene();
    const { failed } = reader(scene, { ...INPUT, stages: ['SENT'] });
    expect(await failed).toMatchObject({ code: 'INVALID_FUNNEL', field: 'stages' });
    expect(scene.asked).toHaveLength(0);
    expect(scene.updates.load()).toEqual({ funnels: 0, readers: 0 });
    await scene.stop();
  });
});

describe('a reader of a funnel', () => {
  it('that returns ends its waiting next at once', async () => {
    const scene = openScene();
    const iterator = scene.updates.follow('acme', INPUT);
    const first = iterator.next();
    await pass(1);
    await first;
    const waiting = [iterator.next(), iterator.next()];
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    const done = { done: true, value: undefined };
    expect(await Promise.all(waiting)).toEqual([done, done]);
    expect(await iterator.next()).toEqual(done);
    expect(scene.updates.load()).toEqual({ funnels: 0, readers: 0 });
    await scene.stop();
  });

  it('that returns before the first figures came ends as well, and so does one that never began', async () => {
    const scene = openScene();
    scene.tookMs = 100;
    const iterator = scene.updates.follow('acme', INPUT);
    const first = iterator.next();
    await pass(50);
    await iterator.return?.();
    expect(await first).toEqual({ done: true, value: undefined });
    await pass(100);
    const never = scene.updates.follow('acme', INPUT);
    await never.return?.();
    expect(await never.next()).toEqual({ done: true, value: undefined });
    expect(scene.asked).toHaveLength(1);
    await scene.stop();
  });

  it('leaves nothing behind, 10,000 times', async () => {
    const scene = openScene();
    for (let round = 0; round < 10; round += 1) {
      const readers = Array.from({ length: 1_000 }, (_, index) =>
        reader(scene, { ...INPUT, campaign: `c${String(index % 100)}` }),
      );
      // Some leave before they were told anything, others after.
      if (round % 2 === 0) await pass(5);
      expect(scene.updates.load()).toEqual({ funnels: 100, readers: 1_000 });
      for (const { iterator } of readers) await iterator.return?.();
      await Promise.all(readers.map(({ failed }) => failed));
      expect(scene.updates.load()).toEqual({ funnels: 0, readers: 0 });
    }
    await pass(5);
    expect(vi.getTimerCount()).toBe(0);
    const before = scene.asked.length;
    scene.commit();
    await pass(5_000);
    expect(scene.asked).toHaveLength(before);
    await scene.stop();
    expect(scene.listeners()).toBe(0);
  });

  it('is refused where there are too many readers or too many funnels, and let in when one has gone', async () => {
    const scene = openScene({ funnels: 2, readers: 3, tenantShare: 1 });
    const first = reader(scene, { ...INPUT, campaign: 'a' });
    reader(scene, { ...INPUT, campaign: 'b' });
    expect(await reader(scene, INPUT_2).failed).toMatchObject({ code: 'TOO_MANY_SUBSCRIPTIONS' });
    reader(scene, { ...INPUT, campaign: 'b' });
    expect(await reader(scene, { ...INPUT, campaign: 'a' }).failed).toMatchObject({ code: 'TOO_MANY_SUBSCRIPTIONS' });
    await first.iterator.return?.();
    const next = reader(scene, INPUT_2);
    await pass(1);
    expect(next.told).toEqual([figuresOf(1)]);
    await scene.stop();
  });

  it('of another tenant is let in when one has its share of the funnels or of the readers', async () => {
    const funnels = openScene({ funnels: 4, tenantShare: 1 / 2 });
    for (const campaign of ['a', 'b']) reader(funnels, { ...INPUT, campaign }, 'big');
    const refused = { code: 'TOO_MANY_SUBSCRIPTIONS' };
    expect(await reader(funnels, INPUT, 'big').failed).toMatchObject(refused);
    const readers = openScene({ readers: 4, tenantShare: 1 / 2 });
    const first = [1, 2].map(() => reader(readers, INPUT, 'big'));
    expect(await reader(readers, INPUT, 'big').failed).toMatchObject(refused);
    for (const scene of [funnels, readers]) {
      const small = reader(scene, INPUT, 'small');
      await pass(1);
      expect(small.told).toEqual([figuresOf(1)]);
    }
    expect([funnels, readers].map(({ updates }) => updates.load())).toEqual([
      { funnels: 3, readers: 3 },
      { funnels: 2, readers: 3 },
    ]);
    for (const { iterator } of first) await iterator.return?.();
    const again = reader(readers, INPUT, 'big');
    await pass(1);
    expect(again.told).toEqual([figuresOf(1)]);
    await Promise.all([funnels, readers].map((scene) => scene.stop()));
  });

  it('ends when the service stops, and none comes in afterwards', async () => {
    const scene = openScene();
    const { failed, told } = reader(scene);
    await pass(1);
    await scene.stop();
    expect(await failed).toBe(null);
    expect(told).toHaveLength(1);
    expect(await reader(scene).failed).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(vi.getTimerCount()).toBe(0);
  });
});
