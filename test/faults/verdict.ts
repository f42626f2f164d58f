import { hasEnded, type DeliveryState } from '../../src/events/delivery.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import { foldNotification } from '../../src/events/fold.ts';
import type { RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import type { Tables } from '../app/analytics-tables.ts';
import type { Follower, Seen } from './follower.ts';
import type { Load, Wish } from './load.ts';

/** What the log tells of one notification. */
interface Story {
  readonly id: string;
  readonly events: readonly RecordedEvent[];
  readonly state: NotificationState;
}

export interface Evidence {
  readonly acknowledged: ReadonlyMap<string, Wish>;
  readonly events: readonly RecordedEvent[];
  /** Copies of each mail, by Message-ID. */
  readonly copies: ReadonlyMap<string, number>;
}

/** What is wrong, in short sentences, and what was counted. */
export interface Verdict {
  readonly problems: readonly string[];
  readonly figures: {
    readonly notifications: number;
    readonly deliveries: number;
    readonly doubts: number;
    /** Copies beyond the first. */
    readonly duplicates: number;
  };
}

/** For whoever watches the tests run. */
export function summary(
  { notifications, deliveries, doubts, duplicates }: Verdict['figures'],
  {
    faults,
    load,
    follower,
    recoveredMs,
  }: { readonly faults: number; readonly load: Load; readonly follower: Follower; readonly recoveredMs: number },
): string {
  return (
    `${String(faults)} faults; ${String(notifications)} notifications, ${String(deliveries)} deliveries, ` +
    `0 lost, ${String(doubts)} in doubt, ${String(duplicates)} duplicates; ${String(load.failures())} calls made again, ` +
    `a subscriber cut off ${String(follower.cuts())} times; recovered after ${(recoveredMs / 1_000).toFixed(1)} s`
  );
}

/** Of each kind of problem so many are told. */
const TOLD = 3;

/** The acknowledged requests that are not over, in short. */
export function stillOpen({ acknowledged, events }: Pick<Evidence, 'acknowledged' | 'events'>): readonly string[] {
  const stories = storiesOf(events);
  return [...acknowledged].flatMap(([id, wish]) => {
    const story = stories.get(id);
    if (story === undefined) return [`${id} (${wish}): acknowledged, and not in the log`];
    const { routed, cancelled, deliveries } = story.state;
    const open = deliveries.filter((delivery) => !hasEnded(delivery));
    if (routed ? open.length === 0 : cancelled) return [];
    return [`${id} (${wish}): ${typesOf(story)}`];
  });
}

/** Whether everything that was acknowledged has an outcome that its story explains, once, and nothing was sent that nobody asked for. */
export function judge({ acknowledged, events, copies }: Evidence): Verdict {
  const stories = storiesOf(events);
  const deliveries = [...stories.values()].flatMap((story) =>
    story.state.deliveries.map((delivery) => ({ story, delivery, ...countsOf(story, delivery, copies) })),
  );
  const known = new Set(deliveries.map(({ delivery }) => delivery.id));
  const problems = [
    ...few('not over', stillOpen({ acknowledged, events })),
    ...few('not routed once', [...stories.values()].flatMap(wronglyRouted)),
    ...few(
      'unexplained',
      deliveries.flatMap((each) => unexplained(each, acknowledged.get(each.story.id) ?? 'short-lived')),
    ),
    ...few('sent too often', deliveries.flatMap(tooOften)),
    ...few(
      'sent by nobody',
      [...copies.keys()].map(deliveryOf).filter((id) => !known.has(id)),
    ),
  ];
  const sum = (of: (each: Counted) => number): number => deliveries.reduce((all, each) => all + of(each), 0);
  const figures = {
    notifications: stories.size,
    deliveries: deliveries.length,
    doubts: sum(({ doubts }) => doubts),
    duplicates: sum(({ sent }) => Math.max(0, sent - 1)),
  };
  return { problems, figures };
}

/** ClickHouse against the log. */
export function judgeTables(stored: Tables, told: Tables): readonly string[] {
  return (['deliveryEvents', 'deliveries', 'activityHourly'] as const).flatMap((table) => {
    const [is, ought] = [stored[table], told[table]].map((rows) => rows.map((row) => JSON.stringify(sorted(row))));
    return differences(`ClickHouse's ${table}`, is ?? [], ought ?? []);
  });
}

/** What a subscriber saw against the log. */
export function judgeSeen(seen: readonly Seen[], ought: readonly Seen[]): readonly string[] {
  const lines = (updates: readonly Seen[]): readonly string[] =>
    updates.map(({ cursor, notificationId, type }) => `${type} of ${notificationId} at ${cursor}`);
  return differences('what the subscriber saw', lines(seen), lines(ought));
}

function differences(what: string, is: readonly string[], ought: readonly string[]): readonly string[] {
  const at = ought.findIndex((line, index) => line !== is[index]);
  if (at < 0 && is.length === ought.length) return [];
  const first = at < 0 ? ought.length : at;
  const counts = `${String(is.length)} instead of ${String(ought.length)}`;
  return [`${what}: ${counts}; number ${String(first)} is ${String(is[first])} instead of ${String(ought[first])}`];
}

function sorted(row: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function storiesOf(events: readonly RecordedEvent[]): ReadonlyMap<string, Story> {
  const streams = new Map<string, RecordedEvent[]>();
  for (const event of events) {
    const id = event.metadata.notification?.id;
    if (id === undefined) continue;
    const own = streams.get(id) ?? [];
    own.push(event);
    streams.set(id, own);
  }
  const stories = new Map<string, Story>();
  for (const [id, own] of streams) {
    const state = foldNotification(own);
    if (state !== null) stories.set(id, { id, events: own, state });
  }
  return stories;
}

interface Counts {
  /** Mails that the server has. */
  readonly sent: number;
  /** Attempts of which the log says that nobody knows whether they were accepted. */
  readonly doubts: number;
}

interface Counted extends Counts {
  readonly story: Story;
  readonly delivery: DeliveryState;
}

function countsOf({ events }: Story, { id }: DeliveryState, copies: Evidence['copies']): Counts {
  const doubts = events.filter(
    ({ type, data }) => type === 'DeliveryOutcomeUnknown' && (data as { deliveryId: string }).deliveryId === id,
  );
  const sent = [...matching(copies, id)].reduce((sum, number) => sum + number, 0);
  return { sent, doubts: doubts.length };
}

const byDelivery = new WeakMap<Evidence['copies'], ReadonlyMap<string, readonly number[]>>();

function matching(copies: Evidence['copies'], id: string): readonly number[] {
  let index = byDelivery.get(copies);
  if (index === undefined) {
    const numbers = new Map<string, number[]>();
    for (const [messageId, number] of copies) {
      const own = numbers.get(deliveryOf(messageId)) ?? [];
      own.push(number);
      numbers.set(deliveryOf(messageId), own);
    }
    byDelivery.set(copies, numbers);
    index = numbers;
  }
  return index.get(id) ?? [];
}

/** A Message-ID is `<id of the delivery@…>`. */
function deliveryOf(messageId: string): string {
  return messageId.slice(1, 37);
}

/** A request that is cancelled before is never routed. */
function wronglyRouted(story: Story): readonly string[] {
  const routings = story.events.filter(({ type }) => type === 'NotificationRouted').length;
  if (routings === 1 || (routings === 0 && story.state.cancelled)) return [];
  return [`${story.id} ${String(routings)} times: ${typesOf(story)}`];
}

const ALLOWED: Readonly<Record<Wish, readonly string[]>> = {
  now: ['SENT'],
  later: ['SENT'],
  'short-lived': ['SENT', 'EXPIRED'],
  cancelled: ['SENT', 'CANCELLED'],
};

/** Users have a mailbox and nothing else, so whatever is open is a mail. */
function unexplained({ story, delivery, sent, doubts }: Counted, wish: Wish): readonly string[] {
  const { status, id } = delivery;
  if (!hasEnded(delivery)) return [];
  const why = `${id} of a request that is to be sent ${wish} is ${status} after ${String(sent)} mails: ${typesOf(story)}`;
  if (!ALLOWED[wish].includes(status)) return [why];
  if (status === 'SENT' && sent === 0) return [why];
  return status !== 'SENT' && sent > doubts ? [why] : [];
}

/** A second copy only where the log says that somebody was in doubt about the first. */
function tooOften({ story, delivery: { id }, sent, doubts }: Counted): readonly string[] {
  return sent - 1 > doubts ? [`${id}: ${String(sent)} mails and ${String(doubts)} doubts: ${typesOf(story)}`] : [];
}

function typesOf({ events }: Story): string {
  return events.map(({ type }) => type).join(' ');
}

function few(what: string, found: readonly string[]): readonly string[] {
  if (found.length === 0) return [];
  return [`${what}: ${String(found.length)}, such as ${found.slice(0, TOLD).join('; ')}`];
}
