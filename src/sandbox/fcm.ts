import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Started } from '../lifecycle.ts';
import { NOT_FOUND, refuse, REFUSALS, respond } from './fcm-answers.ts';
import { entryOf, readMessage } from './fcm-message.ts';
import { type FirstTime, openFirstTime } from './first-time.ts';
import { closeServer, KEEP_ALIVE_MS, listen, readBody } from './http.ts';
import type { Outbox, OutboxEntry } from './outbox.ts';

/**
 * Push tokens that make the sandbox FCM misbehave: the name alone or followed by one of `- : _ . +` and anything. To
 * every other token the message goes at once.
 */
export const SANDBOX_TOKENS = [
  { name: 'unregistered', description: 'The app was removed: the token is dead (404 UNREGISTERED).' },
  { name: 'invalid-token', description: 'No token of FCM at all: as good as dead (400 INVALID_ARGUMENT).' },
  { name: 'invalid-argument', description: 'The message is refused, whatever is in it (400 INVALID_ARGUMENT).' },
  { name: 'sender-id-mismatch', description: 'The token belongs to another project (403 SENDER_ID_MISMATCH).' },
  { name: 'quota-exceeded', description: 'Too many messages, every time (429 QUOTA_EXCEEDED, try again in a second).' },
  { name: 'unavailable', description: 'Overloaded, every time (503 UNAVAILABLE).' },
  { name: 'internal', description: 'Failed while processing, every time: the outcome stays unknown (500 INTERNAL).' },
  {
    name: 'third-party-auth-error',
    description: 'The key for APNs or Web Push is wrong (401 THIRD_PARTY_AUTH_ERROR).',
  },
  { name: 'flaky', description: 'Overloaded (503) the first time a delivery is offered, accepted the next time.' },
  { name: 'slow', description: 'Accepted, but only after ten seconds.' },
  { name: 'silent', description: 'The message is taken and never answered nor delivered: the outcome stays unknown.' },
  {
    name: 'lost',
    description: 'Delivered, but the connection breaks before the sender hears of it: a resend is a duplicate.',
  },
] as const;

type Behaviour = (typeof SANDBOX_TOKENS)[number]['name'];

export interface SandboxFcmOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** How long `slow` takes; default 10,000. */
  readonly slowMs?: number;
  readonly now?: () => Date;
}

/** FCM HTTP v1 that accepts everything into the outbox with any access token, without encryption: for loopback only. */
export async function openSandboxFcm(
  outbox: Outbox,
  options: SandboxFcmOptions = {},
): Promise<Started<{ readonly host: string; readonly port: number }>> {
  const { slowMs = 10_000, now = (): Date => new Date() } = options;
  const stopping = new AbortController();
  // Every message that is answered late listens.
  setMaxListeners(0, stopping.signal);
  const receiving = { outbox, slowMs, now, isFirstTime: openFirstTime(), stopping: stopping.signal };
  const underWay = new Set<Promise<void>>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    const received = receive(request, response, receiving)
      .catch(() => {
        // A client that goes away, a stop, a full disk: there is nobody to tell.
        response.destroy();
      })
      .finally(() => underWay.delete(received));
    underWay.add(received);
  });
  const host = options.host ?? '127.0.0.1';
  const port = await listen(server, host, options.port ?? 0);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await closeServer(server);
    await Promise.all(underWay);
  };
  return { value: { host, port }, stop };
}

interface Receiving {
  readonly outbox: Outbox;
  readonly slowMs: number;
  readonly now: () => Date;
  /** Of the deliveries that `flaky` turns away once. */
  readonly isFirstTime: FirstTime;
  readonly stopping: AbortSignal;
}

async function receive(request: IncomingMessage, response: ServerResponse, receiving: Receiving): Promise<void> {
  const body = await readBody(request);
  const project = projectOf(request);
  const read = project === null ? NOT_FOUND : readMessage(request.headers.authorization, body);
  if ('code' in read) {
    refuse(response, read);
    return;
  }
  const entry = entryOf(read.message, read.token, receiving.now().toISOString());
  const behaviour = behaviourOf(read.token, entry, receiving.isFirstTime);
  await behave(behaviour, { response, receiving, entry, project: project ?? '' });
}

function projectOf({ method, url }: IncomingMessage): string | null {
  const found = /^\/v1\/projects\/([^/]+)\/messages:send$/.exec(url ?? '');
  return method === 'POST' ? (found?.[1] ?? null) : null;
}

interface Delivery {
  readonly response: ServerResponse;
  readonly receiving: Receiving;
  readonly entry: Omit<OutboxEntry, 'id'>;
  readonly project: string;
}

async function behave(behaviour: Behaviour | null, delivery: Delivery): Promise<void> {
  const { response, receiving, entry, project } = delivery;
  if (behaviour === 'silent') return;
  if (behaviour === 'slow') await delay(receiving.slowMs, undefined, { signal: receiving.stopping });
  const refusal = behaviour === null ? undefined : REFUSALS[behaviour];
  if (refusal !== undefined) {
    refuse(response, refusal);
    return;
  }
  await receiving.outbox.add(entry);
  if (behaviour === 'lost') response.destroy();
  else respond(response, 200, { name: `projects/${project}/messages/${randomUUID()}` });
}

function behaviourOf(token: string, { headers }: Delivery['entry'], isFirstTime: FirstTime): Behaviour | null {
  const wanted = token.toLowerCase();
  const found = SANDBOX_TOKENS.find(
    ({ name }) => wanted === name || (wanted.startsWith(name) && '-:_.+'.includes(wanted.charAt(name.length))),
  );
  if (found?.name !== 'flaky') return found?.name ?? null;
  return isFirstTime(headers['data.deliveryId'] ?? '') ? 'flaky' : null;
}
