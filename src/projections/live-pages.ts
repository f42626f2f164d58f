import { markOf, type Mark, type Told } from './live-story.ts';

/** All that match after a stretch's beginning up to `upTo`, which may be beyond its end, but not beyond that event's. */
export interface Page {
  readonly told: readonly Told[];
  readonly upTo: Mark;
}

/**
 * What was read of the past and is not yet given out. Each page has the same part of the room, that nobody takes away:
 * what is read is used, however many there are and however slowly they are read.
 */
export interface LivePages {
  /** How many updates a further page may hold, at least 1. */
  readonly room: () => number;
  /** In place of the owner's page, if there is one. */
  readonly hold: (owner: object, page: Page) => void;
  /** The next update of the owner's page; the mark up to where it reached once it is used up; null: there is none. */
  readonly take: (owner: object) => Told | Mark | null;
  readonly drop: (owner: object) => void;
  /** Updates kept. */
  readonly size: () => number;
}

export interface PageLimits {
  /** Updates kept; or one for each page, where those are more. */
  readonly held: number;
  /** Updates of one page. */
  readonly page: number;
}

interface Held {
  /** What is left, the next one last. */
  readonly told: Told[];
  upTo: Mark;
}

export function openLivePages(limits: PageLimits): LivePages {
  const pages = new Map<object, Held>();
  let size = 0;

  const shareOf = (count: number): number => Math.max(1, Math.floor(limits.held / count));
  const drop = (owner: object): void => {
    size -= pages.get(owner)?.told.length ?? 0;
    pages.delete(owner);
  };
  /** Shortens pages that were read when there was more room; what goes is read again. */
  const makeRoom = (): void => {
    const most = shareOf(pages.size);
    for (const page of pages.values()) {
      if (size <= limits.held) return;
      size -= shorten(page, most);
    }
  };
  return {
    room: () => Math.min(limits.page, shareOf(pages.size + 1)),
    hold: (owner, { told, upTo }) => {
      drop(owner);
      pages.set(owner, { told: told.toReversed(), upTo });
      size += told.length;
      makeRoom();
    },
    take: (owner) => {
      const page = pages.get(owner);
      if (!page) return null;
      const next = page.told.pop();
      if (!next) pages.delete(owner);
      else size -= 1;
      return next ?? page.upTo;
    },
    drop,
    size: () => size,
  };
}

/** Answers how many updates went. */
function shorten(page: Held, most: number): number {
  const tooMany = page.told.length - most;
  if (tooMany <= 0) return 0;
  page.told.splice(0, tooMany);
  const [last] = page.told;
  if (last) page.upTo = markOf(last.update);
  return tooMany;
}
