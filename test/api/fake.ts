import { randomUUID } from 'node:crypto';
import type { ApiOptions } from '../../src/api/options.ts';
import type {
  Cancelled,
  Caller,
  Commands,
  NotificationView,
  Queries,
  Requested,
  RequestNotification,
} from '../../src/commands/commands.ts';
import { DomainError } from '../../src/errors.ts';
import type { ClientState, Scope } from '../../src/events/clients.ts';
import { SCOPES } from '../../src/events/clients.ts';
import type { DeliveryState } from '../../src/events/delivery.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import type { UserState } from '../../src/events/users.ts';
import type { FakeReadModels } from './fake-streams.ts';
import { createFakeReadModels } from './fake-streams.ts';

/** Commands and queries over maps: enough rules to see what the edge hands over and what it makes of refusals. */
export interface Fake {
  readonly commands: Commands;
  readonly queries: Queries;
  readonly readModels: FakeReadModels;
  /** Every command that reached the inside, in order. */
  readonly calls: { readonly name: keyof Commands; readonly input: unknown; readonly caller: Caller }[];
  readonly addClient: (client: {
    readonly appKey: string;
    readonly tenant?: string;
    readonly scopes?: readonly Scope[];
  }) => void;
  readonly revoke: (appKey: string) => void;
  /** Runs before every command and query; throws to break them, waits to slow them down. */
  before: (name: string) => Promise<void>;
}

export const SECRET = 'the-secret';

/** For an edge whose metrics nobody looks at. */
export const UNOBSERVED: Pick<ApiOptions, 'metrics' | 'observe' | 'trace' | 'traceOperation'> = {
  metrics: () => Promise.resolve(''),
  observe: { httpTook: () => undefined, errorAnswered: () => undefined, socketsOpen: () => undefined },
  trace: () => ({ traceparent: undefined, end: () => undefined }),
  traceOperation: () => ({ traceparent: undefined, end: () => undefined }),
};

export function createFake(): Fake {
  const clients = new Map<string, ClientState>();
  const users = new Map<string, UserState>();
  const notifications = new Map<string, NotificationView>();
  const templates = new Map<string, number>();
  const calls: Fake['calls'] = [];
  const fake: Fake = {
    calls,
    before: () => Promise.resolve(),
    readModels: createFakeReadModels((name) => fake.before(name)),
    addClient: ({ appKey, tenant = 'default', scopes = SCOPES }) => {
      clients.set(appKey, { appKey, tenant, name: appKey, scopes, revoked: false, secrets: [] });
    },
    revoke: (appKey) => clients.delete(appKey),
    queries: {
      notification: async (tenant, id) => {
        await fake.before('notification');
        const view = notifications.get(id);
        return view?.state.tenant === tenant ? view : null;
      },
      user: async (tenant, id) => {
        await fake.before('user');
        return users.get(`${tenant}/${id}`) ?? null;
      },
      template: (tenant, key, version) => {
        const newest = templates.get(`${tenant}/${key}`);
        const found = version ?? newest;
        return Promise.resolve(
          newest === undefined || found === undefined || found > newest ? null : { key, version: found },
        );
      },
      authenticate: async (appKey, appSecret) => {
        await fake.before('authenticate');
        return appSecret === SECRET ? (clients.get(appKey) ?? null) : null;
      },
    },
    commands: {
      registerUser: async (caller, input) => {
        await record('registerUser', caller, input);
        if (input.email?.includes('\n')) throw new DomainError('INVALID_EMAIL', 'not exactly one address', 'email');
        const key = `${caller.tenant}/${input.id}`;
        const contact = { email: null, phone: null, locale: null, timeZone: null };
        const before = users.get(key) ?? { ...contact, devices: [], preferences: [] };
        const user: UserState = { ...before, ...input, tenant: caller.tenant };
        users.set(key, user);
        return user;
      },
      setPreference: async (caller, { userId, ...preference }) => {
        await record('setPreference', caller, { userId, ...preference });
        const user = users.get(`${caller.tenant}/${userId}`);
        if (!user) throw new DomainError('USER_NOT_FOUND', `no user ${userId}`, 'userId');
        const changed = { ...user, preferences: [...user.preferences, preference] };
        users.set(`${caller.tenant}/${userId}`, changed);
        return changed;
      },
      registerDevice: async (caller, { userId, deviceId, platform, token }) => {
        await record('registerDevice', caller, { userId, deviceId, platform, token });
        const user = users.get(`${caller.tenant}/${userId}`);
        if (!user) throw new DomainError('USER_NOT_FOUND', `no user ${userId}`, 'userId');
        const device = { id: deviceId ?? `device-${String(user.devices.length + 1)}`, platform, token, active: true };
        users.set(`${caller.tenant}/${userId}`, { ...user, devices: [...user.devices, device] });
        return device;
      },
      removeDevice: async (caller, id) => {
        await record('removeDevice', caller, id);
        const found = [...users].filter(([key]) => key.startsWith(`${caller.tenant}/`));
        const has = found.filter(([, { devices }]) => devices.some((device) => device.id === id));
        for (const [key, user] of has)
          users.set(key, { ...user, devices: user.devices.filter((each) => each.id !== id) });
        return has.length > 0;
      },
      publishTemplate: async (caller, input) => {
        await record('publishTemplate', caller, input);
        const version = (templates.get(`${caller.tenant}/${input.key}`) ?? 0) + 1;
        templates.set(`${caller.tenant}/${input.key}`, version);
        return { key: input.key, version };
      },
      requestNotification: async (caller, input) => {
        await record('requestNotification', caller, input);
        return request(caller, input);
      },
      requestNotifications: async (caller, inputs) => {
        await record('requestNotifications', caller, inputs);
        if (inputs.length > 1_000) throw new DomainError('TOO_MANY_ITEMS', 'over 1,000 items', 'inputs');
        return inputs.map((input) => attempt(() => request(caller, input)));
      },
      cancelNotification: async (caller, id) => {
        await record('cancelNotification', caller, id);
        const view = notifications.get(id);
        if (view?.state.tenant !== caller.tenant)
          throw new DomainError('NOTIFICATION_NOT_FOUND', `no notification ${id}`, 'id');
        return cancelled(view);
      },
      recordConversion: async (caller, input) => {
        await record('recordConversion', caller, input);
        const view = notifications.get(input.notificationId);
        if (view?.state.tenant !== caller.tenant) {
          throw new DomainError('NOTIFICATION_NOT_FOUND', `no notification ${input.notificationId}`, 'notificationId');
        }
        const { id, deliveries } = view.state;
        const state = deliveries.find((each) => each.id === (input.deliveryId ?? each.id));
        return { delivery: state ? { notificationId: id, state } : null, cursor: 'cursor-2', replayed: false };
      },
      registerClient: async (caller, { tenant, name, scopes }) => {
        await record('registerClient', caller, { tenant, name, scopes });
        const appKey = randomUUID();
        fake.addClient({ appKey, tenant, scopes });
        return { appKey, appSecret: SECRET };
      },
      rotateClientSecret: async (caller, appKey, graceSeconds) => {
        await record('rotateClientSecret', caller, { appKey, graceSeconds });
        if (!clients.has(appKey)) throw new DomainError('CLIENT_NOT_FOUND', `no client ${appKey}`, 'appKey');
        return { appKey, appSecret: SECRET };
      },
      revokeClient: async (caller, appKey) => {
        await record('revokeClient', caller, appKey);
        return clients.delete(appKey);
      },
    },
  };

  async function record(name: keyof Commands, caller: Caller, input: unknown): Promise<void> {
    calls.push({ name, caller, input });
    await fake.before(name);
  }

  function request(caller: Caller, input: RequestNotification): Requested {
    if (!users.has(`${caller.tenant}/${input.userId}`)) {
      throw new DomainError('USER_NOT_FOUND', `no user ${input.userId}`, 'userId');
    }
    const notification = viewOf(caller, input);
    notifications.set(notification.state.id, notification);
    return { notification, cursor: () => 'cursor-1', replayed: false };
  }

  return fake;
}

