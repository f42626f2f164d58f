import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isEmailAddress } from './events/address.ts';
import { bothOrNeither, hasControlCharacter, parseUrl, type Env } from './environment.ts';

/** Who takes the messages of each channel. */
export interface ProvidersConfig {
  readonly email: EmailConfig;
  readonly sms: SmsConfig;
  readonly push: PushConfig;
}

/** `sandbox`: messages go to the outbox and to nobody else. `off`: there is nobody to take them. */
type NoProvider = { readonly kind: 'sandbox' } | { readonly kind: 'off' };

export type EmailConfig =
  | NoProvider
  /** `url` has the form `smtp[s]://[user:password@]host[:port]`; `from` is an address or `Name <address>`. */
  | { readonly kind: 'smtp'; readonly url: string; readonly from: string };

export type SmsConfig =
  | NoProvider
  /** Exactly one of `from` and `messagingServiceSid`. `from`: E.164, a short code or an alphanumeric sender id. */
  | {
      readonly kind: 'twilio';
      readonly accountSid: string;
      readonly authToken: string;
      readonly from: string | null;
      readonly messagingServiceSid: string | null;
    };

export type PushConfig = NoProvider | { readonly kind: 'fcm'; readonly serviceAccount: ServiceAccount };

/** Of a Google service account. */
export interface ServiceAccount {
  readonly projectId: string;
  readonly clientEmail: string;
  /** PEM, RSA. */
  readonly privateKey: string;
}

/**
 * A channel without credentials goes to the sandbox. In production that ends as soon as any channel has some: then the
 * others are off, because nobody must believe that a message was delivered which only the sandbox saw. The sandbox lives in
 * one process; where several share the work there is none.
 */
export function readProviders(
  env: Env,
  { development, isSplit }: { readonly development: boolean; readonly isSplit: boolean },
): ProvidersConfig {
  const given = { email: readSmtp(env), sms: readTwilio(env), push: readFcm(env) };
  const isReal = Object.values(given).some((provider) => provider !== null);
  const none: NoProvider = { kind: isSplit || (isReal && !development) ? 'off' : 'sandbox' };
  return { email: given.email ?? none, sms: given.sms ?? none, push: given.push ?? none };
}

function readSmtp(env: Env): EmailConfig | null {
  const url = env.get('SMTP_URL');
  const from = env.get('SMTP_FROM');
  if (url !== undefined) checkSmtpUrl(env, url);
  if (from !== undefined && !isMailbox(from)) {
    env.refuse(
      'SMTP_FROM',
      'is not one e-mail address; allowed are address@example.org and Name <address@example.org>',
    );
  }
  if (!bothOrNeither(env, 'SMTP_URL', 'SMTP_FROM')) return null;
  return url === undefined || from === undefined ? null : { kind: 'smtp', url, from };
}

function checkSmtpUrl(env: Env, text: string): void {
  const url = parseUrl(text);
  const bare = url !== null && /^\/?$/.test(url.pathname) && `${url.search}${url.hash}` === '';
  if (
    !bare ||
    !/^smtps?:$/.test(url.protocol) ||
    url.hostname === '' ||
    !isPercentEncoded(url.username + url.password)
  ) {
    const form = 'smtp://[user:password@]host[:port] or smtps://…';
    env.refuse(
      'SMTP_URL',
      `is not usable; allowed is ${form}, with special characters percent-encoded and nothing behind the port`,
    );
  } else if (url.username !== '' && url.password === '')
    env.refuse('SMTP_URL', 'has a user, but its password is missing');
  else if (url.username === '' && url.password !== '')
    env.refuse('SMTP_URL', 'has a password, but its user is missing');
}

const ADDRESS = String.raw`[^\s@<>()[\]\\,;:"]+@[^\s@<>()[\]\\,;:"]+`;
const MAILBOX = new RegExp(String.raw`^(?:${ADDRESS}|(?:[^@<>()[\]\\,;:"]*|"[^"\\]*") ?<${ADDRESS}>)$`);

function isMailbox(text: string): boolean {
  const address = /<([^<>]*)>$/.exec(text)?.[1] ?? text;
  return !hasControlCharacter(text) && MAILBOX.test(text) && isEmailAddress(address);
}

function isPercentEncoded(text: string): boolean {
  try {
    return !hasControlCharacter(decodeURIComponent(text));
  } catch {
    return false;
  }
}

/** What each of Twilio's variables looks like; values are never shown, for any of them may be the token by mistake. */
const TWILIO = {
  // Receipts name the account as Twilio writes it, to the letter.
  TWILIO_ACCOUNT_SID: { form: /^AC[\da-f]{32}$/, allowed: 'AC and 32 hexadecimal digits, in lower case' },
  TWILIO_AUTH_TOKEN: { form: /^[!-~]{16,}$/, allowed: '16 or more printable ASCII characters without white space' },
  // The sender id as Twilio's AlphaSender resource has it.
  TWILIO_FROM: {
    form: /^(?:\+[1-9]\d{6,14}|\d{3,8}|(?=.*[a-z])[a-z\d _&+-]{1,11})$/i,
    allowed:
      'a number in E.164 form such as +12025550123, a short code of 3 to 8 digits, or a sender id of up to 11 ' +
      'letters, digits, spaces and - _ & + with at least one letter',
  },
  TWILIO_MESSAGING_SERVICE_SID: { form: /^MG[\da-f]{32}$/, allowed: 'MG and 32 hexadecimal digits, in lower case' },
} as const;

