import { randomBytes } from 'node:crypto';
import type { Started } from '../../src/lifecycle.ts';
import { openHttpsServer } from './https-server.ts';
import { openTally, type Copies } from './tally.ts';
import { ACCOUNT_SID, AUTH_TOKEN } from './twilio.ts';

/** Twilio's Messages resource on loopback, for one account: takes every message, and sends no receipts. */
export interface SmsSink {
  readonly port: number;
  /** By the end of the address that receipts are to be sent to, which names the delivery for whoever can read it. */
  readonly copies: Copies;
}

/** Hosts that it stands in for. */
export const SMS_HOSTS = ['api.twilio.com'];

const MESSAGES = `api.twilio.com/2010-04-01/Accounts/${ACCOUNT_SID}/Messages.json`;
const LOGIN = `Basic ${Buffer.from(`${ACCOUNT_SID}:${AUTH_TOKEN}`).toString('base64')}`;

/** `hold`: waits before it accepts a message. */
export async function openSmsSink(hold: () => Promise<void> = () => Promise.resolve()): Promise<Started<SmsSink>> {
  const { copies, add } = openTally();
  const { value: port, stop } = await openHttpsServer(async ({ place, authorization, body }) => {
    if (place !== MESSAGES) return refusal(404, 20404);
    if (authorization !== LOGIN) return refusal(401, 20003);
    const form = new URLSearchParams(body);
    if (!form.has('To') || !form.has('From') || !form.has('Body')) return refusal(400, 21604);
    add(new URL(form.get('StatusCallback') ?? 'none:').pathname.split('/').at(-1) ?? '');
    await hold();
    return { status: 201, body: { sid: `SM${randomBytes(16).toString('hex')}`, status: 'queued' } };
  });
  return { value: { port, copies }, stop };
}

function refusal(status: number, code: number): { readonly status: number; readonly body: object } {
  return { status, body: { code, message: 'No.', more_info: 'https://www.twilio.com/docs', status } };
}
