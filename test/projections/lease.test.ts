import { setImmediate as everybodyWaits } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import type { Tenure } from '../../src/events/leases.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import { LogUnavailable, START, type EventLog, type RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import type { LeaseClock } from '../../src/projections/lease-clock.ts';
import { ALWAYS_HELD, startLease, type Lease, type LeaseOptions } from '../../src/projections/lease.ts';
import { eventually } from '../support/eventually.ts';
import { withWorld, type World } from '../support/world.ts';

const STREAM = streamOf.lease('route');

interface ManualClock extends LeaseClock {
  /** Time passes, and what is due by then happens. */
  readonly advance: (ms: number) => void;
  /** Time passes while the process is stopped by a signal: nothing happens. */
  readonly sleep: (ms: number) => void;
  readonly pending: () => number;
}

function manualClock(): ManualClock {
  let now = 5_000;
  const timers = new Set<{ readonly at: number; readonly task: () => void }>();
  return {
    now: () => now,
    after: (ms, task) => {
      const timer = { at: now + ms, task };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance: (ms) => {
      now += ms;
      for (const timer of [...timers].toSorted((a, b) => a.at - b.at)) {
        if (timer.at <= now && timers.delete(timer)) timer.task();
      }
    },
    sleep: (ms) => {
      now += ms;
    },
    pending: () => timers.size,
  };
}

interface Candidate {
  readonly lease: Lease;
  readonly clock: ManualClock;
  /** Whether it was held each time that the listener was told. */
  readonly told: readonly boolean[];
  readonly stop: () => Promise<void>;
}

function candidate(world: World, options: Partial<LeaseOptions> = {}): Candidate {
  const clock = manualClock();
  const { log, logger, clock: wall } = world;
  const given = { log, name: 'route', holder: 'one', ids: systemIds, now: wall.now, logger, clock };
  const { value: lease, stop } = startLease({ ...given, ...options });
  const told: boolean[] = [];
  lease.onChange(() => told.push(lease.heldSince() !== null));
  return { lease, clock, told, stop };
}

const holds = ({ lease }: Candidate) =>
  eventually(() => {
    const since = lease.heldSince();
    expect(since).not.toBeNull();
    return since;
  });

const events = ({ log }: World): Promise<readonly RecordedEvent[]> => log.read(STREAM);
const types = async (world: World): Promise<readonly string[]> => (await events(world)).map(({ type }) => type);

/** Lets time pass in steps until the condition holds; what the log answers comes in between. */
async function passing({ clock }: Candidate, until: () => boolean | Promise<boolean>, stepMs = 100): Promise<number> {
  const from = clock.now();
  await eventually(async () => {
    clock.advance(stepMs);
    await everybodyWaits();
    expect(await until()).toBe(true);
  });
  return clock.now() - from;
}

/** The newest event as soon as the stream has this version. */
const atVersion = ({ log }: World, version: number) =>
  eventually(async () => {
    const newest = await log.last(STREAM);
    expect(newest?.version).toBe(version);
    return newest;
  });

/** A log that fails as told: its appends, or altogether, at once or after one more append. */
function faulty(log: EventLog) {
  const fault = { kind: 'none' as 'none' | 'answer lost' | 'request lost' | 'one answer' | 'silent' };
  const broken: LeaseOptions['log'] = {
    last: (stream) => (fault.kind === 'silent' ? new Promise(() => undefined) : log.last(stream)),
    keepNewest: (stream, count) => log.keepNewest(stream, count),
    append: async (stream, given, expected) => {
      if (fault.kind === 'silent') return new Promise(() => undefined);
      if (fault.kind === 'request lost') throw new LogUnavailable('away');
      const answer = await log.append(stream, given, expected);
      if (fault.kind === 'one answer') fault.kind = 'silent';
      if (fault.kind === 'answer lost') throw new LogUnavailable('away');
      return answer;
    },
  };
  return { log: broken, fault };
}

describe('a lease', () => {
  it('is taken at once where nobody ever had it, and holds since the record that says so', () =>
    withWorld(async (world) => {
      const one = candidate(world);
      const since = await holds(one);
      expect(await events(world)).toMatchObject([
        { type: 'LeaseTaken', version: 1, position: since, data: { holder: 'one', term: 1 } },
      ]);
      expect(one.told).toEqual([true]);
      await one.stop();
    }));

  it('is renewed every two seconds and holds on', () =>
    withWorld(async (world) => {
      const one = candidate(world);
      const since = await holds(one);
      for (const version of [2, 3, 4]) {
        one.clock.advance(1_990);
        expect(await world.log.last(STREAM)).toMatchObject({ version: version - 1 });
        one.clock.advance(10);
        await atVersion(world, version);
        await eventually(() => expect(one.clock.pending()).toBe(2));
      }
      expect(one.lease.heldSince()).toBe(since);
      expect(one.told).toEqual([true]);
      expect(await types(world)).toEqual(['LeaseTaken', 'LeaseRenewed', 'LeaseRenewed', 'LeaseRenewed']);
      await one.stop();
    }));

  it('ends by time alone, half the time-to-live after the last renewal began, and comes back as the same', () =>
    withWorld(async (world) => {
      const { log, fault } = faulty(world.log);
      const one = candidate(world, { log });
      const since = await holds(one);
      fault.kind = 'silent';
      one.clock.advance(4_999);
      expect(one.lease.heldSince()).toBe(since);
      one.clock.advance(1);
      expect(one.lease.heldSince()).toBeNull();
      expect(one.told).toEqual([true, false]);
      fault.kind = 'none';
      await passing(one, () => one.lease.heldSince() === since);
      expect(one.told).toEqual([true, false, true]);
      await one.stop();
    }));

  it('is not held any more by a process that was stopped for long, before anything else happens in it', () =>
    withWorld(async (world) => {
      const one = candidate(world);
      await holds(one);
      one.clock.sleep(60_000);
      expect(one.lease.heldSince()).toBeNull();
      one.clock.advance(0);
      await holds(one);
      expect(one.told).toEqual([true, false, true]);
      await one.stop();
    }));

  it('goes to another once nothing was heard for the whole time-to-live, with a higher term', () =>
    withWorld(async (world) => {
      const one = candidate(world);
      await holds(one);
      const two = candidate(world, { holder: 'two' });
      await eventually(() => expect(two.clock.pending()).toBe(1));
      // The first process stands still: its clock does.
      const tookMs = await passing(two, () => two.lease.heldSince() !== null);
      expect(tookMs).toBeGreaterThanOrEqual(10_000);
      expect(tookMs).toBeLessThan(20_000);
      const terms = (await events(world)).map(({ type, data }) => [type, (data as Tenure).term]);
      expect(terms).toEqual([
        ['LeaseTaken', 1],
        ['LeaseTaken', 2],
      ]);
      one.clock.sleep(20_000);
      expect(one.lease.heldSince()).toBeNull();
      one.clock.advance(0);
      await eventually(() => expect(one.told).toEqual([true, false]));
      await one.stop();
      expect(await types(world)).toEqual(['LeaseTaken', 'LeaseTaken']);
      await two.stop();
    }));

  it('goes to nobody while it is renewed', () =>
    withWorld(async (world) => {
      const one = candidate(world);
      await holds(one);
      const two = candidate(world, { holder: 'two' });
      for (let second = 0; second < 30; second += 1) {
        for (const { clock } of [one, two]) clock.advance(1_000);
        if (second % 2 === 1) await atVersion(world, 2 + Math.floor(second / 2));
        await eventually(() => expect([one.clock.pending(), two.clock.pending()]).toEqual([2, 1]));
      }
      expect(two.told).toEqual([]);
      expect(one.told).toEqual([true]);
      await Promise.all([one.stop(), two.stop()]);
    }));

  it('is given back at a stop, so that another takes it at its next look', () =>
    withWorld(async (world) => {
      const one = candidate(world);
      await holds(one);
      const two = candidate(world, { holder: 'two' });
      await eventually(() => expect(two.clock.pending()).toBe(1));
      await one.stop();
      expect(one.told).toEqual([true, false]);
      expect(one.clock.pending()).toBe(0);
      two.clock.advance(1_000);
      await holds(two);
      expect(await types(world)).toEqual(['LeaseTaken', 'LeaseReleased', 'LeaseTaken']);
      await two.stop();
    }));

  it('is left to others by a process that has much to fold yet', () =>
    withWorld(async (world) => {
      const foldings = { done: false };
      const busy = candidate(world, { holder: 'busy', mayTake: () => foldings.done });
      await eventually(() => expect(busy.clock.pending()).toBe(1));
      busy.clock.advance(1_000);
      await eventually(() => expect(busy.clock.pending()).toBe(1));
      expect(await types(world)).toEqual([]);
      const ready = candidate(world, { holder: 'ready' });
      await holds(ready);
      await ready.stop();
      foldings.done = true;
      busy.clock.advance(1_000);
      await holds(busy);
      await busy.stop();
    }));

  it('is taken at once by the next process of the same holder, but not back by the one before', () =>
    withWorld(async (world) => {
      const before = candidate(world);
      await holds(before);
      const next = candidate(world);
      await holds(next);
      before.clock.advance(2_000);
      await passing(before, () => before.lease.heldSince() === null, 0);
      before.clock.advance(1_000);
      await everybodyWaits();
      expect(await types(world)).toEqual(['LeaseTaken', 'LeaseTaken']);
      await Promise.all([before.stop(), next.stop()]);
    }));

  it('is not lost when a renewal was recorded and its answer was not heard', () =>
    withWorld(async (world) => {
      const { log, fault } = faulty(world.log);
      const one = candidate(world, { log });
      await holds(one);
      fault.kind = 'answer lost';
      one.clock.advance(2_000);
      await atVersion(world, 2);
      await passing(one, async () => (await world.log.last(STREAM))?.version === 3, 50);
      expect(one.told).toEqual([true]);
      fault.kind = 'none';
      await one.stop();
    }));

  it('counts from before the first try, however late one succeeds', () =>
    withWorld(async (world) => {
      const { log, fault } = faulty(world.log);
      const one = candidate(world, { log });
      await holds(one);
      fault.kind = 'request lost';
      one.clock.advance(2_000);
      await eventually(() => expect(one.clock.pending()).toBe(2));
      const firstTry = one.clock.now();
      for (let tries = 0; tries < 20; tries += 1) {
        one.clock.advance(100);
        await eventually(() => expect(one.clock.pending()).toBe(2));
      }
      fault.kind = 'one answer';
      one.clock.advance(100);
      await atVersion(world, 2);
      one.clock.sleep(firstTry + 4_999 - one.clock.now());
      await holds(one);
      one.clock.sleep(1);
      expect(one.lease.heldSince()).toBeNull();
      fault.kind = 'none';
      await one.stop();
    }));

  it('outlives a log that is away, and says so', () =>
    withWorld(async (world) => {
      const { log, fault } = faulty(world.log);
      fault.kind = 'request lost';
      const warnings: string[] = [];
      const logger = { ...world.logger, warn: (_: object, message: string) => void warnings.push(message) };
      const one = candidate(world, { log, logger });
      await passing(one, () => warnings.length > 0);
      expect(warnings).toEqual(['the event log does not say who has a lease; trying again']);
      fault.kind = 'none';
      await passing(one, () => one.lease.heldSince() !== null);
      await one.stop();
    }));

  it('stops without the log after a second, and leaves nothing behind', () =>
    withWorld(async (world) => {
      const { log, fault } = faulty(world.log);
      const one = candidate(world, { log });
      await holds(one);
      fault.kind = 'silent';
      one.clock.advance(2_000);
      let isOver = false;
      const stopped = one.stop().then(() => (isOver = true));
      expect(one.lease.heldSince()).toBeNull();
      await passing(one, () => isOver);
      await stopped;
      expect(one.clock.pending()).toBe(0);
    }));

  it('is no longer than the log needs: it keeps the newest few renewals, and does without', () =>
    withWorld(async (world) => {
      const asked: unknown[] = [];
      const keepNewest = (...given: readonly unknown[]) => {
        asked.push(given);
        return Promise.reject(new LogUnavailable('away'));
      };
      const one = candidate(world, { log: { ...world.log, keepNewest } });
      await holds(one);
      one.clock.advance(2_000);
      await atVersion(world, 2);
      expect(asked).toEqual([[STREAM, 10]]);
      await one.stop();
    }));

  it('is left alone when a newer version of this service did something unknown to it', () =>
    withWorld(async (world) => {
      const metadata = { schemaVersion: 2, tenant: '', occurredAt: '', correlationId: 'c', causationId: 'c' };
      await world.log.append(STREAM, [{ id: systemIds.random(), type: 'LeaseLent', data: {}, metadata }], 0);
      const one = candidate(world);
      await eventually(() => expect(one.clock.pending()).toBe(1));
      expect(await types(world)).toEqual(['LeaseLent']);
      expect(await passing(one, () => one.lease.heldSince() !== null)).toBeGreaterThanOrEqual(10_000);
      await one.stop();
    }));

  it('refuses timings with which a holder would lose it between two renewals', () =>
    withWorld((world) => {
      expect(() => candidate(world, { timings: { renewMs: 5_000 } })).toThrow(RangeError);
      expect(() => candidate(world, { timings: { ttlMs: 5_000 } })).toThrow(RangeError);
      return Promise.resolve();
    }));

  it('is always held by whoever has the data directory', () => {
    expect(ALWAYS_HELD.heldSince()).toBe(START);
    ALWAYS_HELD.onChange(() => undefined)();
  });
});
