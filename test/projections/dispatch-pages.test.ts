import { describe, expect, it } from 'vitest';
import { openInProcessBroker } from '../../src/ports/broker/in-process.ts';
import { openBufferedStates } from '../../src/ports/state/buffered.ts';
import { exclusive } from '../../src/ports/state/exclusive.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { Change, KeptState, State } from '../../src/ports/state/state.ts';
import type { Entry } from '../../src/projections/dispatch-index.ts';
import { openFeeder, type Feeder } from '../../src/projections/dispatch-feed.ts';
import { reclaim } from '../../src/projections/dispatch-refeed.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';
import { withTempDir } from '../support/temp-dir.ts';

const HOUR_MS = 3_600_000;
const MANY = 3_000;
const QUEUE = 'email.bulk';

interface Given {
  /** Written behind, an hour later. */
  readonly state: State;
  /** How many keys on the disk were gone past so far. */
  readonly passed: () => number;
  /** How many turns of the event loop there were so far. */
  readonly turns: () => number;
}

/** With these entries on the disk. */
function withState(entries: readonly Entry[], work: (given: Given) => Promise<void>): Promise<void> {
  return withTempDir(async (path) => {
    const { value: kept } = await openLmdbState(path);
    await kept.open('dispatch').commit(entries.flatMap(changesOf));
    let [passed, turns] = [0, 0];
    const watched = (state: KeptState): KeptState => ({
      ...state,
      *entries(prefix, bounds) {
        for (const entry of state.entries(prefix, bounds)) {
          passed += 1;
          yield entry;
        }
      },
    });
    const count = (): void => {
      turns += 1;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    const options = { logger: SILENT, freeBytes: () => Infinity, everyMs: HOUR_MS };
    const { value: store, stop } = openBufferedStates({ ...kept, open: (name) => watched(kept.open(name)) }, options);
    try {
      await work({ state: store.open('dispatch'), passed: () => passed, turns: () => turns });
    } finally {
      clearImmediate(counting);
      await stop();
    }
  });
}

function entryOf(number: number, session: string | null): Entry {
  const id = `n${String(number).padStart(5, '0')}`;
  const fedAt = session === null ? null : number;
  const about = { tenant: 'acme', notificationId: id, deliveryId: id, queue: QUEUE } as const;
  return { ...about, attempt: 1, due: number, expires: null, fedAt, session, refeeds: 0 };
}

function changesOf(entry: Entry): readonly Change[] {
  const { deliveryId, due, session, fedAt } = entry;
  const place = fedAt === null ? ['due', QUEUE, due, deliveryId] : ['fed', session ?? '', QUEUE, fedAt, deliveryId];
  return [
    { put: ['delivery', deliveryId], value: entry },
    { put: place, value: deliveryId },
  ];
}

function many(sessionOf: (number: number) => string | null): readonly Entry[] {
  return Array.from({ length: MANY }, (_, index) => entryOf(index + 1, sessionOf(index)));
}

describe('what was published in other sessions', () => {
  it('is taken back page by page, each in its turn and behind the one before', () =>
    withState(
      many((index) => (index % 2 === 0 ? 'before' : 'since')),
      async ({ state, passed, turns }) => {
        const begun = turns();
        await reclaim({ state, broker: { ...openInProcessBroker().value, session: 'now' } });
        expect([state.count(['fed']), state.count(['due'])]).toEqual([0, MANY]);
        expect(turns() - begun).toBeGreaterThanOrEqual(MANY / 500 - 2);
        expect(passed()).toBeLessThan(MANY * 1.5);
      },
    ));
});

describe('a queue that much is due for', () => {
  const now = (): number => MANY * 10;

  async function fed(given: Given, onPublish: (count: number, feeder: Feeder) => Promise<void> | void): Promise<void> {
    const { value: broker, stop } = openInProcessBroker({ now });
    let count = 0;
    const watched = {
      ...broker,
      publish: async (...args: Parameters<typeof broker.publish>) => {
        await broker.publish(...args);
        count += 1;
        await onPublish(count, feeder);
      },
    };
    const parts = { state: given.state, broker: watched, logger: SILENT, now };
    const feeder = openFeeder({ ...parts, alone: exclusive(), mayFeed: () => true });
    feeder.wake();
    try {
      await eventually(() => expect(given.state.count(['due'])).toBe(0), { timeoutMs: 20_000 });
    } finally {
      await feeder.stop();
      await stop();
    }
  }

  it('is fed window by window, each in its turn and behind the one before', () =>
    withState(
      many(() => null),
      async (given) => {
        const seen = new Set<number>();
        await fed(given, () => void seen.add(given.turns()));
        expect(given.state.count(['fed'])).toBe(MANY);
        expect(seen.size).toBeGreaterThanOrEqual(Math.floor(MANY / 256));
        expect(given.passed()).toBeLessThan(MANY * 1.5);
      },
    ));

  it('is fed with what comes in meanwhile and was due before', () =>
    withState(
      many(() => null),
      async (given) => {
        const late = { ...entryOf(MANY + 1, null), due: 0 };
        await fed(given, async (count, feeder) => {
          if (count !== 1_000) return;
          await given.state.commit(changesOf(late));
          feeder.added([late]);
        });
        expect(given.state.count(['fed'])).toBe(MANY + 1);
      },
    ));
});
