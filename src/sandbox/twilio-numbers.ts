/** An error as Twilio's API answers it (https://www.twilio.com/docs/usage/twilios-response). */
export interface ApiError {
  readonly status: number;
  /** Explained at https://www.twilio.com/docs/api/errors/ and the code. */
  readonly code: number;
  readonly message: string;
}

/** A receipt that a number sends; `late`: only after the pause of {@link Manner} `slow`. */
export interface Told {
  readonly status: 'sent' | 'delivered' | 'undelivered' | 'failed';
  readonly errorCode?: number;
  readonly late?: true;
}

/**
 * `slow`: taken and answered late. `silent`: taken, but neither answered nor delivered. `lost`: delivered, but the
 * connection breaks instead of an answer. `flaky`: refused the first time. `early`: answered after its first receipt.
 */
export type Manner = 'slow' | 'silent' | 'lost' | 'flaky' | 'early';

interface SandboxNumber {
  readonly name: string;
  readonly description: string;
  /** The answer, in place of 201 and a delivered message. */
  readonly error?: ApiError;
  readonly manner?: Manner;
  /** In place of `sent` and `delivered`, in that order. */
  readonly receipts?: readonly Told[];
}

export const TOO_MANY: ApiError = { status: 429, code: 20429, message: 'Too Many Requests' };
export const UNAUTHORIZED: ApiError = { status: 401, code: 20003, message: 'Authenticate' };

const SENT: Told = { status: 'sent' };
const DELIVERED: Told = { status: 'delivered' };

/**
 * Phone numbers that make the sandbox misbehave, exactly these; every other one gets its message at once. +15005550001 to
 * +15005550009 are Twilio's own test numbers (https://www.twilio.com/docs/iam/test-credentials).
 */
export const NUMBERS: readonly SandboxNumber[] = [
  refused(
    '+15005550001',
    'Not a valid phone number',
    21211,
    "The 'To' number +15005550001 is not a valid phone number.",
  ),
  refused(
    '+15005550002',
    'Cannot be reached by SMS',
    21612,
    "The 'To' phone number +15005550002 is not currently reachable via SMS.",
  ),
  refused(
    '+15005550003',
    'In a region that the account may not send to',
    21408,
    "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: +15005550003",
  ),
  refused(
    '+15005550004',
    'Has answered STOP to an earlier message',
    21610,
    'Attempt to send to unsubscribed recipient',
  ),
  refused('+15005550009', 'Not a mobile number', 21614, "'To' number is not a valid mobile number: +15005550009"),
  {
    name: '+15005550401',
    description: 'Refused as if our login were wrong (401, error 20003).',
    error: UNAUTHORIZED,
  },
  {
    name: '+15005550429',
    description: 'Too many requests, every time (429, error 20429, try again in a second).',
    error: TOO_MANY,
  },
  {
    name: '+15005550410',
    description: 'Too many requests (429) the first time a message is offered, accepted the next time.',
    manner: 'flaky',
  },
  {
    name: '+15005550500',
    description: 'Failed while processing, every time (500, error 20500): the outcome stays unknown.',
    error: { status: 500, code: 20500, message: 'An internal server error has occurred' },
  },
  {
    name: '+15005550503',
    description: 'Unavailable, every time (503, error 20503).',
    error: { status: 503, code: 20503, message: 'Service unavailable' },
  },
  { name: '+15005550800', description: 'Accepted, but only after ten seconds.', manner: 'slow' },
  {
    name: '+15005550408',
    description: 'The message is taken and never answered nor delivered: the outcome stays unknown.',
    manner: 'silent',
  },
  {
    name: '+15005550499',
    description: 'Delivered, but the connection breaks before the sender hears of it; receipts tell in the end.',
    manner: 'lost',
  },
  bounced('+15005553000', 'failed', 30001, 'Accepted, then failed: queue overflow'),
  bounced('+15005553003', 'undelivered', 30003, 'Accepted, then undelivered: switched off or out of range'),
  bounced('+15005553004', 'undelivered', 30004, 'Accepted, then undelivered: blocked by the recipient'),
  bounced('+15005553005', 'undelivered', 30005, 'Accepted, then undelivered: the number is unknown'),
  bounced('+15005553006', 'undelivered', 30006, 'Accepted, then undelivered: a landline'),
  bounced('+15005553007', 'undelivered', 30007, 'Accepted, then undelivered: filtered by the carrier'),
  bounced('+15005553008', 'undelivered', 30008, 'Accepted, then undelivered for reasons unknown'),
  {
    name: '+15005554000',
    description: 'Delivered, but its receipts come in the wrong order, and each twice.',
    receipts: [DELIVERED, SENT, DELIVERED, SENT],
  },
  {
    name: '+15005554001',
    description: 'Delivered, and its first receipt comes before the message is answered.',
    manner: 'early',
  },
  {
    name: '+15005554002',
    description: 'Delivered, but each of its receipts comes ten seconds late.',
    receipts: [
      { ...SENT, late: true },
      { ...DELIVERED, late: true },
    ],
  },
  { name: '+15005554003', description: 'Delivered, but no receipt ever says so: it stays SENT.', receipts: [] },
];

function refused(name: string, what: string, code: number, message: string): SandboxNumber {
  return {
    name,
    description: `${what}: refused for good (error ${String(code)}).`,
    error: { status: 400, code, message },
  };
}

function bounced(name: string, status: 'failed' | 'undelivered', errorCode: number, what: string): SandboxNumber {
  return { name, description: `${what} (error ${String(errorCode)}).`, receipts: [SENT, { status, errorCode }] };
}

export function numberOf(to: string): SandboxNumber | undefined {
  return NUMBERS.find(({ name }) => name === to);
}

export function receiptsOf(to: string): readonly Told[] {
  return numberOf(to)?.receipts ?? [SENT, DELIVERED];
}
