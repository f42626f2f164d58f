import type { RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { updatesOf } from '../../src/events/updates.ts';
import type { Cursors } from '../../src/ids.ts';
import type { Service } from '../support/service.ts';
import { subscribe, type Subscriber } from '../support/subscriber.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from './load.ts';

/** One update as a subscriber is told it. */
export interface Seen {
  readonly cursor: string;
  readonly notificationId: string;
  readonly type: string;
  readonly occurredAt: string;
}

/** Sees every update from a cursor on, and resumes from the last one that arrived whenever it is cut off. */
export interface Follower {
  readonly seen: readonly Seen[];
  readonly cuts: () => number;
  readonly stop: () => Promise<void>;
}

const FOLLOW = `subscription ($after: Cursor!) {
  deliveryUpdated(after: $after) { cursor notificationId type occurredAt }
}`;
const CONNECTED_MS = 10_000;
/** One that brings nothing for so long may be dead: another is opened. */
const SILENT_MS = 5_000;
const AGAIN_MS = 200;

/** Goes from one of those that run to the next, cut off at random and by whatever happens to them. */
export function follow(apis: () => readonly Service[], after: string, random: () => number): Follower {
  const seen: Seen[] = [];
  let cuts = 0;
  const state = { stopped: false };

  async function listen(api: Service): Promise<void> {
    const opening = subscribe<{ deliveryUpdated: Seen }>(api.url, FOLLOW, { after: seen.at(-1)?.cursor ?? after });
    opening.then(
      (late) => (state.stopped ? late.cut() : undefined),
      () => undefined,
    );
    const subscriber = await within(CONNECTED_MS, opening);
    try {
      await take(subscriber, Math.ceil(random() * 100));
    } finally {
      subscriber.cut();
    }
  }

  async function take(subscriber: Subscriber<{ deliveryUpdated: Seen }>, most: number): Promise<void> {
    for (let taken = 0; taken < most && !state.stopped; taken += 1) {
      seen.push((await within(SILENT_MS, subscriber.next())).deliveryUpdated);
    }
  }

  const running = (async () => {
    while (!state.stopped) {
      const up = apis();
      const api = up[Math.floor(random() * up.length)];
      if (api !== undefined) await listen(api).catch(() => delay(AGAIN_MS));
      else await delay(AGAIN_MS);
      cuts += 1;
    }
  })();
  return {
    seen,
    cuts: () => cuts,
    stop: async () => {
      state.stopped = true;
      await running;
    },
  };
}

/** What the log itself holds of deliveries, as a subscriber is to be told it. */
export function updatesIn(events: readonly RecordedEvent[], cursors: Cursors): readonly Seen[] {
  return events.flatMap(({ type, data, metadata, position }) => {
    if (metadata.notification === undefined) return [];
    const { tenant, occurredAt, notification } = metadata;
    const at = Date.parse(occurredAt);
    const updates = updatesOf(data).filter(({ deliveryId }) => deliveryId !== null);
    return updates.map(({ index, hasNext }) => {
      const place = { position, index, at, notificationId: hasNext ? notification.id : null };
      return { cursor: cursors.of(tenant, place), notificationId: notification.id, type, occurredAt };
    });
  });
}
