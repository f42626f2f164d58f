import type { Registry } from 'prom-client';
import type { Channel } from './events/event.ts';
import { counter, gauge, type Description, type Sample } from './metrics-registry.ts';
import type { QueueDepth } from './ports/broker/broker.ts';
import type { LiveStatus } from './projections/live.ts';
import type { ProjectionStatus } from './projections/run.ts';
import { withinMs } from './within.ts';

/** Where gauges are read at each scrape. */
export interface Sources {
  /** As GraphQL's `queues` has them. */
  readonly queues: () => Promise<readonly NamedQueue[]>;
  readonly projections: readonly (() => ProjectionStatus)[];
  /** Those that this process sends with. */
  readonly senders: readonly SenderUp[];
  /** How far ClickHouse is behind, in milliseconds; null while nobody knows. */
  readonly ingestLagMs: () => number | null;
  readonly live: () => Pick<LiveStatus, 'subscribers' | 'updates' | 'bytes'>;
  /** Subscriptions to funnels. */
  readonly funnelReaders: () => number;
  /** Rejects, or takes long, when the log does not answer. */
  readonly head: () => Promise<unknown>;
  /** Bytes left on the disk that holds what this process keeps. */
  readonly freeBytes: () => number;
  /** Of each role that one process at a time has, whether this one has it. */
  readonly leases: () => ReadonlyMap<string, boolean>;
}

export interface SenderUp {
  readonly channel: Channel;
  readonly provider: string;
  /** Whether its thread runs. */
  readonly isUp: () => boolean;
}

export interface NamedQueue extends QueueDepth {
  readonly name: string;
}

/** Anybody may scrape: servers are asked once for all who do so within as many milliseconds. */
const KEEP_MS = 1_000;
/** Prometheus waits for ten seconds; the rest of the scrape must not go down with one server that is silent. */
const ANSWER_MS = 3_000;

export function addGauges(registry: Registry, now: () => number): (sources: Partial<Sources>) => void {
  let sources: Partial<Sources> = {};
  const failed = counter(registry, {
    name: 'heliograph_scrape_errors_total',
    help: 'Sources of gauges that gave no answer to a scrape.',
    labels: ['source'],
  });
  addQueues(
    registry,
    kept(
      () => sources.queues?.(),
      () => failed('queues'),
    ),
  );
  addLog(
    registry,
    kept(
      () => sources.head?.().then(() => true),
      () => failed('event_log'),
    ),
  );
  const one = (about: Description, read: () => number | null | undefined): void =>
    gauge(registry, about, () => single(read()));
  one(
    {
      name: 'heliograph_ingest_lag_seconds',
      help: 'Age of the oldest update that is not in ClickHouse; 0 when none is.',
    },
    () => seconds(sources.ingestLagMs?.()),
  );
  one({ name: 'heliograph_disk_free_bytes', help: 'Space left on the disk of the data directory or the log.' }, () =>
    sources.freeBytes?.(),
  );
  addSubscriptions(registry, () => sources);
  addProjections(registry, { now, statuses: () => (sources.projections ?? []).map((status) => status()) });
  addSenders(registry, () => sources.senders ?? []);
  addLeases(registry, () => sources.leases?.() ?? new Map());
  return (more) => {
    sources = { ...sources, ...more };
  };
}

/** Undefined: there is no such source. Null: it gave no answer. Never rejects. */
type Kept<T> = () => Promise<T | null | undefined>;

function kept<T>(ask: () => Promise<T> | undefined, failed: () => void): Kept<T> {
  let asked: Promise<T | null | undefined> | null = null;
  /** While it is asked, nobody asks again. */
  let answeredAt = Infinity;
  const answer = async (): Promise<T | null | undefined> => {
    const asking = (async () => ask())();
    const found = await withinMs(ANSWER_MS, asking).catch(() => null);
    if (found === null) failed();
    answeredAt = found === undefined ? -Infinity : performance.now();
    return found;
  };
  return () => {
    if (asked === null || performance.now() - answeredAt > KEEP_MS) {
      answeredAt = Infinity;
      asked = answer();
    }
    return asked;
  };
}

