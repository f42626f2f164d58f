import { http } from './http-stand-in.ts';
import type { Message } from '../../src/senders/outcome.ts';
import type { TwilioSenderOptions } from '../../src/senders/sms-twilio.ts';

export const ACCOUNT_SID = `AC${'0123456789abcdef'.repeat(2)}`;
export const AUTH_TOKEN = 'a-token-that-nobody-may-see';
export const SID = `SM${'fedcba9876543210'.repeat(2)}`;

export const MESSAGE: Message = {
  tenant: 'acme',
  notificationId: '0190b3a1-0000-7000-8000-000000000001',
  deliveryId: '5b1f2f0e-6f0c-4f57-9d0a-6c1b7c4f2a11',
  channel: 'SMS',
  lane: 'TRANSACTIONAL',
  address: '+4915112345678',
  platform: null,
  attempt: 1,
  title: null,
  body: 'Your parcel is on its way.',
  html: null,
  url: null,
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};

export const CREATED = http(201, JSON.stringify({ sid: SID, status: 'queued' }));

export function options(changes: Partial<TwilioSenderOptions> = {}): TwilioSenderOptions {
  return {
    accountSid: ACCOUNT_SID,
    authToken: AUTH_TOKEN,
    from: '+15005550006',
    messagingServiceSid: null,
    statusCallback: () => null,
    connections: 2,
    ...changes,
  };
}
