/** The process that owns the embedded engine. Started by `chdb.ts` with a channel to it, and of no use without. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { openEngineHttp } from './chdb-http.ts';
import { openLane, type Lane } from './chdb-lanes.ts';

/** What the parent tells at the start. Over the channel: command lines and environments can be read by others. */
export interface EngineOrder {
  readonly path: string;
  readonly password: string;
  readonly memoryBytes: number;
}

/** What the parent tells at the end: it is to finish what it is doing and to end. */
export type EngineDrain = 'drain';

/** What the child answers, once. */
export type EngineReport =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'missing'; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string };

const READERS = 2;

/** The limit of a statement that comes with none, in seconds. Ours come with less. */
const STATEMENT_SECONDS = 240;

/** Above the limit of every statement. What still runs is not at its work any more. */
const STUCK_AFTER_MS = 300_000;

const LANE = {
  maxWaiting: 100,
  stuckAfterMs: STUCK_AFTER_MS,
  onStuck: () => dieOf('a statement does not end'),
  onBroken: dieOf,
};

/** Gone at once, whatever the engine is doing: what it has acknowledged is on disk. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

function dieOf(reason: string): void {
  process.stderr.write(`${reason}; the engine starts again\n`, die);
}

async function main(): Promise<void> {
  // The parent has died or has no more use for us.
  process.on('disconnect', die);
  // Meant for the parent, which stops us when it has drained; service managers tell every process.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => undefined);
  const [order] = (await once(process, 'message')) as [EngineOrder];
  const chdb = await import('chdb').catch((error: unknown) => report({ kind: 'missing', message: textOf(error) }));
  if (!chdb) return;
  try {
    const connectionArgs = [
      `--max_server_memory_usage=${String(order.memoryBytes)}`,
      `--max_execution_time=${String(STATEMENT_SECONDS)}`,
    ];
    const open = (): InstanceType<typeof chdb.Session> => new chdb.Session(order.path, { connectionArgs });
    const writer = openLane({ ...LANE, open, sessions: 1 });
    const readers = openLane({ ...LANE, open, sessions: READERS });
    await listen({ writer, readers, password: order.password });
  } catch (error) {
    report({ kind: 'failed', message: textOf(error) });
  }
}

async function listen({ writer, readers, password }: { writer: Lane; readers: Lane; password: string }): Promise<void> {
  const { server, stop } = openEngineHttp({ password, writer, readers, onBroken: dieOf });
  const drain = async (): Promise<void> => {
    await Promise.all([stop(), writer.close(), readers.close()]);
    process.off('disconnect', die);
    process.exit(0);
  };
  process.once('message', () => void drain());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  report({ kind: 'listening', port: (server.address() as AddressInfo).port });
}

function report(answer: EngineReport): void {
  process.send?.(answer);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

await main();
