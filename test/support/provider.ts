import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';

/** A provider that behaves as the test says, and remembers what reached it. */
export interface ScriptedProvider {
  readonly sender: Sender;
  /** Messages that were accepted, whether or not the caller heard of it. */
  readonly accepted: readonly Message[];
  /** Calls of `send`, accepted or not. */
  readonly calls: readonly Message[];
  /** The most calls for one delivery that were ever under way at once. */
  readonly mostAtOnce: () => number;
}

/** `silently`: accepts without an answer. */
export type Behaviour = Outcome | { readonly kind: 'silently' };

export const ACCEPT: Outcome = { kind: 'sent', providerMessageId: '<id@provider>', raw: '250 OK' };
export const BUSY: Outcome = { kind: 'retry', reason: 'PROVIDER_BUSY', afterMs: null, raw: '451 later' };
export const REFUSE: Outcome = { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: '550 no' };
export const SILENT_LOSS: Outcome = { kind: 'unknown', reason: 'NO_ANSWER', raw: null };
const NO_ANSWER = SILENT_LOSS;

export function scriptedProvider(
  behave: (message: Message, call: number) => Behaviour | Promise<Behaviour>,
): ScriptedProvider {
  const accepted: Message[] = [];
  const calls: Message[] = [];
  const running = new Map<string, number>();
  let most = 0;
  const send = async (message: Message): Promise<Outcome> => {
    calls.push(message);
    const atOnce = (running.get(message.deliveryId) ?? 0) + 1;
    running.set(message.deliveryId, atOnce);
    most = Math.max(most, atOnce);
    const behaviour = await behave(message, calls.length);
    if (behaviour.kind === 'sent' || behaviour.kind === 'silently') accepted.push(message);
    running.set(message.deliveryId, atOnce - 1);
    return behaviour.kind === 'silently' ? NO_ANSWER : behaviour;
  };
  return { sender: { provider: 'scripted', channel: 'EMAIL', send }, accepted, calls, mostAtOnce: () => most };
}
