/**
 * Deliveries a second of each channel through the whole path: GraphQL over HTTP → event log → routing → queue → the vendor's
 * library → the sandbox, which is in the same process → outcome, and for SMS the signed receipt, in the log.
 *
 *   npm run build && node --import ./test/support/ts-loader.mjs bench/channels.ts [requests]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startService, type Service } from '../test/support/service.ts';

const [requests = 2_000] = process.argv.slice(2).map(Number);
const USERS = 100;
const ITEMS = 100;

const CHANNELS = ['PUSH', 'SMS', 'EMAIL'] as const;
type Channel = (typeof CHANNELS)[number];

const BULK =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) ' +
  '{ error { code } notification { deliveries { status } } } }';

interface Result {
  readonly error: unknown;
  readonly notification: { readonly deliveries: readonly { readonly status: string }[] };
}

async function registerUsers({ ask }: Service): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    const id = `user-${String(user)}`;
    const phone = `+1202555${String(1_000 + user)}`;
    await ask(`mutation { registerUser(input: {id: "${id}", email: "${id}@example.com", phone: "${phone}"}) { id }
      registerDevice(input: {userId: "${id}", platform: ANDROID, token: "android-of-${id}"}) { id } }`);
  }
}

async function requestAll({ ask }: Service, channel: Channel): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < requests; from += ITEMS) {
    const inputs = Array.from({ length: Math.min(ITEMS, requests - from) }, (_, index) => ({
      userId: `user-${String((from + index) % USERS)}`,
      idempotencyKey: `${channel}-${String(from + index)}`,
      channels: [channel],
      content: { title: 'Hello', body: 'The first light.' },
    }));
    const answer = await ask<{ requestNotifications: readonly Result[] }>(BULK, { inputs });
    results.push(...answer.requestNotifications);
  }
  return results;
}

async function untilSent({ ask }: Service): Promise<void> {
  for (;;) {
    const { queues } = await ask<{ queues: readonly { depth: number; retrying: number }[] }>(
      '{ queues { depth retrying } }',
    );
    if (queues.every(({ depth, retrying }) => depth + retrying === 0)) return;
    await delay(50);
  }
}

const folder = await mkdtemp(join(tmpdir(), 'heliograph-bench-'));
const service = await startService(folder, { LOG_LEVEL: 'error' });
try {
  await registerUsers(service);
  for (const channel of CHANNELS) {
    const from = performance.now();
    await requestAll(service, channel);
    await untilSent(service);
    const seconds = (performance.now() - from) / 1_000;
    // The same requests again answer what has become of the first ones.
    const ends = (await requestAll(service, channel)).flatMap(({ notification }) => notification.deliveries);
    const good = ends.filter(({ status }) => status === 'SENT' || status === 'DELIVERED').length;
    console.log(
      `${channel}: ${String(good)} of ${String(requests)} in ${seconds.toFixed(1)} s, ${(requests / seconds).toFixed(0)} a second`,
    );
  }
} finally {
  service.child.kill('SIGTERM');
  await service.ended;
  await rm(folder, { recursive: true });
}
