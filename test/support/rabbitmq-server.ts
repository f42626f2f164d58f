import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Started } from '../../src/lifecycle.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { openTempDir } from './temp-dir.ts';

/** A RabbitMQ server of our own: on ports, with a node name and in a folder that nobody else uses. */
export interface RabbitServer {
  readonly url: string;
  /** Ends the server, in good order or as a crash does; what it has on disk stays. */
  readonly halt: (signal?: 'SIGTERM' | 'SIGKILL') => Promise<void>;
  /** Stops its process without a word to anybody, or lets it go on. */
  readonly freeze: (frozen: boolean) => void;
  /** Starts it again, or for the first time; resolves when it takes connections. */
  readonly boot: () => Promise<void>;
  /** Forgets all that it has on disk; to be called while it is halted. */
  readonly wipe: () => Promise<void>;
  /** Runs `rabbitmqctl`. */
  readonly ctl: (...args: readonly string[]) => Promise<string>;
}

/** Debian's package. Its own scripts, because those in /usr/sbin switch to another user. */
const BIN = '/usr/lib/rabbitmq/bin';
const BOOT_MS = 120_000;

/**
 * Whether tests on a real server are to be skipped, which is said once for each file.
 * @throws in CI, where nothing may be missing.
 */
export function lacksRabbit(): boolean {
  if (existsSync(join(BIN, 'rabbitmq-server'))) return false;
  const missing = 'RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)';
  if ((process.env['CI'] ?? '') !== '') throw new Error(missing);
  console.warn(`SKIPPED: ${missing}; tests on a real server are left out`);
  return true;
}

interface Node {
  readonly folder: string;
  readonly port: number;
  readonly env: NodeJS.ProcessEnv;
  child: ChildProcess | undefined;
}

/** Starts one. Whoever starts it stops it, which leaves nothing behind. */
export async function startRabbit(): Promise<Started<RabbitServer>> {
  const { value: folder, stop: remove } = await openTempDir();
  const [port, distPort, epmdPort] = await Promise.all([freePort(), freePort(), freePort()]);
  const node: Node = { folder, port, env: environmentOf(folder, { port, distPort, epmdPort }), child: undefined };
  // Erlang would start this one by itself, and leave it running.
  const epmd = spawn('epmd', ['-address', '127.0.0.1', '-port', String(epmdPort)], { stdio: 'ignore', env: node.env });
  await once(epmd, 'spawn');
  const stopEpmd = endWithUs(epmd);
  const stop = async (): Promise<void> => {
    await halt(node, 'SIGKILL');
    await stopEpmd('SIGKILL');
    await remove();
  };
  try {
    await boot(node);
  } catch (error) {
    await stop();
    throw error;
  }
  const value: RabbitServer = {
    url: `amqp://guest:guest@127.0.0.1:${String(port)}`,
    halt: (signal = 'SIGTERM') => halt(node, signal),
    freeze: (frozen) => void node.child?.kill(frozen ? 'SIGSTOP' : 'SIGCONT'),
    boot: () => boot(node),
    wipe: () => rm(join(folder, 'data'), { recursive: true, force: true }),
    ctl: async (...args) => {
      const { stdout } = await promisify(execFile)(join(BIN, 'rabbitmqctl'), [...args], { env: node.env });
      return stdout;
    },
  };
  return { value, stop };
}

function environmentOf(
  folder: string,
  { port, distPort, epmdPort }: Readonly<Record<'port' | 'distPort' | 'epmdPort', number>>,
): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    HOME: folder,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `heliograph-${String(port)}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    ERL_CRASH_DUMP: join(folder, 'crash.dump'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    // The script becomes the server instead of watching over it: its process id is the server's.
    detached: 'true',
  };
}

async function boot(node: Node): Promise<void> {
  await mkdir(join(node.folder, 'data'), { recursive: true });
  await writeFile(join(node.folder, 'rabbitmq.conf'), 'log.console = false\nlog.file.level = warning\n');
  const child = spawn(join(BIN, 'rabbitmq-server'), { env: node.env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await once(child, 'spawn');
  node.child = child;
  endWithUs(child);
  await eventually(
    async () => {
      if (child.exitCode !== null) throw new Error(`RabbitMQ ended: ${output}`);
      await listens(node.port);
    },
    { timeoutMs: BOOT_MS, pauseMs: 50 },
  );
}

async function halt(node: Node, signal: NodeJS.Signals): Promise<void> {
  const { child } = node;
  if (child === undefined) return;
  node.child = undefined;
  await end(child, signal);
}

/** Answers how to end it. A test run that dies takes it along. */
function endWithUs(child: ChildProcess): (signal: NodeJS.Signals) => Promise<void> {
  const killWithUs = (): void => void child.kill('SIGKILL');
  process.once('exit', killWithUs);
  child.once('exit', () => process.off('exit', killWithUs));
  return (signal) => end(child, signal);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

async function listens(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}
