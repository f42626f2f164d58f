import { setImmediate as nextTurn } from 'node:timers/promises';
import { isNotificationId, streamOf } from '../ids.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';
import type { LiveLimits } from './live-limits.ts';
import type { Page } from './live-pages.ts';
import { missing, reportPassed } from './live-refusals.ts';
import { openRowSource, type References, type RowOptions } from './live-rows.ts';
import { concerns, eventOver, isWithin, liveUpdatesOf, markAt, markOf, storyOf, unlessPassed } from './live-story.ts';
import { NOTIFICATIONS, type LiveUpdate, type Passed, type Story, type Stretch } from './live-story.ts';
import type { Told } from './live-story.ts';

/** What no longer is in memory, from the log and from ClickHouse, page by page. */
export interface LiveHistory {
  /**
   * The first `most` updates of a stretch, or those that were found in half of `readMs`, but some progress always.
   * @throws DomainError CURSOR_TOO_OLD where a notification is deleted; whatever the log throws.
   */
  readonly page: (stretch: Stretch, most: number, signal: AbortSignal) => Promise<Page>;
  readonly story: (notificationId: string) => Promise<Story>;
}

export interface HistoryOptions extends RowOptions {
  readonly log: EventLog;
  readonly limits: Pick<LiveLimits, 'queryMs' | 'readMs'>;
}

/** Batches of the log that are looked through for one page, so that others get their turn where little matches. */
const BATCHES = 20;

export function openLiveHistory(options: HistoryOptions): LiveHistory {
  const { log, limits } = options;
  const rows = openRowSource(options);
  const passed = reportPassed(options.logger);
  const story = async (id: string): Promise<Story> => storyOf(await log.read(streamOf.notification(id)), passed);
  const page: LiveHistory['page'] = async (stretch, most, signal) => {
    const { filter, after } = stretch;
    if (filter.notificationId !== null) {
      const { told } = isNotificationId(filter.notificationId) ? await story(filter.notificationId) : { told: [] };
      return cut(told, stretch, most);
    }
    if (after.notificationId !== null) return restOfEvent(await story(after.notificationId), stretch, most);
    const search = { log, passed, stretch, most, signal, late: halfTime(limits.readMs, signal) };
    return pageOf((await rows(stretch, most)) ?? (await inLog(search)), story, search);
  };
  return { page, story };
}

interface Search {
  readonly log: EventLog;
  readonly passed: Passed;
  readonly stretch: Stretch;
  readonly most: number;
  readonly signal: AbortSignal;
  /** Aborts when what is found so far will do. */
  readonly late: AbortSignal;
}

/** Aborts when half of the time is up, and with `signal`, which has to abort some day. */
function halfTime(ms: number, signal: AbortSignal): AbortSignal {
  const late = new AbortController();
  const abort = (): void => {
    clearTimeout(timer);
    late.abort();
  };
  const timer = setTimeout(abort, ms / 2);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return late.signal;
}

/** The first of a story that are wanted. */
function cut(told: readonly Told[], stretch: Stretch, most: number): Page {
  const wanted = told.filter(({ update }) => concerns(stretch, update) && isWithin(stretch, update));
  const last = wanted[most - 1];
  return { told: wanted.slice(0, most), upTo: last && wanted.length > most ? markOf(last.update) : stretch.to };
}

/** What follows in the middle of an event, and nothing else. */
function restOfEvent(story: Story, stretch: Stretch, most: number): Page {
  const { position } = stretch.after;
  if (!story.positions.has(position)) throw missing(story);
  return cut(story.told, { ...stretch, to: eventOver(position) }, most);
}

/** From the log itself. */
async function inLog({ log, passed, stretch, most, signal, late }: Search): Promise<References> {
  const { after, to } = stretch;
  const references: LiveUpdate[] = [];
  let batches = 0;
  for await (const { events, position } of log.subscribe(after.position, NOTIFICATIONS, signal)) {
    const updates = events.flatMap((event) => unlessPassed(event, passed, () => liveUpdatesOf(event)) ?? []);
    references.push(...updates.filter((update) => concerns(stretch, update) && isWithin(stretch, update)));
    const last = references[most - 1];
    if (last) return { references: references.slice(0, most), upTo: markOf(last) };
    if (position >= to.position) return { references, upTo: to };
    batches += 1;
    if (batches >= BATCHES || late.aborted) return { references, upTo: eventOver(position) };
  }
  throw new Error('the log ended before its end was reached');
}

type StoryOf = LiveHistory['story'];

/** What a row of ClickHouse says is only where to look: all that is told is from the log. */
async function pageOf({ references, upTo }: References, story: StoryOf, { stretch, late }: Search): Promise<Page> {
  const stories = await storiesOf([...new Set(references.map(({ notificationId }) => notificationId))], story, late);
  const firstUnread = references.findIndex(({ notificationId }) => !stories.has(notificationId));
  const read = firstUnread === -1 ? references : references.slice(0, firstUnread);
  for (const { notificationId, position } of read) {
    const found = stories.get(notificationId);
    if (found && !found.positions.has(position)) throw missing(found);
  }
  const wanted = new Set(read.map(keyOf));
  const told = new Map<string, Told>();
  for (const each of stories.values()) {
    for (const one of each.told) if (wanted.has(keyOf(one.update))) told.set(keyOf(one.update), one);
  }
  const last = read.at(-1);
  const reached = firstUnread !== -1 && last ? markAt(last) : upTo;
  const end = told.get(keyOf(reached));
  return {
    told: read.flatMap((each) => told.get(keyOf(each)) ?? []).filter(({ update }) => concerns(stretch, update)),
    // Where the event is over with it, nobody has to look what is left of it.
    upTo: end ? markOf(end.update) : reached,
  };
}

function keyOf({ position, index }: Pick<LiveUpdate, 'position' | 'index'>): string {
  return `${position}/${String(index)}`;
}

/** Streams that are read at once, and between two turns of the event loop. */
const STREAMS_AT_ONCE = 8;

/** Each is read once, in that order. Those that were read before it got late will do. */
async function storiesOf(
  ids: readonly string[],
  story: StoryOf,
  late: AbortSignal,
): Promise<ReadonlyMap<string, Story>> {
  const stories = new Map<string, Story>();
  const over = new Promise<null>((resolve) => {
    late.addEventListener(
      'abort',
      () => {
        resolve(null);
      },
      { once: true },
    );
  });
  for (let from = 0; from < ids.length; from += STREAMS_AT_ONCE) {
    const some = ids.slice(from, from + STREAMS_AT_ONCE);
    if (from > 0 && late.aborted) break;
    const reading = Promise.all(some.map(async (id) => [id, await story(id)] as const));
    const read = await (from === 0 ? reading : Promise.race([reading, over]));
    if (read === null) break;
    for (const [id, each] of read) stories.set(id, each);
    await nextTurn();
  }
  return stories;
}
