import type { Caller, RegisterDevice } from './commands.ts';
import type { CommandContext } from './context.ts';
import { requestMetadata } from './context.ts';
import { handle } from './handle.ts';
import type { Held, Holder, Registration } from './holders.ts';
import { heldBy, holderAggregate, holdersOf, holderStreams, lastTaken } from './holders.ts';
import { refuse, requireText } from './validation.ts';
import { DomainError } from '../errors.ts';
import type { Metadata } from '../events/event.ts';
import { foldHolders } from '../events/fold.ts';
import type { Device, DeviceRegistered, DeviceRemovalReason, UserEvent } from '../events/users.ts';
import { evolveUser } from '../events/users.ts';
import { streamOf, tokenDeviceId } from '../ids.ts';
import type { EventLog, Position } from '../ports/event-log/event-log.ts';

/*
 * Within a tenant, a device id and a push token belong to one user, but each user has a stream of their own and no
 * append reaches two streams. So the rule is one that the log alone decides: whoever registered last, in log order, has
 * it. Everybody who asks, here or in a projection, comes to the same answer, and nobody needs a lock.
 *
 * 1. Before a user registers, the streams of the id and of the token note that this user may have it. They name a
 *    superset of the holders: a note that leads to no registration harms nobody.
 * 2. The registration is appended to the user's stream, at position p. That alone moves the device.
 * 3. Whoever is noted and registered the same id or token before p loses it (DeviceRemoved). The notes are read after p,
 *    so that all of them are there. Of two who race, the later one in the log cleans up after the earlier one, and the
 *    earlier one leaves the later one alone, whichever cleans up first.
 *
 * A crash before 2 leaves a note. A crash during 3 leaves a former holder whose own stream still shows the device; the
 * route projection does not, for it applies the rule while it folds. The same command again finishes 3, and a former
 * holder who registers again is not taken at their stream's word: somebody else's later registration makes it a new one.
 */

/** What the parts of one command share. */
interface Change {
  readonly log: EventLog;
  readonly newId: () => string;
  readonly tenant: string;
  readonly metadata: Metadata;
}

const MAX_DEVICES = 20;
const MAX_TOKEN = 4_096;

/**
 * Registers a device for a user, and takes it from whoever had its id or its token before. Nothing is recorded when
 * everything is there already.
 *
 * @throws DomainError USER_NOT_FOUND, TOO_MANY_DEVICES, INVALID_INPUT; nothing was changed.
 */
export async function registerDevice(
  context: CommandContext,
  caller: Caller,
  { userId, ...input }: RegisterDevice,
): Promise<Device> {
  const device = checkDevice(caller.tenant, input);
  const change = changeBy(context, caller);
  const own = holderAggregate(caller.tenant, userId);
  const before = own.fold(await context.log.read(own.stream));
  const seemsDone = decideRegistration(before, { userId, device, takenAt: null }).length === 0;
  const rivals = (await noteHolder(change, userId, device)).filter((each) => each !== userId);
  const takenAt = seemsDone ? await lastTaken(change, rivals, device) : null;
  const { state, position, appended } = await handle(change, own, (holder) =>
    decideRegistration(holder, { userId, device, takenAt }).map((event) => ({ event, metadata: change.metadata })),
  );
  // The registration is the last event of its append.
  const registeredAt = appended.length > 0 ? position : heldBy(state, device.deviceId)?.registeredAt;
  if (registeredAt == null) throw new Error('a device that was registered has its place in the log');
  await takeFromOthers(change, userId, { ...device, position: registeredAt });
  return { id: device.deviceId, platform: device.platform, token: device.token, active: true };
}

/** Removes the device from whoever has it; false when the tenant has no such device. */
export async function removeDevice(context: CommandContext, caller: Caller, id: string): Promise<boolean> {
  const change = changeBy(context, caller);
  let removed = false;
  for (const userId of await holdersOf(change, [streamOf.device(caller.tenant, id)])) {
    const changed = await changeDevices(change, userId, (device) => (device.id === id ? removal(id, 'REMOVED') : null));
    removed ||= changed;
  }
  return removed;
}

/** A token that a provider called dead, in answer to an attempt that was claimed at `claimedAt`. */
export interface DeadToken {
  /** Whose delivery it was. */
  readonly userId: string;
  readonly token: string;
  readonly claimedAt: Position;
}

/**
 * Deactivates the device with this token, whoever has it by now, unless it was registered after the attempt was claimed:
 * then the app is there again. Said again it records nothing.
 */
