import { pino } from 'pino';
import { startApp } from './app.ts';
import { ConfigError, loadConfig, type Config } from './config.ts';
import type { Log } from './log.ts';
import { lacksReceipts, usesSandbox, welcome } from './welcome.ts';

/** A stop that takes longer is cut off; what it would have recorded is in doubt at the next start and handled then. */
const LONGEST_STOP_MS = 10_000;

// What is kept here is personal: for this user's eyes only, whatever the folder allowed before.
process.umask(0o077);

try {
  const config = configOrExit();
  await run(config, pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true })));
} catch (error) {
  process.stderr.write(`Heliograph could not start: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function run(config: Config, logger: Log): Promise<void> {
  const start = { isDone: false };
  const signal = untilSignalled(logger, start);
  const app = await startApp(config, logger, () => (start.isDone = true));
  process.stdout.write(welcome(config, app.value));
  if (!config.development && usesSandbox(app.value)) {
    logger.warn({ destinations: app.value.destinations }, 'messages go to the sandbox and not to people');
  }
  if (lacksReceipts(config)) logger.warn({}, 'Twilio cannot send receipts: PUBLIC_URL is not set');
  await signal;
  await app.stop().catch((error: unknown) => {
    logger.error({ err: error }, 'not everything could be stopped in good order');
    process.exitCode = 1;
  });
  logger.info({}, 'stopped');
  // What is still open belongs to nobody: a collector of traces that does not answer must not keep this process.
  process.exit();
}

/**
 * Resolves at a signal; from then on a watchdog ends the process when the stop takes too long. A start that is not done yet is cut off at once:
 * it may wait for a server that never comes, and nothing has been sent yet. The
 * handlers stay: npm forwards a signal that the terminal has sent already, and a second one must not cut the stop short.
 */
function untilSignalled(logger: Log, start: { readonly isDone: boolean }): Promise<void> {
  return new Promise((resolve) => {
    let watchdog: NodeJS.Timeout | undefined;
    const stop = (signal: NodeJS.Signals): void => {
      if (watchdog !== undefined) return;
      if (!start.isDone) {
        logger.info({ signal }, 'stopped before the start was done');
        process.exit(0);
      }
      logger.info({ signal }, 'stopping: finishing what is in flight');
      watchdog = setTimeout(() => {
        logger.error({}, 'the stop took too long; what was in flight is settled at the next start');
        process.exit(1);
      }, LONGEST_STOP_MS);
      resolve();
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  });
}

function configOrExit(): Config {
  try {
    return loadConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}
