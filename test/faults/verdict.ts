import { hasEnded, type DeliveryState } from '../../src/events/delivery.ts';
import { CHANNELS, type Channel } from '../../src/events/event.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import { foldNotification } from '../../src/events/fold.ts';
import type { RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import type { Tables } from '../app/analytics-tables.ts';
import type { Copies } from '../support/tally.ts';
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
  /** What each provider got, by id of the delivery. */
  readonly copies: ReadonlyMap<Channel, Copies>;
}

/** What was counted of some deliveries. */
export interface Counted {
  readonly deliveries: number;
  readonly doubts: number;
  /** Copies beyond the first. */
  readonly duplicates: number;
}

/** What is wrong, in short sentences, and what was counted. */
export interface Verdict {
  readonly problems: readonly string[];
  readonly figures: Counted & {
    readonly notifications: number;
    /** Without those that nothing was to be sent on. */
    readonly channels: ReadonlyMap<Channel, Counted>;
  };
}

/** For whoever watches the tests run. */
export function summary(
  { notifications, channels, ...all }: Verdict['figures'],
  {
    faults,
    load,
    follower,
    recoveredMs,
  }: { readonly faults: number; readonly load: Load; readonly follower: Follower; readonly recoveredMs: number },
): string {
  const counts = ({ deliveries, doubts, duplicates }: Counted): string =>
    `${String(deliveries)} deliveries, ${String(doubts)} in doubt, ${String(duplicates)} duplicates`;
  const each = [...channels].map(([channel, counted]) => `${channel} ${counts(counted)}`).join('; ');
  return (
    `${String(faults)} faults; ${String(notifications)} notifications, 0 lost, ${counts(all)} (${each}); ` +
    `${String(load.failures())} calls made again, a subscriber cut off ${String(follower.cuts())} times; ` +
    `recovered after ${(recoveredMs / 1_000).toFixed(1)} s`
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
  const problems = [
    ...few('not over', stillOpen({ acknowledged, events })),
    ...few('not routed once', [...stories.values()].flatMap(wronglyRouted)),
    ...few('not to be sent as asked', [...stories.values()].flatMap(withoutChannel)),
    ...few(
      'unexplained',
      deliveries.flatMap((each) => unexplained(each, acknowledged.get(each.story.id) ?? 'short-lived')),
    ),
    ...few('sent too often', deliveries.flatMap(tooOften)),
    ...few('sent by nobody', sentByNobody(deliveries, copies)),
  ];
  const channels = new Map<Channel, Counted>();
  for (const channel of CHANNELS) {
    const own = deliveries.filter(({ delivery }) => delivery.channel === channel);
    if (own.length > 0) channels.set(channel, counted(own));
  }
  return { problems, figures: { notifications: stories.size, ...counted(deliveries), channels } };
}

function counted(judged: readonly Judged[]): Counted {
  const sum = (of: (each: Judged) => number): number => judged.reduce((all, each) => all + of(each), 0);
  return {
    deliveries: judged.length,
    doubts: sum(({ doubts }) => doubts),
    duplicates: sum(({ sent }) => Math.max(0, sent - 1)),
  };
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
  /** Copies that the provider has. */
  readonly sent: number;
  /** Attempts of which the log says that nobody knows whether they were accepted. */
  readonly doubts: number;
}

interface Judged extends Counts {
  readonly story: Story;
  readonly delivery: DeliveryState;
}

function countsOf({ events }: Story, { id, channel }: DeliveryState, copies: Evidence['copies']): Counts {
  const doubts = events.filter(
    ({ type, data }) => type === 'DeliveryOutcomeUnknown' && (data as { deliveryId: string }).deliveryId === id,
  );
  return { sent: copies.get(channel)?.get(id) ?? 0, doubts: doubts.length };
}

/** What a provider has, and was not to be sent on its channel. */
function sentByNobody(deliveries: readonly Judged[], copies: Evidence['copies']): readonly string[] {
  const known = new Set(deliveries.map(({ delivery: { channel, id } }) => `${channel} ${id}`));
  const sent = [...copies].flatMap(([channel, own]) => [...own.keys()].map((id) => `${channel} ${id}`));
  return sent.filter((each) => !known.has(each));
}

/** A request that is cancelled before is never routed. */
function wronglyRouted(story: Story): readonly string[] {
  const routings = story.events.filter(({ type }) => type === 'NotificationRouted').length;
  if (routings === 1 || (routings === 0 && story.state.cancelled)) return [];
  return [`${story.id} ${String(routings)} times: ${typesOf(story)}`];
}

/** Everybody can be reached on all that is asked for. */
function withoutChannel(story: Story): readonly string[] {
  const { request, routed, deliveries } = story.state;
  const missing = (request.channels ?? []).filter((channel) => !deliveries.some((each) => each.channel === channel));
  return routed && missing.length > 0 ? [`${story.id} on ${missing.join()}: ${typesOf(story)}`] : [];
}

const ALLOWED: Readonly<Record<Wish, readonly string[]>> = {
  now: ['SENT'],
  later: ['SENT'],
  'short-lived': ['SENT', 'EXPIRED'],
  cancelled: ['SENT', 'CANCELLED'],
};

function unexplained({ story, delivery, sent, doubts }: Judged, wish: Wish): readonly string[] {
  const { status, channel, id } = delivery;
  if (!hasEnded(delivery)) return [];
  const what = `${channel} ${id} of a request that is to be sent ${wish}`;
  const why = `${what} is ${status} after ${String(sent)} copies: ${typesOf(story)}`;
  if (!ALLOWED[wish].includes(status)) return [why];
  if (status === 'SENT' && sent === 0) return [why];
  return status !== 'SENT' && sent > doubts ? [why] : [];
}

/** A second copy only where the log says that somebody was in doubt about the first. */
function tooOften({ story, delivery: { channel, id }, sent, doubts }: Judged): readonly string[] {
  if (sent - 1 <= doubts) return [];
  return [`${channel} ${id}: ${String(sent)} copies and ${String(doubts)} doubts: ${typesOf(story)}`];
}

function typesOf({ events }: Story): string {
  return events.map(({ type }) => type).join(' ');
}

function few(what: string, found: readonly string[]): readonly string[] {
  if (found.length === 0) return [];
  return [`${what}: ${String(found.length)}, such as ${found.slice(0, TOLD).join('; ')}`];
}
