import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { openScope } from '../src/lifecycle.ts';
import type { LoadOrder, LoadReport, LoadResult } from './load-orders.ts';
import { usage, type Usage } from './processes.ts';
import { ADAPTERS, HEADERS, leftInQueues, openService, registerUsers, type Adapters } from './service.ts';

/** What is asked of one service, one thing after the other. */
export type Shape = 'bulk' | 'single' | 'unloaded' | 'noop';

export interface Settings {
  /** Of the shapes of each service only this one; null: all. */
  readonly only: Shape | null;
  readonly windowMs: number;
  readonly warmUpMs: number;
  readonly users: number;
  readonly bulkItems: number;
  readonly bulkConnections: number;
  readonly singleConnections: number;
  readonly onTheWay: number;
  readonly unloadedPerSecond: number;
  readonly peerConcurrency: number;
  readonly peerProcesses: number;
  /** Folder for CPU profiles of the service. */
  readonly profile: string | null;
  readonly serviceSettings: Readonly<Record<string, string>>;
}

export interface Measured extends LoadResult {
  readonly who: string;
  readonly channel: 'PUSH' | 'EMAIL';
  readonly shape: Shape;
  /** Milliseconds of CPU a notification, by process, in the window. */
  readonly cpu: ReadonlyMap<string, number>;
  /** Of one core, by process, in the window. */
  readonly cores: ReadonlyMap<string, number>;
  /** MiB resident at the end of the window, by process. */
  readonly memory: ReadonlyMap<string, number>;
}

/** Beside whom we are measured. */
export const PEER = 'BullMQ on Redis';

export interface Load {
  readonly child: ChildProcess;
  readonly pushPort: number;
  readonly mailPort: number;
}

export function orderOf(
  shape: Shape,
  settings: Settings,
  where: Pick<LoadOrder, 'url' | 'headers' | 'channel'>,
): LoadOrder {
  const isBulk = shape === 'bulk';
  return {
    ...where,
    language: shape === 'noop' ? 'noop' : 'graphql',
    items: isBulk ? settings.bulkItems : 1,
    connections: isBulk ? settings.bulkConnections : settings.singleConnections,
    onTheWay: settings.onTheWay,
    perSecond: shape === 'unloaded' ? settings.unloadedPerSecond : null,
    users: settings.users,
    warmUpMs: shape === 'unloaded' ? 1_000 : settings.warmUpMs,
    windowMs: shape === 'noop' ? settings.windowMs / 2 : settings.windowMs,
  };
}

/** Gives the order and looks at all processes when the window begins and ends. */
export async function perform(
  { child }: Load,
  order: LoadOrder,
): Promise<LoadResult & Pick<Measured, 'cpu' | 'cores' | 'memory'>> {
  let before: Usage = new Map();
  let after: Usage = new Map();
  const result = await new Promise<LoadResult>((resolve, reject) => {
    const gone = (): void => reject(new Error('the process of the load ended'));
    const listen = (report: LoadReport): void => {
      if (report.kind === 'begin') before = usage();
      if (report.kind === 'end') after = usage();
      if (report.kind !== 'result' && report.kind !== 'failed') return;
      child.off('message', listen).off('exit', gone);
      if (report.kind === 'result') resolve(report.result);
      else reject(new Error(report.why));
    };
    child.on('message', listen).once('exit', gone);
    child.send(order);
  });
  const spent = [...after].map(([part, { cpu }]) => [part, cpu - (before.get(part)?.cpu ?? 0)] as const);
  return {
    ...result,
    cpu: new Map(spent.map(([part, seconds]) => [part, (seconds * 1_000) / Math.max(1, result.inWindow)])),
    cores: new Map(spent.map(([part, seconds]) => [part, seconds / result.seconds])),
    memory: new Map([...after].map(([part, { memory }]) => [part, memory])),
  };
}

/** For what nobody waits for any more: the queues empty, ClickHouse up to date. */
const SETTLE_MS = 60_000;

/** Measures the shapes one after the other over one service, which was started for it. */
export async function measureService(
  load: Load,
  settings: Settings,
  { adapters, channel, shapes }: { adapters: Adapters; channel: 'PUSH' | 'EMAIL'; shapes: readonly Shape[] },
): Promise<readonly Measured[]> {
  const scope = openScope();
  try {
    const { pushPort, mailPort } = load;
    const { profile, serviceSettings } = settings;
    const url = scope.use(
      await openService({ adapters, channel, pushPort, mailPort, profile, settings: serviceSettings }),
    );
    await registerUsers(url, settings.users);
    const measured: Measured[] = [];
    for (const shape of shapes) {
      const order = orderOf(shape, settings, { url: `${url}/graphql`, headers: HEADERS, channel });
      const result = await perform(load, order);
      measured.push({ ...result, who: ADAPTERS[adapters].title, channel, shape });
      await settled(url);
    }
    return measured;
  } finally {
    await scope.stop();
  }
}

/** @throws when anything is left in a queue, or was set aside. */
async function settled(url: string): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const left = await leftInQueues(url);
    if (left === 0) break;
    if (performance.now() > deadline) throw new Error(`${String(left)} jobs are left in queues`);
    await delay(50);
  }
  // Analytics are written a little later.
  await delay(1_500);
}
