import { setTimeout as delay } from 'node:timers/promises';

/** What can go wrong. */
export interface Fault {
  /** What the schedule calls it. */
  readonly name: string;
  /** Two faults of the same target follow each other. */
  readonly target: string;
  /** Milliseconds; [0, 0] for what ends by itself. */
  readonly lastsMs: readonly [least: number, most: number];
  /** Answers how it ends. */
  readonly begin: () => Promise<() => Promise<void> | void> | Promise<void>;
}

/** Draws one of a kind: which queue, which process, is for the generator to say. */
export type Kind = (random: () => number) => Fault;

export interface Planned extends Fault {
  readonly atMs: number;
  readonly forMs: number;
}

/** Kinds are drawn like cards from a deck, so that none comes a second time before each has come once. */
export function drawSchedule(
  random: () => number,
  kinds: readonly Kind[],
  { faults, spanMs }: { readonly faults: number; readonly spanMs: number },
): readonly Planned[] {
  const times = Array.from({ length: faults }, () => Math.floor(random() * spanMs)).toSorted((a, b) => a - b);
  let deck: readonly Kind[] = [];
  return times.map((atMs) => {
    if (deck.length === 0) deck = shuffled(random, kinds);
    const [kind, ...rest] = deck;
    deck = rest;
    if (kind === undefined) throw new Error('no faults to draw from');
    const fault = kind(random);
    const [least, most] = fault.lastsMs;
    return { ...fault, atMs, forMs: Math.floor(least + random() * (most - least)) };
  });
}

function shuffled<T>(random: () => number, items: readonly T[]): readonly T[] {
  return items
    .map((item) => [random(), item] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, item]) => item);
}

/** For people who want to know what was tried, and to try it again. */
export function told(schedule: readonly Planned[]): string {
  const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
  return schedule
    .map(({ atMs, forMs, name }) => `  ${seconds(atMs)} s: ${name}${forMs === 0 ? '' : `, for ${seconds(forMs)} s`}`)
    .join('\n');
}

/** Resolves when the last fault has ended. */
export async function runSchedule(schedule: readonly Planned[]): Promise<void> {
  const startedAt = performance.now();
  const busy = new Map<string, Promise<void>>();
  for (const planned of schedule) {
    const { target, atMs } = planned;
    const before = busy.get(target);
    const task = (async () => {
      await delay(Math.max(0, startedAt + atMs - performance.now()));
      await before;
      await happen(planned);
    })();
    busy.set(target, task);
    // A failure counts in the end; nobody waits for it before.
    task.catch(() => undefined);
  }
  await Promise.all(busy.values());
}

async function happen({ name, begin, forMs }: Planned): Promise<void> {
  try {
    const end = await begin();
    await delay(forMs);
    await end?.();
  } catch (cause) {
    throw new Error(`the fault "${name}" did not take place`, { cause });
  }
}
