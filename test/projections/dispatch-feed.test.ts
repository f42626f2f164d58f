import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openScope, type Scope } from '../../src/lifecycle.ts';
import { QueueFull } from '../../src/ports/broker/broker.ts';
import { openInProcessBroker } from '../../src/ports/broker/in-process.ts';
import { openBufferedStates } from '../../src/ports/state/buffered.ts';
import { exclusive } from '../../src/ports/state/exclusive.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { Change, State } from '../../src/ports/state/state.ts';
import { openFeeder, type Feeder } from '../../src/projections/dispatch-feed.ts';
import { SILENT } from '../support/pipeline.ts';
import { openTempDir } from '../support/temp-dir.ts';

const QUEUE = 'email.bulk';
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** An index with one delivery that is due, and a disk that the test fills. */
interface Scene {
  readonly feeder: Feeder;
  readonly published: () => number;
  /** What commits fail with; null: nothing. */
  fault: Error | null;
  /** Whether the queue takes nothing. */
  full: boolean;
  /** Another delivery is due. */
  readonly add: (id: string) => Promise<void>;
}

let scope: Scope;
let scene: Scene;

beforeEach(async () => {
  scope = openScope();
  const kept = await openLmdbState(scope.use(await openTempDir()));
  vi.useFakeTimers();
  // Its commits end in memory: time that stands still stops none.
  const buffering = { logger: SILENT, freeBytes: () => Infinity, everyMs: DAY_MS };
  scene = sceneOf(scope.use(openBufferedStates(kept.value, buffering)).open('dispatch'));
  await scene.add('first');
});

afterEach(async () => {
  await scene.feeder.stop();
  vi.useRealTimers();
  await scope.stop();
});

function sceneOf(state: State): Scene {
  const broker = scope.use(openInProcessBroker());
  let published = 0;
  const publish: typeof broker.publish = (queue, job) => {
    if (opened.full) return Promise.reject(new QueueFull(queue));
    published += 1;
    return broker.publish(queue, job);
  };
  // A commit of nothing needs no room.
  const commit: State['commit'] = (changes) =>
    opened.fault === null || changes.length === 0 ? state.commit(changes) : Promise.reject(opened.fault);
  const feeder = openFeeder({
    state: { ...state, commit },
    broker: { ...broker, publish },
    logger: SILENT,
    now: Date.now,
    alone: exclusive(),
    mayFeed: () => true,
  });
  const opened: Scene = {
    feeder,
    published: () => published,
    fault: new Error('disk full'),
    full: false,
    add: async (id) => {
      await state.commit(dueNow(id));
      feeder.added([{ queue: QUEUE, due: Date.now() }]);
    },
  };
  return opened;
}

function dueNow(deliveryId: string): readonly Change[] {
  const due = Date.now();
  const about = { tenant: 'acme', notificationId: deliveryId, deliveryId, queue: QUEUE, attempt: 1 };
  return [
    { put: ['delivery', deliveryId], value: { ...about, due, expires: null, fedAt: null, session: null, refeeds: 0 } },
    { put: ['due', QUEUE, due, deliveryId], value: deliveryId },
  ];
}

/** How often the job was published within the next `ms`. */
async function publishedWithin(ms: number): Promise<number> {
  const before = scene.published();
  await vi.advanceTimersByTimeAsync(ms);
  return scene.published() - before;
}

describe('jobs that were published and cannot be marked', () => {
  it('are published again and again, but less and less often', async () => {
    const counts = [await publishedWithin(8 * SECOND_MS), await publishedWithin(MINUTE_MS)];
    // At 0, 250, 750, 1,750, 3,750 and 7,750 ms; then every five seconds.
    expect(counts).toEqual([6, 12]);
  });

  it('are not published any more often because there is more to publish, or all queues are looked at', async () => {
    await publishedWithin(8 * SECOND_MS);
    await scene.add('second');
    scene.feeder.wake();
    expect(await publishedWithin(4 * SECOND_MS)).toBe(0);
    expect(await publishedWithin(SECOND_MS)).toBe(2);
  });

  it('are not published any more often because their queue is full and takes none for a while', async () => {
    scene.full = true;
    expect(await publishedWithin(SECOND_MS)).toBe(0);
    scene.full = false;
    expect(await publishedWithin(8 * SECOND_MS)).toBe(6);
    scene.full = true;
    expect(await publishedWithin(MINUTE_MS)).toBe(0);
    scene.full = false;
    expect(await publishedWithin(8 * SECOND_MS)).toBeLessThanOrEqual(2);
  });

  it('are marked as soon as that can be done, and the next pauses are short again', async () => {
    await publishedWithin(MINUTE_MS);
    scene.fault = null;
    expect(await publishedWithin(5 * SECOND_MS)).toBe(1);
    expect(await publishedWithin(MINUTE_MS)).toBe(0);
    scene.fault = new Error('disk full');
    await scene.add('second');
    expect(await publishedWithin(SECOND_MS)).toBe(3);
  });
});