function attempt(run: () => Requested): Requested | DomainError {
  try {
    return run();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

const OCCURRED_AT = '2026-01-02T03:04:05.678Z';

function viewOf({ tenant, correlationId }: Caller, input: RequestNotification): NotificationView {
  const { asSent: _asSent, idempotencyKey: _key, template, deliverAt, expiresAt, ...rest } = input;
  const id = randomUUID();
  const state: NotificationState = {
    id,
    tenant,
    request: {
      ...rest,
      template: template && { key: template.key, version: template.version ?? 1 },
      deliverAt: deliverAt?.toISOString() ?? null,
      expiresAt: expiresAt?.toISOString() ?? null,
      inputHash: '',
    },
    requestedAt: OCCURRED_AT,
    correlationId,
    lastEventId: 'event-1',
    routed: true,
    cancelled: false,
    deliveries: [deliveryOf(id)],
  };
  const entry = {
    cursor: 'cursor-1',
    type: 'NotificationRequested',
    occurredAt: OCCURRED_AT,
    deliveryId: null,
    detail: {},
  };
  return { state, timeline: () => [entry] };
}

export function deliveryOf(notificationId: string): DeliveryState {
  return {
    id: `delivery-of-${notificationId}`,
    channel: 'EMAIL',
    platform: null,
    address: 'ada@example.org',
    status: 'SENT',
    reason: null,
    provider: 'smtp',
    providerMessageId: '<1@example.org>',
    attempts: 1,
    failures: 0,
    claimUntil: null,
    retryAt: null,
    doubtful: [1],
    inDoubt: true,
    sent: [],
    accepted: [1],
    delivered: [],
    bounces: [],
    sentAt: OCCURRED_AT,
    deliveredAt: null,
    openedAt: null,
    lastOpenedAt: null,
    clickedAt: null,
    lastClickedAt: null,
    convertedAt: null,
  };
}

function cancelled(notification: NotificationView): Cancelled {
  const deliveries = notification.state.deliveries.map((delivery) => ({ delivery, outcome: 'TOO_LATE' as const }));
  return { cancelled: false, deliveries, notification };
}
