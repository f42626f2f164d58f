import type { Ingest } from './analytics.ts';
import type { FunnelFigures, Funnels, FunnelUpdates } from './funnel-figures.ts';
import { checkFunnel, funnelKey, type FunnelInput } from './funnel-input.ts';
import { editionAfter, openFunnelReader } from './funnel-reader.ts';
import type { Edition, FunnelReader, Membership } from './funnel-reader.ts';
import { openFairQueue, openQuota, type FairQueue, type Quota } from './turns.ts';
import { wakeAt, type Wake } from './wake.ts';
import { DomainError } from '../errors.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';

export interface FunnelUpdatesOptions {
  readonly funnels: Funnels;
  readonly ingest: Pick<Ingest, 'onCommitted'>;
  /** In milliseconds. */
  readonly now: () => number;
  readonly logger: Log;
  readonly limits?: Partial<FunnelUpdatesLimits>;
}

export interface FunnelUpdatesLimits {
  /** Distinct funnels that are kept fresh. */
  readonly funnels: number;
  readonly readers: number;
  /** What part of the funnels, and of the readers, may be of one tenant. */
  readonly tenantShare: number;
  /** Queries at once, of all funnels together, so that analysts who ask once are not behind all of them. */
  readonly queriesAtOnce: number;
}

const LIMITS: FunnelUpdatesLimits = { funnels: 1_000, readers: 10_000, tenantShare: 4 / 5, queriesAtOnce: 2 };

/** From the beginning of one refresh of a funnel to that of its next, in milliseconds. */
const MIN_INTERVAL_MS = 1_000;
/** Of the time, at most a tenth is spent refreshing one funnel. */
const REST = 10;
/** After a refresh that failed, in milliseconds. */
const RETRY_MS = 5_000;

export interface RefreshedFunnels extends FunnelUpdates {
  /** How much of the limits is used now. */
  readonly load: () => { readonly funnels: number; readonly readers: number };
}

/**
 * One refresher a distinct funnel of a tenant, however many read it: it begins with its first reader and ends with its
 * last. It asks again after a commit that holds something of the tenant, and tells its readers when groups changed. While
 * that fails it keeps the figures it has; only when there are none yet do readers get the error.
 */
export function openFunnelUpdates(options: FunnelUpdatesOptions): Started<RefreshedFunnels> {
  const limits = { ...LIMITS, ...options.limits };
  const service: Service = {
    options,
    queriesAtOnce: limits.queriesAtOnce,
    refreshers: new Map(),
    funnels: openQuota(limits.funnels, limits.tenantShare),
    readers: openQuota(limits.readers, limits.tenantShare),
    due: openFairQueue(),
    reading: new Set(),
    stopped: false,
  };
  const stopListening = options.ingest.onCommitted((tenants) => {
    for (const refresher of service.refreshers.values()) {
      if (tenants.has(refresher.tenant)) makeStale(service, refresher);
    }
  });
  return {
    value: {
      follow: (tenant, input) => openFunnelReader((reader) => join(service, reader, tenant, input)).editions,
      load: () => ({ funnels: service.funnels.size(), readers: service.readers.size() }),
    },
    stop: async () => {
      service.stopped = true;
      stopListening();
      for (const { readers } of service.refreshers.values()) for (const reader of readers) reader.end();
      await Promise.allSettled(service.reading);
    },
  };
}

interface Service {
  readonly options: FunnelUpdatesOptions;
  readonly queriesAtOnce: number;
  readonly refreshers: Map<string, Refresher>;
  readonly funnels: Quota;
  readonly readers: Quota;
  /** Whose turn is to come. */
  readonly due: FairQueue<Refresher>;
  readonly reading: Set<Promise<void>>;
  stopped: boolean;
}

interface Refresher {
  readonly tenant: string;
  readonly input: FunnelInput;
  readonly readers: Set<FunnelReader>;
  readonly wake: Wake;
  /** Gives its place among the funnels back. */
  readonly giveBack: () => void;
  newest: Edition | null;
  /** Something was committed since the last refresh began. */
  stale: boolean;
  refreshing: boolean;
  /** Since the last refresh that went well one has failed. */
  failing: boolean;
  /** When the last refresh began, and how long after that the next one may. */
  began: number;
  intervalMs: number;
}

