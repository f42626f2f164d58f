import { generateKeyPairSync, randomUUID } from 'node:crypto';
import type { Started } from '../../src/lifecycle.ts';
import { openHttpsServer, type Answered, type Asked } from './https-server.ts';
import { openTally, type Copies } from './tally.ts';

/** Google as pushes need it, on loopback: hands out access tokens, and takes every message that comes with one. */
export interface PushSink {
  readonly port: number;
  /** By id of the delivery. */
  readonly copies: Copies;
  /** Of an account that it knows: the JSON of a key file. */
  readonly serviceAccount: string;
}

/** Hosts that it stands in for. */
export const PUSH_HOSTS = ['fcm.googleapis.com', 'oauth2.googleapis.com'];

const PROJECT = 'heliograph-test';

/** `hold`: waits before it accepts a message. */
export async function openPushSink(hold: () => Promise<void> = () => Promise.resolve()): Promise<Started<PushSink>> {
  const { copies, add } = openTally();
  const tokens = new Set<string>();
  const places: Readonly<Record<string, (asked: Asked) => Answered | Promise<Answered>>> = {
    'oauth2.googleapis.com/token': ({ body }) => {
      if (!isSignedRequest(body)) return { status: 400, body: { error: 'invalid_grant' } };
      const token = `ya29.${randomUUID()}`;
      tokens.add(token);
      return { status: 200, body: { access_token: token, expires_in: 3_600, token_type: 'Bearer' } };
    },
    [`fcm.googleapis.com/v1/projects/${PROJECT}/messages:send`]: async ({ authorization, body }) => {
      if (!tokens.has(authorization.replace(/^Bearer /, ''))) return refusal(401, 'UNAUTHENTICATED');
      const id = deliveryOf(body);
      if (id === undefined) return refusal(400, 'INVALID_ARGUMENT');
      add(id);
      await hold();
      return { status: 200, body: { name: `projects/${PROJECT}/messages/${randomUUID()}` } };
    },
  };
  const { value: port, stop } = await openHttpsServer(
    async (asked) => places[asked.place]?.(asked) ?? refusal(404, 'NOT_FOUND'),
  );
  return { value: { port, copies, serviceAccount: newServiceAccount() }, stop };
}

function isSignedRequest(body: string): boolean {
  const form = new URLSearchParams(body);
  return form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:jwt-bearer' && form.has('assertion');
}

function refusal(code: number, status: string): Answered {
  return { status: code, body: { error: { code, status, message: 'No.' } } };
}

interface Body {
  readonly message?: { readonly token?: string; readonly data?: { readonly deliveryId?: string } };
}

function deliveryOf(body: string): string | undefined {
  const { message } = JSON.parse(body) as Body;
  return message?.token === undefined ? undefined : message.data?.deliveryId;
}

function newServiceAccount(): string {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const client_email = `sender@${PROJECT}.iam.gserviceaccount.com`;
  return JSON.stringify({ type: 'service_account', project_id: PROJECT, client_email, private_key: privateKey });
}
