/**
 * Requests a second through the whole path: GraphQL over HTTP → event log → routing → queue → real SMTP → outcome in the log.
 *
 *   node --import ./test/support/ts-loader.mjs bench/whole-path.ts [requests] [items a call] [calls at once] [adapters …]
 *
 * Starts the built service (`npm run build` first) in a process of its own with an empty folder, and a mail server that
 * counts in this one. Prints the rate of acceptance, the rate from the first request to the last mail, and what the idle
 * service takes.
 *
 * Runs over what `EVENT_LOG_URL` and `BROKER_URL` name, or over each of the adapters given: `lmdb+memory`, `lmdb+amqp`,
 * `esdb+memory`, `esdb+amqp`, or `all` of them. Servers are started for those: the stand-in for EventStoreDB, which keeps
 * everything in memory, and a RabbitMQ.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createInterface } from 'node:readline';
import { SMTPServer } from 'smtp-server';
import type { Started } from '../src/lifecycle.ts';
import { startRabbit } from '../test/support/rabbitmq-server.ts';
import { tsCommand } from '../test/support/ts-child.ts';

const COMBINATIONS = ['lmdb+memory', 'lmdb+amqp', 'esdb+memory', 'esdb+amqp'];
const given = process.argv.slice(2);
const [requests = 5_000, itemsPerCall = 100, callsAtOnce = 4] = given.filter((each) => /^\d+$/.test(each)).map(Number);
const unknown = given.filter((each) => !/^(\d+|all)$/.test(each) && !COMBINATIONS.includes(each));
if (unknown.length > 0) {
  console.error(`not known: ${unknown.join(', ')}; allowed are numbers, ${COMBINATIONS.join(', ')} and all`);
  process.exit(1);
}
const named = given.includes('all') ? COMBINATIONS : given.filter((each) => COMBINATIONS.includes(each));
const KEY = 'bench';
const SECRET = 'bench-secret';
const AUTHORIZATION = `Basic ${Buffer.from(`${KEY}:${SECRET}`).toString('base64')}`;

const mails = { count: 0, ids: new Set<string>() };

async function openSink(): Promise<{ readonly url: string; readonly close: () => void }> {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    logger: false,
    onData(stream, _session, done) {
      let head = '';
      stream.on('data', (chunk: Buffer) => (head += chunk.toString('latin1')));
      stream.on('end', () => {
        mails.count += 1;
        mails.ids.add(/^Message-ID: (.*)$/im.exec(head)?.[1] ?? '');
        done();
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.server.address() as AddressInfo;
  const close = (): void => {
    server.close(() => undefined);
  };
  return { url: `smtp://127.0.0.1:${String(port)}`, close };
}

/** The stand-in in a process of its own, so that its work is not counted as ours. */
async function openEventStore(): Promise<Started<string>> {
  const [command, ...args] = tsCommand(new URL('./eventstore-server.ts', import.meta.url));
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  return { value: url, stop };
}

/** Adapters by the words in the name of the combination; servers end with it. */
async function openServers(combination: string): Promise<Started<Readonly<Record<string, string>>>> {
  const eventStore = combination.startsWith('esdb') ? await openEventStore() : undefined;
  const rabbit = combination.endsWith('amqp') ? await startRabbit() : undefined;
  const value = {
    ...(eventStore && { EVENT_LOG_URL: eventStore.value }),
    ...(rabbit && { BROKER_URL: rabbit.value.url }),
  };
  const stop = async (): Promise<void> => {
    await eventStore?.stop();
    await rabbit?.stop();
  };
  return { value, stop };
}

