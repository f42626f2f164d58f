import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ClickHouseClient } from '@clickhouse/client';
import { AnalyticsError, type Analytics } from './analytics.ts';
import { EngineFolderInUse, EngineMissing, startEngineProcess, type EngineProcess } from './chdb-process.ts';
import { watchEngine } from './chdb-watch.ts';
import { connectTo, openAnalyticsOver, QUERY_LIMITS, type ClickhouseAddress, type QueryLimits } from './clickhouse.ts';
import type { Started } from '../../lifecycle.ts';
import type { Log } from '../../log.ts';

export { EngineFolderInUse, EngineMissing } from './chdb-process.ts';

export interface ChdbOptions {
  /** The folder of the engine. It is made if need be, and one process at a time has it. */
  readonly path: string;
  /** What the engine may use as a whole; one query may use half of it. */
  readonly memoryBytes: number;
  readonly log: Log;
  /** The script of its process; the one beside this file unless told otherwise. */
  readonly engine?: string;
  readonly limits?: Partial<QueryLimits>;
  /**
   * How long it waits, in milliseconds, for a folder whose last holder was killed a moment ago, and in a call while the
   * engine is being started.
   */
  readonly patienceMs?: number;
  /** How long opening waits for the first start, in milliseconds. The start goes on behind. */
  readonly startMs?: number;
  /** How long stopping takes at most, in milliseconds: half for what is under way, half for the engine to end by itself. */
  readonly stopMs?: number;
  /** How often it looks after the running engine, in milliseconds. */
  readonly watchMs?: number;
  /** An engine that has not answered for about this long, in milliseconds, is killed. */
  readonly silentMs?: number;
}

const PATIENCE_MS = 5_000;
const START_MS = 5_000;
/** Well below what the whole service has for stopping. */
const STOP_MS = 2_000;
const WATCH_MS = 3_000;
const SILENT_MS = 30_000;

/** The embedded engine while it runs. */
export interface Engine extends ClickhouseAddress {
  readonly pid: number;
}

export interface ChdbAnalytics extends Analytics {
  /** Null while it is down. */
  readonly engine: () => Engine | null;
}

/** How long it lets pass before it starts the engine again, in milliseconds: doubled each time that it does not last. */
const BACKOFF_MS = { first: 50, mostAfterDeath: 500, mostAfterFailure: 5_000 };
/** One that has lived this long did not die of its start. */
const HEALTHY_MS = 1_000;

/**
 * ClickHouse as a child process of ours, reached as if it were a server. It ends when this process does, however that
 * ends; it is started again when it ends by itself or does not start, and callers get `unavailable` meanwhile: whatever
 * is wrong with it keeps nobody else from working.
 * @throws EngineMissing, EngineFolderInUse. What else is wrong goes to the log.
 */
export async function openChdb(options: ChdbOptions): Promise<Started<ChdbAnalytics>> {
  const { client, engine, stop } = await supervise(options);
  const limits = { ...QUERY_LIMITS, memoryBytes: Math.floor(options.memoryBytes / 2), ...options.limits };
  const patienceMs = stopMsOf(options) / 2;
  const analytics = openAnalyticsOver({ client, close: stop, limits, patienceMs, isShared: false });
  return { value: { ...analytics, engine }, stop: () => analytics.close() };
}

function stopMsOf({ stopMs = STOP_MS }: ChdbOptions): number {
  return stopMs;
}

interface Supervisor {
  readonly client: () => Promise<ClickHouseClient>;
  readonly engine: () => Engine | null;
  readonly stop: () => Promise<void>;
}

/** An engine and the client of its port; the next one has another port. */
interface Running {
  readonly process: EngineProcess;
  readonly address: Engine;
  readonly client: ClickHouseClient;
}

interface Supervision {
  readonly options: ChdbOptions;
  readonly password: string;
  /** Ends the engine, whether it runs or starts. */
  readonly stopping: AbortSignal;
  readonly slot: Slot<Running>;
  /** Reports why the engine does not start. */
  readonly complain: (err: unknown) => null;
}

async function supervise(options: ChdbOptions): Promise<Supervisor> {
  const password = randomBytes(32).toString('base64url');
  const controller = new AbortController();
  const slot = openSlot<Running>();
  const complain = openComplaints(options, controller.signal);
  const supervision = { options, password, stopping: controller.signal, slot, complain };
  const { first } = await begin(supervision);
  const kept = keepUp(supervision, first);
  return {
    client: async () => (await slot.wait(options.patienceMs ?? PATIENCE_MS)).client,
    engine: () => slot.now()?.address ?? null,
    stop: async () => {
      slot.close();
      controller.abort();
      await kept;
    },
  };
}

/** A start, and null when it failed: that has gone to the log. @throws EngineMissing, EngineFolderInUse. */
type Attempt = Promise<Running | null>;

/** Waits for the first start, or long enough. */
async function begin(supervision: Supervision): Promise<{ readonly first: Attempt }> {
  const { patienceMs = PATIENCE_MS, startMs = START_MS, path, log } = supervision.options;
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const first = attempt(supervision);
    try {
      const isLate = await takesLonger(first, startMs);
      if (isLate) log.error({ path, startMs }, 'the analytics engine takes long to start; going on without it');
      return { first };
    } catch (error) {
      if (!(error instanceof EngineFolderInUse) || performance.now() > deadline) throw error;
      await pause(200);
    }
  }
}

