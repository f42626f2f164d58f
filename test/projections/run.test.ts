import { describe, expect, it } from 'vitest';
import type { Started } from '../../src/lifecycle.ts';
import type { EventBatch, EventLog, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import type { Change, State } from '../../src/ports/state/state.ts';
import type { Changes } from '../../src/projections/changes.ts';
import { exclusive } from '../../src/ports/state/exclusive.ts';
import { runProjection, type ProjectionStatus, type RunOptions } from '../../src/projections/run.ts';
import { eventually } from '../support/eventually.ts';
import { at } from '../support/given.ts';
import { withWorld, type World } from '../support/world.ts';

/** A projection that notes in its state which events it folded, one after the other. */
interface Noted {
  readonly status: () => ProjectionStatus;
  readonly stop: () => Promise<void>;
  readonly folded: () => readonly unknown[];
}

interface Options extends Partial<RunOptions> {
  readonly state?: State;
  /** Before an event is noted. */
  readonly before?: (event: RecordedEvent) => void;
  readonly after?: (event: RecordedEvent, changes: Changes) => void;
}

function note(world: World, { state = world.state('noted'), before, after, ...options }: Options = {}): Noted {
  const run: Started<() => ProjectionStatus> = runProjection(
    {
      name: 'noted',
      filter: { types: ['Noted'] },
      state,
      fold: (event, changes) => {
        const count = Number(changes.get(['count']) ?? 0);
        changes.put(['count'], count + 1);
        changes.put(['note', count], (event.data as { number: number }).number);
        before?.(event);
        after?.(event, changes);
      },
      committed: () => undefined,
    },
    { log: world.log, logger: world.logger, exclusive: exclusive(), stallMs: 20, pauseMs: 1, ...options },
  );
  const folded = (): readonly unknown[] => state.list(['note']).map(([, number]) => number);
  return { status: run.value, stop: run.stop, folded };
}

let stream = 0;

async function append({ log, context }: World, from: number, to: number, type = 'Noted'): Promise<void> {
  stream += 1;
  const metadata = { schemaVersion: 1, tenant: 'default', occurredAt: at(0), correlationId: 'c', causationId: 'c' };
  const events = numbers(from, to).map((number) => ({ id: context.ids.random(), type, data: { number }, metadata }));
  await log.append(`story-${String(stream)}`, events, 0);
}

function numbers(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

async function untilFolded({ folded }: Noted, to: number): Promise<void> {
  await eventually(() => {
    expect(folded()).toEqual(numbers(1, to));
  });
}

type Subscription = (batches: AsyncIterable<EventBatch>, signal: AbortSignal) => AsyncIterable<EventBatch>;

/** The first subscriptions go as the script says, all later ones as they should. */
function scripted(log: EventLog, ...script: readonly Subscription[]): EventLog & { readonly opened: () => number } {
  let opened = 0;
  return {
    ...log,
    opened: () => opened,
    subscribe: (after, filter, signal) => {
      const batches = log.subscribe(after, filter, signal);
      opened += 1;
      return script[opened - 1]?.(batches, signal) ?? batches;
    },
  };
}

/** What is there at first, and then whatever `then` does. */
function firstOnly(then: (signal: AbortSignal) => Promise<void>): Subscription {
  return async function* (batches, signal) {
    for await (const batch of batches) {
      yield batch;
      return then(signal);
    }
  };
}

const endSilently = firstOnly(() => Promise.resolve());
const fail = firstOnly(() => Promise.reject(new Error('connection lost')));
const stall = firstOnly(
  (signal) =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        resolve();
      });
    }),
);
const refuse: Subscription = () => {
  throw new Error('no such luck');
};

describe('a subscription', () => {
  it.each([
    ['ends without a word', endSilently],
    ['fails', fail],
    ['brings nothing more while the log moves on', stall],
    ['cannot even be opened', refuse],
  ])('that %s is opened again from the checkpoint', async (_, fault) => {
    await withWorld(async (world) => {
      const log = scripted(world.log, fault, fault);
      await append(world, 1, 3);
      const noted = note(world, { log });
      for (const from of [4, 7, 10]) {
        await untilFolded(noted, from - 1);
        await append(world, from, from + 2);
      }
      await untilFolded(noted, 12);
      expect(log.opened()).toBeGreaterThanOrEqual(3);
      await noted.stop();
      expect(noted.folded()).toEqual(numbers(1, 12));
    });
  });

  it('that is quiet because nothing happens, or nothing that concerns it, is left alone', async () => {
    await withWorld(async (world) => {
      const log = scripted(world.log);
      let heads = 0;
      const watched: EventLog = {
        ...log,
        head: () => {
          heads += 1;
          return log.head();
        },
      };
      const noted = note(world, { log: watched, stallMs: 5 });
      await append(world, 1, 2);
      await append(world, 1, 9, 'Foreign');
      await eventually(() => {
        expect(heads).toBeGreaterThan(5);
      });
      expect(noted.folded()).toEqual([1, 2]);
      expect(log.opened()).toBe(1);
      expect(world.logger.errors).toEqual([]);
      await noted.stop();
    });
  });
});

