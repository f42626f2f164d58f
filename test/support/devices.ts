import type { ClaimRequest } from '../../src/commands/claim-delivery.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import type { Outcome } from '../../src/events/outcome.ts';
import { deliveryId } from '../../src/ids.ts';
import { POLICY } from './given.ts';
import { expect } from 'vitest';
import type { RegisterDevice } from '../../src/commands/commands.ts';
import { createCommands } from '../../src/commands/create.ts';
import type { Device } from '../../src/events/users.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { ROUTE_TYPES, userOf } from '../../src/projections/route-pending.ts';
import { startRouting } from './dispatching.ts';
import { eventually } from './eventually.ts';
import { CALLER } from './pipeline.ts';
import { everything, registered, requested, typesOf, withWorld, type World } from './world.ts';

export const PHONE: RegisterDevice = { userId: 'ada', deviceId: 'phone', platform: 'IOS', token: 'token-of-the-phone' };
export const USERS = ['ada', 'bob', 'cleo'] as const;

/** Three users, and a router that folds what happens. */
export function withUsers(work: (world: World) => Promise<void>): Promise<void> {
  return withWorld(async (world) => {
    for (const user of USERS) await registered(world, user);
    startRouting(world);
    await work(world);
  });
}

/** Ada has the phone. */
export function withPhone(work: (world: World) => Promise<void>): Promise<void> {
  return withUsers(async (world) => {
    await register(world);
    await work(world);
  });
}

export function register(
  { commands }: Pick<World, 'commands'>,
  changes: Partial<RegisterDevice> = {},
): Promise<Device> {
  return commands.registerDevice(CALLER, { ...PHONE, ...changes });
}

export async function devicesOf({ queries }: World, user: string): Promise<readonly Device[]> {
  return (await queries.user('default', user))?.devices ?? [];
}

/** As the router sees them, once it has seen all there is. */
export async function routedDevicesOf(world: World, user: string): Promise<readonly Device[]> {
  const state = world.state('route');
  const last = (await everything(world, ROUTE_TYPES)).at(-1);
  await eventually(() => {
    const checkpoint = state.get(['checkpoint']);
    // Undefined until the router has folded anything.
    expect(typeof checkpoint === 'string' && checkpoint >= String(last?.position)).toBe(true);
  });
  return userOf(state, 'default', user)?.devices ?? [];
}

export function byId(devices: readonly Device[]): readonly Device[] {
  return devices.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** Everybody's devices, of which their streams and the router must tell the same. */
export async function everybodysDevices(world: World, users: readonly string[] = USERS) {
  const all = new Map<string, readonly Device[]>();
  for (const user of users) {
    const told = byId(await devicesOf(world, user));
    expect(byId(await routedDevicesOf(world, user))).toEqual(told);
    all.set(user, told);
  }
  return Object.fromEntries(all);
}

export async function told(world: World, type: string): Promise<readonly unknown[]> {
  return (await everything(world, [type])).map(({ data }) => data);
}

/** Commands of another process, say, whose way to the log is not the others'. */
export function on(world: World, log: EventLog): Pick<World, 'commands'> {
  return { commands: createCommands({ ...world.context, log }) };
}

export const DEAD: Outcome = { kind: 'rejected', reason: 'DEVICE_UNREGISTERED', raw: '404 UNREGISTERED ***' };

/** The claim that a job for a push to the token asks for. */
export async function routed(world: World, token: string): Promise<ClaimRequest> {
  const id = await requested(world, { channels: ['PUSH'] });
  await eventually(async () => {
    expect(await typesOf(world, id)).toContain('NotificationRouted');
  });
  return { tenant: 'default', notificationId: id, deliveryId: deliveryId(id, 'PUSH', token), attempt: 1 };
}

/** An attempt at a push to the token; tells its outcome when it is called. */
export async function claimed(world: World, token: string, log: EventLog = world.log) {
  const request = await routed(world, token);
  expect(await createDeliveries(world.context, POLICY).claim(request)).toMatchObject({ kind: 'claimed', attempt: 1 });
  const deliveries = createDeliveries({ ...world.context, log }, POLICY);
  return {
    id: request.notificationId,
    tell: (outcome = DEAD) => deliveries.record(request, { attempt: 1 }, 'fcm', outcome),
  };
}

export async function die(world: World, token: string): Promise<void> {
  await (await claimed(world, token)).tell();
}