const TWILIO_RULE =
  'TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and one of TWILIO_FROM and TWILIO_MESSAGING_SERVICE_SID are given together or not at all';

function readTwilio(env: Env): SmsConfig | null {
  const accountSid = readTwilioValue(env, 'TWILIO_ACCOUNT_SID');
  const authToken = readTwilioValue(env, 'TWILIO_AUTH_TOKEN');
  const from = readTwilioValue(env, 'TWILIO_FROM');
  const messagingServiceSid = readTwilioValue(env, 'TWILIO_MESSAGING_SERVICE_SID');
  if ([accountSid, authToken, from, messagingServiceSid].every((value) => value === null)) return null;
  const missing = `is missing; ${TWILIO_RULE}`;
  if (accountSid === null) env.refuse('TWILIO_ACCOUNT_SID', missing);
  if (authToken === null) env.refuse('TWILIO_AUTH_TOKEN', missing);
  if (from === null && messagingServiceSid === null)
    env.refuse('TWILIO_FROM', `or TWILIO_MESSAGING_SERVICE_SID ${missing}`);
  if (from !== null && messagingServiceSid !== null)
    env.refuse('TWILIO_FROM', 'and TWILIO_MESSAGING_SERVICE_SID are both given; allowed is one of them');
  if (accountSid === null || authToken === null) return null;
  return { kind: 'twilio', accountSid, authToken, from, messagingServiceSid };
}

function readTwilioValue(env: Env, name: keyof typeof TWILIO): string | null {
  const value = env.get(name) ?? null;
  const { form, allowed } = TWILIO[name];
  if (value !== null && !form.test(value)) env.refuse(name, `is not usable; allowed is ${allowed}`);
  return value;
}

function readFcm(env: Env): PushConfig | null {
  const path = env.get('GOOGLE_APPLICATION_CREDENTIALS');
  const inline = env.get('FIREBASE_SERVICE_ACCOUNT');
  if (path !== undefined && inline !== undefined) {
    env.refuse('GOOGLE_APPLICATION_CREDENTIALS', 'and FIREBASE_SERVICE_ACCOUNT are both given; allowed is one of them');
    return null;
  }
  const serviceAccount = path === undefined ? inline && readInlineAccount(env, inline) : readAccountFile(env, path);
  return serviceAccount ? { kind: 'fcm', serviceAccount } : null;
}

function readAccountFile(env: Env, path: string): ServiceAccount | null {
  const name = 'GOOGLE_APPLICATION_CREDENTIALS';
  if (path.trimStart().startsWith('{')) {
    env.refuse(name, 'holds JSON; allowed is the path of a file, and FIREBASE_SERVICE_ACCOUNT takes the JSON itself');
    return null;
  }
  try {
    const json = parseJson(readFileSync(path, 'utf8'));
    return json === undefined ? refuseAccount(env, name, 'names a file that is no JSON') : readAccount(env, name, json);
  } catch (error) {
    // The message of the error would show the path, and there may be anything in it.
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    return refuseAccount(env, name, `names a file that cannot be read (${code})`);
  }
}

function readInlineAccount(env: Env, text: string): ServiceAccount | null {
  const name = 'FIREBASE_SERVICE_ACCOUNT';
  const json = parseJson(text) ?? parseJson(Buffer.from(text, 'base64').toString('utf8'));
  const why = 'is neither JSON nor the base64 of it';
  return json === undefined ? refuseAccount(env, name, why) : readAccount(env, name, json);
}

const ACCOUNT_FIELDS: Readonly<Record<string, (text: string) => boolean>> = {
  type: (text) => text === 'service_account',
  // It becomes a part of a URL.
  project_id: (text) => /^[\w.:-]+$/.test(text),
  client_email: isEmailAddress,
  private_key: isRsaKey,
};

function readAccount(env: Env, name: string, json: unknown): ServiceAccount | null {
  const fields = new Map<string, unknown>(typeof json === 'object' && json !== null ? Object.entries(json) : []);
  const text = (field: string): string => {
    const value = fields.get(field);
    return typeof value === 'string' ? value : '';
  };
  const names = Object.keys(ACCOUNT_FIELDS);
  const missing = names.filter((field) => text(field) === '');
  const wrong = names.filter((field) => text(field) !== '' && ACCOUNT_FIELDS[field]?.(text(field)) !== true);
  const why = [
    ...(missing.length > 0 ? [`lacks ${missing.join(', ')}`] : []),
    ...(wrong.length > 0 ? [`has an unusable ${wrong.join(', ')}`] : []),
  ];
  if (why.length > 0) return refuseAccount(env, name, why.join(' and '));
  return { projectId: text('project_id'), clientEmail: text('client_email'), privateKey: text('private_key') };
}

function refuseAccount(env: Env, name: string, why: string): null {
  const form = 'type service_account, project_id, client_email and private_key (PEM, RSA)';
  env.refuse(name, `${why}; allowed is the JSON of a Google service account, with ${form}`);
  return null;
}

/** Google signs in with RS256. */
function isRsaKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'rsa';
  } catch {
    return false;
  }
}

/** Undefined when it is no JSON. A byte order mark, which some editors put at the front, is none of it. */
function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    return value;
  } catch {
    return undefined;
  }
}
