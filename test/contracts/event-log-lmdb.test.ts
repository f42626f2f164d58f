import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';

import { describe, expect, it, vi } from 'vitest';

import { START, type EventLog, type Position } from '../../src/ports/event-log/event-log.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { exitOf, startTs, tsCommand } from '../support/ts-child.ts';
import type { DiskFullReport } from './event-log-disk-full-child.ts';
import { collect, newEvent, newEvents, nextBatch } from './event-log.reading.ts';

/** What the embedded log promises beyond the contract. */
describe('the embedded event log', () => {
  it('numbers positions without gaps and refuses one beyond its end', async () => {
    await withLog(async (log) => {
      await Promise.all([1, 2, 3].map((n) => log.append(`order-${String(n)}`, newEvents(n), 0)));
      const batches = await collect(log, START, {}, await log.head());
      const positions = batches.flatMap(({ events }) => events.map(({ position }) => Number(position)));
      expect(positions).toEqual([1, 2, 3, 4, 5, 6]);
      const beyond = String(7).padStart(16, '0') as Position;
      await expect(nextBatch(log.subscribe(beyond, {}, never()))).rejects.toBeInstanceOf(RangeError);
    });
  });

  it('moves the checkpoint every few thousand events when nothing matches', async () => {
    await withLog(async (log) => {
      for (let version = 0; version < 12_000; version += 1_000) await log.append('order-1', newEvents(1_000), version);
      const batches = await collect(log, START, { types: ['Nothing'] }, await log.head());
      expect(batches.map(({ events, position, live }) => [events.length, Number(position), live])).toEqual([
        [0, 5_000, false],
        [0, 10_000, false],
        [0, 12_000, true],
      ]);
    });
  });

  it('delivers a backlog in batches of bounded length and size', async () => {
    await withLog(async (log) => {
      await log.append('order-1', newEvents(1_000), 0);
      for (let version = 0; version < 50; version += 10) {
        const large = Array.from({ length: 10 }, () => newEvent({ data: 'x'.repeat(100_000) }));
        await log.append('order-2', large, version);
      }
      const batches = await collect(log, START, {}, await log.head());
      expect(batches.map(({ events }) => events.length)).toEqual([500, 500, 11, 11, 11, 11, 6]);
    });
  });

  it('reads no more for the newest event of a long stream than for that of a short one', async () => {
    await withTempDir(async (directory) => {
      const written = await openLmdbEventLog(directory);
      await written.value.append('order-1', newEvents(1), 0);
      for (let version = 0; version < 3_000; version += 1_000) {
        await written.value.append('order-2', newEvents(1_000), version);
      }
      await written.stop();
      const { value: log, stop } = await openLmdbEventLog(directory);
      const decoded = vi.spyOn(JSON, 'parse');
      try {
        const readsFor = async (stream: string): Promise<number> => {
          decoded.mockClear();
          await log.last(stream);
          return decoded.mock.calls.length;
        };
        const short = await readsFor('order-1');
        expect(short).toBeGreaterThan(0);
        expect(await readsFor('order-2')).toBe(short);
        expect(await readsFor('order-3')).toBe(0);
      } finally {
        decoded.mockRestore();
        await stop();
      }
    });
  });

  it('lets other work go on while a subscription examines a backlog', async () => {
    await withLog(async (log) => {
      for (let version = 0; version < 4_000; version += 1_000) await log.append('order-1', newEvents(1_000), version);
      let turns = 0;
      const count = (): void => {
        turns += 1;
        counting = setImmediate(count);
      };
      let counting = setImmediate(count);
      await nextBatch(log.subscribe(START, { types: ['Nothing'] }, never()));
      clearImmediate(counting);
      expect(turns).toBeGreaterThanOrEqual(3);
    });
  });

  it('is refused to a second process', async () => {
    await withTempDir(async (directory) => {
      const { stop } = await openLmdbEventLog(directory);
      const second = startTs(new URL('./event-log-kill-child.ts', import.meta.url), [directory]);
      const [complaint, [code]] = await Promise.all([text(second.stderr), exitOf(second)]);
      await stop();
      expect(code).toBe(1);
      expect(complaint).toContain(`is already open in process ${String(process.pid)}`);
    });
  });

  it('refuses a commit that was decided on an outdated head, and decides afresh when it is tried again', async () => {
    await withTempDir(async (directory) => {
      const [one, other] = [await openLmdbEventLog(directory), await openLmdbEventLog(directory)];
      const events = newEvents(2);
      await other.value.append('order-1', newEvents(3), 0);
      await expect(one.value.append('order-2', events, 0)).rejects.toThrow('the head of the event log has moved');
      expect(await one.value.read('order-2')).toEqual([]);
      expect(await one.value.append('order-2', events, 0)).toEqual({ version: 2, position: await one.value.head() });
      expect(Number(await one.value.head())).toBe(5);
      await one.stop();
      await other.stop();
    });
  });

  const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;

  it.skipIf(!canLimit)(
    'rejects what a full disk cannot take, stays readable, and goes on when there is room',
    async () => {
      await withTempDir(async (directory) => {
        const command = tsCommand(new URL('./event-log-disk-full-child.ts', import.meta.url), [directory]);
        const limited = spawn('sh', ['-c', 'ulimit -S -f 4096 && exec "$@"', 'sh', ...command], { stdio: 'pipe' });
        const [answer, noise, [code]] = await Promise.all([
          text(limited.stdout),
          text(limited.stderr),
          exitOf(limited),
        ]);
        expect([code, answer], noise).toEqual([0, expect.stringMatching(/^{.*}$/)]);
        const report = JSON.parse(answer) as DiskFullReport;
        expect(report.rejection).toBe('Error: the commit failed');
        expect(report.taken).toBeGreaterThan(50);
        expect(report).toMatchObject({ readable: report.taken, afterwards: [1, 1], total: report.taken + 2 });
      });
    },
  );
});

async function withLog(work: (log: EventLog) => Promise<void>): Promise<void> {
  await withTempDir(async (directory) => {
    const { value: log, stop } = await openLmdbEventLog(directory);
    await work(log).finally(stop);
  });
}

function never(): AbortSignal {
  return new AbortController().signal;
}
