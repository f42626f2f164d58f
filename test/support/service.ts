import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The whole service in a process of its own, with credentials that the test chose. */
export interface Service {
  readonly url: string;
  readonly child: ChildProcess;
  /** What it printed for people. */
  readonly output: () => string;
  /** What it logged. */
  readonly log: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Asks in GraphQL. @throws when the answer has errors. */
  readonly ask: <T>(query: string, variables?: object) => Promise<T>;
}

/** As built; the set-up of the test run sees to it that it is current. */
const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const KEY = 'test-client';
const SECRET = 'a-secret-of-the-test';
export const AUTHORIZATION = `Basic ${Buffer.from(`${KEY}:${SECRET}`).toString('base64')}`;

const running = new Set<ChildProcess>();
// A test that failed half-way leaves some.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * Starts it from the sources and waits until it listens. Whoever starts it ends it. `within`: a command line that runs the one
 * that follows it, as the same process.
 */
export async function startService(
  dataDir: string,
  env: Readonly<Record<string, string>> = {},
  within: readonly string[] = [],
): Promise<Service> {
  const settings = { PORT: '0', DATA_DIR: dataDir, BOOTSTRAP_APP_KEY: KEY, BOOTSTRAP_APP_SECRET: SECRET, ...env };
  const [command, ...args] = [...within, process.execPath, MAIN];
  const child = spawn(command, args, {
    env: { PATH: process.env['PATH'], ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let output = '';
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended: Service['ended'] = new Promise((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  );
  const url = await new Promise<string>((resolve, reject) => {
    void ended.then(({ code }) => reject(new Error(`the service ended with ${String(code)}: ${log}`)));
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const found = /listens on (\S+)\n/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  return {
    url,
    child,
    output: () => output,
    log: () => log,
    ended,
    ask: (query, variables) => ask(url, query, variables),
  };
}

async function ask<T>(url: string, query: string, variables: object = {}): Promise<T> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: AUTHORIZATION },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { readonly data: T; readonly errors?: unknown };
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
  return data;
}
