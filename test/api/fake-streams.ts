import type { FunnelFigures, Funnels, FunnelUpdates } from '../../src/projections/funnel-figures.ts';
import type { FunnelInput } from '../../src/projections/funnel-input.ts';
import type { DeliveryRequest, DeliveryUpdate, DeliveryUpdates } from '../../src/projections/live-updates.ts';

/** A stream that yields what the test pushes. `return()` settles a waiting `next()`, as that of the real ones. */
export interface FakeStream<T> extends AsyncIterableIterator<T> {
  readonly push: (...values: readonly T[]) => void;
  /** The next `next()` rejects, or the waiting one. */
  readonly fail: (error: Error) => void;
  /** Neither returned nor ended. */
  readonly isOpen: () => boolean;
  readonly isWaiting: () => boolean;
  /** How many values were taken. */
  readonly taken: () => number;
}

export interface FakeReadModels {
  readonly funnels: Funnels;
  readonly funnelUpdates: FunnelUpdates;
  readonly deliveryUpdates: DeliveryUpdates;
  /** What was asked for, in order. */
  readonly funnelsAsked: { readonly tenant: string; readonly input: FunnelInput }[];
  readonly funnelsFollowed: (Asked<FunnelFigures> & { readonly tenant: string; readonly input: FunnelInput })[];
  readonly deliveriesFollowed: (Asked<DeliveryUpdate> & {
    readonly request: DeliveryRequest & { readonly onSlow?: (cursor: string) => void };
  })[];
  /** Streams that nobody has closed. */
  readonly open: () => number;
  figures: FunnelFigures;
}

interface Asked<T> {
  readonly stream: FakeStream<T>;
}

const NO_FIGURES: FunnelFigures = { groups: [], cursor: 'cursor-of-figures' };

/** `before` runs before everything that is asked; it throws to refuse and waits to slow down. */
export function createFakeReadModels(before: (name: string) => Promise<void>): FakeReadModels {
  const fake: FakeReadModels = {
    figures: NO_FIGURES,
    funnelsAsked: [],
    funnelsFollowed: [],
    deliveriesFollowed: [],
    open: () => [...fake.funnelsFollowed, ...fake.deliveriesFollowed].filter(({ stream }) => stream.isOpen()).length,
    funnels: {
      read: async (tenant, input) => {
        fake.funnelsAsked.push({ tenant, input });
        await before('funnel');
        return fake.figures;
      },
    },
    funnelUpdates: {
      follow: (tenant, input) => {
        const stream = createFakeStream<FunnelFigures>(() => before('funnelUpdated'));
        stream.push(fake.figures);
        fake.funnelsFollowed.push({ tenant, input, stream });
        return stream;
      },
    },
    deliveryUpdates: {
      follow: async (request) => {
        await before('deliveryUpdated');
        const stream = createFakeStream<DeliveryUpdate>();
        fake.deliveriesFollowed.push({ request, stream });
        return stream;
      },
    },
  };
  return fake;
}

export function createFakeStream<T>(before: () => Promise<void> = () => Promise.resolve()): FakeStream<T> {
  const values: T[] = [];
  let failure: Error | null = null;
  let open = true;
  let taken = 0;
  let wake: (() => void) | null = null;
  const settle = (): void => {
    wake?.();
    wake = null;
  };
  const next = async (): Promise<IteratorResult<T, undefined>> => {
    await before();
    while (open && values.length === taken && failure === null) await new Promise<void>((resolve) => (wake = resolve));
    if (!open) return { done: true, value: undefined };
    const value = values[taken];
    if (value === undefined) throw failure ?? new Error('nothing to yield');
    taken++;
    return { done: false, value };
  };
  return {
    next,
    return: () => {
      open = false;
      settle();
      return Promise.resolve({ done: true, value: undefined });
    },
    push: (...more) => {
      values.push(...more);
      settle();
    },
    fail: (error) => {
      failure = error;
      settle();
    },
    isOpen: () => open,
    isWaiting: () => wake !== null,
    taken: () => taken,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
