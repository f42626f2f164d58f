import { pino } from 'pino';
import { startApp, type Running } from './app.ts';
import { ConfigError, loadConfig, type Config } from './config.ts';
import { welcome } from './welcome.ts';

/** A drain that takes longer is cut off; what it would have recorded is in doubt at the next start and handled then. */
const LONGEST_DRAIN_MS = 10_000;

async function main(): Promise<void> {
  const config = configOrExit();
  const logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }));
  const signal = untilSignalled();
  const app = await startApp(config, logger);
  say(config, app.value);
  logger.info({ signal: await signal }, 'stopping: finishing what is in flight');
  const watchdog = setTimeout(() => {
    logger.error({}, 'the drain took too long; what was in flight is settled at the next start');
    process.exit(1);
  }, LONGEST_DRAIN_MS);
  await app.stop();
  clearTimeout(watchdog);
  logger.info({}, 'stopped');
}

/** The handlers stay: npm forwards a signal that the terminal has sent already, and a second one must not cut the drain short. */
function untilSignalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal));
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

function say(config: Config, running: Running): void {
  process.stdout.write(welcome(config, running));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`Heliograph could not start: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
