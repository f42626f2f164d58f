import type { Outcome } from './outcome.ts';

/**
 * How far an attempt had come when it failed. `envelope`: not one byte of the message's data was handed to a connection,
 * so nobody can have accepted it. `data`: at least one was, and only a final reply tells what became of it.
 */
export type Stage = 'envelope' | 'data';

/** A failed attempt, as nodemailer 10 reports it. */
export interface Failure {
  readonly stage: Stage;
  /** Nodemailer's error code, or {@link STOPPED}, {@link OUT_OF_TIME} or {@link NO_PLACE}. */
  readonly code: string | null;
  /** The command that the reply answered: `MAIL FROM`, `RCPT TO`, `DATA`, …; `CONN` for the connection as such. */
  readonly command: string | null;
  /** The server's reply code (RFC 5321 §4.2), null when it gave none. */
  readonly reply: number | null;
}

/** The caller gave up, or the sender was closed. */
export const STOPPED = 'STOPPED';
/** The sender's own limit for one attempt, waiting for a free connection included, ran out. */
export const OUT_OF_TIME = 'OUT_OF_TIME';
/** That limit ran out while waiting for a free connection: the message was not offered to the server. */
export const NO_PLACE = 'NO_PLACE';

type Verdict =
  | Pick<Extract<Outcome, { kind: 'retry' }>, 'kind' | 'reason'>
  | Pick<Extract<Outcome, { kind: 'rejected' }>, 'kind' | 'reason'>
  | Pick<Extract<Outcome, { kind: 'unknown' }>, 'kind' | 'reason'>;

export interface Rule {
  readonly name: string;
  readonly stage: Stage;
  /** Any of them; absent: any at all. */
  readonly codes?: readonly string[];
  readonly command?: string;
  /** The reply code as a pattern; a rule with one does not match a failure without a reply. */
  readonly reply?: RegExp;
  readonly verdict: Verdict;
  /** The pause to ask for before a retry, in milliseconds; absent: the retry schedule's. */
  readonly afterMs?: number;
}

const UNREACHABLE = { kind: 'retry', reason: 'PROVIDER_UNREACHABLE' } as const;
const BUSY = { kind: 'retry', reason: 'PROVIDER_BUSY' } as const;
const AUTH = { kind: 'retry', reason: 'PROVIDER_AUTH' } as const;
const REFUSED = { kind: 'rejected', reason: 'MESSAGE_REFUSED' } as const;
const NO_ANSWER = { kind: 'unknown', reason: 'NO_ANSWER' } as const;