async function takesLonger(work: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const late = pause(ms, true, { signal: timer.signal }).catch(() => true);
  try {
    return await Promise.race([work.then(() => false), late]);
  } finally {
    timer.abort();
  }
}

async function attempt(supervision: Supervision): Attempt {
  try {
    return await startEngine(supervision);
  } catch (error) {
    if (error instanceof EngineMissing || error instanceof EngineFolderInUse) throw error;
    return supervision.complain(error);
  }
}

/** Between two reports for the same reason, in milliseconds. */
const REPORT_MS = 60_000;

function openComplaints({ path, log }: ChdbOptions, stopping: AbortSignal): Supervision['complain'] {
  let last = { reason: '', at: -Infinity };
  return (err) => {
    const now = performance.now();
    // What the engine printed follows, with its times of day.
    const [reason = ''] = String(err).split('\n');
    const isKnown = reason === last.reason && now - last.at < REPORT_MS;
    if (stopping.aborted || isKnown) return null;
    last = { reason, at: now };
    log.error({ err, path }, 'the analytics engine does not start');
    return null;
  };
}

async function keepUp(supervision: Supervision, first: Attempt): Promise<void> {
  const { stopping: signal } = supervision;
  let delay = BACKOFF_MS.first;
  for (let next = first; ; next = attempt(supervision)) {
    const running = await next.catch(supervision.complain);
    const livedMs = running && (await untilEnded(supervision, running));
    if (signal.aborted) return;
    delay = nextDelay(delay, livedMs);
    await pause(delay, undefined, { signal }).catch(() => undefined);
  }
}

function nextDelay(delay: number, livedMs: number | null): number {
  if (livedMs === null) return Math.min(delay * 2, BACKOFF_MS.mostAfterFailure);
  return livedMs > HEALTHY_MS ? BACKOFF_MS.first : Math.min(delay * 2, BACKOFF_MS.mostAfterDeath);
}

/** Waits for the end of the engine and answers how long that took. Whoever asks from then on waits for the next one. */
async function untilEnded(supervision: Supervision, running: Running): Promise<number> {
  const { options, stopping, slot } = supervision;
  const { process, client } = running;
  const since = performance.now();
  const unwatch = watch(supervision, running);
  const stop = (): void => void process.stop(stopMsOf(options) / 2);
  stopping.addEventListener('abort', stop);
  if (stopping.aborted) stop();
  const how = await process.ended;
  stopping.removeEventListener('abort', stop);
  slot.put(null);
  await Promise.all([client.close(), unwatch()]);
  const about = { path: options.path, engine: process.pid, how };
  if (!stopping.aborted) options.log.warn(about, 'the analytics engine ended; starting it again');
  return performance.now() - since;
}

/** Ends an engine that is of no use any more. Answers how to stop watching. */
function watch({ options }: Supervision, { process, address }: Running): () => Promise<void> {
  const { path, log, watchMs: everyMs = WATCH_MS, silentMs = SILENT_MS } = options;
  const over = new AbortController();
  const about = { path, engine: process.pid };
  const watched = watchEngine({ url: address.url, path, everyMs, silentMs }, over.signal, (reason) => {
    log.warn({ ...about, reason }, 'the analytics engine is of no use any more; killing it');
    process.kill();
  });
  return () => {
    over.abort();
    return watched;
  };
}

/** Callers have it as soon as it answers. */
async function startEngine({ options, password, stopping, slot }: Supervision): Promise<Running> {
  const { path, memoryBytes, log, engine: script = defaultScript() } = options;
  await mkdir(path, { recursive: true, mode: 0o700 });
  const order = { path, password, memoryBytes };
  const process = await startEngineProcess({ order, script, log, signal: stopping });
  const address = {
    url: `http://127.0.0.1:${String(process.port)}`,
    username: 'default',
    password,
    pid: process.pid,
  };
  const running = { process, address, client: connectTo(address) };
  slot.put(running);
  return running;
}

/** Built like this file or, where Node is told to run the sources, not built like it. */
function defaultScript(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`./chdb-engine.${extension}`, import.meta.url));
}

/** Holds one thing or nothing. */
interface Slot<T> {
  readonly put: (value: T | null) => void;
  readonly now: () => T | null;
  /** Waits until there is one. @throws AnalyticsError when that takes too long, or it is closed. */
  readonly wait: (patienceMs: number) => Promise<T>;
  /** Turns away who waits. */
  readonly close: () => void;
}

interface Waiter<T> {
  readonly give: (value: T) => void;
  readonly refuse: () => void;
}

function openSlot<T>(): Slot<T> {
  let held: T | null = null;
  const waiting = new Set<Waiter<T>>();
  const wait = (patienceMs: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        waiting.delete(waiter);
      };
      const waiter: Waiter<T> = {
        give: (value) => {
          leave();
          resolve(value);
        },
        refuse: () => {
          leave();
          reject(new AnalyticsError('unavailable', 'the analytics engine is not running'));
        },
      };
      const timer = setTimeout(waiter.refuse, patienceMs);
      waiting.add(waiter);
    });
  return {
    put: (value) => {
      held = value;
      if (value === null) return;
      for (const { give } of waiting) give(value);
    },
    now: () => held,
    wait: (patienceMs) => (held === null ? wait(patienceMs) : Promise.resolve(held)),
    close: () => {
      for (const { refuse } of waiting) refuse();
    },
  };
}
