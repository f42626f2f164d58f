import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { ConfigError, loadConfig } from './config.ts';
import { DataDirInUse } from './data-dir.ts';
import { REBUILDABLE, rebuild, rebuildableBy, type Rebuildable } from './rebuilding.ts';

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
  const given = parseArgs({ allowPositionals: true, options: {} }).positionals;
  checkNames(given);
  const config = loadConfig();
  const names = namesOf(given, rebuildableBy(config.roles));
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

function checkNames(given: readonly string[]): void {
  const unknown = given.find((name) => name !== 'all' && !REBUILDABLE.some((each) => each === name));
  if (unknown !== undefined) throw new ConfigError([`There is no projection ${JSON.stringify(unknown)}: ${USAGE}`]);
  if (given.length === 0) throw new ConfigError([`Say what to rebuild: ${USAGE}`]);
}

/** `all` is all that this process has. */
function namesOf(given: readonly string[], own: readonly Rebuildable[]): ReadonlySet<Rebuildable> {
  const names = given.includes('all') ? own : REBUILDABLE.filter((each) => given.includes(each));
  const foreign = names.find((name) => !own.includes(name));
  if (foreign !== undefined)
    throw new ConfigError([`ROLES says that another process has ${foreign}: rebuild it there`]);
  if (names.length === 0) throw new ConfigError(['ROLES says that this process has nothing that could be rebuilt']);
  return new Set(names);
}

function reasonOf(error: unknown): string {
  if (error instanceof ConfigError) return error.problems.join('\n');
  if (error instanceof DataDirInUse) return `A rebuild needs the service stopped: ${error.message}`;
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `The rebuild failed: ${message}${cause}`;
}
