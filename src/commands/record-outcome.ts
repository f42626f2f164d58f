import type { DeliveryPolicy } from './delivery-policy.ts';
import { mayRetry, retryDelayMs } from './delivery-policy.ts';
import type { Draft } from './handle.ts';
import { deliveryMetadata } from '../events/metadata.ts';
import type { DeliveryState } from '../events/delivery.ts';
import type { NotificationState } from '../events/notification.ts';
import { hasEnded } from '../events/delivery.ts';
import type { CancelReason, DeliveryEvent } from '../events/notifications.ts';
import type { Outcome, RetryReason, UnknownReason } from '../events/outcome.ts';
import { isOurs } from '../events/outcome.ts';

/** One attempt that was made, and what became of it. */
export interface AttemptMade {
  readonly deliveryId: string;
  readonly attempt: number;
  readonly provider: string;
  readonly outcome: Outcome;
}

interface Situation {
  readonly state: NotificationState;
  readonly delivery: DeliveryState;
  readonly made: AttemptMade;
  readonly policy: DeliveryPolicy;
  readonly now: number;
}

/**
 * What is to be recorded of an attempt. Acceptance is a fact and is recorded whatever happened meanwhile; any other
 * outcome only while the attempt is still the delivery's last word.
 */
export function recordOutcome(
  state: NotificationState | null,
  made: AttemptMade,
  policy: DeliveryPolicy,
  now: number,
): readonly Draft[] {
  const delivery = state?.deliveries.find(({ id }) => id === made.deliveryId);
  if (state === null || delivery === undefined) return [];
  const events = decide({ state, delivery, made, policy, now });
  return events.map((event) => ({ event, metadata: deliveryMetadata(state, delivery, made.provider, now) }));
}

function decide(situation: Situation): readonly DeliveryEvent[] {
  const { delivery, made } = situation;
  const { outcome, deliveryId, attempt, provider } = made;
  if (outcome.kind === 'sent') {
    if (delivery.sent.includes(attempt)) return [];
    const { providerMessageId, raw, sms } = outcome;
    const data = { deliveryId, attempt, provider, providerMessageId, raw, ...(sms !== undefined && { sms }) };
    return [{ type: 'DeliverySent', data }];
  }
  // A receipt for an earlier attempt has ended the delivery meanwhile: this one may be a duplicate all the same.
  if (outcome.kind === 'unknown' && isNewDoubt(delivery, attempt)) return [unknown(situation, outcome, null)];
  if (hasEnded(delivery) || delivery.status === 'HELD' || delivery.attempts !== attempt || delivery.claimUntil === null)
    return [];
  switch (outcome.kind) {
    case 'rejected':
      return [{ type: 'DeliveryRejected', data: { deliveryId, attempt, reason: outcome.reason, raw: outcome.raw } }];
    case 'retry':
      return [afterFailure(situation, outcome)];
    case 'unknown':
      return afterDoubt(situation, outcome);
  }
}

function isNewDoubt({ accepted, doubtful, attempts }: DeliveryState, attempt: number): boolean {
  return accepted.length > 0 && attempt === attempts && !accepted.includes(attempt) && !doubtful.includes(attempt);
}

type Unknown = Outcome & { readonly kind: 'unknown' };

function unknown({ made }: Situation, { reason, raw }: Unknown, retryAt: string | null): DeliveryEvent {
  const { deliveryId, attempt } = made;
  return { type: 'DeliveryOutcomeUnknown', data: { deliveryId, attempt, reason, raw, retryAt } };
}

function afterFailure(situation: Situation, outcome: Outcome & { readonly kind: 'retry' }): DeliveryEvent {
  const { reason, raw, afterMs } = outcome;
  const ending = endingInstead(situation, reason, raw, afterMs);
  if (ending !== null) return ending;
  const { deliveryId, attempt } = situation.made;
  const retryAt = new Date(nextDue(situation, reason, afterMs)).toISOString();
  return { type: 'DeliveryRetryScheduled', data: { deliveryId, attempt, reason, raw, retryAt } };
}

function afterDoubt(situation: Situation, outcome: Unknown): readonly DeliveryEvent[] {
  const { reason, raw, afterMs = null } = outcome;
  const inDoubt = { ...situation, delivery: { ...situation.delivery, inDoubt: true } };
  if (!situation.state.cancelled && situation.policy.doubt === 'HOLD') {
    const { deliveryId } = situation.made;
    return [unknown(situation, outcome, null), { type: 'DeliveryHeld', data: { deliveryId, reason } }];
  }
  const ending = endingInstead(inDoubt, reason, raw, afterMs);
  if (ending !== null) return [unknown(situation, outcome, null), ending];
  const retryAt = new Date(nextDue(situation, reason, afterMs)).toISOString();
  return [unknown(situation, outcome, retryAt)];
}

/** What ends the delivery instead of another attempt: its cancellation, its expiry, or the end of the schedule; null when none does. */
function endingInstead(
  situation: Situation,
  reason: RetryReason | UnknownReason,
  raw: string | null,
  afterMs: number | null,
): DeliveryEvent | null {
  const { state, delivery, made, policy, now } = situation;
  const { deliveryId, attempt } = made;
  if (state.cancelled) return { type: 'DeliveryCancelled', data: { deliveryId, reason: cancelReason(delivery) } };
  const retries = isOurs(reason) || mayRetry(policy, delivery.failures + 1);
  const { expiresAt } = state.request;
  const nextTry = retries ? nextDue(situation, reason, afterMs) : now;
  if (expiresAt !== null && Date.parse(expiresAt) <= nextTry) {
    return { type: 'DeliveryExpired', data: { deliveryId, expiresAt } };
  }
  return retries ? null : { type: 'DeliveryDeadLettered', data: { deliveryId, attempt, reason, raw } };
}

/** An attempt that we cut short is due again at once, or when a place may be free. */
function nextDue(
  { delivery, policy, now }: Situation,
  reason: RetryReason | UnknownReason,
  afterMs: number | null,
): number {
  if (isOurs(reason)) return now + (afterMs ?? 0);
  return now + Math.max(retryDelayMs(policy, delivery.failures + 1), afterMs ?? 0);
}

export function cancelReason({ inDoubt }: Pick<DeliveryState, 'inDoubt'>): CancelReason {
  return inDoubt ? 'ATTEMPT_IN_DOUBT' : 'REQUESTED';
}
