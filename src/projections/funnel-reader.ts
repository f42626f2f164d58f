import { openAsked } from './asked.ts';
import type { FunnelFigures, FunnelGroup } from './funnel-figures.ts';

/** Figures that differ from those before; numbered from 1. */
export interface Edition {
  readonly number: number;
  readonly figures: FunnelFigures;
}

export interface Membership {
  /** Null until there are figures. */
  readonly newest: () => Edition | null;
  readonly leave: () => void;
}

/** One who reads a funnel's editions: it holds the number of the last that it was given, and nothing is queued for it. */
export interface FunnelReader {
  /** `return()` settles every waiting `next()` at once. */
  readonly editions: AsyncIterableIterator<FunnelFigures, undefined>;
  /** There is a new edition. */
  readonly tell: () => void;
  /** Ends it with an error, for the `next()` that waits or else for the one that comes next. */
  readonly fail: (error: unknown) => void;
  readonly end: () => void;
}

/** `join` is called with the first `next()`, which rejects with what it throws. */
export function openFunnelReader(join: (reader: FunnelReader) => Membership): FunnelReader {
  /** Null before the first `next()`, and after the end. */
  let membership: Membership | null = null;
  let given = 0;
  const tell = (): void => {
    const newest = membership?.newest() ?? null;
    if (newest === null || newest.number === given || asked.size() === 0) return;
    given = newest.number;
    asked.give(newest.figures);
  };
  const asked = openAsked<FunnelFigures>({
    onAsk: () => {
      try {
        membership ??= join(reader);
        tell();
      } catch (error) {
        asked.fail(error);
      }
    },
    onEnd: () => {
      membership?.leave();
      membership = null;
    },
  });
  const reader: FunnelReader = { editions: asked.iterator, tell, fail: asked.fail, end: asked.end };
  return reader;
}

/** Where nothing changed, whoever has not been given the edition yet learns how far it is by now. */
export function editionAfter(newest: Edition | null, figures: FunnelFigures): Edition {
  if (newest && hasSameGroups(newest.figures, figures)) return { ...newest, figures };
  return { number: (newest?.number ?? 0) + 1, figures };
}

function hasSameGroups({ groups: before }: FunnelFigures, { groups }: FunnelFigures): boolean {
  return groups.length === before.length && groups.every((group, index) => isSameGroup(group, before[index]));
}

/** Rates follow from counts. */
function isSameGroup(group: FunnelGroup, before: FunnelGroup | undefined): boolean {
  return (
    group.key === before?.key &&
    group.stages.every(({ count, medianSecondsFromPrevious }, index) => {
      const other = before.stages[index];
      return count === other?.count && medianSecondsFromPrevious === other.medianSecondsFromPrevious;
    })
  );
}