describe('the checkpoint', () => {
  it('is committed together with what was folded', async () => {
    await withWorld(async (world) => {
      const real = world.state('noted');
      const commits: (readonly Change[])[] = [];
      const state: State = {
        ...real,
        commit: (changes) => {
          commits.push(changes);
          return real.commit(changes);
        },
      };
      const noted = note(world, { state });
      await append(world, 1, 3);
      await untilFolded(noted, 3);
      await noted.stop();
      const withNotes = commits.filter((changes) => changes.some((each) => 'put' in each && each.put[0] === 'note'));
      expect(withNotes).not.toEqual([]);
      for (const changes of commits) {
        expect(changes.filter((each) => 'put' in each && each.put[0] === 'checkpoint')).toHaveLength(1);
      }
    });
  });

  it('is where the next run goes on', async () => {
    await withWorld(async (world) => {
      const first = note(world);
      await append(world, 1, 3);
      await untilFolded(first, 3);
      await first.stop();
      await append(world, 4, 6);
      const again: unknown[] = [];
      const second = note(world, { before: ({ data }) => again.push((data as { number: number }).number) });
      await untilFolded(second, 6);
      expect(again).toEqual([4, 5, 6]);
      const position = await world.log.head();
      await eventually(() => {
        const caughtUp = { name: 'noted', live: true, parked: 0, position, unhandledSince: null, mayAct: true };
        expect(second.status()).toEqual(caughtUp);
      });
      await second.stop();
    });
  });
});

describe('a commit that fails', () => {
  it.each([
    ['is repeated until it works, and nothing is skipped or folded twice', 60_000],
    ['is not taken for a stalled subscription', 1],
  ])('%s', async (_, stallMs) => {
    await withWorld(async (world) => {
      const real = world.state('noted');
      let faults = 30;
      const state: State = {
        ...real,
        commit: (changes) => {
          faults -= 1;
          return faults >= 0 ? Promise.reject(new Error('disk full')) : real.commit(changes);
        },
      };
      const log = scripted(world.log);
      await append(world, 1, 3);
      const noted = note(world, { state, stallMs, log });
      await append(world, 4, 6);
      await untilFolded(noted, 6);
      expect(world.logger.errors.filter((each) => each.includes('cannot be committed'))).toHaveLength(30);
      expect(world.logger.errors).toHaveLength(30);
      expect(log.opened()).toBe(1);
      await noted.stop();
    });
  });

  it('does not keep the projection from stopping', async () => {
    await withWorld(async (world) => {
      const state: State = { ...world.state('noted'), commit: () => Promise.reject(new Error('disk full')) };
      const noted = note(world, { state });
      await append(world, 1, 3);
      await eventually(() => {
        expect(world.logger.errors).not.toEqual([]);
      });
      await noted.stop();
      expect(noted.folded()).toEqual([]);
    });
  });
});

describe('an event that cannot be folded', () => {
  it('three times in a row is parked and reported, leaves no trace, and holds up nothing', async () => {
    await withWorld(async (world) => {
      const tries: number[] = [];
      const before = ({ data }: RecordedEvent): void => {
        const { number } = data as { number: number };
        if (number !== 99) return;
        tries.push(number);
        throw new Error('poison');
      };
      const first = note(world, { before });
      await append(world, 1, 2);
      await append(world, 99, 99);
      await append(world, 3, 5);
      await untilFolded(first, 5);
      expect(tries).toHaveLength(3);
      expect(first.status().parked).toBe(1);
      expect(world.logger.errors).toEqual([expect.stringContaining('parked')]);
      await first.stop();
      const second = note(world);
      expect(second.status().parked).toBe(1);
      await append(world, 6, 6);
      await untilFolded(second, 6);
      expect(tries).toHaveLength(3);
      await second.stop();
    });
  });

  it('once is tried again and not parked', async () => {
    await withWorld(async (world) => {
      let faults = 2;
      const before = (): void => {
        faults -= 1;
        if (faults >= 0) throw new Error('a hiccup');
      };
      const noted = note(world, { before });
      await append(world, 1, 3);
      await untilFolded(noted, 3);
      expect(noted.status().parked).toBe(0);
      expect(world.logger.errors).toEqual([]);
      await noted.stop();
    });
  });

  it('because the state could not keep it is parked too: its commit would fail for ever', async () => {
    await withWorld(async (world) => {
      const poisons: readonly ((changes: Changes) => void)[] = [
        (changes) => {
          changes.put(['due', NaN], 1);
        },
        (changes) => {
          changes.put(['value'], undefined);
        },
        (changes) => {
          changes.del(['half', '\ud800']);
        },
      ];
      const after = ({ data }: RecordedEvent, changes: Changes): void =>
        poisons[(data as { number: number }).number - 90]?.(changes);
      const noted = note(world, { after });
      await append(world, 1, 2);
      await append(world, 90, 92);
      await append(world, 3, 4);
      await untilFolded(noted, 4);
      expect(noted.status().parked).toBe(3);
      await noted.stop();
    });
  });

  it('is counted however many there are', async () => {
    await withWorld(async (world) => {
      const before = (): void => {
        throw new Error('poison');
      };
      const first = note(world, { before });
      await append(world, 1, 1_000);
      await append(world, 1, 50);
      await eventually(async () => {
        expect(first.status()).toMatchObject({ parked: 1_050, position: await world.log.head() });
      });
      await first.stop();
      const second = note(world, { before });
      expect(second.status().parked).toBe(1_050);
      await second.stop();
    });
  });
});
