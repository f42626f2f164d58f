import type { Caller, Commands, ConversionTold, RecordConversion } from './commands.ts';
import type { CommandContext } from './context.ts';
import { requestMetadata } from './context.ts';
import type { Draft } from './handle.ts';
import { handle } from './handle.ts';
import { requireKey, requireSameInput } from './idempotency-key.ts';
import { openOneAtATime } from './one-at-a-time.ts';
import { refuse, requireText } from './validation.ts';
import { DomainError } from '../errors.ts';
import { decode } from '../events/codec.ts';
import type { DeliveryState } from '../events/delivery.ts';
import { latest } from '../events/engagement.ts';
import type { Stored } from '../events/fold.ts';
import { foldNotification } from '../events/fold.ts';
import { deliveryMetadata, notificationMetadata } from '../events/metadata.ts';
import type { NotificationState } from '../events/notification.ts';
import type { ConversionRecorded } from '../events/notifications.ts';
import { isNotificationId, streamOf } from '../ids.ts';
import type { Position, RecordedEvent } from '../ports/event-log/event-log.ts';

const MAX_CONVERSIONS = 1_000;
const MAX_NAME = 100;
/** How far apart the clocks of those who tell us and ours may be; milliseconds. */
const SKEW_MS = 5 * 60_000;

/** A notification as a conversion finds it. */
interface Past {
  readonly state: NotificationState;
  readonly events: readonly RecordedEvent[];
  readonly conversions: readonly Conversion[];
}

interface Conversion {
  readonly data: ConversionRecorded;
  readonly position: Position;
  readonly occurredAt: string;
}

interface Situation {
  readonly past: Past;
  readonly caller: Caller;
  readonly hashes: Hashes;
  readonly now: number;
}

type Hashes = Pick<ConversionRecorded, 'keyHash' | 'inputHash'>;

/**
 * Records a conversion, whatever became of the notification, and changes nothing of that. An idempotency key counts
 * within its notification: with it the same input gets the first answer again, with the delivery as it is now, for as
 * long as the log is kept; only a new conversion is checked against the rules.
 */
export function openRecordConversion(context: CommandContext): Commands['recordConversion'] {
  const oneAtATime = openOneAtATime();
  return async (caller, input) => {
    const id = input.notificationId;
    const hashes = hashesOf(context, input);
    if (!isNotificationId(id)) throw notFound(id);
    return oneAtATime(`${id}/${caller.tenant}`, () => record(context, caller, input, hashes));
  };
}

async function record(
  context: CommandContext,
  caller: Caller,
  input: RecordConversion,
  hashes: Hashes,
): Promise<ConversionTold> {
  const id = input.notificationId;
  const handling = { log: context.log, newId: context.ids.random };
  const aggregate = { stream: streamOf.notification(id), fold: foldPast };
  const {
    state: past,
    position,
    appended,
  } = await handle(handling, aggregate, (current) => {
    if (current?.state.tenant !== caller.tenant) throw notFound(id);
    const first = withKey(current, hashes);
    if (first === undefined) return [decide(input, { past: current, caller, hashes, now: context.now() })];
    requireSameInput(context.keys, first.data.inputHash, hashes.inputHash);
    return [];
  });
  if (past === null || position === null) throw new Error('a conversion without its notification');
  const [recorded = withKey(past, hashes)] = appended.flatMap((event) => conversionOf({ ...event, position }));
  const state = foldNotification([...past.events, ...appended]);
  if (state === null || recorded === undefined) throw new Error('a conversion that is not in its stream');
  return { ...told(context, state, recorded), replayed: appended.length === 0 };
}

function notFound(id: string): DomainError {
  return new DomainError('NOTIFICATION_NOT_FOUND', `no notification ${id}`, 'notificationId');
}

function hashesOf({ keys }: CommandContext, { idempotencyKey, notificationId, asSent }: RecordConversion): Hashes {
  const inputHash = keys.inputHash(asSent);
  if (idempotencyKey === null) return { keyHash: null, inputHash };
  requireKey(idempotencyKey);
  return { keyHash: keys.mac('conversion-key', notificationId, idempotencyKey).toString('base64url'), inputHash };
}

function foldPast(events: readonly RecordedEvent[]): Past | null {
  const state = foldNotification(events);
  return state && { state, events, conversions: events.flatMap(conversionOf) };
}

function conversionOf(event: Stored & { readonly position: Position }): readonly Conversion[] {
  const { type, data } = decode(event);
  if (type !== 'ConversionRecorded') return [];
  return [{ data, position: event.position, occurredAt: event.metadata.occurredAt }];
}

