import type { DeliveryState } from '../events/delivery.ts';
import type { DeliveryUpdate } from './live-updates.ts';
import { isAfter, markOf, type Interest, type LiveUpdate, type Mark } from './live-story.ts';

/** An update in memory. */
export interface Entry {
  readonly update: LiveUpdate;
  /** As of the update; null while nobody had to know and it was not at hand. */
  delivery: DeliveryState | null;
  /** As every subscriber is told it, once the first one was. */
  told: DeliveryUpdate | null;
  /** While the delivery is looked up, and once it was found that none of that id was decided on. */
  lookup: Promise<DeliveryUpdate | null> | null;
}

/** The newest updates. Holds exactly what came after `start`. */
export interface LiveRing {
  readonly start: () => Mark;
  readonly covers: (mark: Mark) => boolean;
  /** Pushes the next update of the log; the oldest ones go when there are too many or too big ones. */
  readonly push: (entry: Entry) => void;
  /** Remembers the delivery of an entry that came without. */
  readonly remember: (entry: Entry, delivery: DeliveryState) => void;
  /** The first match after `mark` within the next `most` updates. */
  readonly find: (mark: Mark, most: number, matches: (update: LiveUpdate) => boolean) => Found;
  /** Forgets all: from here on it holds what comes after the mark, which is no earlier than anything that was there. */
  readonly restart: (mark: Mark) => void;
  readonly size: () => { readonly updates: number; readonly bytes: number };
}

export interface Found {
  readonly entry: Entry | null;
  /** Everything up to here was looked at. */
  readonly mark: Mark;
  readonly atEnd: boolean;
}

export interface RingOptions {
  readonly updates: number;
  /** Estimated. */
  readonly bytes: number;
  /** Called whenever `start` has moved on. */
  readonly onEvict: () => void;
}

/** What an entry takes without the texts that others choose: three objects of forty fields in all, ids and times. */
const ENTRY_BYTES = 1_300;

export function openLiveRing(start: Mark, options: RingOptions): LiveRing {
  /** By number, counted from the first push; `first` up to and without `next` are there. */
  const entries = new Map<number, Entry>();
  let [first, next, bytes, from] = [0, 0, 0, start];

  const evict = (): void => {
    const before = first;
    while (next - first > options.updates || (bytes > options.bytes && next > first)) {
      const oldest = entries.get(first);
      entries.delete(first);
      first += 1;
      if (!oldest) continue;
      bytes -= weightOf(oldest);
      from = markOf(oldest.update);
    }
    if (first !== before) options.onEvict();
  };
  const holds = (entry: Entry): boolean => isAfter(entry.update, from);
  const grow = (entry: Entry): void => {
    bytes += weightOf(entry);
    evict();
  };
  const find: LiveRing['find'] = (mark, most, matches) => {
    let seen = mark;
    let number = firstAfter(mark, { first, next, entries });
    for (const end = Math.min(next, number + most); number < end; number += 1) {
      const entry = entries.get(number);
      if (!entry) continue;
      seen = markOf(entry.update);
      if (matches(entry.update)) return { entry, mark: seen, atEnd: number + 1 === next };
    }
    return { entry: null, mark: seen, atEnd: number === next };
  };

  return {
    start: () => from,
    covers: (mark) => !isAfter(from, mark),
    push: (entry) => {
      entries.set(next, entry);
      next += 1;
      grow(entry);
    },
    remember: (entry, delivery) => {
      const held = holds(entry);
      if (held) bytes -= weightOf(entry);
      entry.delivery = delivery;
      if (held) grow(entry);
    },
    find,
    restart: (mark) => {
      entries.clear();
      [first, bytes, from] = [next, 0, mark];
    },
    size: () => ({ updates: next - first, bytes }),
  };
}

interface Numbered {
  readonly first: number;
  readonly next: number;
  readonly entries: ReadonlyMap<number, Entry>;
}

/** Number of the first entry after the mark, by halving. */
function firstAfter(mark: Mark, { first, next, entries }: Numbered): number {
  let [low, high] = [first, next];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const entry = entries.get(middle);
    if (entry && isAfter(entry.update, mark)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function weightOf({ update, delivery }: Entry): number {
  const { tenant, userId, campaign } = update;
  const { address = null, provider = null, providerMessageId = null } = delivery ?? {};
  let bytes = ENTRY_BYTES;
  for (const text of [tenant, userId, campaign, address, provider, providerMessageId]) bytes += text?.length ?? 0;
  return bytes;
}

/** Those who have read everything and wait for more, found by what they wait for: an update costs only whom it may concern. */
export interface Waiting {
  /** `offer` is called with every update that may concern it until it takes one. Answers how to stop waiting. */
  readonly add: (interest: Interest, offer: (entry: Entry) => boolean) => () => void;
  readonly push: (entry: Entry) => void;
  readonly size: () => number;
}

type Offer = (entry: Entry) => boolean;

export function openWaiting(): Waiting {
  const offers = new Map<string, Set<Offer>>();
  let size = 0;

  const remove = (key: string, offer: Offer): void => {
    const among = offers.get(key);
    if (!among?.delete(offer)) return;
    size -= 1;
    if (among.size === 0) offers.delete(key);
  };
  return {
    add: (interest, offer) => {
      const key = keyOf(interest);
      const among = offers.get(key) ?? new Set();
      offers.set(key, among.add(offer));
      size += 1;
      return () => {
        remove(key, offer);
      };
    },
    push: (entry) => {
      if (size === 0) return;
      for (const key of keysOf(entry.update)) {
        for (const offer of offers.get(key) ?? []) if (offer(entry)) remove(key, offer);
      }
    },
    size: () => size,
  };
}

/** By the narrowest of what it asks for. */
function keyOf({ tenant, filter: { notificationId, userId, campaign } }: Interest): string {
  if (notificationId !== null) return keyFor('notification', tenant, notificationId);
  if (userId !== null) return keyFor('user', tenant, userId);
  return campaign === null ? keyFor('all', tenant, '') : keyFor('campaign', tenant, campaign);
}

function keysOf({ tenant, notificationId, userId, campaign }: LiveUpdate): readonly string[] {
  const keys = [keyFor('notification', tenant, notificationId), keyFor('all', tenant, '')];
  if (userId !== null) keys.push(keyFor('user', tenant, userId));
  if (campaign !== null) keys.push(keyFor('campaign', tenant, campaign));
  return keys;
}

/** No two ways to read it: the length of the tenant is told first. */
function keyFor(kind: string, tenant: string, value: string): string {
  return `${kind}/${String(tenant.length)}/${tenant}/${value}`;
}
