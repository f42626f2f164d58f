import { describe, expect, it } from 'vitest';
import { KINDS, registration, userOf, type Kind } from './mixed-recipients.ts';
import { chosenAdapters } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { AUTHORIZATION, startService, type Service } from '../support/service.ts';
import { withTempDir } from '../support/temp-dir.ts';

/** 5,000 of them by `npm run test:long`. */
const REQUESTS = Number(process.env['MIXED_REQUESTS'] ?? 250);
const MOST_AT_ONCE = 1_000;

interface Told {
  readonly id: string;
  readonly userId: string;
  readonly status: string;
  readonly deliveries: readonly Delivery[];
  readonly timeline: readonly Entry[];
}

interface Delivery {
  readonly id: string;
  readonly channel: string;
  readonly status: string;
  readonly reason: string | null;
  readonly inDoubt: boolean;
}

interface Entry {
  readonly type: string;
  readonly deliveryId: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

const BULK =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { replayed error { code } ' +
  'notification { id userId status deliveries { id channel status reason inDoubt } timeline { type deliveryId detail } } } }';

interface Result {
  readonly replayed: boolean;
  readonly error: unknown;
  readonly notification: Told;
}

/** The recipients in turn, so that every kind has its share in any number of requests. */
const inputs = Array.from({ length: REQUESTS }, (_, index) => ({
  userId: userOf(index % KINDS.length),
  idempotencyKey: `mixed-${String(index)}`,
  content: { title: 'Hello', body: `Message ${String(index)}` },
  lane: index % 3 === 0 ? 'TRANSACTIONAL' : 'BULK',
}));

type Input = (typeof inputs)[number];

async function request({ ask }: Service, asked: readonly Input[]): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < asked.length; from += MOST_AT_ONCE) {
    const variables = { inputs: asked.slice(from, from + MOST_AT_ONCE) };
    const answer = await ask<{ requestNotifications: readonly Result[] }>(BULK, variables);
    results.push(...answer.requestNotifications);
  }
  return results;
}

/** Asks for those that are still open, again and again: the same request is the same notification. */
async function untilSettled(service: Service, timeoutMs: number): Promise<readonly Told[]> {
  const told = new Map<Input, Told>();
  await eventually(
    async () => {
      const open = inputs.filter((input) => !told.has(input));
      const results = await request(service, open.slice(0, MOST_AT_ONCE));
      expect(results.every(({ replayed }) => replayed)).toBe(true);
      for (const [index, { notification }] of results.entries()) {
        const input = open[index];
        if (input !== undefined && isSettled(notification)) told.set(input, notification);
      }
      const left = results.filter(({ notification }) => !isSettled(notification));
      expect(left.slice(0, 10).map(({ notification }) => summary(notification))).toEqual([]);
      expect(told.size).toBe(inputs.length);
    },
    // Each look reads a thousand streams, in the process that is to be tested.
    { timeoutMs, pauseMs: 2_000 },
  );
  return inputs.flatMap((input) => told.get(input) ?? []);
}

function kindOf({ userId }: Told): Kind {
  const kind = KINDS[Number(userId.slice('user-'.length))];
  if (kind === undefined) throw new Error(`no kind of recipient for ${userId}`);
  return kind;
}

/** What is wrong with the end of a delivery: its status is not one of its kind, or nothing in its timeline says so. */
function complaints(told: Told): readonly string[] {
  const kind = kindOf(told);
  return told.deliveries.flatMap((delivery) => {
    const ended = [delivery.status, delivery.reason].filter((each) => each !== null).join(' ');
    // Where no device is left, the routing says of every channel why it does not reach anybody.
    const elsewhere = delivery.channel !== kind.channel && ended === 'SUPPRESSED NO_ADDRESS';
    const expected =
      elsewhere || kind.ends.includes(ended) || (ended === 'DEAD_LETTERED CLAIM_RAN_OUT' && isDeadKind(kind));
    const why = expected ? [] : [`${kind.channel} ${kind.name}: ${ended}`];
    return isExplained(told, delivery)
      ? why
      : [...why, `${kind.channel} ${kind.name}: ${ended} without an explanation`];
  });
}

function isDeadKind({ ends }: Kind): boolean {
  return ends.some((end) => end.startsWith('DEAD_LETTERED'));
}

const EXPLANATIONS: Readonly<Record<string, readonly string[]>> = {
  SENT: ['DeliverySent'],
  DELIVERED: ['DeliveryDelivered'],
  BOUNCED: ['DeliveryBounced'],
  REJECTED: ['DeliveryRejected'],
  DEAD_LETTERED: ['DeliveryDeadLettered'],
  SUPPRESSED: ['NotificationRouted', 'DeliverySuppressed'],
};

