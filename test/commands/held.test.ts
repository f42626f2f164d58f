import { describe, expect, it } from 'vitest';
import { claimDelivery } from '../../src/commands/claim-delivery.ts';
import type { DeliveryPolicy } from '../../src/commands/delivery-policy.ts';
import { recordOutcome } from '../../src/commands/record-outcome.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import type { Outcome } from '../../src/events/outcome.ts';
import { attempted, DELIVERY, given, NOTIFICATION, outcomeUnknown, requested, routed, T0 } from '../support/given.ts';
import { ACCEPT, BUSY, REFUSE, SILENT_LOSS } from '../support/provider.ts';

const POLICY: DeliveryPolicy = { retryDelaysMs: [30_000], doubt: 'RESEND', claimMs: 25_000, busyMs: 5_000 };
const held: NotificationEvent = { type: 'DeliveryHeld', data: { deliveryId: DELIVERY, reason: 'NO_ANSWER' } };
const state = given(requested(), routed(), attempted(), outcomeUnknown(1, null), held);

function recorded(outcome: Outcome): readonly string[] {
  const made = { deliveryId: DELIVERY, attempt: 1, provider: 'smtp', outcome };
  return recordOutcome(state, made, POLICY, T0).map(({ event }) => event.type);
}

describe('a held delivery', () => {
  it('is claimed by no job, whatever attempt it asks for and whatever the policy says now', () => {
    for (const attempt of [1, 2, 3]) {
      const job = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt };
      expect(claimDelivery(state, job, { policy: POLICY, now: T0 + 3_600_000, isAddressGone: false })).toEqual({
        kind: 'done',
        drafts: [],
      });
    }
  });

  it('is changed by nothing that its attempt tells late, except that it was sent', () => {
    for (const outcome of [BUSY, REFUSE, SILENT_LOSS]) expect(recorded(outcome)).toEqual([]);
    expect(recorded(ACCEPT)).toEqual(['DeliverySent']);
  });
});
