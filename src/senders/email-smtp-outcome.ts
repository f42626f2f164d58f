import { EXPIRED, NO_PLACE, OUT_OF_TIME, STOPPED } from './limit.ts';
import type { Outcome } from './outcome.ts';
import {
  ADDRESS_REFUSED,
  AUTH,
  BUSY,
  CROWDED,
  GIVEN_UP,
  LOST,
  NO_ANSWER,
  OUR_FAULT,
  outcomeBy,
  REFUSED,
  rfc,
  type Ruling,
  UNREACHABLE,
} from './verdict.ts';

/**
 * How far an attempt had come when it failed. `envelope`: not one byte of the message's data was handed to a connection,
 * so nobody can have accepted it. `data`: at least one was, and only a final reply tells what became of it.
 */
export type Stage = 'envelope' | 'data';

/** A failed attempt, as nodemailer 10 reports it. */
export interface Failure {
  readonly stage: Stage;
  /** Nodemailer's error code, or one of ours from limit.ts. */
  readonly code: string | null;
  /** The command that the reply answered: `MAIL FROM`, `RCPT TO`, `DATA`, …; `CONN` for the connection as such. */
  readonly command: string | null;
  /** The server's reply code (RFC 5321 §4.2), null when it gave none. */
  readonly reply: number | null;
}

export interface Rule extends Ruling {
  readonly stage: Stage;
  /** Any of them; absent: any at all. */
  readonly codes?: readonly string[];
  readonly command?: string;
  /** The reply code as a pattern; a rule with one does not match a failure without a reply. */
  readonly reply?: RegExp;
}

/** 4yz is transient, 5yz is permanent; and which replies there are to which command. */
const REPLIES = [rfc(5321, '4.2.1'), rfc(5321, '4.3.2')];
/** Nodemailer's error codes. */
const NODEMAILER = 'https://nodemailer.com/errors';

