import { describe, expect, it } from 'vitest';
import { AnalyticsError, type Analytics, type InsertBatch } from '../../src/ports/analytics/analytics.ts';
import type { EventBatch, EventLog, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { END_OF_TIME } from '../../src/projections/analytics-rows.ts';
import type { Tenants } from '../../src/projections/analytics.ts';
import { appendStories, appendStory, storyOf } from '../app/analytics-stories.ts';
import { storedTables, toldTables } from '../app/analytics-tables.ts';
import { runOn } from '../support/analytics.ts';
import {
  append,
  DAY_MS,
  dying,
  expectExact,
  messages,
  plans,
  run,
  SEED,
  untilCaughtUp,
  withStage,
} from '../support/analytics-stage.ts';
import { eventually } from '../support/eventually.ts';
import { crashing } from '../support/world.ts';

describe('the tables', () => {
  it.each([
    ['one event each', 1, 2],
    ['a few updates each', 7, 6],
    ['all there is', 20_000, 20],
  ])('hold every update of the log once, inserted in batches of %s', async (_, rows, stories) => {
    await withStage(async (stage) => {
      await append(stage, 0, stories);
      const ingest = run(stage, { rows });
      await append(stage, stories, 2 * stories);
      await untilCaughtUp(stage, ingest);
      await append(stage, 2 * stories, 3 * stories);
      await untilCaughtUp(stage, ingest);
      await expectExact(stage);
      expect(stage.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
    });
  });

  it('hold what is recorded today, however long ago it was asked for', async () => {
    await withStage(async (stage) => {
      const now = stage.clock.now();
      for (const [index, days] of [90, 200, 380, 3_000].entries()) {
        const { stream, events } = storyOf(SEED, index, now - days * DAY_MS);
        const recorded = { occurredAt: new Date(now - 1_000).toISOString() };
        await appendStory(stage.log, {
          stream,
          events: events.map((event) => ({ ...event, metadata: { ...event.metadata, ...recorded } })),
        });
      }
      const ingest = run(stage);
      await untilCaughtUp(stage, ingest);
      await ingest.stop();
      await untilCaughtUp(stage, run(stage));
      const { deliveryEvents } = await storedTables(stage.analytics);
      expect(deliveryEvents).toEqual((await toldTables(stage.log)).deliveryEvents);
      expect(stage.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
    });
  });

  it('hold what is asked for at the end of time', async () => {
    await withStage(async (stage) => {
      await appendStories(stage.log, SEED, [0, 5], END_OF_TIME - 3 * DAY_MS);
      const ingest = run(stage);
      await untilCaughtUp(stage, ingest);
      await expectExact(stage);
      expect(messages(stage, 'error')).toEqual([]);
    });
  });

  it('follow what is recorded of each batch before it is inserted', async () => {
    await withStage(async (stage) => {
      const inserted: InsertBatch[] = [];
      const analytics: Analytics = {
        ...stage.analytics,
        insert: async (batch) => {
          const [last] = (await plans(stage)).slice(-1);
          expect(`${String(last?.store)}:1:${String(last?.from)}-${String(last?.to)}`).toBe(batch.token);
          expect(last?.rows).toBe(batch.rows.length);
          inserted.push(batch);
          return stage.analytics.insert(batch);
        },
      };
      await append(stage, 0, 60);
      await untilCaughtUp(stage, run(stage, { rows: 100 }, { analytics }));
      const all = await plans(stage);
      expect(all).toHaveLength(inserted.length);
      expect(all.every(({ from }, index) => from >= (all[index - 1]?.to ?? ''))).toBe(true);
      // The rows of the last event go in whole: one routing has three at most.
      expect(inserted.slice(0, -1).every(({ rows }) => rows.length >= 100 && rows.length < 103)).toBe(true);
      const positions = inserted.flatMap(({ columns, rows }) => rows.map((row) => row[columns.indexOf('position')]));
      expect(positions).toEqual(positions.toSorted());
    });
  });

  it('are filled without reading further ahead than about a batch', async () => {
    await withStage(async (stage) => {
      let read = 0;
      let inserted = 0;
      let furthest = 0;
      const log = counting(stage.log, (events) => (read += events.length));
      const analytics: Analytics = {
        ...stage.analytics,
        insert: async (batch) => {
          furthest = Math.max(furthest, read - inserted);
          await stage.analytics.insert(batch);
          const positions = batch.rows.map((row) => row[batch.columns.indexOf('position')]);
          inserted += new Set(positions).size;
        },
      };
      await append(stage, 0, 250);
      await untilCaughtUp(stage, run(stage, { rows: 200 }, { log, analytics }));
      expect(inserted).toBeGreaterThan(1_500);
      expect(furthest).toBeLessThanOrEqual(200 + 500);
      await expectExact(stage);
    });
  });

  it('lack what ClickHouse could not hold, which is reported and holds up nothing', async () => {
    await withStage(async (stage) => {
      const story = storyOf(SEED, 0, stage.clock.now());
      const broken = story.events.map((event, index) =>
        index === 1 ? { ...event, metadata: { ...event.metadata, occurredAt: 'never' } } : event,
      );
      await appendStory(stage.log, { ...story, events: broken });
      await append(stage, 1, 3);
      await untilCaughtUp(stage, run(stage));
      expect(messages(stage, 'error')).toEqual(['an event has no row that ClickHouse can hold']);
      const told = (await toldTables(stage.log)).deliveryEvents;
      const { deliveryEvents } = await storedTables(stage.analytics);
      expect(deliveryEvents).toEqual(told.filter(({ occurred }) => occurred !== 'never'));
      expect(deliveryEvents.length).toBeLessThan(told.length);
    });
  });
});

function counting(log: EventLog, read: (events: readonly RecordedEvent[]) => void): EventLog {
  return {
    ...log,
    subscribe: async function* (...args): AsyncGenerator<EventBatch> {
      for await (const batch of log.subscribe(...args)) {
        read(batch.events);
        yield batch;
      }
    },
  };
}

type Failing = (insert: () => Promise<void>, error: AnalyticsError) => Promise<void>;

const before: Failing = (_, error) => Promise.reject(error);
const after: Failing = async (insert, error) => {
  await insert();
  throw error;
};

/** The first `times` inserts fail, and then every third one. */
function failing(
  real: Analytics,
  how: Failing,
  times: number,
  kind: 'unavailable' | 'refused' = 'unavailable',
): Analytics {
  let inserts = 0;
  return {
    ...real,
    insert: (batch) => {
      inserts += 1;
      const insert = (): Promise<void> => real.insert(batch);
      return inserts <= times || inserts % 3 === 0 ? how(insert, new AnalyticsError(kind, 'no luck')) : insert();
    },
  };
}

describe('an insert that fails', () => {
  it.each([
    ['before it took place', before],
    ['after it took place', after],
  ])('%s is repeated until it works, and nothing is missing or there twice', async (_, how) => {
    await withStage(async (stage) => {
      await append(stage, 0, 20);
      const ingest = run(stage, { rows: 50 }, { analytics: failing(stage.analytics, how, 6) });
      await append(stage, 20, 30);
      await untilCaughtUp(stage, ingest);
      await expectExact(stage);
      expect(messages(stage, 'warn')).toEqual(['ClickHouse gives no answer; trying again']);
      expect(messages(stage, 'error')).toEqual([]);
    });
  });

  it('in the middle of a block that its repetition passes for is noticed, and everything is filled again', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 20);
      let cuts = 0;
      const analytics: Analytics = {
        ...stage.analytics,
        insert: async (batch) => {
          if (cuts > 0) return stage.analytics.insert(batch);
          cuts += 1;
          // As after a kill between the note of the token and the rows: the token is known, and rows are not there.
          await stage.analytics.insert({ ...batch, rows: batch.rows.slice(1) });
          throw new AnalyticsError('unavailable', 'no luck');
        },
      };
      await untilCaughtUp(stage, run(stage, {}, { analytics }));
      await expectExact(stage);
      expect(messages(stage, 'error')).toEqual(['ClickHouse lost or repeated rows of a batch; filling it again']);
    });
  });

  it.each([
    ['not each time', 3_600_000, ['warn']],
    ['again after a while, to people on call', 0, ['warn', 'error', 'error', 'error', 'error']],
  ])('for long is reported: %s', async (_, reportMs, levels) => {
    await withStage(async (stage) => {
      let tries = 0;
      const analytics: Analytics = {
        ...stage.analytics,
        insert: () => {
          tries += 1;
          return Promise.reject(new AnalyticsError('unavailable', 'gone'));
        },
      };
      await append(stage, 0, 2);
      const ingest = run(stage, { reportMs }, { analytics });
      await eventually(() => expect(tries).toBeGreaterThan(5));
      const complaints = stage.lines.filter(({ level }) => level !== 'info');
      expect(complaints.slice(0, 5).map(({ level }) => level)).toEqual(levels);
      expect(ingest.watermark()).toBeNull();
    });
  });

  it('because it is refused is reported to people on call, and the rows are never skipped', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 5);
      const ingest = run(stage, {}, { analytics: failing(stage.analytics, before, 2, 'refused') });
      await untilCaughtUp(stage, ingest);
      expect(messages(stage, 'error')).toEqual(['ClickHouse refuses what is to be inserted; trying again']);
      await expectExact(stage);
    });
  });
});

