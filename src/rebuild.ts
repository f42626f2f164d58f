import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { ConfigError, loadConfig } from './config.ts';
import { DataDirInUse } from './data-dir.ts';
import { REBUILDABLE, rebuild, type Rebuildable } from './rebuilding.ts';

/** After a signal; what was folded by then is kept however it ends. */
const LONGEST_STOP_MS = 10_000;
const INTERRUPTED = 130;

const INTERRUPTION = 'Interrupted: the next start of the service goes on from here.';

const USAGE = `npm run rebuild -- <${REBUILDABLE.join('|')}|all> ...`;

process.umask(0o077);

const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    stopping.abort();
    setTimeout(() => process.exit(INTERRUPTED), LONGEST_STOP_MS).unref();
  });
}

try {
  const names = namesOf(parseArgs({ allowPositionals: true, options: {} }).positionals);
  const config = loadConfig();
  const logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }));
  const screen = {
    write: (text: string): void => void process.stdout.write(text),
    isTerminal: process.stdout.isTTY,
    now: () => performance.now(),
  };
  await rebuild({ config, logger, names, screen, signal: stopping.signal });
} catch (error) {
  process.exitCode = stopping.signal.aborted ? INTERRUPTED : 1;
  process.stderr.write(`${stopping.signal.aborted ? INTERRUPTION : reasonOf(error)}\n`);
}

function namesOf(given: readonly string[]): ReadonlySet<Rebuildable> {
  const names = given.flatMap((name) => (name === 'all' ? REBUILDABLE : REBUILDABLE.filter((each) => each === name)));
  const unknown = given.find((name) => name !== 'all' && !REBUILDABLE.some((each) => each === name));
  if (unknown !== undefined) throw new ConfigError([`There is no projection ${JSON.stringify(unknown)}: ${USAGE}`]);
  if (names.length === 0) throw new ConfigError([`Say what to rebuild: ${USAGE}`]);
  return new Set(names);
}

function reasonOf(error: unknown): string {
  if (error instanceof ConfigError) return error.problems.join('\n');
  if (error instanceof DataDirInUse) return `A rebuild needs the service stopped: ${error.message}`;
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `The rebuild failed: ${message}${cause}`;
}