function join(service: Service, reader: FunnelReader, tenant: string, input: FunnelInput): Membership {
  if (service.stopped) throw new DomainError('SHUTTING_DOWN', 'this process is stopping');
  const checked = checkFunnel(input);
  const giveBack = service.readers.take(tenant);
  if (!giveBack) throw tooMany();
  const key = funnelKey(tenant, checked);
  const refresher = service.refreshers.get(key) ?? begin(service, key, { tenant, input: checked });
  if (!refresher) {
    giveBack();
    throw tooMany();
  }
  refresher.readers.add(reader);
  return {
    newest: () => refresher.newest,
    leave: () => {
      giveBack();
      refresher.readers.delete(reader);
      if (refresher.readers.size === 0) end(service, key, refresher);
    },
  };
}

function tooMany(): DomainError {
  return new DomainError('TOO_MANY_SUBSCRIPTIONS', 'this process keeps as many funnels fresh as it can for a tenant');
}

/** Null: there are too many. */
function begin(service: Service, key: string, of: Pick<Refresher, 'tenant' | 'input'>): Refresher | null {
  const giveBack = service.funnels.take(of.tenant);
  if (!giveBack) return null;
  const refresher: Refresher = {
    ...of,
    readers: new Set(),
    wake: wakeAt(() => {
      getInLine(service, refresher);
    }, service.options.now),
    giveBack,
    newest: null,
    stale: true,
    refreshing: false,
    failing: false,
    began: -Infinity,
    intervalMs: 0,
  };
  service.refreshers.set(key, refresher);
  refresher.wake.now();
  return refresher;
}

function end(service: Service, key: string, refresher: Refresher): void {
  refresher.wake.stop();
  refresher.giveBack();
  service.due.delete(refresher.tenant, refresher);
  service.refreshers.delete(key);
}

function makeStale({ options }: Service, refresher: Refresher): void {
  refresher.stale = true;
  if (!refresher.refreshing) refresher.wake.at(notBefore(refresher, options.now()));
}

/** A clock that was set back makes it wait no longer than the interval. */
function notBefore(refresher: Refresher, now: number): number {
  refresher.began = Math.min(refresher.began, now);
  return refresher.began + refresher.intervalMs;
}

/** A timer may have been set for an earlier time than holds by now. */
function getInLine(service: Service, refresher: Refresher): void {
  if (refresher.refreshing || !refresher.stale || refresher.readers.size === 0) return;
  const now = service.options.now();
  const time = notBefore(refresher, now);
  if (now < time) {
    refresher.wake.at(time);
    return;
  }
  service.due.add(refresher.tenant, refresher);
  refreshDue(service);
}

function refreshDue(service: Service): void {
  while (service.reading.size < service.queriesAtOnce) {
    const refresher = service.due.shift();
    if (!refresher) return;
    const reading = refresh(service, refresher).finally(() => {
      service.reading.delete(reading);
      refreshDue(service);
    });
    service.reading.add(reading);
  }
}

/** Never rejects. */
async function refresh(service: Service, refresher: Refresher): Promise<void> {
  const { funnels, now, logger } = service.options;
  refresher.began = now();
  refresher.refreshing = true;
  refresher.stale = false;
  const figures = await funnels.read(refresher.tenant, refresher.input).catch((error: unknown) => {
    refused(refresher, error, logger);
    return null;
  });
  if (figures) accept(refresher, figures);
  const tookMs = now() - refresher.began;
  refresher.intervalMs = Math.max(figures ? MIN_INTERVAL_MS : RETRY_MS, REST * tookMs);
  refresher.refreshing = false;
  if (!figures) refresher.stale = true;
  getInLine(service, refresher);
}

function accept(refresher: Refresher, figures: FunnelFigures): void {
  const { newest, readers } = refresher;
  refresher.failing = false;
  refresher.newest = editionAfter(newest, figures);
  if (refresher.newest.number === newest?.number) return;
  for (const reader of readers) reader.tell();
}

function refused(refresher: Refresher, err: unknown, logger: Log): void {
  const { newest, readers, tenant, failing } = refresher;
  if (newest === null) {
    for (const reader of readers) reader.fail(err);
    return;
  }
  refresher.failing = true;
  if (!failing) logger.warn({ projection: 'funnels', tenant, err }, 'a funnel cannot be refreshed; its figures stay');
}
