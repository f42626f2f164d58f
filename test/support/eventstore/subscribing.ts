import { randomUUID } from 'node:crypto';

import type { ReadResp } from '@eventstore/db-client/generated/streams_pb.js';

import { openLiveBuffer, type LiveBuffer } from './live-buffer.ts';
import { DELETED, type LogRecord } from './log.ts';
import type { Node } from './node.ts';
import {
  comparePlaces,
  HEAD,
  isBoundary,
  placeOf,
  readPage,
  readStream,
  stateOf,
  VISIBLE,
  type Filter,
  type Place,
} from './reading.ts';
import { caughtUpAnswer, checkpointAnswer, confirmationAnswer, eventAnswer } from './resolved.ts';
import { failures, type Failure } from './wire.ts';

/** The client of a subscription. */
export interface Reader {
  /** Rejects once the subscription is over. */
  readonly send: (answer: ReadResp) => Promise<void>;
  readonly resolveLinks: boolean;
  readonly signal: AbortSignal;
}

/** How often a filtered subscription reports where it is, in records looked at. */
export interface Checkpoints {
  readonly window: number;
  readonly interval: number;
}

interface AllOptions {
  /** Exclusive; infinite for the end of the log. */
  readonly from: Place;
  readonly filter: Filter;
  /** None without a filter. */
  readonly checkpoints: Checkpoints | undefined;
}

type LiveItem = { readonly record: LogRecord } | { readonly checkpoint: Place };

const PAGE = 32;

/** Follows $all until the reader leaves: what is there page by page, then live, then pages again if he is too slow. */
export async function subscribeToAll(node: Node, reader: Reader, options: AllOptions): Promise<Failure> {
  const confirmed = placeAt(node.log().lastPosition());
  const live = followAll(node, reader, options);
  await reader.send(confirmationAnswer(randomUUID()));
  const subscription: AllSubscription = { node, reader, options, live, last: options.from, lastCheckpoint: HEAD };
  if (options.from.commit === Infinity) subscription.last = confirmed;
  if (comparePlaces(subscription.last, confirmed) >= 0) await goLive(subscription);
  for (;;) {
    const invalid = await catchUp(subscription);
    if (invalid) return invalid;
    await goLive(subscription);
  }
}

interface AllSubscription {
  readonly node: Node;
  readonly reader: Reader;
  readonly options: AllOptions;
  readonly live: LiveBuffer<LiveItem>;
  /** Of the event or checkpoint sent last. */
  last: Place;
  lastCheckpoint: Place;
}

function placeAt(position: number): Place {
  return { commit: position, prepare: position };
}

function followAll(node: Node, { signal }: Reader, { filter, checkpoints }: AllOptions): LiveBuffer<LiveItem> {
  const live = openLiveBuffer<LiveItem>(signal);
  let examined = 0;
  const unfollow = node.log().follow((record) => {
    if (VISIBLE(record) && filter(record)) live.push({ record });
    examined++;
    if (!checkpoints || examined < checkpoints.interval) return;
    examined = 0;
    live.push({ checkpoint: placeOf(record) });
  });
  signal.addEventListener('abort', unfollow, { once: true });
  return live;
}

async function catchUp(subscription: AllSubscription): Promise<Failure | undefined> {
  const { node, reader, options } = subscription;
  const { filter, checkpoints } = options;
  const window = checkpoints?.window ?? Infinity;
  let from = subscription.last.commit < 0 ? placeAt(0) : subscription.last;
  let examined = 0;
  for (;;) {
    reader.signal.throwIfAborted();
    if (!isBoundary(node.log(), from.commit)) return failures.invalidPosition();
    const page = readPage(node.log(), from, filter, { maxCount: PAGE, window });
    for (const record of page.events) await sendEvent(subscription, record);
    examined += page.considered;
    const due = checkpoints && (page.atEnd || examined >= checkpoints.interval);
    if (due) {
      examined %= checkpoints.interval;
      await sendCheckpoint(subscription, later(subscription.last, from));
    }
    if (page.atEnd) return undefined;
    from = page.next;
    await nextTurn();
  }
}

