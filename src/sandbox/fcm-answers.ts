import type { ServerResponse } from 'node:http';

/** An error answer as Google writes it (https://cloud.google.com/apis/design/errors). */
export interface Refusal {
  readonly code: number;
  readonly status: string;
  readonly message: string;
  readonly details?: readonly object[];
  /** Seconds. */
  readonly retryAfter?: number;
}

function fcmError(errorCode: string): object {
  return { '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode };
}

function badRequest(...fieldViolations: readonly { readonly field: string; readonly description: string }[]): object {
  return {
    '@type': 'type.googleapis.com/google.rpc.BadRequest',
    ...(fieldViolations.length > 0 && { fieldViolations }),
  };
}

/** https://firebase.google.com/docs/cloud-messaging/error-codes, example 1. */
export function badValue(name: string, value: string): Refusal {
  const message = `Invalid value at '${name}' (TYPE_STRING), ${value}`;
  const details = [badRequest({ field: name, description: message })];
  return { code: 400, status: 'INVALID_ARGUMENT', message, details };
}

export const NOT_FOUND: Refusal = { code: 404, status: 'NOT_FOUND', message: 'Requested entity was not found.' };

export const UNAUTHENTICATED: Refusal = {
  code: 401,
  status: 'UNAUTHENTICATED',
  message:
    'Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid ' +
    'authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.',
};

export const NO_RECIPIENT: Refusal = {
  code: 400,
  status: 'INVALID_ARGUMENT',
  message: 'Recipient of the message is not set.',
  details: [
    badRequest({ field: 'message', description: 'Recipient of the message is not set.' }),
    fcmError('INVALID_ARGUMENT'),
  ],
};

/** As reported in firebase-admin-go #580. */
export const TOO_BIG: Refusal = {
  code: 400,
  status: 'INVALID_ARGUMENT',
  message: 'Android message is too big',
  details: [badRequest(), fcmError('INVALID_ARGUMENT')],
};

const UNAVAILABLE: Refusal = {
  code: 503,
  status: 'UNAVAILABLE',
  message: 'The service is currently unavailable.',
  details: [fcmError('UNAVAILABLE')],
};

/** By the name of the well-known token. The texts are the vendor's, from its documentation and the issues of its libraries. */
export const REFUSALS: Readonly<Record<string, Refusal>> = {
  unregistered: { ...NOT_FOUND, details: [fcmError('UNREGISTERED')] },
  'invalid-token': {
    code: 400,
    status: 'INVALID_ARGUMENT',
    message: 'The registration token is not a valid FCM registration token',
    details: [fcmError('INVALID_ARGUMENT')],
  },
  'invalid-argument': badValue('message.data[0].value', '12'),
  'sender-id-mismatch': {
    code: 403,
    status: 'PERMISSION_DENIED',
    message: 'SenderId mismatch',
    details: [fcmError('SENDER_ID_MISMATCH')],
  },
  'quota-exceeded': {
    code: 429,
    status: 'RESOURCE_EXHAUSTED',
    message: 'Resource has been exhausted (e.g. check quota).',
    details: [fcmError('QUOTA_EXCEEDED')],
    retryAfter: 1,
  },
  unavailable: UNAVAILABLE,
  flaky: { ...UNAVAILABLE, retryAfter: 1 },
  internal: {
    code: 500,
    status: 'INTERNAL',
    message: 'Internal error encountered.',
    details: [fcmError('INTERNAL')],
  },
  'third-party-auth-error': {
    code: 401,
    status: 'UNAUTHENTICATED',
    message: 'Auth error from APNS or Web Push Service',
    details: [fcmError('THIRD_PARTY_AUTH_ERROR')],
  },
};

export function refuse(response: ServerResponse, { retryAfter, ...error }: Refusal): void {
  if (retryAfter !== undefined) response.setHeader('Retry-After', retryAfter);
  respond(response, error.code, { error });
}

export function respond(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=UTF-8' });
  response.end(`${JSON.stringify(body, null, 2)}\n`);
}
