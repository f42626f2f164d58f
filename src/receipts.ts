import type { Api, ReceiptOutcome, ReceiptRequest } from './api/options.ts';
import type { Keys } from './commands/context.ts';
import type { Receipts } from './commands/receipts.ts';
import type { Config } from './config.ts';
import type { Providers, ReceiptAddress } from './providers.ts';
import { readTwilioReceipt } from './senders/sms-twilio-receipt.ts';

export interface LateReceiptAddress extends ReceiptAddress {
  /** To be called once the API is open, before the first message is sent. */
  readonly listenAt: (api: Api) => void;
}

/** A real provider reaches us at PUBLIC_URL or not at all; the sandbox is on this machine. */
export function openReceiptAddress(config: Config, keys: Keys): LateReceiptAddress {
  let api: Api | null = null;
  const base = (): string | null => (config.sms.kind === 'sandbox' ? (api?.url ?? null) : config.publicUrl);
  return {
    listenAt: (opened) => void (api = opened),
    callback: (attempt) => {
      const at = base();
      return at === null ? null : `${at}/receipts/twilio/${keys.receiptToken(attempt)}`;
    },
    reach: (url) => (api === null || !url.startsWith(api.url) ? null : api.listening + url.slice(api.url.length)),
  };
}

/** Believes only what carries our own signature in its address and the provider's over all of it. */
export function receiveReceipt(
  { twilio }: Pick<Providers, 'twilio'>,
  keys: Keys,
  receipts: Receipts,
): (request: ReceiptRequest) => Promise<ReceiptOutcome> {
  return async ({ provider, token, url, signature, body }) => {
    if (provider !== 'twilio' || twilio === null) return 'unknown-provider';
    // Our own signature first: it costs nothing, and whoever lacks it is not worth any more work.
    const attempt = keys.readReceiptToken(token);
    if (attempt === null) return 'forged';
    const said = readTwilioReceipt(twilio, { url, signature, body });
    if (said.kind === 'forged') return 'forged';
    if (said.kind === 'ignored') return 'ignored';
    const { providerMessageId, verdict, raw } = said;
    return receipts.receive({ ...attempt, provider, providerMessageId, verdict, raw });
  };
}
