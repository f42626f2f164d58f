/**
 * How many notifications a second the service takes and sends, how long each is on its way, what the machine could do at
 * most, and what a queue on Redis does beside it; all in one run.
 *
 *   npm run bench -- [--quick] [--only=name,…] [--seconds=10] [--profile=folder] …
 *
 * Each service is started anew from `dist`, in a process of its own with an empty folder. Requests come from another
 * process, which is also the provider that receives what is sent (`load.ts`). `--help` names the cases and parameters.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openScope, type Scope } from '../src/lifecycle.ts';
import { measureService, type Load, type Measured, type Settings, type Shape } from './cases.ts';
import type { LoadReport } from './load-orders.ts';
import { readOptions, type CaseName, type Options } from './options.ts';
import { firstMessage, startScript } from './processes.ts';
import { factsOf, report } from './report.ts';

interface Findings {
  readonly measured: Measured[];
  /** By what they are of; a second. */
  readonly limits: Map<string, number>;
  readonly skipped: string[];
}

async function openLoad(scope: Scope): Promise<Load> {
  const child = scope.use(startScript('./load.ts'));
  const opened = await firstMessage<LoadReport>(child);
  if (opened.kind !== 'open') throw new Error('the load did not open');
  return { child, pushPort: opened.pushPort, mailPort: opened.mailPort };
}

const PUSH: readonly Shape[] = ['bulk', 'single', 'unloaded'];
const MAIL: readonly Shape[] = ['bulk', 'single'];

/** Each takes a service, or servers, of its own. */
const CASES: Readonly<Record<CaseName, (load: Load, settings: Settings, findings: Findings) => Promise<void>>> = {
  'embedded-push': serviceCase({ adapters: 'embedded', channel: 'PUSH', shapes: [...PUSH, 'noop'] }),
  'embedded-email': serviceCase({ adapters: 'embedded', channel: 'EMAIL', shapes: MAIL }),
  'rabbit-push': serviceCase({ adapters: 'rabbit', channel: 'PUSH', shapes: PUSH }),
  'rabbit-email': serviceCase({ adapters: 'rabbit', channel: 'EMAIL', shapes: MAIL }),
  'esdb-push': serviceCase({ adapters: 'esdb', channel: 'PUSH', shapes: PUSH }),
  'esdb-email': serviceCase({ adapters: 'esdb', channel: 'EMAIL', shapes: MAIL }),
};

function serviceCase(
  what: Parameters<typeof measureService>[2],
): (load: Load, settings: Settings, findings: Findings) => Promise<void> {
  return async (load, settings, { measured }) => {
    const shapes = settings.only === null ? what.shapes : what.shapes.filter((shape) => shape === settings.only);
    for (const each of await measureService(load, settings, { ...what, shapes })) {
      measured.push(each);
    }
  };
}

async function run(options: Options): Promise<void> {
  const scope = openScope();
  const findings: Findings = { measured: [], limits: new Map(), skipped: [] };
  try {
    const load = await openLoad(scope);
    for (const name of options.cases) {
      const from = performance.now();
      await CASES[name](load, options, findings);
      console.error(`${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s`);
    }
  } finally {
    await scope.stop();
  }
  console.log(report(findings, factsOf(process.env['TMPDIR'] ?? tmpdir(), options)));
}

const options = readOptions(process.argv.slice(2));
// All of it is below one folder, which goes whatever happens; processes go with this one.
const folder = mkdtempSync(join(tmpdir(), 'heliograph-bench-'));
process.env['TMPDIR'] = folder;
process.once('exit', () => {
  rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await run(options);
