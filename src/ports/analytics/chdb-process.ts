import { fork, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { EngineDrain, EngineOrder, EngineReport } from './chdb-engine.ts';
import type { Log } from '../../log.ts';

/** A running engine. */
export interface EngineProcess {
  readonly pid: number;
  readonly port: number;
  /** How it ended, for people. Resolves once it has. */
  readonly ended: Promise<string>;
  /** Lets it finish what it is doing, for `patienceMs` at most. Resolves when it is gone. */
  readonly stop: (patienceMs: number) => Promise<void>;
  /** Ends it at once, whatever it is doing. */
  readonly kill: () => void;
}

/** chdb has no build for this platform, or it was not installed. */
export class EngineMissing extends Error {
  override readonly name = 'EngineMissing';
}

/** Another process has the folder. */
export class EngineFolderInUse extends Error {
  override readonly name = 'EngineFolderInUse';
}

export interface EngineStart {
  readonly order: EngineOrder;
  /** The script that the process runs. */
  readonly script: string;
  readonly log: Log;
  /** Ends the process at once while it starts. */
  readonly signal: AbortSignal;
}

/** Node that is given up on as a whole and the engine's threads, whatever number of sessions wait for them. */
const THREADS = '8';

const DRAIN: EngineDrain = 'drain';

/** The engine loads its tables before it answers. */
const START_LIMIT_MS = 60_000;

/** @throws EngineMissing, EngineFolderInUse, or what else it failed of; nothing runs then. */
export async function startEngineProcess({ order, script, log, signal }: EngineStart): Promise<EngineProcess> {
  signal.throwIfAborted();
  const child = fork(script, [], {
    // A process group of its own: a Ctrl-C in the terminal is for us, and we stop it when we have drained.
    detached: true,
    // Debuggers and limits that Node was given for us are not for the engine; the sources run by what it was given.
    execArgv: script.endsWith('.ts') ? process.execArgv : [],
    serialization: 'json',
    env: { UV_THREADPOOL_SIZE: THREADS, TZ: 'UTC' },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const state = { isRunning: false };
  const lastWords = listenTo(child, log, state);
  const ended = endOf(child, lastWords);
  try {
    const { kind, ...report } = await firstReport(child, ended, { order, signal });
    if (kind === 'listening' && 'port' in report) {
      state.isRunning = true;
      return running(child, report.port, ended);
    }
    throw failure(order, kind, 'message' in report ? report.message : '', lastWords());
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    throw error;
  }
}

function running(child: ChildProcess, port: number, ended: Promise<string>): EngineProcess {
  const stop = async (patienceMs: number): Promise<void> => {
    // When it cannot be told any more, it is on its way out.
    child.send(DRAIN, () => undefined);
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    await ended;
    clearTimeout(timer);
  };
  return { pid: child.pid ?? 0, port, ended, stop, kill: () => void child.kill('SIGKILL') };
}

function firstReport(
  child: ChildProcess,
  ended: Promise<string>,
  { order, signal }: Pick<EngineStart, 'order' | 'signal'>,
): Promise<EngineReport> {
  return new Promise((resolve, reject) => {
    const settle = (work: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      work();
    };
    const giveUp = (): void => settle(() => reject(new Error('the engine is not wanted any more')));
    const late = (): void => settle(() => reject(new Error('the engine did not start in time')));
    const timer = setTimeout(late, START_LIMIT_MS);
    signal.addEventListener('abort', giveUp);
    child.once('message', (report) => settle(() => resolve(report as EngineReport)));
    void ended.then((how) => settle(() => reject(new Error(`the engine ended while it started: ${how}`))));
    child.send(order, (error) => error && settle(() => reject(error)));
  });
}

function failure({ path }: EngineOrder, kind: EngineReport['kind'], message: string, output: string): Error {
  if (kind === 'missing') return new EngineMissing(`chdb does not run on this platform: ${message}`);
  if (/Another server instance|already running/.test(`${message}\n${output}`)) {
    return new EngineFolderInUse(`another process has the analytics folder ${path}`);
  }
  return new Error(`the engine cannot open ${path}: ${message}\n${output}`);
}

/** Passes on what it prints, and keeps the last of it: while it starts, that goes into the error that it failed of. */
function listenTo(child: ChildProcess, log: Log, state: { readonly isRunning: boolean }): () => string {
  const last: string[] = [];
  const follow = (stream: Readable | null, tell: (line: string) => void): void => {
    if (!stream) return;
    createInterface({ input: stream }).on('line', (line) => {
      last.push(line.slice(0, 2_000));
      if (last.length > 20) last.shift();
      tell(line);
    });
  };
  follow(child.stdout, (line) => log.debug({ engine: child.pid }, line));
  follow(child.stderr, (line) => log[state.isRunning ? 'warn' : 'debug']({ engine: child.pid }, line));
  return () => last.join('\n');
}

function endOf(child: ChildProcess, lastWords: () => string): Promise<string> {
  return new Promise((resolve) => {
    const tell = (how: string): void => resolve(lastWords() === '' ? how : `${how}: ${lastWords()}`);
    child.on('error', (error) => tell(error.message));
    // Not exit: what it printed last comes after it.
    child.once('close', (code, signal) => tell(signal ?? `exit code ${String(code)}`));
  });
}
