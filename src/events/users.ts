import type { Channel, DomainEvent } from './event.ts';
import type { Platform } from './notifications.ts';

/** What can happen to a recipient. */
export type UserEvent =
  | DomainEvent<'UserRegistered', { readonly userId: string } & Contact>
  /** Only what changed; null = removed. */
  | DomainEvent<'ContactChanged', Partial<Contact>>
  | DomainEvent<'PreferenceSet', Preference>
  /** With a known id: it has this token from now on. With the token of another device: takes that one's place. */
  | DomainEvent<'DeviceRegistered', DeviceRegistered>
  | DomainEvent<'DeviceRemoved', { readonly deviceId: string; readonly reason: DeviceRemovalReason }>
  /** Its token is dead: nothing is sent to it until it is registered again. */
  | DomainEvent<'DeviceDeactivated', { readonly deviceId: string; readonly reason: 'DEVICE_UNREGISTERED' }>;

/** In the stream of a device id or a push token: somebody who may have it. Once noted, noted for good. */
export type HolderEvent = DomainEvent<'HolderNoted', { readonly userId: string }>;

export interface Contact {
  readonly email: string | null;
  readonly phone: string | null;
  readonly locale: string | null;
  readonly timeZone: string | null;
}

/** Null category: the whole channel. */
export interface Preference {
  readonly channel: Channel;
  readonly category: string | null;
  readonly optIn: boolean;
}

export interface DeviceRegistered {
  readonly deviceId: string;
  readonly platform: Platform;
  readonly token: string;
}

/** REMOVED: asked for. MOVED: registered for another user. REPLACED: made room for a new device after its token had died. */
export type DeviceRemovalReason = 'REMOVED' | 'MOVED' | 'REPLACED';

export interface Device {
  readonly id: string;
  readonly platform: Platform;
  /** A credential: whoever has it and a key of the app can send to the device. Never shown whole. */
  readonly token: string;
  readonly active: boolean;
}

/** Where a message on some channel goes. */
export interface Address {
  /** E-mail address, phone number or push token. */
  readonly address: string;
  readonly platform: Platform | null;
}

export type Reachable = Pick<UserState, 'email' | 'phone' | 'devices'>;

/** Everywhere the user is reached on a channel: a push goes to every device. */
export function addressesOf(user: Reachable, channel: Channel): readonly Address[] {
  const only = (address: string | null): readonly Address[] => (address === null ? [] : [{ address, platform: null }]);
  switch (channel) {
    case 'EMAIL':
      return only(user.email);
    case 'SMS':
      return only(user.phone);
    case 'PUSH':
      return user.devices.filter(({ active }) => active).map(({ token, platform }) => ({ address: token, platform }));
  }
}

/** Of a token only so much is ever shown: its last six characters, fewer where that would be more than half of it. */
export function tokenHint(token: string): string {
  return token.slice(token.length - Math.min(6, Math.floor(token.length / 2)));
}

export interface UserState extends Contact {
  readonly id: string;
  readonly tenant: string;
  /** In the order first registered. */
  readonly devices: readonly Device[];
  /** One for each channel and category that was ever set, in the order first set. */
  readonly preferences: readonly Preference[];
}

export function evolveUser(state: UserState | null, event: UserEvent, tenant: string): UserState | null {
  if (event.type === 'UserRegistered') {
    const { userId, ...contact } = event.data;
    return { id: userId, tenant, ...contact, devices: [], preferences: [] };
  }
  if (state === null) return null;
  switch (event.type) {
    case 'ContactChanged':
      return { ...state, ...event.data };
    case 'PreferenceSet':
      return { ...state, preferences: withPreference(state.preferences, event.data) };
    case 'DeviceRegistered':
      return { ...state, devices: withDevice(state.devices, event.data) };
    case 'DeviceRemoved':
      return { ...state, devices: state.devices.filter(({ id }) => id !== event.data.deviceId) };
    case 'DeviceDeactivated':
      return { ...state, devices: state.devices.map((each) => deactivatedIf(each, event.data.deviceId)) };
    default:
      return state;
  }
}

function withDevice(all: readonly Device[], { deviceId: id, platform, token }: DeviceRegistered): readonly Device[] {
  const device: Device = { id, platform, token, active: true };
  const others = all.filter((each) => each.id === id || each.token !== token);
  return others.some((each) => each.id === id)
    ? others.map((each) => (each.id === id ? device : each))
    : [...others, device];
}

function deactivatedIf(device: Device, id: string): Device {
  return device.id === id ? { ...device, active: false } : device;
}

function withPreference(all: readonly Preference[], next: Preference): readonly Preference[] {
  const same = (each: Preference): boolean => each.channel === next.channel && each.category === next.category;
  return all.some(same) ? all.map((each) => (same(each) ? next : each)) : [...all, next];
}
