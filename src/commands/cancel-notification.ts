import type { CancelOutcome } from './commands.ts';
import type { Draft } from './handle.ts';
import { cancelReason } from './record-outcome.ts';
import type { Metadata } from '../events/event.ts';
import { deliveryMetadata } from '../events/metadata.ts';
import type { DeliveryState } from '../events/delivery.ts';
import type { NotificationState } from '../events/notification.ts';
import { hasEnded } from '../events/delivery.ts';

/**
 * What cancelling records: the cancellation, and the end of every delivery that no attempt is running for. A running
 * attempt is left to end by itself; it sees the cancellation and is not followed by another. Nothing when there is
 * nothing left to cancel.
 */
export function cancelNotification(state: NotificationState, metadata: Metadata, now: number): readonly Draft[] {
  const open = state.deliveries.filter((each) => !hasEnded(each));
  if (state.cancelled || (state.routed && open.length === 0)) return [];
  return [
    { event: { type: 'NotificationCancelled', data: {} }, metadata },
    ...open
      .filter(({ claimUntil }) => claimUntil === null)
      .map((delivery) => ({
        event: {
          type: 'DeliveryCancelled',
          data: { deliveryId: delivery.id, reason: cancelReason(delivery) },
        } as const,
        metadata: { ...deliveryMetadata(state, delivery, delivery.provider, now), ...originOf(metadata) },
      })),
  ];
}

function originOf({ correlationId, causationId }: Metadata): Pick<Metadata, 'correlationId' | 'causationId'> {
  return { correlationId, causationId };
}

/** The definite answer for one delivery of a cancelled notification. */
export function cancelOutcome(delivery: DeliveryState): CancelOutcome {
  if (delivery.sentAt !== null) return 'TOO_LATE';
  return delivery.inDoubt || delivery.claimUntil !== null ? 'IN_DOUBT' : 'CANCELLED';
}
