import type { Draft } from './handle.ts';
import { deliveryMetadata } from '../events/metadata.ts';
import type { DeliveryState } from '../events/delivery.ts';
import type { NotificationState } from '../events/notification.ts';
import type { DeliveryEvent } from '../events/notifications.ts';
import type { Receipt } from '../events/outcome.ts';

/**
 * What is to be recorded of a receipt: every verdict on an attempt once, whatever became of the delivery meanwhile and
 * whatever other receipts said, for the fold makes one status of it all. Nothing when it is on record already;
 * `unknown` when the attempt is not.
 */
export function recordReceipt(
  state: NotificationState | null,
  receipt: Receipt,
  now: number,
): readonly Draft[] | 'unknown' {
  const delivery = deliveryOf(state, receipt);
  if (state === null || delivery === null) return 'unknown';
  const event = newsIn(delivery, receipt);
  return event === null ? [] : [{ event, metadata: deliveryMetadata(state, delivery, receipt.provider, now) }];
}

/** The delivery that the receipt's attempt was made at; null when no such attempt is on record. */
export function deliveryOf(state: NotificationState | null, { deliveryId, attempt }: Receipt): DeliveryState | null {
  const delivery = state?.deliveries.find(({ id }) => id === deliveryId);
  return delivery !== undefined && attempt >= 1 && attempt <= delivery.attempts ? delivery : null;
}

function newsIn(delivery: DeliveryState, receipt: Receipt): DeliveryEvent | null {
  const { deliveryId, attempt, provider, providerMessageId, raw, verdict } = receipt;
  const data = { deliveryId, attempt, provider, providerMessageId, raw };
  switch (verdict.kind) {
    case 'accepted':
      return delivery.accepted.includes(attempt) ? null : { type: 'DeliverySent', data: { ...data, byReceipt: true } };
    case 'delivered':
      return delivery.delivered.includes(attempt) ? null : { type: 'DeliveryDelivered', data };
    case 'bounced': {
      const isKnown = delivery.bounces.some((bounce) => bounce.attempt === attempt);
      return isKnown ? null : { type: 'DeliveryBounced', data: { ...data, reason: verdict.reason } };
    }
  }
}
