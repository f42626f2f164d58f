import type { Draft } from './handle.ts';
import type { DeliveryPolicy } from './delivery-policy.ts';
import { mayRetry } from './delivery-policy.ts';
import { deliveryMetadata } from '../events/metadata.ts';
import type { DeliveryState } from '../events/delivery.ts';
import type { NotificationState } from '../events/notification.ts';
import { hasEnded } from '../events/delivery.ts';
import type { DeliveryEvent } from '../events/notifications.ts';

/** One attempt that a job asks for. */
export interface ClaimRequest {
  readonly tenant: string;
  readonly notificationId: string;
  readonly deliveryId: string;
  readonly attempt: number;
}

/** What the job has come to: `drafts` are to be recorded first, and the rest holds only if that succeeds. */
export type Claim =
  /** The attempt is ours to make until `claimUntil` (milliseconds since the epoch). */
  | {
      readonly kind: 'claimed';
      readonly attempt: number;
      readonly claimUntil: number;
      readonly drafts: readonly Draft[];
    }
  /** Nothing (more) to do for this job. */
  | { readonly kind: 'done'; readonly drafts: readonly Draft[] }
  /** Somebody else is at it, or it is too early. */
  | { readonly kind: 'later'; readonly afterMs: number; readonly drafts: readonly [] }
  /** The log knows of no such delivery: the job is forged, or from another log. */
  | { readonly kind: 'foreign'; readonly drafts: readonly [] };

/** What a claim is decided by besides the record of the notification. */
export interface ClaimContext {
  readonly policy: DeliveryPolicy;
  readonly now: number;
  /** The user is no longer reached where the delivery goes. */
  readonly isAddressGone: boolean;
}

interface Situation extends ClaimContext {
  readonly state: NotificationState;
  readonly delivery: DeliveryState;
}

/**
 * Decides on the record alone whether a job may become an attempt. Whoever appends the resulting DeliveryAttempted at
 * the version that was read has the claim; everybody else reads again and finds it running.
 */
export function claimDelivery(state: NotificationState | null, request: ClaimRequest, context: ClaimContext): Claim {
  const delivery = state?.deliveries.find(({ id }) => id === request.deliveryId);
  if (state?.tenant !== request.tenant || delivery === undefined) return { kind: 'foreign', drafts: [] };
  if (hasEnded(delivery) || delivery.status === 'HELD' || isStale(delivery, request.attempt)) return done([]);
  const situation = { state, delivery, ...context };
  const waitMs = waitFor(situation);
  if (waitMs > 0) return { kind: 'later', afterMs: waitMs, drafts: [] };
  return delivery.claimUntil === null ? claimUnlessPast(situation, []) : afterLostClaim(situation);
}

/** An earlier attempt's job: its attempt was made and its outcome recorded. A claim without an outcome is still that job's. */
function isStale({ attempts, claimUntil }: DeliveryState, attempt: number): boolean {
  return attempt < attempts || (attempt === attempts && claimUntil === null);
}

function waitFor({ state, delivery, policy, now }: Situation): number {
  if (delivery.claimUntil !== null) return Math.min(Date.parse(delivery.claimUntil) - now, policy.busyMs);
  const due = delivery.retryAt ?? state.request.deliverAt;
  return due === null ? 0 : Date.parse(due) - now;
}

/** The claim ran out and nobody recorded what became of it: the provider may or may not have the message. */
function afterLostClaim(situation: Situation): Claim {
  const { state, delivery, policy } = situation;
  const reason = 'CLAIM_RAN_OUT';
  const { attempts: attempt, id: deliveryId } = delivery;
  const doubt = draft(situation, {
    type: 'DeliveryOutcomeUnknown',
    data: { deliveryId, attempt, reason, raw: null, retryAt: null },
  });
  if (state.cancelled) {
    const cancelled = { type: 'DeliveryCancelled', data: { deliveryId, reason: 'ATTEMPT_IN_DOUBT' } } as const;
    return done([doubt, draft(situation, cancelled)]);
  }
  if (policy.doubt === 'HOLD')
    return done([doubt, draft(situation, { type: 'DeliveryHeld', data: { deliveryId, reason } })]);
  if (!mayRetry(policy, delivery.failures + 1)) {
    const dead = { type: 'DeliveryDeadLettered', data: { deliveryId, attempt, reason, raw: null } } as const;
    return done([doubt, draft(situation, dead)]);
  }
  return claimUnlessPast(situation, [doubt]);
}

function claimUnlessPast(situation: Situation, before: readonly Draft[]): Claim {
  const { state, delivery, policy, now, isAddressGone } = situation;
  const deliveryId = delivery.id;
  const { expiresAt } = state.request;
  if (expiresAt !== null && Date.parse(expiresAt) <= now) {
    return done([...before, draft(situation, { type: 'DeliveryExpired', data: { deliveryId, expiresAt } })]);
  }
  if (isAddressGone) {
    const reason = delivery.channel === 'PUSH' ? 'DEVICE_GONE' : 'ADDRESS_GONE';
    const suppressed = { type: 'DeliverySuppressed', data: { deliveryId, reason } } as const;
    return done([...before, draft(situation, suppressed)]);
  }
  const attempt = delivery.attempts + 1;
  const claimUntil = now + policy.claimMs;
  const data = { deliveryId, attempt, claimUntil: new Date(claimUntil).toISOString() };
  return {
    kind: 'claimed',
    attempt,
    claimUntil,
    drafts: [...before, draft(situation, { type: 'DeliveryAttempted', data })],
  };
}

function done(drafts: readonly Draft[]): Claim {
  return { kind: 'done', drafts };
}

function draft({ state, delivery, now }: Situation, event: DeliveryEvent): Draft {
  return { event, metadata: deliveryMetadata(state, delivery, delivery.provider, now) };
}
