import type { Channel, DomainEvent } from './event.ts';

/** What can happen to a recipient. */
export type UserEvent =
  | DomainEvent<'UserRegistered', { readonly userId: string } & Contact>
  /** Only what changed; null = removed. */
  | DomainEvent<'ContactChanged', Partial<Contact>>
  | DomainEvent<'PreferenceSet', Preference>;

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

/** What this version can send on; a request for any other channel is refused. */
export const SENDABLE: readonly Channel[] = ['EMAIL'];

/** Where the user is reached on a channel, null where nowhere. */
export function addressOf(contact: Pick<Contact, 'email'>, channel: Channel): string | null {
  return channel === 'EMAIL' ? contact.email : null;
}

export interface UserState extends Contact {
  readonly id: string;
  readonly tenant: string;
  /** One for each channel and category that was ever set, in the order first set. */
  readonly preferences: readonly Preference[];
}

export function evolveUser(state: UserState | null, event: UserEvent, tenant: string): UserState | null {
  if (event.type === 'UserRegistered') {
    const { userId, ...contact } = event.data;
    return { id: userId, tenant, ...contact, preferences: [] };
  }
  if (state === null) return null;
  switch (event.type) {
    case 'ContactChanged':
      return { ...state, ...event.data };
    case 'PreferenceSet':
      return { ...state, preferences: withPreference(state.preferences, event.data) };
    default:
      return state;
  }
}

function withPreference(all: readonly Preference[], next: Preference): readonly Preference[] {
  const same = (each: Preference): boolean => each.channel === next.channel && each.category === next.category;
  return all.some(same) ? all.map((each) => (same(each) ? next : each)) : [...all, next];
}