export async function deactivateDevice(change: Change, { userId, token, claimedAt }: DeadToken): Promise<void> {
  const isDead = (device: Held): boolean => device.token === token && device.active && device.registeredAt < claimedAt;
  const noted = await holdersOf(change, [streamOf.token(change.tenant, token)]);
  for (const holder of new Set([userId, ...noted])) {
    await changeDevices(change, holder, (device) =>
      isDead(device)
        ? { type: 'DeviceDeactivated', data: { deviceId: device.id, reason: 'DEVICE_UNREGISTERED' } }
        : null,
    );
  }
}

function changeBy(context: CommandContext, caller: Caller): Change {
  const { log, ids, now } = context;
  return { log, newId: ids.random, tenant: caller.tenant, metadata: requestMetadata(caller, now()) };
}

function checkDevice(tenant: string, { deviceId, platform, token }: Omit<RegisterDevice, 'userId'>): DeviceRegistered {
  requireText(token, 'token', MAX_TOKEN);
  refuse(/\s/u.test(token), 'INVALID_INPUT', 'token holds white space', 'token');
  if (deviceId !== null) requireText(deviceId, 'deviceId', 255);
  refuse(
    isRevealing(deviceId ?? '', token),
    'INVALID_INPUT',
    'deviceId shows the token, a secret; leave it out',
    'deviceId',
  );
  return { deviceId: deviceId ?? tokenDeviceId(tenant, token), platform, token };
}

/** Tokens of FCM have 140 characters and more. */
const SECRET_LENGTH = 32;

/** Ids are shown, tokens never. */
function isRevealing(deviceId: string, token: string): boolean {
  const long = (text: string): boolean => text.length >= SECRET_LENGTH;
  return long(token) && (deviceId.includes(token) || (long(deviceId) && token.includes(deviceId)));
}

interface Wanted {
  readonly userId: string;
  readonly device: DeviceRegistered;
  /** When somebody else last registered the same id or token; null: never. */
  readonly takenAt: Position | null;
}

function decideRegistration(holder: Holder | null, { userId, device, takenAt }: Wanted): readonly UserEvent[] {
  if (holder === null) throw new DomainError('USER_NOT_FOUND', `no user ${userId}`, 'userId');
  const before = heldBy(holder, device.deviceId);
  const isStale = before !== undefined && takenAt !== null && before.registeredAt < takenAt;
  if (isActiveAs(device, before) && !isStale) return [];
  const registered = { type: 'DeviceRegistered', data: device } as const;
  const { user } = holder;
  const count = evolveUser(user, registered, user.tenant)?.devices.length ?? 0;
  if (count <= MAX_DEVICES) return [registered];
  const dead = user.devices.find(({ active }) => !active);
  const full = `the user has ${String(MAX_DEVICES)} active devices already`;
  if (dead === undefined) throw new DomainError('TOO_MANY_DEVICES', full, 'userId');
  return [removal(dead.id, 'REPLACED'), registered];
}

function isActiveAs({ token, platform }: DeviceRegistered, held: Held | undefined): boolean {
  return held?.active === true && held.token === token && held.platform === platform;
}

/** Notes the user in both streams; answers everybody who is noted there. */
async function noteHolder(change: Change, userId: string, device: DeviceRegistered): Promise<readonly string[]> {
  const noted: string[] = [];
  for (const stream of holderStreams(change.tenant, device)) {
    const note = { event: { type: 'HolderNoted', data: { userId } }, metadata: change.metadata };
    const { state } = await handle(change, { stream, fold: foldHolders }, (holders) =>
      holders?.includes(userId) ? [] : [note],
    );
    noted.push(...(state ?? []));
  }
  return [...new Set(noted)];
}

async function takeFromOthers(change: Change, userId: string, registration: Registration): Promise<void> {
  const { deviceId, token, position } = registration;
  const isFormer = (held: Held): boolean =>
    (held.id === deviceId || held.token === token) && held.registeredAt < position;
  const noted = await holdersOf(change, holderStreams(change.tenant, registration));
  for (const other of noted.filter((each) => each !== userId)) {
    await changeDevices(change, other, (held) => (isFormer(held) ? removal(held.id, 'MOVED') : null));
  }
}

/** Appends what `eventFor` says of each device of the user; whether that was anything. */
async function changeDevices(
  change: Change,
  userId: string,
  eventFor: (device: Held) => UserEvent | null,
): Promise<boolean> {
  const { appended } = await handle(change, holderAggregate(change.tenant, userId), (holder) => {
    const events = (holder?.user.devices ?? []).flatMap(({ id }) => heldBy(holder, id) ?? []).map(eventFor);
    return events.flatMap((event) => (event === null ? [] : [{ event, metadata: change.metadata }]));
  });
  return appended.length > 0;
}

function removal(deviceId: string, reason: DeviceRemovalReason): UserEvent {
  return { type: 'DeviceRemoved', data: { deviceId, reason } };
}
