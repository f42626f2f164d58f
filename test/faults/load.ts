import { setTimeout as delay } from 'node:timers/promises';
import type { Channel } from '../../src/events/event.ts';
import type { Service } from '../support/service.ts';

/** What clients want of a request, and so what may become of it. */
export type Wish = 'now' | 'later' | 'short-lived' | 'cancelled';

/** What was acknowledged: the wish for each notification, by its id. */
export interface Load {
  readonly acknowledged: ReadonlyMap<string, Wish>;
  /** Ids that were answered to the same key and differ. */
  readonly contradictions: readonly string[];
  /** Calls that failed or were not answered in time, and were made again. */
  readonly failures: () => number;
  /** What is under way is asked for until it is acknowledged; nothing new is. */
  readonly stop: () => Promise<void>;
}

export interface LoadOptions {
  /** Any of those that run; a client goes on to the next when one fails. */
  readonly apis: () => readonly Service[];
  readonly random: () => number;
  /** Names the requests of this load. */
  readonly name: string;
  /** Of the users. Default: e-mail. */
  readonly channels?: readonly Channel[];
  readonly clients?: number;
  /** Between the calls of one client; milliseconds. */
  readonly pauseMs?: number;
}

export const USERS = 12;
const CALL_MS = 10_000;
const AGAIN_MS = 200;
/** Far beyond the end of any test: what is cancelled before must not be sent. */
const FAR_MS = 3_600_000;

interface Answer {
  readonly requestNotifications: readonly {
    readonly error: { readonly code: string } | null;
    readonly notification: { readonly id: string } | null;
  }[];
}

const BULK = `mutation ($inputs: [RequestNotificationInput!]!) {
  requestNotifications(inputs: $inputs) { error { code } notification { id } }
}`;

/** The answer of whichever answers first, one after the other, for as long as it takes. @throws what they refuse for good. */
export async function askAny<T>(
  apis: () => readonly Service[],
  query: string,
  {
    variables = {},
    onFailure = () => undefined,
  }: { readonly variables?: object; readonly onFailure?: () => void } = {},
): Promise<T> {
  for (let turn = 0; ; turn += 1) {
    const up = apis();
    const api = up[turn % Math.max(up.length, 1)];
    try {
      if (api !== undefined) return await within(CALL_MS, api.ask<T>(query, variables));
    } catch (error) {
      if (isFinal(error)) throw error;
      onFailure();
    }
    await delay(AGAIN_MS);
  }
}

/** A refusal in GraphQL that is not for now only. */
function isFinal(error: unknown): boolean {
  const { message } = error as Error;
  return message.startsWith('[{') && !message.includes('UNAVAILABLE');
}

/** @throws when it takes longer; what comes of it later counts for nobody. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const giveUp = new AbortController();
  const late = delay(ms, undefined, { signal: giveUp.signal }).then(
    () => {
      throw new Error(`nothing came within ${String(ms)} ms`);
    },
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    giveUp.abort();
  }
}

const MAILED: readonly Channel[] = ['EMAIL'];

/** Each can be reached on these channels, at one address each. */
export async function registerUsers(apis: () => readonly Service[], channels = MAILED): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    const id = `user-${String(user)}`;
    const own = [
      ...(channels.includes('EMAIL') ? [`email: "${id}@example.com"`] : []),
      ...(channels.includes('SMS') ? [`phone: "+1202555${String(1_000 + user)}"`] : []),
    ].join();
    await askAny(apis, `mutation { registerUser(input: {id: "${id}", ${own}}) { id } }`);
    if (channels.includes('PUSH')) await registerDevice(apis, user);
  }
}

const PLATFORMS = ['IOS', 'ANDROID', 'WEB'];

