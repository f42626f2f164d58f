import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { updatesOf } from '../../src/events/updates.ts';
import { openCursors, type Cursors } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { START, type RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { chosenAdapters, openLogOf } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { randomFrom } from '../support/random.ts';
import { startService, type Service } from '../support/service.ts';
import { subscribe } from '../support/subscriber.ts';
import { withTempDir } from '../support/temp-dir.ts';

/** 5,000 and 200 of them by `npm run test:long`. */
const DELIVERIES = Number(process.env['LIVE_DELIVERIES'] ?? 500);
const CUTS = Number(process.env['LIVE_CUTS'] ?? 40);
const SEED = Number(process.env['LIVE_SEED'] ?? Date.now() % 1_000_000);

/** To a mailbox, a phone and three devices. */
const PER_REQUEST = 5;
const REQUESTS = DELIVERIES / PER_REQUEST;

const ADA = `mutation {
  registerUser(input: { id: "ada", email: "ada@example.com", phone: "+12025550123" }) { id }
  ios: registerDevice(input: { userId: "ada", platform: IOS, token: "fine-ios-token-of-ada" }) { id }
  android: registerDevice(input: { userId: "ada", platform: ANDROID, token: "fine-android-token-of-ada" }) { id }
  web: registerDevice(input: { userId: "ada", platform: WEB, token: "fine-web-token-of-ada" }) { id }
}`;

const REQUEST = `mutation ($inputs: [RequestNotificationInput!]!) {
  requestNotifications(inputs: $inputs) { error { code } notification { deliveries { channel status } timeline { deliveryId } } }
}`;

const FOLLOW = `subscription ($after: Cursor!) {
  deliveryUpdated(after: $after) { cursor notificationId type occurredAt delivery { id status } }
}`;

interface Update {
  readonly cursor: string;
  readonly notificationId: string;
  readonly type: string;
  readonly occurredAt: string;
  readonly delivery: { readonly id: string; readonly status: string };
}

interface Answer {
  readonly requestNotifications: readonly {
    readonly error: unknown;
    readonly notification: {
      readonly deliveries: readonly { readonly channel: string; readonly status: string }[];
      readonly timeline: readonly { readonly deliveryId: string | null }[];
    };
  }[];
}

const inputs = Array.from({ length: REQUESTS }, (_, index) => ({
  userId: 'ada',
  idempotencyKey: `cut-${String(index)}`,
  content: { title: 'Hello', body: `Message ${String(index)}` },
  lane: index % 3 === 0 ? 'TRANSACTIONAL' : 'BULK',
}));

async function request(service: Service): Promise<Answer['requestNotifications']> {
  const answers: Answer['requestNotifications'][number][] = [];
  for (let from = 0; from < inputs.length; from += 100) {
    const variables = { inputs: inputs.slice(from, from + 100) };
    answers.push(...(await service.ask<Answer>(REQUEST, variables)).requestNotifications);
  }
  return answers;
}

/** Receipts come for text messages only; after them nothing more happens. */
function isOver({ channel, status }: { readonly channel: string; readonly status: string }): boolean {
  return status === (channel === 'SMS' ? 'DELIVERED' : 'SENT');
}

/** Follows from `after`, cut off without a word after each of `takes` many updates, resumed from the last one that arrived. */
async function followWithCuts(service: Service, after: string, takes: readonly number[]): Promise<Update[]> {
  const seen: Update[] = [];
  for (const take of takes) {
    const subscriber = await subscribe<{ deliveryUpdated: Update }>(service.url, FOLLOW, {
      after: seen.at(-1)?.cursor ?? after,
    });
    for (let index = 0; index < take; index += 1) seen.push((await subscriber.next()).deliveryUpdated);
    subscriber.cut();
  }
  return seen;
}

/** Waits until nothing more is going to happen; answers how many updates there were. */
function untilOver(service: Service): Promise<number> {
  return eventually(
    async () => {
      const told = (await request(service)).map(({ notification }) => notification);
      const deliveries = told.flatMap((each) => each.deliveries);
      expect(deliveries).toHaveLength(DELIVERIES);
      expect(deliveries.filter((delivery) => !isOver(delivery))).toEqual([]);
      return told.flatMap(({ timeline }) => timeline.filter(({ deliveryId }) => deliveryId !== null)).length;
    },
    { timeoutMs: 60_000 + DELIVERIES * 30, pauseMs: 1_000 },
  );
}

/** What the log itself holds of deliveries, as a subscriber is told it. */
async function updatesInLog(
  folder: string,
  settings: Readonly<Record<string, string>>,
): Promise<readonly Omit<Update, 'delivery'>[]> {
  const { value: log, stop } = await openLogOf(settings, folder);
  const secret = (await readFile(join(folder, 'secret-key'), 'utf8')).trim();
  const cursors = openCursors(log.id, openKeys(secret).mac);
  const found: Omit<Update, 'delivery'>[] = [];
  const filter = { streamPrefixes: ['notification-'] };
  for await (const { events, live } of log.subscribe(START, filter, new AbortController().signal)) {
    found.push(...events.flatMap((event) => updatesIn(event, cursors)));
    if (live) break;
  }
  await stop();
  return found;
}

function updatesIn(
  { type, data, metadata, position }: RecordedEvent,
  cursors: Cursors,
): readonly Omit<Update, 'delivery'>[] {
  const notificationId = metadata.notification?.id ?? '';
  const { occurredAt } = metadata;
  const at = Date.parse(occurredAt);
  const updates = updatesOf(data).filter(({ deliveryId }) => deliveryId !== null);
  return updates.map(({ index, hasNext }) => {
    const cursor = cursors.of(metadata.tenant, {
      position,
      index,
      at,
      notificationId: hasNext ? notificationId : null,
    });
    return { cursor, notificationId, type, occurredAt };
  });
}

const { name, isSkipped, open } = chosenAdapters();

describe(`a subscriber that is cut off ${String(CUTS)} times while ${String(DELIVERIES)} deliveries run, ${name}`, () => {
  it.skipIf(isSkipped)(
    `has seen each update once, in the order of the log (seed ${String(SEED)})`,
    () =>
      withTempDir(async (folder) => {
        const { value: servers, stop: stopServers } = await open();
        const service = await startService(folder, { LOG_LEVEL: 'fatal', ...servers.settings });
        await service.ask(ADA);
        const { head } = await service.ask<{ head: string }>('{ head }');
        const random = randomFrom(SEED);
        // Routed, attempted, sent: three updates a delivery at least, and half of that on average. The rest comes uncut.
        const most = Math.floor((3 * DELIVERIES) / CUTS);
        const takes = Array.from({ length: CUTS }, () => Math.floor(random() * most));
        const following = followWithCuts(service, head, takes);
        await request(service);
        const seen = await following;

        const count = await untilOver(service);
        const after = seen.at(-1)?.cursor ?? head;
        const rest = await subscribe<{ deliveryUpdated: Update }>(service.url, FOLLOW, { after });
        while (seen.length < count) seen.push((await rest.next()).deliveryUpdated);
        rest.cut();
        service.child.kill('SIGTERM');
        await service.ended;
        const told = seen.map(({ delivery: _, ...update }) => update);
        expect(told).toEqual(await updatesInLog(folder, servers.settings));
        expect(told).toHaveLength(count);
        await stopServers();
      }),
    240_000 + DELIVERIES * 60,
  );
});