describe('a writer that ends', () => {
  it.each([
    ['between recording its first batch and inserting it', 1, false],
    ['between inserting its first batch and recording the next', 1, true],
    ['between recording a batch and inserting it', 3, false],
    ['between inserting a batch and recording the next', 3, true],
  ])('%s is succeeded by one that completes the batch', async (_, hanging, takesPlace) => {
    await withStage(async (stage) => {
      await append(stage, 0, 20);
      const { analytics, died } = dying(stage.analytics, hanging, takesPlace);
      const first = run(stage, { rows: 40 }, { analytics });
      await died;
      await first.stop();
      const [planned] = (await plans(stage)).slice(-1);
      await append(stage, 20, 25);
      const inserts: string[] = [];
      const noting: Analytics = {
        ...stage.analytics,
        insert: (batch) => {
          inserts.push(batch.token);
          return stage.analytics.insert(batch);
        },
      };
      await untilCaughtUp(stage, run(stage, { rows: 50 }, { analytics: noting }));
      expect(inserts[0]).toBe(`${String(planned?.store)}:1:${String(planned?.from)}-${String(planned?.to)}`);
      expect((await plans(stage)).filter(({ from }) => from === planned?.from)).toHaveLength(1);
      await expectExact(stage);
    });
  });

  it.each([true, false])('while it records a batch (recorded: %s) is no matter', async (appended) => {
    await withStage(async (stage) => {
      await append(stage, 0, 40);
      const log = crashing(stage.log, 3, appended);
      await untilCaughtUp(stage, run(stage, { rows: 50 }, { log }));
      await expectExact(stage);
      expect(messages(stage, 'warn')).toEqual(['ClickHouse cannot be written; trying again']);
    });
  });

  it('stops at once, whatever ClickHouse does', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 5);
      const hang = (): Promise<never> => new Promise(() => undefined);
      for (const method of ['migrate', 'query', 'insert'] as const) {
        let called: () => void = () => undefined;
        const reached = new Promise<void>((resolve) => (called = resolve));
        const hanging = (): Promise<never> => {
          called();
          return hang();
        };
        const ingest = run(stage, {}, { analytics: { ...stage.analytics, [method]: hanging } });
        await reached;
        await ingest.stop();
        expect(ingest.watermark()).toBeNull();
      }
    });
  });
});

