import type { Cell } from '../src/ports/analytics/analytics.ts';
import { NO_DELIVERY } from '../src/projections/analytics-rows.ts';
import { randomFrom } from '../test/support/random.ts';

/** The tenant that has four fifths of everything. */
export const TENANT = 'tenant-0';
export const DAYS = 30;
/** As recent as the tables keep rows. */
export const FIRST_DAY = Math.floor(Date.now() / 86_400_000) * 86_400_000 - DAYS * 86_400_000;

const BATCH = 20_000;
const DAY_MS = 86_400_000;
const CHANNELS = [
  { channel: 'PUSH', platforms: ['IOS', 'ANDROID', 'WEB'], provider: 'fcm' },
  { channel: 'PUSH', platforms: ['IOS', 'ANDROID', 'WEB'], provider: 'fcm' },
  { channel: 'EMAIL', platforms: [''], provider: 'smtp' },
  { channel: 'SMS', platforms: [''], provider: 'twilio' },
] as const;

type Row = readonly Cell[];

/** A step of a delivery's story: its type, the stages that it proves, and how long after the request, in milliseconds. */
interface Step {
  readonly type: string;
  readonly steps: number;
  readonly afterMs: number;
  readonly reason?: string;
}

/**
 * The rows of that many notifications in batches, in about the order in which a log would hold them: what comes hours
 * later stands in a later batch. About four rows a notification.
 */
export function* batchesOf(notifications: number, seed: number): Generator<readonly Row[]> {
  const random = randomFrom(seed);
  /** By the batch that they come in. */
  const later = new Map<number, Row[]>();
  const gapMs = (DAYS * DAY_MS) / notifications;
  const msABatch = (gapMs * BATCH) / 4;
  let rows: Row[] = [];
  let number = 0;
  let position = 0;
  for (let index = 0; index < notifications; index += 1) {
    const requestedAt = FIRST_DAY + index * gapMs;
    for (const { row, afterMs } of rowsOfOne(index, requestedAt, random)) {
      const placed = [...row, String((position += 1)).padStart(16, '0'), 0];
      const due = number + Math.floor(afterMs / msABatch);
      if (due === number) rows.push(placed);
      else if (later.get(due)?.push(placed) === undefined) later.set(due, [placed]);
    }
    if (rows.length < BATCH) continue;
    yield rows;
    number += 1;
    rows = later.get(number) ?? [];
    later.delete(number);
  }
  const rest = [...rows, ...[...later.values()].flat()];
  for (let from = 0; from < rest.length; from += BATCH) yield rest.slice(from, from + BATCH);
}

function* rowsOfOne(
  index: number,
  requestedAt: number,
  random: () => number,
): Generator<{ readonly row: readonly Cell[]; readonly afterMs: number }> {
  const pick = (count: number): number => Math.floor(random() * count);
  const tenant = random() < 0.8 ? TENANT : `tenant-${String(1 + pick(19))}`;
  const kind = CHANNELS[pick(CHANNELS.length)] ?? CHANNELS[0];
  const notificationId = uuid(random, requestedAt);
  const deliveryId = uuid(random, requestedAt);
  const before = [tenant, instant(requestedAt), notificationId];
  const about = [`campaign-${String(pick(500))}`, 'news', `template-${String(pick(200))}`, 1 + pick(5)];
  const user = `user-${String(pick(1_000_000))}`;
  const platform = kind.platforms[index % kind.platforms.length] ?? '';
  for (const [version, { type, steps, afterMs, reason = '' }] of story(random).entries()) {
    const ofDelivery = type !== 'NotificationRequested';
    const provider = ofDelivery && type !== 'NotificationRouted' ? kind.provider : '';
    const reached = [ofDelivery ? kind.channel : '', type === 'NotificationRouted' ? platform : '', provider];
    const occurredAt = instant(requestedAt + afterMs);
    const converted = type === 'ConversionRecorded' ? ['purchase', 19.9, 'EUR'] : ['', null, ''];
    const id = ofDelivery ? deliveryId : NO_DELIVERY;
    const happened = [type, reason, steps, occurredAt, occurredAt, ...converted, version + 1];
    yield { row: [...before, id, user, ...reached, ...about, ...happened], afterMs };
  }
}

/** A third is suppressed; of the others most arrive, some are opened, few clicked, fewer lead to anything. */
function story(random: () => number): readonly Step[] {
  const steps: Step[] = [{ type: 'NotificationRequested', steps: 1, afterMs: 0 }];
  const routed = 5 + Math.floor(random() * 50);
  if (random() < 0.32) {
    return [...steps, { type: 'NotificationRouted', steps: 1, afterMs: routed, reason: 'CATEGORY_OPTED_OUT' }];
  }
  const sent = routed + 20 + Math.floor(random() * 400);
  steps.push({ type: 'NotificationRouted', steps: 3, afterMs: routed });
  steps.push({ type: 'DeliveryAttempted', steps: 0, afterMs: routed + 10 });
  steps.push({ type: 'DeliverySent', steps: 4, afterMs: sent });
  const chances = [
    { type: 'DeliveryDelivered', steps: 12, chance: 0.7, within: 60_000 },
    { type: 'DeliveryOpened', steps: 16, chance: 0.35, within: 6 * 3_600_000 },
    { type: 'DeliveryClicked', steps: 32, chance: 0.3, within: 600_000 },
    { type: 'ConversionRecorded', steps: 64, chance: 0.2, within: 2 * DAY_MS },
  ];
  let afterMs = sent;
  for (const { type, steps: proven, chance, within } of chances) {
    if (random() >= chance) break;
    afterMs += Math.floor(random() ** 3 * within);
    steps.push({ type, steps: proven, afterMs });
  }
  return steps;
}

/** Version 7: sorts by time. */
function uuid(random: () => number, at: number): string {
  const hex = (digits: number): string =>
    Math.floor(random() * 16 ** digits)
      .toString(16)
      .padStart(digits, '0');
  const time = Math.floor(at).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(3)}-8${hex(3)}-${hex(6)}${hex(6)}`;
}

function instant(at: number): string {
  return new Date(at).toISOString().slice(0, -1).replace('T', ' ');
}