function addQueues(registry: Registry, read: Kept<readonly NamedQueue[]>): void {
  const add = (name: Description['name'], help: string, value: (queue: NamedQueue) => number): void =>
    gauge(registry, { name, help, labels: ['queue'] }, async () =>
      ((await read()) ?? []).map((queue) => ({ values: [queue.name], value: value(queue) })),
    );
  add('heliograph_queue_depth', 'Deliveries that wait for a sender, or are in its hands.', ({ depth }) => depth);
  add('heliograph_queue_retrying', 'Deliveries that wait for their next attempt.', ({ retrying }) => retrying);
  add('heliograph_queue_dead', 'Deliveries that were dead-lettered.', ({ dead }) => dead);
  add(
    'heliograph_queue_oldest_age_seconds',
    'How long the oldest delivery has waited since it was due; 0 when none waits.',
    ({ oldestSeconds }) => oldestSeconds ?? 0,
  );
  gauge(registry, { name: 'heliograph_queues_up', help: '1 while the queues can be counted.' }, async () =>
    single(up(await read())),
  );
}

function addLog(registry: Registry, read: Kept<boolean>): void {
  gauge(registry, { name: 'heliograph_event_log_up', help: '1 while the event log answers.' }, async () =>
    single(up(await read())),
  );
}

function addSenders(registry: Registry, senders: () => Sources['senders']): void {
  const about = { help: '1 while the thread of the sender runs.', labels: ['channel', 'provider'] };
  gauge(registry, { name: 'heliograph_sender_up', ...about }, () =>
    senders().map(({ channel, provider, isUp }) => ({ values: [channel, provider], value: Number(isUp()) })),
  );
}

function addLeases(registry: Registry, leases: Sources['leases']): void {
  const about = { help: '1 while this process acts for the role, 0 while it stands by.', labels: ['role'] };
  gauge(registry, { name: 'heliograph_lease_held', ...about }, () =>
    [...leases()].map(([role, held]) => ({ values: [role], value: Number(held) })),
  );
}

function addSubscriptions(registry: Registry, sources: () => Partial<Sources>): void {
  const live = (name: Description['name'], help: string, of: keyof ReturnType<Sources['live']>): void =>
    gauge(registry, { name, help }, () => single(sources().live?.()[of]));
  gauge(registry, { name: 'heliograph_subscriptions', help: 'Subscriptions that are open.', labels: ['to'] }, () => {
    const { live: updates, funnelReaders } = sources();
    return [...single(updates?.().subscribers, 'delivery_updates'), ...single(funnelReaders?.(), 'funnels')];
  });
  live('heliograph_live_buffer_updates', 'Updates that are kept in memory for subscribers.', 'updates');
  live('heliograph_live_buffer_bytes', 'Size of these, by estimate.', 'bytes');
}

interface Projections {
  readonly now: () => number;
  readonly statuses: () => readonly ProjectionStatus[];
}

function addProjections(registry: Registry, { now, statuses }: Projections): void {
  const add = (name: Description['name'], help: string, value: (status: ProjectionStatus) => number | null): void =>
    gauge(registry, { name, help, labels: ['projection'] }, () =>
      statuses().flatMap((status) => single(value(status), status.name)),
    );
  add(
    'heliograph_projection_lag_seconds',
    'Age of the oldest event in hand; 0 when none is. Until the end of the log is reached, of the last that is handled.',
    ({ unhandledSince }) => (unhandledSince === null ? 0 : Math.max(0, now() - unhandledSince) / 1_000),
  );
  add('heliograph_projection_live', '1 once the end of the log was reached.', ({ live }) => Number(live));
  add('heliograph_projection_parked', 'Events that it could not deal with and went past.', ({ parked }) => parked);
}

function single(value: number | null | undefined, ...values: readonly string[]): readonly Sample[] {
  return value === null || value === undefined ? [] : [{ values, value }];
}

function seconds(ms: number | null | undefined): number | null | undefined {
  return typeof ms === 'number' ? ms / 1_000 : ms;
}

function up(answer: unknown): 0 | 1 | undefined {
  if (answer === undefined) return undefined;
  return answer === null ? 0 : 1;
}
