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
import { lacksRabbit, startRabbit } from '../test/support/rabbitmq-server.ts';
import { measureService, type Load, type Measured, type Settings, type Shape } from './cases.ts';
import type { Limit } from './limits.ts';
import type { LoadReport } from './load-orders.ts';
import { readOptions, type CaseName, type Options } from './options.ts';
import { lacksRedis, measurePeer } from './peer-case.ts';
import { firstMessage, startScript } from './processes.ts';
import { factsOf, report } from './report.ts';
import { ADAPTERS } from './service.ts';

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
const NOOP = 'no-op GraphQL mutation (`{ __typename }`), through the whole edge';

async function measureLimits(scope: Scope, { windowMs }: Settings, { limits, skipped }: Findings): Promise<void> {
  const rabbit = lacksRabbit() ? null : scope.use(await startRabbit());
  if (rabbit === null) skipped.push('RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)');
  const args = [String(windowMs / 3), ...(rabbit === null ? [] : [rabbit.url])];
  const child = scope.use(startScript('./limits.ts', ...args));
  for (const [name, perSecond] of await firstMessage<readonly Limit[]>(child)) limits.set(name, perSecond);
}

const CASES: Readonly<Record<CaseName, (load: Load, settings: Settings, findings: Findings) => Promise<void>>> = {
  limits: async (_load, settings, findings) => {
    const scope = openScope();
    await measureLimits(scope, settings, findings).finally(scope.stop);
  },
  peer: async (load, settings, { measured, skipped }) => {
    const lacking = lacksRedis();
    if (lacking !== null) skipped.push(lacking);
    else measured.push(...(await measurePeer(load, settings, chosen(PUSH, settings))));
  },
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
  return async (load, settings, { measured, limits, skipped }) => {
    if (ADAPTERS[what.adapters].rabbit && lacksRabbit()) {
      skipped.push(`${what.adapters}; RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)`);
      return;
    }
    for (const each of await measureService(load, settings, { ...what, shapes: chosen(what.shapes, settings) })) {
      if (each.shape === 'noop') limits.set(NOOP, each.sentPerSecond);
      else measured.push(each);
    }
  };
}

function chosen(shapes: readonly Shape[], { only }: Settings): readonly Shape[] {
  return only === null ? shapes : shapes.filter((shape) => shape === only);
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
const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
const removeLate = (): void => {
  // What was only starting is not gone at once, and still writes.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  remove();
};
process.once('exit', remove);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    // After what ends the servers, which were started later.
    process.off('exit', remove).once('exit', removeLate);
    process.exit(130);
  });
}
await run(options);
