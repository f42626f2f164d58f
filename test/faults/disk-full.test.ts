import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { randomFrom } from '../support/random.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { openAlone, readLog, untilOver, type Alone } from './alone.ts';
import { registerUsers, startLoad } from './load.ts';
import { probe } from './probe.ts';
import { rounds, ROUNDS_MS, SETTLED } from './settings.ts';
import { copiesAt } from './sinks.ts';
import { lacksSmallDisk, onSmallDisk, smallDiskOf } from './small-disk.ts';
import { judge } from './verdict.ts';

const DISK_BYTES = 512 * 1024 * 1024;
/** Below 64 MiB nothing new is taken, below 16 MiB nothing at all is written. */
const [NOTHING_NEW_MIB, NOTHING_MIB] = [40, 6];

const ASK = `mutation ($input: RequestNotificationInput!) { requestNotification(input: $input) { notification { id } } }`;

/** What a client hears that asks for something new. */
async function answered({ apis }: Alone, key: string): Promise<string> {
  const content = { title: 'Hello', body: 'Is there room?' };
  const [api] = apis();
  if (api === undefined) throw new Error('it has ended');
  return api.ask(ASK, { input: { userId: 'user-0', idempotencyKey: key, content } }).then(
    () => 'taken',
    (error: unknown) => String(error),
  );
}

async function run(alone: Alone, seed: number): Promise<string> {
  const { apis, unit, sinks } = alone;
  const [mails] = sinks;
  const disk = smallDiskOf(unit);
  await registerUsers(apis);
  const load = startLoad({ apis, random: randomFrom(seed), name: 'disk' });
  await eventually(() => expect(mails.copies().size).toBeGreaterThan(20), SETTLED);

  await disk.fillUpTo(NOTHING_NEW_MIB);
  // What was taken before is told to its end.
  const refusal = await eventually(async () => {
    const answer = await answered(alone, 'while nothing new is taken');
    expect(answer).not.toBe('taken');
    return answer;
  }, SETTLED);
  expect(refusal).toContain('UNAVAILABLE');
  expect(refusal).toContain('the disk is almost full');
  const known = new Set(load.acknowledged.keys());
  await untilOver(alone, { acknowledged: new Map([...load.acknowledged].filter(([, wish]) => wish === 'now')) });
  expect(load.acknowledged.size, 'something was acknowledged though the disk was full').toBe(known.size);

  await disk.fillUpTo(NOTHING_MIB);
  expect(await answered(alone, 'while nothing is written')).toContain('the disk is almost full');
  await disk.empty();
  const recoveredMs = await probe(alone, seed);
  // Full from one moment to the next, with mails on their way.
  const before = mails.copies().size;
  await eventually(() => expect(mails.copies().size).toBeGreaterThan(before + 10), SETTLED);
  await disk.fillUpTo(NOTHING_MIB);
  await eventually(
    async () => expect(await answered(alone, 'once more')).toContain('the disk is almost full'),
    SETTLED,
  );
  await disk.empty();
  await load.stop();
  await untilOver(alone, load);
  const { problems, figures } = await withTempDir(async (folder) => {
    await disk.copyRecord(folder);
    const { events } = await readLog(folder);
    return judge({ acknowledged: load.acknowledged, events, copies: copiesAt(sinks) });
  });
  expect(problems).toEqual([]);
  const { notifications, duplicates, doubts } = figures;
  return (
    `${String(notifications)} notifications, 0 lost, ${String(doubts)} in doubt, ${String(duplicates)} duplicates, ` +
    `${String(load.failures())} calls made again, recovered after ${(recoveredMs / 1_000).toFixed(1)} s`
  );
}

describe.skipIf(lacksSmallDisk())('a process whose disk becomes full', () => {
  it(
    'refuses what is new in clear words, loses nothing that it acknowledged, and goes on when there is room',
    () =>
      rounds('a full disk', async (seed) => {
        const { value, stop } = await openAlone({ within: onSmallDisk(DISK_BYTES) });
        return run(value, seed).finally(stop);
      }),
    ROUNDS_MS,
  );
});
