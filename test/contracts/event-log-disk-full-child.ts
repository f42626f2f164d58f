/**
 * Fills the embedded log in the directory given until the limit on the size of its file stops it, has the limit lifted,
 * and goes on. Says in one line of JSON what happened. `event-log-lmdb.test.ts` starts it.
 */
import { execFileSync } from 'node:child_process';

import { START, type EventLog } from '../../src/ports/event-log/event-log.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { collect, newEvent } from './event-log.reading.ts';

export interface DiskFullReport {
  /** Appends until the first that was rejected. */
  readonly taken: number;
  readonly rejection: string;
  /** What a subscription from the start delivered while the disk was full. */
  readonly readable: number;
  /** Versions that the rejected append and a new one were answered with once there was room. */
  readonly afterwards: readonly number[];
  readonly total: number;
}

const [directory = ''] = process.argv.slice(2);
const { value: log, stop } = await openLmdbEventLog(directory);
process.stdout.write(JSON.stringify(await fillAndGoOn()));
await stop();

async function fillAndGoOn(): Promise<DiskFullReport> {
  for (let taken = 0; ; taken++) {
    const event = newEvent({ data: 'x'.repeat(20_000) });
    const stream = `order-${String(taken)}`;
    const rejection = await log.append(stream, [event], 0).then(() => undefined, String);
    if (rejection === undefined) continue;
    const readable = await count(log);
    execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited']);
    const afterwards = await Promise.all([log.append(stream, [event], 0), log.append('order-new', [newEvent()], 0)]);
    return {
      taken,
      rejection,
      readable,
      afterwards: afterwards.map(({ version }) => version),
      total: await count(log),
    };
  }
}

async function count(from: EventLog): Promise<number> {
  const batches = await collect(from, START, {}, await from.head());
  return batches.reduce((sum, { events }) => sum + events.length, 0);
}