async function openService(
  dataDir: string,
  settings: Readonly<Record<string, string>>,
): Promise<{ readonly url: string; readonly pid: number; readonly stop: () => Promise<void> }> {
  const env = {
    ...process.env,
    PORT: '0',
    DATA_DIR: dataDir,
    LOG_LEVEL: 'warn',
    ...settings,
    SMTP_FROM: 'bench@example.com',
    BOOTSTRAP_APP_KEY: KEY,
    BOOTSTRAP_APP_SECRET: SECRET,
    NODE_ENV: 'production',
  };
  const child = spawn(process.execPath, ['dist/main.js'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise<string>((resolve, reject) => {
    let out = '';
    child.on('exit', () => reject(new Error('the service ended')));
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      const found = /listens on (\S+)/.exec(out)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const stop = (): Promise<void> => {
    child.kill('SIGTERM');
    return ended;
  };
  return { url, pid: child.pid ?? 0, stop };
}

async function call(url: string, query: string, variables: object): Promise<unknown> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: AUTHORIZATION },
    body: JSON.stringify({ query, variables }),
  });
  const body = (await response.json()) as { data?: unknown; errors?: unknown };
  if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
  return body.data;
}

const BULK =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { notification { id } error { code message } } }';

async function requestAll(url: string): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < requests) {
      const from = next;
      next += itemsPerCall;
      const inputs = Array.from({ length: Math.min(itemsPerCall, requests - from) }, (_, index) => ({
        userId: `user-${String((from + index) % 100)}`,
        idempotencyKey: `bench-${String(from + index)}`,
        content: { title: 'Hello', body: 'The first light.', html: '<p>The first light.</p>' },
      }));
      await call(url, BULK, { inputs });
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, lane));
}

/** User and system time of a process in seconds, and its resident memory in MiB; Linux. */
async function usage(pid: number): Promise<{ readonly cpu: number; readonly memory: number }> {
  const fields = (await readFile(`/proc/${String(pid)}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8');
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
    memory: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
  };
}

async function measure(settings: Readonly<Record<string, string>>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'heliograph-bench-'));
  mails.count = 0;
  mails.ids.clear();
  const sink = await openSink();
  const service = await openService(folder, { ...settings, SMTP_URL: sink.url });
  try {
    await measureService(service);
  } finally {
    await service.stop();
    sink.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureService(service: { readonly url: string; readonly pid: number }): Promise<void> {
  // What the start itself takes is over by then.
  await delay(5_000);
  const idleSeconds = named.length === 0 ? 10 : 1;
  const before = await usage(service.pid);
  await delay(idleSeconds * 1_000);
  const idle = await usage(service.pid);
  console.log(
    `idle: ${idle.memory.toFixed(0)} MiB resident, ${(((idle.cpu - before.cpu) / idleSeconds) * 100).toFixed(2)} % of one core`,
  );

  for (let user = 0; user < 100; user += 1) {
    const id = `user-${String(user)}`;
    await call(service.url, 'mutation($input: RegisterUserInput!) { registerUser(input: $input) { id } }', {
      input: { id, email: `${id}@example.com` },
    });
  }
  const registered = await usage(service.pid);
  const started = performance.now();
  await requestAll(service.url);
  const accepted = performance.now();
  while (mails.ids.size < requests) await delay(5);
  const mailed = performance.now();
  const after = await usage(service.pid);
  const perSecond = (until: number): string => (requests / ((until - started) / 1_000)).toFixed(0);
  console.log(
    `accepted: ${String(requests)} requests at ${perSecond(accepted)} a second (${String(itemsPerCall)} a call, ${String(callsAtOnce)} calls at once)`,
  );
  console.log(
    `mailed: all of them ${perSecond(mailed)} a second from the first request to the last mail; copies: ${String(mails.count)}`,
  );
  console.log(
    `then: ${after.memory.toFixed(0)} MiB resident, ${(((after.cpu - registered.cpu) / requests) * 1_000).toFixed(2)} ms of CPU a request`,
  );
}

if (named.length === 0) await measure({});
for (const combination of named) {
  console.log(`\n${combination}`);
  const { value: settings, stop } = await openServers(combination);
  await measure(settings).finally(stop);
}
