import type { Claim, ClaimRequest } from './claim-delivery.ts';
import { claimDelivery } from './claim-delivery.ts';
import type { CommandContext } from './context.ts';
import type { DeliveryPolicy } from './delivery-policy.ts';
import { deactivateDevice } from './devices.ts';
import { isReachedAt } from './holders.ts';
import type { Believed, Draft } from './handle.ts';
import { handle } from './handle.ts';
import type { AttemptMade } from './record-outcome.ts';
import { recordOutcome } from './record-outcome.ts';
import { DomainError } from '../errors.ts';
import { decode } from '../events/codec.ts';
import { foldNotification } from '../events/fold.ts';
import { metadata } from '../events/metadata.ts';
import type { NotificationState } from '../events/notification.ts';
import type { Outcome } from '../events/outcome.ts';
import { streamOf } from '../ids.ts';
import type { RecordedEvent } from '../ports/event-log/event-log.ts';

type DeliveryContext = Pick<CommandContext, 'log' | 'now' | 'ids'>;

export type ClaimResult =
  | {
      readonly kind: 'claimed';
      readonly attempt: number;
      /** The provider must not be called from then on; milliseconds since the epoch. */
      readonly claimUntil: number;
      /** With the claim. */
      readonly notification: NotificationState;
      /** Of its stream, with the claim. */
      readonly version: number;
    }
  /** `requestId`: of what was dead-lettered now. */
  | { readonly kind: 'done'; readonly deadLettered: boolean; readonly requestId?: string }
  | { readonly kind: 'later'; readonly afterMs: number }
  | { readonly kind: 'foreign' };

/** Everything that a worker records, bound to a log and a policy. */
export interface Deliveries {
  /** Claims one attempt in the notification's stream; of any number of callers at most one gets it. */
  readonly claim: (request: ClaimRequest) => Promise<ClaimResult>;
  /** Records what became of an attempt. What is known of the notification since the claim spares a read. */
  readonly record: (
    request: ClaimRequest,
    claim: ClaimedAttempt,
    provider: string,
    outcome: Outcome,
  ) => Promise<{ readonly deadLettered: boolean }>;
}

export interface ClaimedAttempt {
  readonly attempt: number;
  readonly notification?: NotificationState;
  readonly version?: number;
}

export function createDeliveries(context: DeliveryContext, policy: DeliveryPolicy): Deliveries {
  const recording = { ...context, policy };
  return {
    claim: (request) => claim(context, request, policy).catch(laterWhenUnavailable),
    record: ({ notificationId, deliveryId }, { attempt, notification, version }, provider, outcome) => {
      const made = { deliveryId, attempt, provider, outcome };
      const believed = notification && version !== undefined ? { state: notification, version } : undefined;
      return record(recording, notificationId, made, believed);
    },
  };
}

/** A log that takes nothing now is asked again after this; milliseconds. */
const UNAVAILABLE_MS = 15_000;

/** Nothing was sent yet: whether the claim was recorded or not, the job may come back. */
function laterWhenUnavailable(error: unknown): ClaimResult {
  if (error instanceof DomainError && error.code === 'UNAVAILABLE') return { kind: 'later', afterMs: UNAVAILABLE_MS };
  throw error;
}

async function claim(context: DeliveryContext, request: ClaimRequest, policy: DeliveryPolicy): Promise<ClaimResult> {
  let decided: Claim = { kind: 'foreign', drafts: [] };
  const aggregate = { stream: streamOf.notification(request.notificationId), fold: foldNotification };
  const { state, appended, version } = await handle(
    { log: context.log, newId: context.ids.random },
    aggregate,
    async (current) => {
      const now = context.now();
      decided = claimDelivery(current, request, { policy, now, isAddressGone: false });
      // Asked only where the answer counts: it reads other streams.
      if (decided.kind === 'claimed' && (await isAddressGone(context, current, request.deliveryId)))
        decided = claimDelivery(current, request, { policy, now, isAddressGone: true });
      return decided.drafts;
    },
  );
  return resultOf(decided, { state: foldNotification(appended, state), version });
}

/**
 * The number may have been removed, the token may be somebody else's, the user may have signed out of the app: nothing more
 * is sent there then, though it was decided to.
 */
async function isAddressGone(
  { log }: DeliveryContext,
  state: NotificationState | null,
  deliveryId: string,
): Promise<boolean> {
  const delivery = state?.deliveries.find(({ id }) => id === deliveryId);
  if (state === null || !delivery?.address) return false;
  const { channel, address } = delivery;
  return !(await isReachedAt(log, { tenant: state.tenant, userId: state.request.userId }, { channel, address }));
}

function resultOf(decided: Claim, { state, version }: Believed<NotificationState>): ClaimResult {
  if (decided.kind === 'done') {
    const deadLettered = isDeadLettered(decided.drafts);
    return { kind: 'done', deadLettered, ...(deadLettered && state && { requestId: state.correlationId }) };
  }
  if (decided.kind !== 'claimed') return decided;
  if (state === null) throw new Error('a claim without a notification');
  const { attempt, claimUntil } = decided;
  return { kind: 'claimed', attempt, claimUntil, notification: state, version };
}

/**
 * Records what became of an attempt, deciding again whenever somebody else was quicker. A dead token is acted on after
 * that: a crash in between costs one more push to it, of which the provider says the same.
 */
async function record(
  context: DeliveryContext & { readonly policy: DeliveryPolicy },
  notificationId: string,
  made: AttemptMade,
  believed: Believed<NotificationState> | undefined,
): Promise<{ readonly deadLettered: boolean }> {
  const aggregate = { stream: streamOf.notification(notificationId), fold: foldNotification };
  const decide = (state: NotificationState | null): readonly Draft[] =>
    recordOutcome(state, made, context.policy, context.now());
  const { appended } = await handle({ log: context.log, newId: context.ids.random }, aggregate, decide, believed);
  if (made.outcome.kind === 'rejected' && made.outcome.reason === 'DEVICE_UNREGISTERED') {
    await deactivate(context, await context.log.read(aggregate.stream), made);
  }
  return { deadLettered: appended.some(({ type }) => type === 'DeliveryDeadLettered') };
}

/** The device that the attempt was made to, by the token that the attempt was made with. */
async function deactivate(
  { log, ids, now }: DeliveryContext,
  events: readonly RecordedEvent[],
  { deliveryId, attempt }: AttemptMade,
): Promise<void> {
  const state = foldNotification(events);
  const delivery = state?.deliveries.find(({ id, channel }) => id === deliveryId && channel === 'PUSH');
  const claim = events.find((event) => {
    const { type, data } = decode(event);
    return type === 'DeliveryAttempted' && data.deliveryId === deliveryId && data.attempt === attempt;
  });
  if (state === null || !delivery?.address || claim === undefined) return;
  const { tenant, correlationId, request } = state;
  const stamp = metadata({ tenant, correlationId, causationId: claim.id }, now());
  const dead = { userId: request.userId, token: delivery.address, claimedAt: claim.position };
  await deactivateDevice({ log, newId: ids.random, tenant, metadata: stamp }, dead);
}

function isDeadLettered(drafts: readonly Draft[]): boolean {
  return drafts.some(({ event }) => event.type === 'DeliveryDeadLettered');
}
