import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startEventStore, type EventStoreStandIn } from '../support/eventstore/server.ts';
import { openMailSink, type MailSink } from '../support/mail-sink.ts';
import { lacksRabbit, startRabbit, type RabbitServer } from '../support/rabbitmq-server.ts';
import { startService, type Service } from '../support/service.ts';
import { withTempDir } from '../support/temp-dir.ts';

/** 5,000 of them by `npm run test:long`. */
const DELIVERIES = Number(process.env['CLUSTER_DELIVERIES'] ?? 300);
const USERS = 20;
const CHUNK = 100;
/** A claim that a fault cut off runs out first, and retries go to the next step of the broker, 30 seconds. */
const PATIENCE = { timeoutMs: 180_000 + DELIVERIES * 60, pauseMs: 1_000 };

interface Told {
  readonly status: string;
  readonly deliveries: readonly { readonly id: string; readonly status: string }[];
  readonly timeline: readonly { readonly type: string; readonly deliveryId: string | null }[];
}

interface Result {
  readonly error: { readonly code: string } | null;
  readonly notification: Told | null;
}

const BULK =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { error { code } ' +
  'notification { status deliveries { id status } timeline { type deliveryId } } } }';

const inputs = Array.from({ length: DELIVERIES }, (_, index) => ({
  userId: `user-${String(index % USERS)}`,
  idempotencyKey: `key-${String(index)}`,
  content: { title: 'Hello', body: `Message ${String(index)}` },
  lane: index % 2 === 0 ? 'BULK' : 'TRANSACTIONAL',
}));

/** Asks for one chunk until all of it is accepted: while the log is away, nothing is; the keys see to it that each counts once. */
async function request({ ask }: Service, chunk: typeof inputs): Promise<readonly Told[]> {
  return eventually(async () => {
    const { requestNotifications } = await ask<{ requestNotifications: readonly Result[] }>(BULK, { inputs: chunk });
    expect(requestNotifications.flatMap(({ error }) => error?.code ?? [])).toEqual([]);
    return requestNotifications.flatMap(({ notification }) => notification ?? []);
  }, PATIENCE);
}

async function requestAll(service: Service, asked: typeof inputs): Promise<readonly Told[]> {
  const told: Told[] = [];
  for (let from = 0; from < asked.length; from += CHUNK) {
    told.push(...(await request(service, asked.slice(from, from + CHUNK))));
  }
  return told;
}

async function registerUsers({ ask }: Service): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    const id = `user-${String(user)}`;
    const register = `mutation { registerUser(input: {id: "${id}" email: "${id}@example.com"}) { id } }`;
    await eventually(() => ask(register), PATIENCE);
  }
}

/** Lets through so many mails and holds the others until it is opened, so that there is something left in the queues. */
function openGate(first: number): { readonly passed: () => Promise<void>; readonly open: () => void } {
  let left = first;
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { passed: () => (left-- > 0 ? Promise.resolve() : opened), open: () => open() };
}

interface Servers {
  readonly log: EventStoreStandIn;
  readonly rabbit: RabbitServer;
  readonly sink: MailSink;
}

/** Starts the service over both servers, and a mail server that counts; all of them end with `work`. */
async function withServers(gate: () => Promise<void>, work: (servers: Servers) => Promise<void>): Promise<void> {
  const { value: log, stop: stopLog } = await startEventStore();
  const { value: rabbit, stop: stopRabbit } = await startRabbit();
  const { value: sink, stop: closeSink } = await openMailSink(gate);
  try {
    await work({ log, rabbit, sink });
  } finally {
    await Promise.all([stopLog(), stopRabbit(), closeSink()]);
  }
}

function sent({ sink }: Servers, atLeast: number): Promise<void> {
  return eventually(() => expect(sink.copies.size).toBeGreaterThanOrEqual(atLeast), PATIENCE);
}

/** The queues are lost with all that is in them, at a moment when there is something in them. Answers how many deliveries were open. */
async function emptyBroker({ rabbit, sink }: Servers, gate: ReturnType<typeof openGate>, accepted: number) {
  await rabbit.halt('SIGKILL');
  const open = accepted - sink.copies.size;
  gate.open();
  await rabbit.wipe();
  return open;
}

const isSkipped = lacksRabbit();

describe.skipIf(isSkipped)(`${String(DELIVERIES)} deliveries over EventStoreDB and RabbitMQ`, () => {
  it(
    'are all sent, though the broker loses its queues and the log its connections, and once but where an attempt was in doubt',
    () => {
      const gate = openGate(DELIVERIES / 10);
      return withTempDir((folder) =>
        withServers(gate.passed, async (servers) => {
          const { log, rabbit, sink } = servers;
          const urls = { EVENT_LOG_URL: log.url, BROKER_URL: rabbit.url, SMTP_URL: sink.url };
          const env = { ...urls, SMTP_FROM: 'Heliograph <no-reply@example.com>', LOG_LEVEL: 'fatal' };
          const service = await startService(folder, env);
          await registerUsers(service);
          const half = DELIVERIES / 2;
          await requestAll(service, inputs.slice(0, half));
          await sent(servers, DELIVERIES / 10);

          const open = await emptyBroker(servers, gate, half);
          expect(open).toBeGreaterThan(0);
          // Requests go in without a broker, too.
          const requesting = requestAll(service, inputs.slice(half));
          await expect(service.ask('{ queues { name } }')).rejects.toThrow('"UNAVAILABLE"');
          await rabbit.boot();
          await sent(servers, half);
          log.dropConnections();
          await sent(servers, half + DELIVERIES / 10);
          await log.goDown();
          await log.comeBack();
          await requesting;

          const told = await eventually(async () => {
            const all = await requestAll(service, inputs);
            expect(all.filter(({ status }) => status !== 'COMPLETED').length).toBe(0);
            return all;
          }, PATIENCE);
          service.child.kill('SIGTERM');
          expect(await service.ended).toEqual({ code: 0, signal: null });

          expect(sink.copies.size).toBe(DELIVERIES);
          expect(told.flatMap(({ deliveries }) => deliveries.filter(({ status }) => status !== 'SENT'))).toEqual([]);
          const doubtful = new Set(
            told.flatMap(({ timeline }) =>
              timeline.filter(({ type }) => type === 'DeliveryOutcomeUnknown').map((each) => each.deliveryId),
            ),
          );
          const duplicated = [...sink.copies].filter(([, copies]) => copies > 1).map(([id]) => id.slice(1, 37));
          expect(duplicated.filter((id) => !doubtful.has(id))).toEqual([]);
          console.log(
            `the broker was emptied with ${String(open)} of ${String(DELIVERIES)} deliveries open: ` +
              `${String(doubtful.size)} in doubt, ${String(duplicated.length)} duplicates, 0 lost`,
          );
        }),
      );
    },
    2 * PATIENCE.timeoutMs,
  );
});
