import type { CommandContext } from './context.ts';
import { handle } from './handle.ts';
import { deliveryOf, recordReceipt } from './record-receipt.ts';
import { foldNotification, foldReceipt } from '../events/fold.ts';
import { metadata } from '../events/metadata.ts';
import type { Receipt } from '../events/outcome.ts';
import type { ReceiptEnding, ReceiptEvent, ReceiptState } from '../events/receipts.ts';
import { isNotificationId, streamOf } from '../ids.ts';

type ReceiptContext = Pick<CommandContext, 'log' | 'now' | 'ids'>;

/**
 * Everything that is recorded of receipts, bound to a log. What is answered is durable; the same receipt may come any
 * number of times. All of it rejects when the log does not answer: then the receipt has to come again.
 *
 * @throws DomainError UNAVAILABLE, CONFLICT
 */
export interface Receipts {
  /** Recorded: on record in its notification's stream, now or before. Parked: kept, because its attempt is unknown. */
  readonly receive: (receipt: Receipt) => Promise<'recorded' | 'parked'>;
  /** Another try at a parked receipt. */
  readonly retry: (receipt: Receipt) => Promise<'recorded' | 'unknown'>;
  /** Ends the tries at a parked receipt; nothing when they have ended. */
  readonly settle: (receipt: Receipt, outcome: ReceiptEnding) => Promise<void>;
}

export function createReceipts(context: ReceiptContext): Receipts {
  return {
    receive: async (receipt) => {
      if ((await record(context, receipt)) === 'recorded') return 'recorded';
      await append(context, receipt, (state) => park(state, receipt));
      return 'parked';
    },
    retry: (receipt) => record(context, receipt),
    settle: (receipt, outcome) => append(context, receipt, (state) => settle(state, outcome)),
  };
}

async function record({ log, ids, now }: ReceiptContext, receipt: Receipt): Promise<'recorded' | 'unknown'> {
  const { notificationId } = receipt;
  if (!isNotificationId(notificationId)) return 'unknown';
  const aggregate = { stream: streamOf.notification(notificationId), fold: foldNotification };
  const { state } = await handle({ log, newId: ids.random }, aggregate, (current) => {
    const decided = recordReceipt(current, receipt, now());
    return decided === 'unknown' ? [] : decided;
  });
  return deliveryOf(state, receipt) === null ? 'unknown' : 'recorded';
}

/** Nothing while it is parked: the same receipt is kept once. One that comes again after it was given up is kept again. */
function park(state: ReceiptState | null, receipt: Receipt): ReceiptEvent | null {
  return state?.settled === null ? null : { type: 'ReceiptParked', data: { receipt } };
}

function settle(state: ReceiptState | null, outcome: ReceiptEnding): ReceiptEvent | null {
  return state?.settled === null ? { type: 'ReceiptSettled', data: { outcome } } : null;
}

/** Whose a receipt is nobody knows until its attempt is known. */
const NOBODY = '';

async function append(
  { log, ids, now }: ReceiptContext,
  receipt: Receipt,
  decide: (state: ReceiptState | null) => ReceiptEvent | null,
): Promise<void> {
  const stream = parkedStreamOf(receipt);
  await handle({ log, newId: ids.random }, { stream, fold: foldReceipt }, (state) => {
    const event = decide(state);
    const origin = { tenant: NOBODY, correlationId: stream, causationId: state?.lastEventId ?? stream };
    return event === null ? [] : [{ event, metadata: metadata(origin, now()) }];
  });
}

/** The same receipt has the same stream; `raw` tells apart what was said of one message. */
function parkedStreamOf({ provider, notificationId, deliveryId, attempt, providerMessageId, raw }: Receipt): string {
  return streamOf.receipt(provider, notificationId, deliveryId, String(attempt), providerMessageId ?? '', raw);
}