/** The first rule that matches decides. `retry` and `rejected` only where the server certainly did not accept. */
export const RULES: readonly Rule[] = [
  {
    name: 'stopped before the data',
    stage: 'envelope',
    codes: [STOPPED],
    verdict: { kind: 'retry', reason: 'SENDER_STOPPED' },
  },
  {
    name: 'no free connection',
    stage: 'envelope',
    codes: [NO_PLACE],
    verdict: { kind: 'retry', reason: 'SENDER_BUSY' },
    afterMs: 5_000,
  },
  { name: 'out of time before the data', stage: 'envelope', codes: [OUT_OF_TIME], verdict: BUSY },
  // RFC 5321 §3.8 and §4.2.3: 421 may answer any command and is about the service, not about this message.
  { name: 'service closing', stage: 'envelope', reply: /^421$/, verdict: BUSY },
  // RFC 4954 §6: 454 temporary authentication failure.
  { name: 'login deferred', stage: 'envelope', codes: ['EAUTH'], reply: /^4/, verdict: BUSY },
  // RFC 4954 §6: 535 credentials invalid, 534 mechanism too weak …; nodemailer: EAUTH also without a reply (no password).
  { name: 'login refused', stage: 'envelope', codes: ['EAUTH'], verdict: AUTH },
  // RFC 4954 §6: a server that wants a login says so to MAIL FROM at the latest. Our setting is wrong, not the message.
  { name: 'login required', stage: 'envelope', codes: ['EENVELOPE'], reply: /^53[0458]$/, verdict: AUTH },
  // RFC 5321 §4.2.3: 503 bad sequence of commands: the session is out of step, nothing was said about the message.
  { name: 'session out of step', stage: 'envelope', codes: ['EENVELOPE'], reply: /^503$/, verdict: BUSY },
  // RFC 5321 §4.2.1: 4yz is transient, 5yz is permanent; §4.3.2 lists them by command.
  { name: 'sender deferred', stage: 'envelope', command: 'MAIL FROM', reply: /^4/, verdict: BUSY },
  { name: 'sender refused', stage: 'envelope', command: 'MAIL FROM', reply: /^5/, verdict: REFUSED },
  {
    name: 'recipient deferred',
    stage: 'envelope',
    command: 'RCPT TO',
    reply: /^4/,
    verdict: { kind: 'retry', reason: 'RECIPIENT_BUSY' },
  },
  {
    name: 'recipient refused',
    stage: 'envelope',
    command: 'RCPT TO',
    reply: /^5/,
    verdict: { kind: 'rejected', reason: 'RECIPIENT_REFUSED' },
  },
  { name: 'data command deferred', stage: 'envelope', command: 'DATA', reply: /^4/, verdict: BUSY },
  { name: 'data command refused', stage: 'envelope', command: 'DATA', reply: /^5/, verdict: REFUSED },
  // RFC 5321 §3.1 greeting, RFC 3207 §4 STARTTLS (454): nodemailer says EPROTOCOL, ECONNECTION or ETLS with the reply.
  {
    name: 'session deferred',
    stage: 'envelope',
    codes: ['EPROTOCOL', 'ECONNECTION', 'ETLS'],
    reply: /^4/,
    verdict: BUSY,
  },
  // No session: no address (EDNS), refused or reset (ESOCKET), greeting or reply overdue (ETIMEDOUT), closed (ECONNECTION),
  // TLS failed (ETLS, ESOCKET), 554 for a greeting (RFC 5321 §3.1) or no SMTP at all (EPROTOCOL, EENVELOPE).
  {
    name: 'no session',
    stage: 'envelope',
    codes: ['EDNS', 'ESOCKET', 'ETIMEDOUT', 'ECONNECTION', 'ETLS', 'EPROTOCOL', 'EENVELOPE'],
    verdict: UNREACHABLE,
  },

  // RFC 5321 §4.2.5: only with a 2yz reply to the end of the data does the server take the message over.
  { name: 'message deferred', stage: 'data', codes: ['EMESSAGE'], reply: /^(?:4|503$)/, verdict: BUSY },
  { name: 'message refused', stage: 'data', codes: ['EMESSAGE'], reply: /^5/, verdict: REFUSED },
  // From here on there is no final reply. Even a cut before the final dot stays unknown: what the kernel had sent, we
  // cannot see. RFC 5321 §4.5.3.2.6 has clients wait ten minutes for the reply; a worker's claim does not last that long.
  { name: 'no final reply', stage: 'data', codes: ['ETIMEDOUT', 'EMESSAGE', STOPPED, OUT_OF_TIME], verdict: NO_ANSWER },
  {
    name: 'connection lost',
    stage: 'data',
    codes: ['ECONNECTION', 'ESOCKET', 'EPROTOCOL'],
    verdict: { kind: 'unknown', reason: 'CONNECTION_LOST' },
  },
];

/** A failure that no rule foresees, such as a bug in the composing of the message: safe on either side of the data. */
const UNFORESEEN: Record<Stage, Rule> = {
  envelope: {
    name: 'unforeseen before the data',
    stage: 'envelope',
    verdict: { kind: 'retry', reason: 'SENDER_FAILED' },
  },
  data: { name: 'unforeseen after the data', stage: 'data', verdict: NO_ANSWER },
};

export function ruleFor(failure: Failure): Rule {
  return RULES.find((rule) => matches(rule, failure)) ?? UNFORESEEN[failure.stage];
}

export function outcomeOf(failure: Failure, raw: string | null): Outcome {
  const { verdict, afterMs = null } = ruleFor(failure);
  return verdict.kind === 'retry' ? { ...verdict, afterMs, raw } : { ...verdict, raw };
}

function matches(rule: Rule, failure: Failure): boolean {
  return (
    rule.stage === failure.stage &&
    (rule.codes === undefined || (failure.code !== null && rule.codes.includes(failure.code))) &&
    (rule.command === undefined || rule.command === failure.command) &&
    (rule.reply === undefined || (failure.reply !== null && rule.reply.test(String(failure.reply))))
  );
}
