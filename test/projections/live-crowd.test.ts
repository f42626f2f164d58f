import { setImmediate as turnOver } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { eventually } from '../support/eventually.ts';
import { withWorld } from '../support/world.ts';
import {
  atStart,
  author,
  EVERYTHING,
  expected,
  expectNothing,
  live,
  refusal,
  seen,
  story,
  take,
  UNANSWERED,
  type Step,
} from './live-world.ts';

/** Requests and routes that many notifications of tenant `default`, to one place each. */
function many(count: number): readonly Step[] {
  return Array.from({ length: 2 * count }, (_, n) => ({ notification: 2 * Math.floor(n / 2), kind: 0, delivery: 0 }));
}

/** A log that counts the streams read of it. */
function counted(log: EventLog): { readonly log: EventLog; readonly reads: () => number } {
  let reads = 0;
  const read: EventLog['read'] = (...args) => {
    reads += 1;
    return log.read(...args);
  };
  return { log: { ...log, read }, reads: () => reads };
}

describe('the past', () => {
  it('is read once for each of many who read it slowly, and not again and again', async () => {
    await withWorld(async (world) => {
      await author(world).write(...many(40));
      const { log, reads } = counted(world.log);
      const service = await live(world, { log, limits: { page: 20, held: 60, tenantShare: 1 } });
      const all = await expected(world, EVERYTHING);
      const readers = await Promise.all(
        Array.from({ length: 12 }, () => service.follow({ ...EVERYTHING, after: atStart(world) })),
      );
      for (const each of all) {
        for (const updates of readers) expect(await take(updates, 1)).toEqual([each]);
        expect(service.status().held).toBeLessThanOrEqual(60);
      }
      // Some were read when there was more room, and shortened for others.

      expect(reads()).toBeLessThan(1.5 * readers.length * all.length);
    });
  });

  it('is read page by page where there is no room for more than one update of each reader', async () => {
    await withWorld(async (world) => {
      await author(world).write(...many(10));
      const service = await live(world, { limits: { page: 20, held: 1, tenantShare: 1 } });
      const all = await expected(world, EVERYTHING);
      const readers = await Promise.all([1, 2, 3].map(() => service.follow({ ...EVERYTHING, after: atStart(world) })));
      for (const each of all) {
        for (const updates of readers) expect(await take(updates, 1)).toEqual([each]);
        expect(service.status().held).toBeLessThanOrEqual(3);
      }
      for (const updates of readers) await expectNothing(updates, () => seen(service, world));
    });
  });

  it('is told as far as it was read in half of the time, where the log is too slow to be read on', async () => {
    await withWorld(async (world) => {
      await author(world).write(...many(30));
      let release = (): void => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      let reads = 0;
      const read: EventLog['read'] = async (...args) => {
        reads += 1;
        if (reads > 8) await held;
        return world.log.read(...args);
      };
      const service = await live(world, { log: { ...world.log, read }, limits: { readMs: 1_000 } });
      const updates = await service.follow({ ...EVERYTHING, after: atStart(world) });
      const all = await expected(world, EVERYTHING);
      const [first] = await take(updates, 1);
      release();
      expect([first, ...(await take(updates, all.length - 1))]).toEqual(all);
    });
  });

  it('that cannot be read at all in time is UNAVAILABLE', async () => {
    await withWorld(async (world) => {
      await author(world).write(...many(30));
      let reads = 0;
      const read: EventLog['read'] = (...args) => ((reads += 1) === 3 ? UNANSWERED : world.log.read(...args));
      const service = await live(world, { log: { ...world.log, read }, limits: { readMs: 20 } });
      const updates = await service.follow({ ...EVERYTHING, after: atStart(world) });
      await expect(updates.next()).rejects.toMatchObject(refusal('UNAVAILABLE'));
    });
  });
});

describe('an update for many subscribers', () => {
  it('is told to a few in each turn of the event loop, and to all of them', async () => {
    await withWorld(async (world) => {
      const service = await live(world, { limits: { given: 10, tenantShare: 1 } });
      let told = 0;
      for (let count = 0; count < 200; count += 1) {
        const updates = await service.follow({ ...EVERYTHING, after: null });
        void updates.next().then(() => (told += 1));
      }
      expect(service.status().waiting).toBe(200);
      await author(world).write(...many(1));
      const jumps: number[] = [];
      while (told < 200) {
        const before = told;
        await turnOver();
        jumps.push(told - before);
      }
      // It may come in the middle of a turn, and the rest of that turn is one for itself.
      expect(Math.max(...jumps)).toBeLessThanOrEqual(20);
    });
  });
});

describe('a subscriber that asks all the time', () => {
  it('is not too slow where the log is: it goes on from the past', async () => {
    await withWorld(async (world) => {
      const writer = author(world);
      await writer.write(...story(2), ...story(2, 2));
      let release = (): void => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      const read: EventLog['read'] = async (...args) => {
        await held;
        return world.log.read(...args);
      };
      const service = await live(world, { log: { ...world.log, read }, limits: { ringUpdates: 4, sweepMs: 1 } });
      const slow: string[] = [];
      const before = (await expected(world, EVERYTHING)).length;
      const updates = await service.follow({ ...EVERYTHING, after: null, onSlow: (cursor) => slow.push(cursor) });
      const told = take(updates, 21);
      await writer.write(...story(1));
      await eventually(() => {
        expect(service.status().lookups).toBe(1);
      });
      await writer.write(...Array.from({ length: 20 }, (_, n) => ({ notification: 2, kind: n % 6, delivery: n })));
      await seen(service, world);
      release();
      expect(await told).toEqual((await expected(world, EVERYTHING)).slice(before));
      expect(slow).toEqual([]);
    });
  });
});
