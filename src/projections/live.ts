import { DomainError } from '../errors.ts';
import type { Cursors, Place } from '../ids.ts';
import { orStop, type Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { Analytics } from '../ports/analytics/analytics.ts';
import { START, type EventLog, type Position, type RecordedEvent } from '../ports/event-log/event-log.ts';
import type { Ingest } from './analytics.ts';
import { openFollower, type Beginning, type Follower, type Shared } from './live-follower.ts';
import { openLiveHistory } from './live-history.ts';
import { LIVE_LIMITS, type LiveLimits } from './live-limits.ts';
import { openLivePages } from './live-pages.ts';
import { checkRequest, invalidCursor, tooOld, unavailable } from './live-refusals.ts';
import { openLiveRing, openWaiting } from './live-ring.ts';
import { openLiveStates, openTold, type LiveStates, type ToldOptions } from './live-states.ts';
import { eventOver, liveUpdatesOf, type Mark } from './live-story.ts';
import { openTail, type Tail } from './live-tail.ts';
import type { DeliveryRequest, DeliveryUpdate, DeliveryUpdates } from './live-updates.ts';
import { limited, openGate, openPace, openQuota, type Quota } from './turns.ts';
import { wakeAt, type Wake } from './wake.ts';

export interface LiveOptions {
  readonly log: EventLog;
  readonly analytics: Analytics;
  readonly ingest: Pick<Ingest, 'watermark'>;
  readonly cursors: Cursors;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly logger: Log;
  /** How long ago the update of a cursor may have been recorded; milliseconds. One notification is told whole, however old. */
  readonly resumeWindowMs: number;
  readonly limits?: Partial<LiveLimits>;
}

export interface LiveStatus {
  readonly subscribers: number;
  /** Have read everything and wait for more. */
  readonly waiting: number;
  /** Updates in memory, and their size by estimate. */
  readonly updates: number;
  readonly bytes: number;
  /** Deliveries and notifications of which the latest state is kept. */
  readonly states: number;
  /** Updates of the past that were read and are not yet given out. */
  readonly held: number;
  /** Streams that had to be read for an update in memory, since the start. */
  readonly lookups: number;
  /** Everything up to here is in memory or has gone through it; null while the log is not followed. */
  readonly position: Position | null;
}

export interface Live extends DeliveryUpdates {
  readonly status: () => LiveStatus;
}

interface Service {
  readonly options: LiveOptions;
  readonly limits: LiveLimits;
  readonly shared: Shared;
  readonly states: LiveStates;
  readonly followers: Set<Follower>;
  /** Includes those who are being let in. */
  readonly places: Quota;
  readonly sweep: Wake;
  readonly tail: Tail;
  /** Where memory began when the slow ones were last looked for, and when that was; milliseconds, monotonic. */
  swept: { readonly start: Mark; readonly at: number };
  lookups: number;
  stopped: boolean;
}

/**
 * One reader of the log's end for all subscribers of this process; what comes is kept in memory for a while, and what is
 * older is read on demand. Nothing is read for nobody: the log is followed while somebody is there, and a little longer; at
 * first as if somebody had just left, since those whom a restart has cut off come back.
 * @throws whatever the log throws when it does not say where it ends.
 */
export async function startLive(options: LiveOptions): Promise<Started<Live>> {
  const limits = { ...LIVE_LIMITS, ...options.limits };
  const { log, logger } = options;
  const { value: tail, stop } = openTail({
    log,
    logger,
    ...limits,
    head: () => endOfLog(options, limits),
    forget: (from) => {
      service.shared.ring.restart(eventOver(from));
      service.states.forget();
    },
    event: (event) => {
      push(service, event);
    },
  });
  const service = openService(options, limits, tail);
  await orStop(tail.attend(), stop);
  tail.idle();
  return {
    value: { follow: (request) => follow(service, request), status: () => statusOf(service) },
    stop: async () => {
      service.stopped = true;
      service.sweep.stop();
      for (const follower of service.followers) follower.end();
      await stop();
    },
  };
}

function openService(options: LiveOptions, limits: LiveLimits, tail: Tail): Service {
  const { log, analytics, ingest, logger } = options;
  const onEvict = (): void => {
    sweepSoon(service);
  };
  const ring = openLiveRing(eventOver(START), { updates: limits.ringUpdates, bytes: limits.ringBytes, onEvict });
  const states = openLiveStates(limits.states);
  const history = openLiveHistory({ log, analytics, ingest, logger, limits });
  const reading = (): void => void (service.lookups += 1);
  const service: Service = {
    options,
    limits,
    shared: sharing(options, limits, { ring, history, states, reading }),
    states,
    followers: new Set(),
    places: openQuota(limits.subscribers, limits.tenantShare),
    sweep: wakeAt(
      () => {
        dropSlow(service);
      },
      () => performance.now(),
    ),
    tail,
    swept: { start: ring.start(), at: -Infinity },
    lookups: 0,
    stopped: false,
  };
  return service;
}

type Parts = Pick<Shared, 'ring' | 'history'> & Pick<ToldOptions, 'states' | 'reading'>;

function sharing({ cursors, logger }: LiveOptions, limits: LiveLimits, parts: Parts): Shared {
  const { ring, history, states, reading } = parts;
  const { story } = history;
  return {
    ring,
    waiting: openWaiting(),
    history,
    pages: openLivePages(limits),
    gate: openGate(limits.readers),
    pace: openPace(limits.given),
    cursors,
    logger,
    limits,
    told: openTold({ cursors, story, ring, states, readMs: limits.readMs, reading }),
  };
}

function push({ states, shared }: Service, event: RecordedEvent): void {
  const deliveries = states.fold(event);
  for (const update of liveUpdatesOf(event)) {
    const delivery = deliveries?.get(update.deliveryId) ?? null;
    if (deliveries && !delivery) continue;
    const entry = { update, delivery, told: null, lookup: null };
    shared.ring.push(entry);
    shared.waiting.push(entry);
  }
}

function sweepSoon({ shared, sweep, swept, limits }: Service): void {
  if (shared.ring.start() !== swept.start) sweep.at(swept.at + limits.sweepMs);
}

function dropSlow(service: Service): void {
  service.swept = { start: service.shared.ring.start(), at: performance.now() };
  for (const follower of service.followers) follower.dropIfSlow();
}

async function follow(service: Service, request: DeliveryRequest): Promise<AsyncIterableIterator<DeliveryUpdate>> {
  const { followers, shared } = service;
  const leave = enter(service, request.tenant);
  try {
    const beginning = await begin(service, request);
    if (service.stopped) throw new DomainError('SHUTTING_DOWN', 'this process is stopping');
    const ended = (): void => {
      followers.delete(follower);
      leave();
    };
    const follower = openFollower(shared, { ...beginning, ended });
    followers.add(follower);
    return follower.updates;
  } catch (error) {
    leave();
    throw error;
  }
}

/** Answers how to leave. */
function enter({ places, tail }: Service, tenant: string): () => void {
  const giveBack = places.take(tenant);
  if (!giveBack) {
    throw new DomainError('TOO_MANY_SUBSCRIPTIONS', 'this process serves as many subscriptions as it can for a tenant');
  }
  return () => {
    giveBack();
    if (places.size() === 0) tail.idle();
  };
}

async function begin({ options, shared, tail }: Service, request: DeliveryRequest): Promise<Omit<Beginning, 'ended'>> {
  checkRequest(request);
  const { cursors, now, logger, resumeWindowMs } = options;
  const given = request.after === null ? null : cursors.read(request.tenant, request.after);
  if (request.after !== null && given === null) throw invalidCursor('not a cursor of this service');
  const head = await tail.attend().catch((error: unknown) => {
    throw unavailable(logger, error);
  });
  const place = given ?? { position: head, index: 0, at: now(), notificationId: null };
  if (place.position > head) throw invalidCursor('the cursor lies ahead of the log');
  const mark = markAtPlace(place);
  const isOld = now() - place.at > resumeWindowMs;
  // A notification's stream is read whole, so that nothing of it can be missing; nor is anything that is in memory.
  if (isOld && request.filter.notificationId === null && !shared.ring.covers(mark)) throw tooOld();
  return { request, place, mark, caughtUp: given === null };
}

async function endOfLog({ log }: LiveOptions, { readMs }: LiveLimits): Promise<Position> {
  const head = await limited(readMs, null, () => log.head());
  if (head === null) throw new Error('the log did not say where it ends');
  return head;
}

/** A signed cursor of this log holds a position of this log. */
function markAtPlace({ position, index, notificationId }: Place): Mark {
  return notificationId === null
    ? eventOver(position as Position)
    : { position: position as Position, index, notificationId };
}

function statusOf({ followers, shared, states, lookups, tail }: Service): LiveStatus {
  const { updates, bytes } = shared.ring.size();
  return {
    subscribers: followers.size,
    waiting: shared.waiting.size(),
    updates,
    bytes,
    states: states.size(),
    held: shared.pages.size(),
    lookups,
    position: tail.position(),
  };
}