describe('an engine that was killed in the middle of a batch', () => {
  // It notes the token before the rows are in place, so that the repetition does not bring them.
  it.each([
    [
      'lost some of its updates',
      'ALTER TABLE delivery_events DELETE WHERE position = (SELECT max(position) FROM delivery_events)',
    ],
    ['lost some of its deliveries', 'ALTER TABLE deliveries DELETE WHERE steps > 0'],
    ['lost some stages of its deliveries', 'ALTER TABLE deliveries UPDATE steps = 1 WHERE 1'],
    ['lost some of its counts', "ALTER TABLE activity_hourly DELETE WHERE type = 'NotificationRouted'"],
    ['counted twice', 'ALTER TABLE activity_hourly UPDATE updates = 2 * updates WHERE 1'],
  ])('and %s is filled again', async (_, statement) => {
    await withStage(async (stage) => {
      await append(stage, 0, 15);
      const { analytics, died } = dying(stage.analytics, 2, true);
      const first = run(stage, { rows: 60 }, { analytics });
      await died;
      await first.stop();
      await runOn(stage.analytics, `${statement} SETTINGS mutations_sync = 2`);
      await untilCaughtUp(stage, run(stage, { rows: 60 }));
      expect(messages(stage, 'error')).toEqual(['ClickHouse lost or repeated rows of a batch; filling it again']);
      await expectExact(stage);
    });
  });
});

describe('two writers at once', () => {
  it('stand in each other’s way and leave the tables exact', async () => {
    await withStage(async (stage) => {
      const limits = { rows: 50, longPauseMs: 3 };
      const both = [run(stage, limits), run(stage, limits)];
      await append(stage, 0, 60);
      await eventually(() => expect(messages(stage, 'warn')).not.toEqual([]), { timeoutMs: 10_000 });
      expect(new Set(messages(stage, 'warn'))).toEqual(new Set(['another process writes ClickHouse as well; waiting']));
      for (const ingest of both) await untilCaughtUp(stage, ingest);
      await Promise.all(both.map(({ stop }) => stop()));
      expect(messages(stage, 'error')).toEqual([]);
      await expectExact(stage);
    });
  });
});