function later(a: Place, b: Place): Place {
  return comparePlaces(a, b) < 0 ? b : a;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function sendEvent(subscription: AllSubscription, record: LogRecord): Promise<void> {
  // True only of what lies at the very place that the client named, or was sent already.
  if (comparePlaces(placeOf(record), subscription.last) <= 0) return;
  const { node, reader } = subscription;
  await reader.send(eventAnswer(node.log(), record, reader.resolveLinks));
  subscription.last = placeOf(record);
}

async function sendCheckpoint(subscription: AllSubscription, place: Place): Promise<void> {
  subscription.last = place;
  if (place.commit < 0 || comparePlaces(place, subscription.lastCheckpoint) <= 0) return;
  subscription.lastCheckpoint = place;
  await subscription.reader.send(checkpointAnswer(place));
}

/** Comes back when the reader fell behind: what came meanwhile is no longer in memory. */
async function goLive(subscription: AllSubscription): Promise<void> {
  const { node, reader, live } = subscription;
  if (node.saysCaughtUp) await reader.send(caughtUpAnswer());
  for (;;) {
    const { item, missed } = await live.next();
    const old = 'record' in item && comparePlaces(placeOf(item.record), subscription.last) <= 0;
    const oldCheckpoint = 'checkpoint' in item && comparePlaces(item.checkpoint, subscription.last) < 0;
    if (old || oldCheckpoint) continue;
    if (missed) {
      if (subscription.options.checkpoints) await sendCheckpoint(subscription, subscription.last);
      return;
    }
    if ('record' in item) await sendEvent(subscription, item.record);
    else await sendCheckpoint(subscription, item.checkpoint);
  }
}

interface StreamOptions {
  readonly stream: string;
  /** Exclusive event number, -1 for all. */
  readonly after: number | 'end';
}

interface StreamSubscription {
  readonly node: Node;
  readonly reader: Reader;
  readonly stream: string;
  readonly live: LiveBuffer<LogRecord>;
  last: number;
}

/** Follows one stream until the reader leaves or the stream is deleted for good. */
export async function subscribeToStream(
  node: Node,
  reader: Reader,
  { stream, after }: StreamOptions,
): Promise<Failure> {
  const confirmed = node.log().lastNumber(stream);
  const live = openLiveBuffer<LogRecord>(reader.signal);
  const unfollow = node.log().follow((record) => {
    if (record.stream === stream) live.push(record);
  });
  reader.signal.addEventListener('abort', unfollow, { once: true });
  await reader.send(confirmationAnswer(randomUUID()));
  const last = after === 'end' ? confirmed : after;
  const subscription: StreamSubscription = { node, reader, stream, live, last };
  let deleted = last >= confirmed && (await goLiveOnStream(subscription));
  while (!deleted) deleted = (await catchUpOnStream(subscription)) || (await goLiveOnStream(subscription));
  return failures.streamDeleted(stream);
}

/** Answers true when the stream is deleted for good. */
async function catchUpOnStream(subscription: StreamSubscription): Promise<boolean> {
  const { node, stream } = subscription;
  const state = stateOf(node.log(), stream);
  if (state !== 'there') return state === 'deleted';
  for (const record of readStream(node.log(), stream, subscription.last + 1)) {
    await sendStreamEvent(subscription, record);
  }
  return false;
}

async function sendStreamEvent(subscription: StreamSubscription, record: LogRecord): Promise<void> {
  const { node, reader } = subscription;
  await reader.send(eventAnswer(node.log(), record, reader.resolveLinks));
  subscription.last = record.number;
}

async function goLiveOnStream(subscription: StreamSubscription): Promise<boolean> {
  const { node, reader, live } = subscription;
  if (node.saysCaughtUp) await reader.send(caughtUpAnswer());
  for (;;) {
    const { item, missed } = await live.next();
    if (item.number <= subscription.last) continue;
    if (missed) return false;
    await sendStreamEvent(subscription, item);
    if (item.number === DELETED) return true;
  }
}