/** The first rule that matches decides. `retry` and `rejected` only where the server certainly did not accept. */
export const RULES: readonly Rule[] = [
  { name: 'stopped before the data', stage: 'envelope', codes: [STOPPED], verdict: GIVEN_UP, sources: [] },
  { name: 'no free connection', stage: 'envelope', codes: [NO_PLACE], verdict: CROWDED, afterMs: 5_000, sources: [] },
  // Tried again at once, which ends the delivery: it has expired.
  { name: 'expired while waiting', stage: 'envelope', codes: [EXPIRED], verdict: CROWDED, sources: [] },
  { name: 'out of time before the data', stage: 'envelope', codes: [OUT_OF_TIME], verdict: BUSY, sources: [] },
  // 421 may answer any command and is about the service, not about this message.
  {
    name: 'service closing',
    stage: 'envelope',
    reply: /^421$/,
    verdict: BUSY,
    sources: [rfc(5321, '3.8'), rfc(5321, '4.2.3')],
  },
  // 454 temporary authentication failure.
  {
    name: 'login deferred',
    stage: 'envelope',
    codes: ['EAUTH'],
    reply: /^4/,
    verdict: BUSY,
    sources: [rfc(4954, '6')],
  },
  // 535 credentials invalid, 534 mechanism too weak …; nodemailer: EAUTH also without a reply (no password).
  { name: 'login refused', stage: 'envelope', codes: ['EAUTH'], verdict: AUTH, sources: [rfc(4954, '6')] },
  // A server that wants a login says so to MAIL FROM at the latest. Our setting is wrong, not the message.
  {
    name: 'login required',
    stage: 'envelope',
    codes: ['EENVELOPE'],
    reply: /^53[0458]$/,
    verdict: AUTH,
    sources: [rfc(4954, '6')],
  },
  // 503 bad sequence of commands: the session is out of step, nothing was said about the message.
  {
    name: 'session out of step',
    stage: 'envelope',
    codes: ['EENVELOPE'],
    reply: /^503$/,
    verdict: BUSY,
    sources: [rfc(5321, '4.2.3')],
  },
  {
    name: 'sender deferred',
    stage: 'envelope',
    command: 'MAIL FROM',
    reply: /^4/,
    verdict: BUSY,
    sources: REPLIES,
  },
  {
    name: 'sender refused',
    stage: 'envelope',
    command: 'MAIL FROM',
    reply: /^5/,
    verdict: REFUSED,
    sources: REPLIES,
  },
  {
    name: 'recipient deferred',
    stage: 'envelope',
    command: 'RCPT TO',
    reply: /^4/,
    verdict: { kind: 'retry', reason: 'RECIPIENT_BUSY' },
    sources: REPLIES,
  },
  {
    name: 'recipient refused',
    stage: 'envelope',
    command: 'RCPT TO',
    reply: /^5/,
    verdict: ADDRESS_REFUSED,
    sources: REPLIES,
  },
  {
    name: 'data command deferred',
    stage: 'envelope',
    command: 'DATA',
    reply: /^4/,
    verdict: BUSY,
    sources: REPLIES,
  },
  {
    name: 'data command refused',
    stage: 'envelope',
    command: 'DATA',
    reply: /^5/,
    verdict: REFUSED,
    sources: REPLIES,
  },
  // The greeting, or 454 to STARTTLS: nodemailer says EPROTOCOL, ECONNECTION or ETLS with the reply.
  {
    name: 'session deferred',
    stage: 'envelope',
    codes: ['EPROTOCOL', 'ECONNECTION', 'ETLS'],
    reply: /^4/,
    verdict: BUSY,
    sources: [rfc(5321, '3.1'), rfc(3207, '4')],
  },
  // No session: no address (EDNS), refused or reset (ESOCKET), greeting or reply overdue (ETIMEDOUT), closed (ECONNECTION),
  // TLS failed (ETLS, ESOCKET), 554 for a greeting or no SMTP at all (EPROTOCOL, EENVELOPE).
  {
    name: 'no session',
    stage: 'envelope',
    codes: ['EDNS', 'ESOCKET', 'ETIMEDOUT', 'ECONNECTION', 'ETLS', 'EPROTOCOL', 'EENVELOPE'],
    verdict: UNREACHABLE,
    sources: [rfc(5321, '3.1'), NODEMAILER],
  },

  // Only with a 2yz reply to the end of the data does the server take the message over.
  {
    name: 'message deferred',
    stage: 'data',
    codes: ['EMESSAGE'],
    reply: /^(?:4|503$)/,
    verdict: BUSY,
    sources: [rfc(5321, '4.2.5')],
  },
  {
    name: 'message refused',
    stage: 'data',
    codes: ['EMESSAGE'],
    reply: /^5/,
    verdict: REFUSED,
    sources: [rfc(5321, '4.2.5')],
  },
  // From here on there is no final reply. Even a cut before the final dot stays unknown: what the kernel had sent, we
  // cannot see. Clients are to wait ten minutes for the reply; a worker's claim does not last that long.
  {
    name: 'no final reply',
    stage: 'data',
    codes: ['ETIMEDOUT', 'EMESSAGE', STOPPED, OUT_OF_TIME],
    verdict: NO_ANSWER,
    sources: [rfc(5321, '4.5.3.2.6')],
  },
  {
    name: 'connection lost',
    stage: 'data',
    codes: ['ECONNECTION', 'ESOCKET', 'EPROTOCOL'],
    verdict: LOST,
    sources: [rfc(5321, '4.2.5')],
  },
];

/** A failure that no rule foresees, such as a bug in the composing of the message: safe on either side of the data. */
export const UNFORESEEN: Record<Stage, Rule> = {
  envelope: { name: 'unforeseen before the data', stage: 'envelope', verdict: OUR_FAULT, sources: [] },
  data: { name: 'unforeseen after the data', stage: 'data', verdict: NO_ANSWER, sources: [] },
};

export function ruleFor(failure: Failure): Rule {
  return RULES.find((rule) => matches(rule, failure)) ?? UNFORESEEN[failure.stage];
}

export function outcomeOf(failure: Failure, raw: string | null): Outcome {
  return outcomeBy(ruleFor(failure), raw, null);
}

function matches(rule: Rule, failure: Failure): boolean {
  return (
    rule.stage === failure.stage &&
    (rule.codes === undefined || (failure.code !== null && rule.codes.includes(failure.code))) &&
    (rule.command === undefined || rule.command === failure.command) &&
    (rule.reply === undefined || (failure.reply !== null && rule.reply.test(String(failure.reply))))
  );
}
