import type { Outcome } from './outcome.ts';

/** What a failed attempt comes to. */
export type Verdict =
  | Pick<Extract<Outcome, { kind: 'retry' }>, 'kind' | 'reason'>
  | Pick<Extract<Outcome, { kind: 'rejected' }>, 'kind' | 'reason'>
  | Pick<Extract<Outcome, { kind: 'unknown' }>, 'kind' | 'reason'>;

/** What each rule of a sender says of the failures that it matches; docs/providers.md lists all rules. */
export interface Ruling {
  readonly name: string;
  readonly verdict: Verdict;
  /** The pause to ask for before another attempt when the provider asks for none, in milliseconds; absent: the retry schedule's. */
  readonly afterMs?: number;
  /** Where it is written, as URLs; none where it is about ourselves. */
  readonly sources: readonly string[];
}

export function rfc(number: number, section: string): string {
  return `https://www.rfc-editor.org/rfc/rfc${String(number)}#section-${section}`;
}

/** Node.js's codes for a connection that did not come about. */
export const SYSTEM_ERRORS = 'https://nodejs.org/api/errors.html#common-system-errors';

/** Verdicts that more than one provider comes to. */
export const UNREACHABLE = { kind: 'retry', reason: 'PROVIDER_UNREACHABLE' } as const;
export const BUSY = { kind: 'retry', reason: 'PROVIDER_BUSY' } as const;
export const AUTH = { kind: 'retry', reason: 'PROVIDER_AUTH' } as const;
export const GIVEN_UP = { kind: 'retry', reason: 'SENDER_STOPPED' } as const;
export const CROWDED = { kind: 'retry', reason: 'SENDER_BUSY' } as const;
export const OUR_FAULT = { kind: 'retry', reason: 'SENDER_FAILED' } as const;
export const REFUSED = { kind: 'rejected', reason: 'MESSAGE_REFUSED' } as const;
export const ADDRESS_REFUSED = { kind: 'rejected', reason: 'RECIPIENT_REFUSED' } as const;
export const TOO_LONG = { kind: 'rejected', reason: 'MESSAGE_TOO_LONG' } as const;
export const NO_ANSWER = { kind: 'unknown', reason: 'NO_ANSWER' } as const;
export const LOST = { kind: 'unknown', reason: 'CONNECTION_LOST' } as const;
export const FAILED = { kind: 'unknown', reason: 'PROVIDER_FAILED' } as const;

/** @param askedMs The pause that the provider asked for; null: none. */
export function outcomeBy(
  ruling: Pick<Ruling, 'verdict' | 'afterMs'>,
  raw: string | null,
  askedMs: number | null,
): Outcome {
  const { verdict, afterMs = null } = ruling;
  return verdict.kind === 'rejected' ? { ...verdict, raw } : { ...verdict, afterMs: askedMs ?? afterMs, raw };
}
