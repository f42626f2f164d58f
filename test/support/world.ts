import { reportFault } from './faults.ts';
import { join } from 'node:path';
import { setImmediate as everybodyWaits } from 'node:timers/promises';
import type { Commands, Queries } from '../../src/commands/commands.ts';
import type { CommandContext } from '../../src/commands/context.ts';
import { createCommands, createQueries } from '../../src/commands/create.ts';
import { openCursors, streamOf, systemIds } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { openScope, type Started } from '../../src/lifecycle.ts';
import type { Log } from '../../src/log.ts';
import type { EventLog, RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { START } from '../../src/ports/event-log/event-log.ts';
import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import type { State } from '../../src/ports/state/state.ts';
import { liquidTemplates } from '../../src/senders/templates.ts';
import { PROVIDERS, T0 } from './given.ts';
import { CALLER, requestFor } from './pipeline.ts';
import { withTempDir } from './temp-dir.ts';

/** A logger that remembers what people on call would have been told. */
export interface RecordingLog extends Log {
  readonly errors: readonly string[];
}

export function recordingLog(): RecordingLog {
  const errors: string[] = [];
  const silent = (): void => undefined;
  return { debug: silent, info: silent, warn: silent, error: (_, message) => void errors.push(message), errors };
}

/** Time stands still until the test moves it. */
export interface Clock {
  readonly now: () => number;
  readonly advance: (ms: number) => void;
}

export function clockAt(start: number): Clock {
  let time = start;
  return {
    now: () => time,
    advance: (ms) => {
      time += ms;
    },
  };
}

/** A real log with commands on it and local states, in a folder of their own; the test starts what it is about. */
export interface World {
  readonly folder: string;
  readonly log: EventLog;
  readonly context: CommandContext;
  readonly commands: Commands;
  readonly queries: Queries;
  readonly clock: Clock;
  readonly logger: RecordingLog;
  /** The local state of that name; one that was not used yet is empty. */
  readonly state: (name: string) => State;
  /** Stopped at the end of the test, last in first out. */
  readonly use: <T>(started: Started<T>) => T;
}

export function withWorld(work: (world: World) => Promise<void>, now: Clock = clockAt(T0)): Promise<void> {
  return withTempDir(async (folder) => {
    const scope = openScope();
    try {
      const log = scope.use(await openLmdbEventLog(join(folder, 'log')));
      const states = scope.use(await openLmdbState(join(folder, 'state')));
      const keys = openKeys('0'.repeat(32));
      const context = {
        log,
        now: now.now,
        ids: systemIds,
        keys,
        cursors: openCursors(log.id, keys.mac),
        templates: liquidTemplates,
        reportFault,
        ...PROVIDERS,
      };
      await work({
        folder,
        log,
        context,
        commands: createCommands(context),
        queries: createQueries(context),
        clock: now,
        logger: recordingLog(),
        state: (name) => states.open(name),
        use: scope.use,
      });
    } finally {
      await scope.stop();
    }
  });
}

/** Registers the user of that name with an address. */
export async function registered({ commands }: World, id = 'ada'): Promise<void> {
  await commands.registerUser(CALLER, { id, email: `${id}@example.com` });
}

/** The id of an accepted request. */
export async function requested(
  { commands }: World,
  changes: Parameters<typeof requestFor>[1] = {},
  userId = 'ada',
): Promise<string> {
  const { notification } = await commands.requestNotification(CALLER, requestFor(userId, changes));
  return notification.state.id;
}

/** The ids of that many accepted requests. */
export async function requestedMany(
  { commands }: World,
  count: number,
  changes: Parameters<typeof requestFor>[1] = {},
): Promise<readonly string[]> {
  const results = await commands.requestNotifications(
    CALLER,
    Array.from({ length: count }, () => requestFor('ada', changes)),
  );
  return results.map((result) => {
    if (result instanceof Error) throw result;
    return result.notification.state.id;
  });
}

export async function typesOf({ log }: Pick<World, 'log'>, notificationId: string): Promise<readonly string[]> {
  return (await log.read(streamOf.notification(notificationId))).map(({ type }) => type);
}

/** Everything that the log holds now, in its order. */
export async function everything(
  { log }: Pick<World, 'log'>,
  types?: readonly string[],
): Promise<readonly RecordedEvent[]> {
  const found: RecordedEvent[] = [];
  for await (const { events, live } of log.subscribe(START, types ? { types } : {}, new AbortController().signal)) {
    found.push(...events);
    if (live) break;
  }
  return found;
}

/** Append number `failing` (counted from 1) fails: before it took place, or after, when only the answer is lost. */
export function crashing(
  log: EventLog,
  failing: number,
  appended: boolean,
): EventLog & { readonly appends: () => number } {
  let appends = 0;
  const append: EventLog['append'] = async (...args) => {
    appends += 1;
    if (appends !== failing) return log.append(...args);
    if (appended) await log.append(...args);
    throw new Error('crash');
  };
  return { ...log, append, appends: () => appends };
}

/**
 * A log whose users take turns, one read or append at a time, in the order of the picks: some rest while others run far
 * ahead. `ended` gives out the turns until the work is done.
 */
export function takingTurns(
  log: EventLog,
  picks: readonly number[],
): { readonly log: EventLog; readonly ended: (work: readonly Promise<unknown>[]) => Promise<void> } {
  const waiting: (() => Promise<void>)[] = [];
  const inTurn = <T>(work: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      waiting.push(() => work().then(resolve, reject));
    });
  const ended = async (work: readonly Promise<unknown>[]): Promise<void> => {
    let left = work.length;
    const leave = (): void => void (left -= 1);
    for (const each of work) each.then(leave, leave);
    for (let turn = 0; left > 0; turn += 1) {
      await everybodyWaits();
      const [next] = waiting.splice((picks[turn % picks.length] ?? 0) % waiting.length, 1);
      await next?.();
    }
    await Promise.all(work);
  };
  return {
    log: {
      ...log,
      read: (...args) => inTurn(() => log.read(...args)),
      append: (...args) => inTurn(() => log.append(...args)),
    },
    ended,
  };
}
