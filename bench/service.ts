import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, type Started } from '../src/lifecycle.ts';
import { startRabbit } from '../test/support/rabbitmq-server.ts';
import { tsCommand } from '../test/support/ts-child.ts';
import { startProgram } from './processes.ts';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const TO_STUB = new URL('./push-to-stub.mjs', import.meta.url).href;
const KEY = 'bench';
const SECRET = 'bench-secret';
export const HEADERS = { authorization: `Basic ${Buffer.from(`${KEY}:${SECRET}`).toString('base64')}` };

/** What the service stands on. */
export const ADAPTERS = {
  embedded: { title: 'embedded', rabbit: false, eventStore: false },
  rabbit: { title: 'RabbitMQ', rabbit: true, eventStore: false },
  esdb: { title: 'RabbitMQ + event store stand-in', rabbit: true, eventStore: true },
} as const;
export type Adapters = keyof typeof ADAPTERS;

export interface ServiceOptions {
  readonly adapters: Adapters;
  /** Which provider is the stub. In production the channels without one are off. */
  readonly channel: 'PUSH' | 'EMAIL';
  readonly pushPort: number;
  readonly mailPort: number;
  /** Folder for a CPU profile of the service. */
  readonly profile: string | null;
  /** Settings of the service besides. */
  readonly settings: Readonly<Record<string, string>>;
}

/** The service as built, in a process of its own with an empty folder, with its servers; answers its URL. */
export function openService(options: ServiceOptions): Promise<Started<string>> {
  return start(async (scope) => {
    const { rabbit, eventStore } = ADAPTERS[options.adapters];
    const eventStoreUrl = eventStore ? scope.use(await openEventStore()) : null;
    const rabbitUrl = rabbit ? scope.use(await startRabbit()).url : null;
    const env = {
      PORT: '0',
      DATA_DIR: await mkdtemp(join(tmpdir(), 'service-')),
      LOG_LEVEL: 'warn',
      NODE_ENV: 'production',
      BOOTSTRAP_APP_KEY: KEY,
      BOOTSTRAP_APP_SECRET: SECRET,
      ...(eventStoreUrl !== null && { EVENT_LOG_URL: eventStoreUrl }),
      ...(rabbitUrl !== null && { BROKER_URL: rabbitUrl }),
      ...providerOf(options),
      ...options.settings,
    };
    const profiling = options.profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
    const toStub = options.channel === 'PUSH' ? ['--import', TO_STUB] : [];
    return scope.use(
      await startProgram([process.execPath, ...AS_STARTED, ...profiling, ...toStub, MAIN], env, /listens on (\S+)\n/),
    );
  });
}

function providerOf({ channel, pushPort, mailPort }: ServiceOptions): Readonly<Record<string, string>> {
  if (channel === 'PUSH') return { BENCH_PUSH_PORT: String(pushPort) };
  return { SMTP_URL: `smtp://127.0.0.1:${String(mailPort)}`, SMTP_FROM: 'bench@example.com' };
}

/** The stand-in in a process of its own, so that its work is not counted as ours. */
function openEventStore(): Promise<Started<string>> {
  const [command, ...args] = tsCommand(new URL('./eventstore-server.ts', import.meta.url));
  return startProgram([command, ...args], {}, /^(\S+)\n/);
}

/** What `npm start` and the image give Node. */
const AS_STARTED = ['--max-semi-space-size=64'];

const PLATFORMS = ['IOS', 'ANDROID', 'WEB'];
const AT_ONCE = 16;

/** Each with an address and a device. */
export async function registerUsers(url: string, users: number): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < users) {
      const id = `user-${String(next)}`;
      const platform = PLATFORMS[next % PLATFORMS.length] ?? '';
      next += 1;
      await ask(
        url,
        `mutation { registerUser(input: {id: "${id}", email: "${id}@example.com"}) { id }
          registerDevice(input: {userId: "${id}", platform: ${platform}, token: "${platform}-token-of-${id}"}) { id } }`,
      );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

/** Jobs in queues, waiting for another attempt, or set aside. */
export async function leftInQueues(url: string): Promise<number> {
  const { queues } = await ask<{ queues: readonly { depth: number; retrying: number; dead: number }[] }>(
    url,
    '{ queues { depth retrying dead } }',
  );
  return queues.reduce((sum, { depth, retrying, dead }) => sum + depth + retrying + dead, 0);
}

async function ask<T>(url: string, query: string): Promise<T> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...HEADERS },
    body: JSON.stringify({ query }),
  });
  const { data, errors } = (await response.json()) as { readonly data: T; readonly errors?: unknown };
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
  return data;
}
