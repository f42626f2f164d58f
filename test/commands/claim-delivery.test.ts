import { describe, expect, it } from 'vitest';
import { claimDelivery, type Claim } from '../../src/commands/claim-delivery.ts';
import type { DeliveryPolicy } from '../../src/commands/delivery-policy.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import {
  attempted,
  cancelled,
  DELIVERY,
  failures,
  given,
  NOTIFICATION,
  POLICY,
  outcomeUnknown,
  requested,
  retryScheduled,
  routed,
  sent,
  T0,
  at,
} from '../support/given.ts';

const HOLD: DeliveryPolicy = { ...POLICY, doubt: 'HOLD' };

function claimAt(
  ms: number,
  state: NotificationState | null,
  attempt = 1,
  { policy = POLICY, isAddressGone = false } = {},
): Claim {
  return claimDelivery(
    state,
    { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt },
    { policy, now: T0 + ms, isAddressGone },
  );
}

function types(claim: Claim): readonly string[] {
  return claim.drafts.map(({ event }) => event.type);
}

describe('a job that asks for an attempt', () => {
  it('gets it when the delivery is queued, until the claim runs out', () => {
    const claim = claimAt(100, given(requested(), routed()));
    expect(claim).toMatchObject({ kind: 'claimed', attempt: 1, claimUntil: T0 + 25_100 });
    expect(claim.drafts[0]?.event).toEqual({
      type: 'DeliveryAttempted',
      data: { deliveryId: DELIVERY, attempt: 1, claimUntil: at(25_100) },
    });
  });

  it('waits while another attempt runs, five seconds at most', () => {
    const running = given(requested(), routed(), attempted(1, 25_000));
    expect(claimAt(1_000, running)).toEqual({ kind: 'later', afterMs: 5_000, drafts: [] });
    expect(claimAt(23_000, running)).toEqual({ kind: 'later', afterMs: 2_000, drafts: [] });
  });

  it('has nothing to do once the delivery has ended', () => {
    expect(claimAt(0, given(requested(), routed(), attempted(), sent()), 2)).toEqual({ kind: 'done', drafts: [] });
  });

  it('is stale once the outcome of its attempt was recorded', () => {
    const retrying = given(requested(), routed(), attempted(), retryScheduled(1, 30_000));
    expect(claimAt(40_000, retrying, 1)).toEqual({ kind: 'done', drafts: [] });
  });

  it('waits for the time of the retry', () => {
    const retrying = given(requested(), routed(), attempted(), retryScheduled(1, 30_000));
    expect(claimAt(20_000, retrying, 2)).toEqual({ kind: 'later', afterMs: 10_000, drafts: [] });
    expect(claimAt(30_000, retrying, 2)).toMatchObject({ kind: 'claimed', attempt: 2 });
  });

  it('waits for the time of delivery', () => {
    expect(claimAt(0, given(requested({ deliverAt: at(60_000) }), routed()))).toMatchObject({
      kind: 'later',
      afterMs: 60_000,
    });
  });

  it('finds the delivery expired, and that is recorded', () => {
    const claim = claimAt(5_000, given(requested({ expiresAt: at(5_000) }), routed()));
    expect(claim.kind).toBe('done');
    expect(types(claim)).toEqual(['DeliveryExpired']);
  });

  it('is foreign when the log knows no such notification, delivery or tenant', () => {
    const state = given(requested(), routed());
    const job = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt: 1 };
    expect(claimAt(0, null).kind).toBe('foreign');
    expect(
      claimDelivery(state, { ...job, tenant: 'other' }, { policy: POLICY, now: T0, isAddressGone: false }).kind,
    ).toBe('foreign');
    expect(
      claimDelivery(state, { ...job, deliveryId: 'other' }, { policy: POLICY, now: T0, isAddressGone: false }).kind,
    ).toBe('foreign');
  });
});

describe('a claim that ran out without an outcome', () => {
  const lost = given(requested(), routed(), attempted(1, 25_000));

  it('is recorded as in doubt and tried again under RESEND, in one append', () => {
    const claim = claimAt(25_000, lost, 1);
    expect(claim).toMatchObject({ kind: 'claimed', attempt: 2 });
    expect(types(claim)).toEqual(['DeliveryOutcomeUnknown', 'DeliveryAttempted']);
  });

  it('is taken up by the job of the next attempt as well', () => {
    expect(claimAt(25_000, lost, 2)).toMatchObject({ kind: 'claimed', attempt: 2 });
  });

  it('is held under HOLD', () => {
    const claim = claimAt(25_000, lost, 1, { policy: HOLD });
    expect(claim.kind).toBe('done');
    expect(types(claim)).toEqual(['DeliveryOutcomeUnknown', 'DeliveryHeld']);
  });

  it('ends in doubt when the notification was cancelled meanwhile', () => {
    const claim = claimAt(25_000, given(requested(), routed(), attempted(1, 25_000), cancelled));
    expect(types(claim)).toEqual(['DeliveryOutcomeUnknown', 'DeliveryCancelled']);
    expect(claim.drafts[1]?.event.data).toMatchObject({ reason: 'ATTEMPT_IN_DOUBT' });
  });

  it('is dead-lettered after the last attempt', () => {
    const claim = claimAt(25_000, given(requested(), routed(), ...failures(3), attempted(4, 25_000)), 4);
    expect(types(claim)).toEqual(['DeliveryOutcomeUnknown', 'DeliveryDeadLettered']);
  });

  it('expires instead of being tried again too late', () => {
    const claim = claimAt(25_000, given(requested({ expiresAt: at(20_000) }), routed(), attempted(1, 25_000)));
    expect(types(claim)).toEqual(['DeliveryOutcomeUnknown', 'DeliveryExpired']);
  });
});

describe('a delivery in doubt', () => {
  it('waits for its time like any retry', () => {
    const doubtful = given(requested(), routed(), attempted(), outcomeUnknown(1, 30_000));
    expect(claimAt(10_000, doubtful, 2)).toMatchObject({ kind: 'later', afterMs: 20_000 });
    expect(claimAt(30_000, doubtful, 2)).toMatchObject({ kind: 'claimed', attempt: 2 });
  });

  it('is not claimed for a device that its user no longer has: suppressed on record, and never sent', () => {
    const claim = claimAt(0, given(requested(), routed({ channel: 'PUSH', platform: 'IOS' })), 1, {
      isAddressGone: true,
    });
    expect(claim).toMatchObject({ kind: 'done', drafts: [{ event: { type: 'DeliverySuppressed' } }] });
    expect(claim.drafts[0]?.event.data).toEqual({ deliveryId: DELIVERY, reason: 'DEVICE_GONE' });
  });
});