function withKey({ conversions }: Past, { keyHash }: Hashes): Conversion | undefined {
  return keyHash === null ? undefined : conversions.find(({ data }) => data.keyHash === keyHash);
}

/** @throws DomainError INVALID_INPUT, DELIVERY_NOT_FOUND, TOO_MANY_CONVERSIONS */
function decide(input: RecordConversion, { past, caller, hashes, now }: Situation): Draft {
  const { state, conversions } = past;
  const { name, value, currency, occurredAt } = input;
  check(input, state, now);
  const told = (occurredAt ?? new Date(now)).toISOString();
  const delivery = deliveryFor(state, input.deliveryId, told);
  const full = `${String(MAX_CONVERSIONS)} conversions are recorded already`;
  refuse(conversions.length >= MAX_CONVERSIONS, 'TOO_MANY_CONVERSIONS', full, 'notificationId');
  const deliveryId = delivery?.id ?? null;
  // Clocks differ: a conversion that seems to have come first would stand in the way of those after it.
  const convertedAt = latest(told, delivery?.sentAt ?? state.requestedAt);
  const data: ConversionRecorded = { deliveryId, name, value, currency, convertedAt, ...hashes };
  const about =
    delivery === null ? notificationMetadata(state, now) : deliveryMetadata(state, delivery, delivery.provider, now);
  return { event: { type: 'ConversionRecorded', data }, metadata: { ...about, ...requestMetadata(caller, now) } };
}

function check({ name, value, currency, occurredAt }: RecordConversion, state: NotificationState, now: number): void {
  requireText(name, 'name', MAX_NAME);
  refuse(value !== null && !Number.isFinite(value), 'INVALID_INPUT', 'value is not a finite number', 'value');
  const isCurrency = currency === null || /^[A-Z]{3}$/.test(currency);
  refuse(!isCurrency, 'INVALID_INPUT', 'currency is not three capital letters', 'currency');
  refuse(currency !== null && value === null, 'INVALID_INPUT', 'currency goes with a value', 'currency');
  const at = occurredAt?.getTime() ?? now;
  refuse(!(at <= now + SKEW_MS), 'INVALID_INPUT', 'occurredAt is over five minutes ahead', 'occurredAt');
  const isEarly = occurredAt !== null && at < Date.parse(state.requestedAt) - SKEW_MS;
  refuse(isEarly, 'INVALID_INPUT', 'occurredAt is over five minutes before the request', 'occurredAt');
}

/** @throws DomainError DELIVERY_NOT_FOUND */
function deliveryFor({ deliveries }: NotificationState, id: string | null, at: string): DeliveryState | null {
  if (id === null) return attributed(deliveries, (time) => time <= at) ?? attributed(deliveries, () => true);
  const delivery = deliveries.find((each) => each.id === id);
  if (delivery === undefined) throw new DomainError('DELIVERY_NOT_FOUND', `no delivery ${id}`, 'deliveryId');
  return delivery;
}

/** RFC 3339 in UTC with milliseconds: the order of the text is the order of time. */
type Instant = string;

/**
 * The one clicked last, else opened last, else sent last; of two at the same time the later in the routing. Of what
 * was done more than once the first and the last time are known.
 */
function attributed(deliveries: readonly DeliveryState[], counts: (time: Instant) => boolean): DeliveryState | null {
  return (
    lastBy(deliveries, counts, ({ clickedAt, lastClickedAt }) => [clickedAt, lastClickedAt]) ??
    lastBy(deliveries, counts, ({ openedAt, lastOpenedAt }) => [openedAt, lastOpenedAt]) ??
    lastBy(deliveries, counts, ({ sentAt }) => [sentAt])
  );
}

function lastBy(
  deliveries: readonly DeliveryState[],
  counts: (time: Instant) => boolean,
  timesOf: (delivery: DeliveryState) => readonly (Instant | null)[],
): DeliveryState | null {
  const times = (each: DeliveryState): readonly Instant[] =>
    timesOf(each).flatMap((time) => (time !== null && counts(time) ? [time] : []));
  const last = deliveries.flatMap(times).toSorted().at(-1);
  return deliveries.findLast((each) => last !== undefined && times(each).includes(last)) ?? null;
}

function told(
  { cursors }: CommandContext,
  { id, tenant, deliveries }: NotificationState,
  { data, position, occurredAt }: Conversion,
): Pick<ConversionTold, 'delivery' | 'cursor'> {
  const state = deliveries.find((each) => each.id === data.deliveryId);
  const cursor = cursors.of(tenant, { position, index: 0, at: Date.parse(occurredAt), notificationId: null });
  return { delivery: state === undefined ? null : { notificationId: id, state }, cursor };
}