function isExplained({ timeline }: Told, { id, status, reason }: Delivery): boolean {
  const own = timeline.filter(({ deliveryId }) => deliveryId === id);
  const last = own.findLast(({ type }) => EXPLANATIONS[status]?.includes(type) ?? false);
  const routed = own.some(({ type, detail }) => type === 'NotificationRouted' && detail['reason'] !== undefined);
  return routed && last !== undefined && (reason === null || last.detail['reason'] === reason);
}

async function copiesOf(service: Service): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${service.url}/sandbox/outbox`, { headers: { authorization: AUTHORIZATION } });
  const copies = new Map<string, number>();
  for (const { text } of (await response.json()) as readonly { readonly text: string }[]) {
    copies.set(text.trim(), (copies.get(text.trim()) ?? 0) + 1);
  }
  return copies;
}

/** Messages in the outbox beyond one for each delivery that ended well, where no delivery of the request was ever in doubt. */
function unexplainedCopies(told: readonly Told[], copies: ReadonlyMap<string, number>): readonly string[] {
  return told.flatMap((each, index) => {
    const found = copies.get(`Message ${String(index)}`) ?? 0;
    const doubts = each.timeline.some(({ type }) => type === 'DeliveryOutcomeUnknown');
    const accepted = each.deliveries.filter(({ status }) => ['SENT', 'DELIVERED', 'BOUNCED'].includes(status)).length;
    return found === accepted || (doubts && found > accepted - each.deliveries.length)
      ? []
      : [`${each.id}: ${String(found)}`];
  });
}

const { name, isSkipped, open } = chosenAdapters();

describe(`${String(REQUESTS)} requests to recipients of every kind, and a kill in the middle, ${name}`, () => {
  it.skipIf(isSkipped)(
    'end with every delivery explained by its timeline',
    () =>
      withTempDir(async (folder) => {
        const { value: servers, stop: stopServers } = await open();
        // Receipts go to the address that the message was sent with: it must outlive the process.
        const PORT = String(await freePort());
        const concurrency = { SMS_CONCURRENCY: '128', EMAIL_CONCURRENCY: '128', PUSH_CONCURRENCY: '128' };
        const env = {
          PORT,
          RETRY_SCHEDULE: '200ms,400ms,800ms',
          LOG_LEVEL: 'fatal',
          ...concurrency,
          ...servers.settings,
        };
        const first = await startService(folder, env);
        for (const [index, kind] of KINDS.entries()) await first.ask(registration(kind, index));
        const accepted = await request(first, inputs);
        expect(accepted.filter(({ error }) => error !== null)).toEqual([]);
        await eventually(async () => expect((await copiesOf(first)).size).toBeGreaterThan(REQUESTS / 20), {
          timeoutMs: 60_000,
        });
        first.child.kill('SIGKILL');
        await first.ended;

        const second = await startService(folder, env);
        const told = await untilSettled(second, 180_000 + REQUESTS * 120);
        const copies = await copiesOf(second);
        second.child.kill('SIGTERM');
        expect(await second.ended).toEqual({ code: 0, signal: null });
        await stopServers();

        expect(told.flatMap(complaints)).toEqual([]);
        expect(unexplainedCopies(told, copies)).toEqual([]);
        report(told);
      }),
    300_000 + REQUESTS * 160,
  );
});

/** Ended; and where a receipt is to be expected, it has come. */
function isSettled(told: Told): boolean {
  const waits = kindOf(told).ends.some((end) => end === 'DELIVERED' || end.startsWith('BOUNCED'));
  return told.status === 'COMPLETED' && !(waits && told.deliveries.some(({ status }) => status === 'SENT'));
}

function summary(told: Told): string {
  const { channel, name } = kindOf(told);
  return `${channel} ${name}: ${told.deliveries.map(({ status }) => status).join(', ')}`;
}

function report(told: readonly Told[]): void {
  const ends = told.flatMap((each) => each.deliveries.map(({ status, reason }) => `${status} ${reason ?? ''}`));
  const counts = [...new Set(ends)].map((end) => `${String(ends.filter((each) => each === end).length)} ${end}`);
  const doubts = told.flatMap(({ timeline }) => timeline.filter(({ type }) => type === 'DeliveryOutcomeUnknown'));
  console.log(`${String(ends.length)} deliveries, ${String(doubts.length)} doubts\n${counts.toSorted().join('\n')}`);
}
