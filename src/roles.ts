import type { Channel } from './events/event.ts';

/** What a process does of all that there is to do. */
export const ROLES = ['api', 'route', 'dispatch', 'analytics', 'sender:email', 'sender:sms', 'sender:push'] as const;
export type Role = (typeof ROLES)[number];

/** In the order of `ROLES`. */
export type Roles = ReadonlySet<Role>;

export const ALL_ROLES: Roles = new Set(ROLES);

/** Null when it is neither `all` nor a list of roles. */
export function parseRoles(text: string): Roles | null {
  if (text === 'all') return ALL_ROLES;
  const names = new Set(text.split(',').map((name) => name.trim()));
  const known = ROLES.filter((role) => names.has(role));
  return known.length === names.size ? new Set(known) : null;
}

/** Whether other processes do a part of the work. */
export function isSplit(roles: Roles): boolean {
  return roles.size < ROLES.length;
}

const SENDERS: Readonly<Record<Role, Channel | null>> = {
  api: null,
  route: null,
  dispatch: null,
  analytics: null,
  'sender:email': 'EMAIL',
  'sender:sms': 'SMS',
  'sender:push': 'PUSH',
};

/** Channels whose messages a process with these roles sends. */
export function channelsOf(roles: Roles): readonly Channel[] {
  return [...roles].map((role) => SENDERS[role]).filter((channel) => channel !== null);
}

/** Whether it talks to the queues. */
export function usesBroker(roles: Roles): boolean {
  return roles.has('dispatch') || channelsOf(roles).length > 0;
}

/** Whether it talks to ClickHouse. */
export function usesAnalytics(roles: Roles): boolean {
  return roles.has('api') || roles.has('analytics');
}

/** Those that fold something that they keep on the disk. */
export function keepersAmong(roles: Roles): readonly Role[] {
  return [...roles].filter((role) => role === 'route' || role === 'dispatch');
}
