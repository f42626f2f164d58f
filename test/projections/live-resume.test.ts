import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Interest } from '../../src/projections/live-story.ts';
import type { Live } from '../../src/projections/live.ts';
import { eventually } from '../support/eventually.ts';
import { withWorld, type World } from '../support/world.ts';
import {
  ALL,
  atStart,
  author,
  expectNothing,
  expected,
  interest,
  live,
  seen,
  steps,
  subscriber,
  tight,
  type Author,
  type Step,
  type Subscriber,
} from './live-world.ts';

interface Turn {
  readonly steps: readonly Step[];
  /** Whether the service has seen them before the subscriber reads on. */
  readonly seen: boolean;
  readonly reads: number;
}

const turns = fc.array(fc.record({ steps: steps(12, 12), seen: fc.boolean(), reads: fc.nat(7) }), {
  minLength: 1,
  maxLength: 6,
});

async function take(turn: Turn, { world, service, writer, reader, wanted }: Scene): Promise<void> {
  await writer.write(...turn.steps);
  if (turn.seen) await seen(service, world);
  const left = (await expected(world, wanted)).length - reader.told.length;
  await reader.read(Math.min(turn.reads, left));
}

interface Scene {
  readonly world: World;
  readonly service: Live;
  readonly writer: Author;
  readonly reader: Subscriber;
  readonly wanted: Interest;
}

/** Reads what is left. */
async function finish({ world, service, reader, wanted }: Scene): Promise<void> {
  const all = await expected(world, wanted);
  await reader.read(all.length - reader.told.length);
  expect(reader.told).toEqual(all);
  const rest = await service.follow({ ...wanted, after: all.at(-1)?.cursor ?? atStart(world, wanted.tenant) });
  await expectNothing(rest, () => seen(service, world));
}

describe('a subscriber that is cut off again and again', () => {
  it('is told every update once, in order, with its delivery as of it', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(steps(25, 12), turns, interest, tight, async (before, script, wanted, limits) => {
        await withWorld(async (world) => {
          const writer = author(world);
          await writer.write(...before);
          const service = await live(world, { limits });
          const scene = {
            world,
            service,
            writer,
            wanted,
            reader: subscriber(service, wanted, atStart(world, wanted.tenant)),
          };
          for (const turn of script) await take(turn, scene);
          await finish(scene);
        });
      }),
      { numRuns: 100 },
    );
  });

  it('is told the same while the log goes on growing', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        steps(120, 25),
        fc.array(interest, { minLength: 4, maxLength: 4 }),
        tight,
        async (script, wanted, limits) => {
          await withWorld(async (world) => {
            const writer = author(world);
            await writer.write(...script.slice(0, 10));
            const service = await live(world, { limits });
            const readers = wanted.map((each) => ({
              wanted: each,
              reader: subscriber(service, each, atStart(world, each.tenant)),
            }));
            let written = false;
            const writing = (async () => {
              for (const step of script.slice(10)) await writer.write(step);
              written = true;
            })();
            const reading = readers.map(async ({ reader }) => {
              while (!written) await reader.read(1 + (reader.told.length % 3));
            });
            await writing;
            await Promise.all(readers.map(({ reader }) => reader.cut()));
            await Promise.all(reading);
            for (const each of readers) await finish({ world, service, writer, ...each });
          });
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('subscribers of live updates', () => {
  it('are told every update as it happens, whatever they ask for, without a read of the past', async () => {
    await fc.assert(
      fc.asyncProperty(steps(60, 8), fc.array(interest, { minLength: 1, maxLength: 5 }), async (script, wanted) => {
        await withWorld(async (world) => {
          const service = await live(world);
          const followers = await Promise.all(
            [{ tenant: 'default', filter: ALL }, ...wanted].map(async (each) => ({
              wanted: each,
              updates: await service.follow({ ...each, after: null }),
            })),
          );
          const told = followers.map(async ({ updates }) => {
            const all = [];
            for await (const update of updates) all.push(update);
            return all;
          });
          const writer = author(world);
          await writer.write(...script);
          await seen(service, world);
          await eventually(() => {
            expect(service.status().waiting).toBe(followers.length);
          });
          expect(service.status()).toMatchObject({ lookups: 0, held: 0 });
          for (const { updates } of followers) await updates.return?.();
          const all = await Promise.all(followers.map((each) => expected(world, each.wanted)));
          expect(await Promise.all(told)).toEqual(all);
          expect(service.status()).toMatchObject({ subscribers: 0, waiting: 0 });
        });
      }),
      { numRuns: 40 },
    );
  });
});
