import { NOTIFICATION_PREFIX, type Cursors } from '../ids.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';
import { missing } from './live-refusals.ts';
import type { Entry, LiveRing } from './live-ring.ts';
import { evolveDeliveries, updateOf, type Deliveries, type Story } from './live-story.ts';
import type { DeliveryUpdate } from './live-updates.ts';
import { limited } from './turns.ts';

/** How the deliveries of the notifications stand that something happened to lately. */
export interface LiveStates {
  /** The deliveries as of this event; null when its past is not known here. To be told the events in log order. */
  readonly fold: (event: RecordedEvent) => Deliveries | null;
  /** A stream that had to be read: what follows is known again. */
  readonly learn: (notificationId: string, story: Story) => void;
  /** All of it; events are left out after that. */
  readonly forget: () => void;
  /** Deliveries and notifications kept. */
  readonly size: () => number;
}

interface Known {
  readonly version: number;
  readonly deliveries: Deliveries;
}

/** @param most Deliveries and notifications kept, taken together; beyond that the least recent go. */
export function openLiveStates(most: number): LiveStates {
  const known = new Map<string, Known>();
  let size = 0;

  const drop = (notificationId: string): void => {
    const old = known.get(notificationId);
    if (!old) return;
    known.delete(notificationId);
    size -= 1 + old.deliveries.size;
  };
  const keep = (notificationId: string, entry: Known): void => {
    drop(notificationId);
    known.set(notificationId, entry);
    size += 1 + entry.deliveries.size;
    for (const oldest of known.keys()) {
      if (size <= most) return;
      drop(oldest);
    }
  };

  return {
    fold: (event) => {
      const id = event.stream.slice(NOTIFICATION_PREFIX.length);
      const before = known.get(id);
      const deliveries = evolveDeliveries(before?.version === event.version - 1 ? before.deliveries : null, event);
      // A stream that was read a moment ago may be ahead of the event.
      if (deliveries && !(before && before.version >= event.version)) {
        keep(id, { version: event.version, deliveries });
      }
      return deliveries;
    },
    learn: (notificationId, { version, deliveries }) => {
      if (deliveries && (known.get(notificationId)?.version ?? 0) < version)
        keep(notificationId, { version, deliveries });
    },
    forget: () => {
      known.clear();
      size = 0;
    },
    size: () => size,
  };
}

export interface ToldOptions {
  readonly cursors: Cursors;
  readonly story: (notificationId: string) => Promise<Story>;
  readonly ring: LiveRing;
  readonly states: LiveStates;
  /** The log answers within this; milliseconds. */
  readonly readMs: number;
  /** Called before each read. */
  readonly reading: () => void;
}

/** An update in memory as subscribers are told it: made once for all of them, and the log is read for it at most once. */
export function openTold(options: ToldOptions): (entry: Entry) => DeliveryUpdate | Promise<DeliveryUpdate | null> {
  return (entry) => {
    const { update, delivery } = entry;
    if (entry.told) return entry.told;
    if (delivery) return (entry.told = updateOf(options.cursors, { update, delivery }));
    entry.lookup ??= lookUp(options, entry).catch((error: unknown) => {
      entry.lookup = null;
      throw error;
    });
    return entry.lookup;
  };
}

/** Null: the log lacks it by now, or it is about no delivery that was decided on. */
async function lookUp(options: ToldOptions, entry: Entry): Promise<DeliveryUpdate | null> {
  const { cursors, ring, states, readMs, reading } = options;
  const { notificationId, position, index } = entry.update;
  reading();
  const story = await limited(readMs, null, () => options.story(notificationId));
  if (!story || story.positions.size === 0) return null;
  if (!story.positions.has(position)) throw missing(story);
  states.learn(notificationId, story);
  const found = story.told.find(({ update }) => update.position === position && update.index === index);
  if (!found) return null;
  ring.remember(entry, found.delivery);
  return (entry.told = updateOf(cursors, found));
}