async function registerDevice(apis: () => readonly Service[], user: number): Promise<void> {
  const id = `user-${String(user)}`;
  const platform = String(PLATFORMS[user % PLATFORMS.length]);
  const device = `userId: "${id}", deviceId: "of-${id}", platform: ${platform}, token: "token-of-${id}"`;
  await askAny(apis, `mutation { registerDevice(input: {${device}}) { id } }`);
}

/** Clients that ask with idempotency keys, each time until they are answered, and cancel some of it. */
export function startLoad(options: LoadOptions): Load {
  const { apis, random, name, clients = 3, pauseMs = 150, channels = MAILED } = options;
  const acknowledged = new Map<string, Wish>();
  const contradictions: string[] = [];
  let failures = 0;
  let stopped = false;
  let keys = 0;
  const onFailure = (): void => void (failures += 1);

  async function once(): Promise<void> {
    const wish = drawWish(random);
    const number = random() < 0.5 ? 1 : Math.ceil(random() * 10);
    const inputs = Array.from({ length: number }, () => ({
      ...inputOf(wish, `${name}-${String(keys++)}`, random),
      channels: drawChannels(random, channels),
    }));
    const ids = await accepted(inputs, wish);
    // Asked again, as a client does who lost the answer.
    if (random() < 0.1 && String(await accepted(inputs, wish)) !== String(ids)) contradictions.push(ids.join());
    for (const id of ids) acknowledged.set(id, wish);
    if (wish === 'cancelled') for (const id of ids) await cancel(id);
  }

  async function accepted(inputs: readonly object[], wish: Wish): Promise<readonly string[]> {
    for (;;) {
      const { requestNotifications } = await askAny<Answer>(apis, BULK, { variables: { inputs }, onFailure });
      const ids = requestNotifications.flatMap(({ notification }) => notification?.id ?? []);
      if (ids.length === inputs.length) return ids;
      // It took so long that the time is over: there is no use in asking again, and nothing was acknowledged.
      if (wish === 'short-lived' && !requestNotifications.some(({ error }) => error?.code === 'UNAVAILABLE')) return [];
      onFailure();
      await delay(AGAIN_MS);
    }
  }

  const cancel = (id: string): Promise<unknown> =>
    askAny(apis, `mutation { cancelNotification(id: "${id}") { cancelled } }`, { onFailure });

  const running = Array.from({ length: clients }, async () => {
    while (!stopped) {
      await once();
      await delay(pauseMs * (0.5 + random()));
    }
  });
  // Who waits for the end learns of it.
  for (const client of running) client.catch(() => undefined);
  return {
    acknowledged,
    contradictions,
    failures: () => failures,
    stop: async () => {
      stopped = true;
      await Promise.all(running);
    },
  };
}

function drawWish(random: () => number): Wish {
  const drawn = random();
  return drawn < 0.7 ? 'now' : drawn < 0.8 ? 'later' : drawn < 0.85 ? 'short-lived' : 'cancelled';
}

const ALL_SHARE = 0.2;

/** Mostly one of them, each as often; now and then all of them. */
function drawChannels(random: () => number, channels: readonly Channel[]): readonly Channel[] {
  const drawn = Math.floor(random() * channels.length);
  return random() < ALL_SHARE ? channels : channels.slice(drawn, drawn + 1);
}

function inputOf(wish: Wish, idempotencyKey: string, random: () => number): object {
  const at = (ms: number): string => new Date(Date.now() + ms).toISOString();
  const times: Readonly<Record<Wish, object>> = {
    now: {},
    later: { deliverAt: at(1_000 + random() * 5_000) },
    'short-lived': { expiresAt: at(3_000 + random() * 5_000) },
    cancelled: random() < 0.5 ? { deliverAt: at(FAR_MS) } : {},
  };
  return {
    userId: `user-${String(Math.floor(random() * USERS))}`,
    idempotencyKey,
    content: { title: 'Hello', body: `Message ${idempotencyKey}` },
    lane: random() < 0.5 ? 'BULK' : 'TRANSACTIONAL',
    ...times[wish],
  };
}