describe('the watermark', () => {
  it('is there once everything is in ClickHouse, and moves where there is nothing to insert', async () => {
    await withStage(async (stage) => {
      const ingest = run(stage);
      await untilCaughtUp(stage, ingest);
      expect(await plans(stage)).toEqual([]);
      expect(ingest.watermark()?.at).toBe(stage.clock.now());
      await stage.commands.registerUser(
        { tenant: 'default', appKey: 'x', scopes: [], correlationId: 'c' },
        { id: 'ada' },
      );
      await untilCaughtUp(stage, ingest);
      expect(await plans(stage)).toEqual([]);

      const story = storyOf(SEED, 1, stage.clock.now());
      await appendStory(stage.log, story);
      await untilCaughtUp(stage, ingest);
      expect(await plans(stage)).not.toEqual([]);
      const times = story.events.map((event) => Date.parse(event.metadata.occurredAt));
      expect(ingest.watermark()?.at).toBe(Math.max(...times));
      const watermark = ingest.watermark();
      await ingest.stop();
      expect(ingest.watermark()).toEqual(watermark);
    });
  });

  it('is never ahead of what ClickHouse holds', async () => {
    await withStage(async (stage) => {
      await append(stage, 0, 10);
      const inserts: (() => void)[] = [];
      const analytics: Analytics = {
        ...stage.analytics,
        insert: async (batch) => {
          await new Promise<void>((resolve) => inserts.push(resolve));
          return stage.analytics.insert(batch);
        },
      };
      const ingest = run(stage, {}, { analytics });
      const insertNext = (): Promise<void> => eventually(() => (inserts.shift() ?? expect.fail('no insert'))());
      await eventually(() => expect(inserts).toHaveLength(1));
      expect(ingest.watermark()).toBeNull();
      await insertNext();
      await untilCaughtUp(stage, ingest);
      const before = ingest.watermark();
      await append(stage, 10, 11);
      await eventually(() => expect(inserts).toHaveLength(1));
      expect(ingest.watermark()).toEqual(before);
      await insertNext();
      await eventually(() => expect(ingest.watermark()).not.toEqual(before));
    });
  });
});

describe('listeners', () => {
  it('are told after each batch whose updates it holds, until they have had enough', async () => {
    await withStage(async (stage) => {
      const told: Tenants[] = [];
      const ingest = run(stage);
      await untilCaughtUp(stage, ingest);
      ingest.onCommitted(() => {
        throw new Error('not interested');
      });
      const enough = ingest.onCommitted((tenants) => void told.push(tenants));
      const story = storyOf(SEED, 2, stage.clock.now());
      await stage.log.append(story.stream, story.events, 0);
      await untilCaughtUp(stage, ingest);
      expect(told).toEqual([new Set([story.events[0]?.metadata.tenant])]);
      enough();
      await append(stage, 3, 4);
      await untilCaughtUp(stage, ingest);
      expect(told).toHaveLength(1);
      expect(new Set(messages(stage, 'error'))).toEqual(new Set(['a listener of analytics failed']));
    });
  });
});

type Subscription = (batches: AsyncIterable<EventBatch>, signal: AbortSignal) => AsyncIterable<EventBatch>;

const endSilently: Subscription = async function* (batches) {
  for await (const batch of batches) {
    yield batch;
    return;
  }
};
const fail: Subscription = async function* (batches) {
  for await (const batch of batches) {
    yield batch;
    throw new Error('connection lost');
  }
};
const stall: Subscription = async function* (batches, signal) {
  for await (const batch of batches) {
    yield batch;
    return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  }
};

describe('a subscription', () => {
  it.each([
    ['ends without a word', endSilently],
    ['fails', fail],
    ['brings nothing more', stall],
  ])('that %s is opened again where it was', async (_, fault) => {
    await withStage(async (stage) => {
      let opened = 0;
      const log: EventLog = {
        ...stage.log,
        subscribe: (position, filter, signal) => {
          const batches = stage.log.subscribe(position, filter, signal);
          opened += 1;
          return opened <= 3 ? fault(batches, signal) : batches;
        },
      };
      await append(stage, 0, 10);
      const ingest = run(stage, { idleMs: 200 }, { log });
      for (const from of [10, 20, 30]) {
        await eventually(() => expect(opened).toBeGreaterThanOrEqual(from / 10));
        await append(stage, from, from + 10);
      }
      await untilCaughtUp(stage, ingest);
      await expectExact(stage);
    });
  });
});
