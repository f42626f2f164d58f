import type { Aggregate } from './handle.ts';
import { decode } from '../events/codec.ts';
import type { Channel } from '../events/event.ts';
import { foldHolders, foldUser } from '../events/fold.ts';
import type { Device, UserState } from '../events/users.ts';
import { addressesOf } from '../events/users.ts';
import { streamOf } from '../ids.ts';
import type { EventLog, Position, RecordedEvent } from '../ports/event-log/event-log.ts';

/** A user, and where in the log the devices were registered, those that the user has no more too. */
export interface Holder {
  readonly user: UserState;
  readonly registrations: readonly Registration[];
}

export interface Registration {
  readonly deviceId: string;
  readonly token: string;
  readonly position: Position;
}

/** A device and the position of the registration that it goes back to. */
export type Held = Device & { readonly registeredAt: Position };

export type Names = Pick<Registration, 'deviceId' | 'token'>;

/** When one of these users last registered the same id or token, whether they still have it or not; null: never. */
export async function lastTaken(
  { log, tenant }: { readonly log: EventLog; readonly tenant: string },
  rivals: readonly string[],
  { deviceId, token }: Names,
): Promise<Position | null> {
  let last: Position | null = null;
  for (const userId of rivals) {
    const { stream, fold } = holderAggregate(tenant, userId);
    const registrations = fold(await log.read(stream))?.registrations ?? [];
    const same = registrations.findLast((each) => each.deviceId === deviceId || each.token === token);
    if (same !== undefined && (last === null || same.position > last)) last = same.position;
  }
  return last;
}

/**
 * Whether the user is still reached at an address: the mailbox or number of now, or the token of an active device that
 * nobody else has registered later.
 */
export async function isReachedAt(
  log: EventLog,
  { tenant, userId }: { readonly tenant: string; readonly userId: string },
  { channel, address }: { readonly channel: Channel; readonly address: string },
): Promise<boolean> {
  const events = await log.read(streamOf.user(tenant, userId));
  const user = foldUser(events);
  if (user === null || !addressesOf(user, channel).some((each) => each.address === address)) return false;
  if (channel !== 'PUSH') return true;
  return !(await isTakenByOthers(log, holderOf(user, events), address));
}

async function isTakenByOthers(log: EventLog, holder: Holder, token: string): Promise<boolean> {
  const { id: userId, tenant, devices } = holder.user;
  const held = heldBy(holder, devices.find((each) => each.token === token)?.id ?? '');
  if (held === undefined) return true;
  const names: Names = { deviceId: held.id, token };
  const noted = await holdersOf({ log }, holderStreams(tenant, names));
  const rivals = noted.filter((each) => each !== userId);
  if (rivals.length === 0) return false;
  const takenAt = await lastTaken({ log, tenant }, rivals, names);
  return takenAt !== null && takenAt > held.registeredAt;
}

export function holderStreams(tenant: string, { deviceId, token }: Names): readonly string[] {
  return [streamOf.device(tenant, deviceId), streamOf.token(tenant, token)];
}

export async function holdersOf(
  { log }: { readonly log: EventLog },
  streams: readonly string[],
): Promise<readonly string[]> {
  const noted = await Promise.all(streams.map((stream) => log.read(stream)));
  return [...new Set(noted.flatMap((events) => foldHolders(events) ?? []))];
}

export function holderAggregate(tenant: string, userId: string): Aggregate<Holder> {
  return { stream: streamOf.user(tenant, userId), fold: foldHolder };
}

function foldHolder(events: readonly RecordedEvent[]): Holder | null {
  const user = foldUser(events);
  return user === null ? null : holderOf(user, events);
}

function holderOf(user: UserState, events: readonly RecordedEvent[]): Holder {
  return { user, registrations: events.flatMap(registrationsIn) };
}

function registrationsIn(event: RecordedEvent): readonly Registration[] {
  const { type, data } = decode(event);
  if (type !== 'DeviceRegistered') return [];
  return [{ deviceId: data.deviceId, token: data.token, position: event.position }];
}

/** A registration sets id and token together, so the last one of the id is the one that the device goes back to. */
export function heldBy(holder: Holder | null, id: string): Held | undefined {
  const device = holder?.user.devices.find((each) => each.id === id);
  const registration = holder?.registrations.findLast(({ deviceId }) => deviceId === id);
  return device && registration && { registeredAt: registration.position, ...device };
}
