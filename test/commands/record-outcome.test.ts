import { describe, expect, it } from 'vitest';
import { recordOutcome } from '../../src/commands/record-outcome.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import type { Outcome } from '../../src/events/outcome.ts';
import {
  attempted,
  at,
  cancelled,
  DELIVERY,
  failures,
  given,
  outcomeUnknown,
  POLICY,
  requested,
  routed,
  sent,
  T0,
} from '../support/given.ts';

const SENT: Outcome = { kind: 'sent', providerMessageId: '<1@x>', raw: '250 OK' };
const BUSY: Outcome = { kind: 'retry', reason: 'PROVIDER_BUSY', afterMs: null, raw: '451' };
const REFUSED: Outcome = { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: '550' };
const SILENT: Outcome = { kind: 'unknown', reason: 'NO_ANSWER', raw: null };

function record(
  state: NotificationState,
  outcome: Outcome,
  attempt = 1,
  policy = POLICY,
): readonly { type: string; data: unknown }[] {
  const made = { deliveryId: DELIVERY, attempt, provider: 'smtp', outcome };
  return recordOutcome(state, made, policy, T0 + 1_000).map(({ event }) => event);
}

function recordedTypes(state: NotificationState, outcome: Outcome, attempt = 1, policy = POLICY): readonly string[] {
  return record(state, outcome, attempt, policy).map(({ type }) => type);
}

const attempting = given(requested(), routed(), attempted());

describe('acceptance', () => {
  it('is recorded with what the provider said', () => {
    expect(record(attempting, SENT)).toEqual([
      {
        type: 'DeliverySent',
        data: { deliveryId: DELIVERY, attempt: 1, provider: 'smtp', providerMessageId: '<1@x>', raw: '250 OK' },
      },
    ]);
  });

  it('is a fact: it is recorded even when the delivery was cancelled, held or taken over meanwhile', () => {
    expect(recordedTypes(given(requested(), routed(), attempted(), cancelled), SENT)).toEqual(['DeliverySent']);
    expect(recordedTypes(given(requested(), routed(), attempted(1), outcomeUnknown(1), attempted(2)), SENT, 1)).toEqual(
      ['DeliverySent'],
    );
  });

  it('is recorded a second time when a second attempt was accepted too: duplicates are counted', () => {
    const twice = given(requested(), routed(), attempted(1), outcomeUnknown(1), attempted(2), sent(1));
    expect(recordedTypes(twice, SENT, 2)).toEqual(['DeliverySent']);
  });

  it('is recorded once for one attempt', () => {
    expect(record(given(requested(), routed(), attempted(), sent()), SENT)).toEqual([]);
  });
});

describe('a failure for now', () => {
  it.each([
    [1, 30_000],
    [2, 120_000],
    [3, 600_000],
  ])('after attempt %i is retried after %i ms', (attempt, delayMs) => {
    const state = given(requested(), routed(), ...failures(attempt - 1), attempted(attempt));
    expect(record(state, BUSY, attempt)[0]).toMatchObject({
      type: 'DeliveryRetryScheduled',
      data: { attempt, reason: 'PROVIDER_BUSY', retryAt: at(1_000 + delayMs) },
    });
  });

  it('waits as long as the provider asked for, when that is longer', () => {
    expect(record(attempting, { ...BUSY, afterMs: 90_000 })[0]?.data).toMatchObject({ retryAt: at(91_000) });
  });

  it('after the last attempt is dead-lettered', () => {
    expect(recordedTypes(given(requested(), routed(), ...failures(3), attempted(4)), BUSY, 4)).toEqual([
      'DeliveryDeadLettered',
    ]);
  });

  it('expires when the next attempt would come too late', () => {
    const state = given(requested({ expiresAt: at(31_000) }), routed(), attempted());
    expect(recordedTypes(state, BUSY)).toEqual(['DeliveryExpired']);
  });

  it('is not retried once the notification was cancelled', () => {
    const events = record(given(requested(), routed(), attempted(), cancelled), BUSY);
    expect(events).toEqual([{ type: 'DeliveryCancelled', data: { deliveryId: DELIVERY, reason: 'REQUESTED' } }]);
  });

  it('by our own stop is due again at once, whatever the attempt', () => {
    const stopped: Outcome = { kind: 'retry', reason: 'SENDER_STOPPED', afterMs: null, raw: null };
    const state = given(requested(), routed(), ...failures(3), attempted(4));
    expect(record(state, stopped, 4)[0]).toMatchObject({
      type: 'DeliveryRetryScheduled',
      data: { retryAt: at(1_000) },
    });
  });

  it('by our own stop takes no place of the schedule', () => {
    const stop: Outcome = { kind: 'retry', reason: 'SENDER_STOPPED', afterMs: null, raw: null };
    const stopped = [1, 2, 3, 4].flatMap((attempt) => {
      const [event] = record(given(requested(), routed(), attempted(attempt)), stop, attempt);
      return [attempted(attempt), event as NotificationEvent];
    });
    const state = given(requested(), routed(), ...stopped, attempted(5));
    expect(record(state, BUSY, 5)[0]).toMatchObject({
      type: 'DeliveryRetryScheduled',
      data: { attempt: 5, retryAt: at(31_000) },
    });
  });

  it('of an attempt that was taken over changes nothing', () => {
    expect(record(given(requested(), routed(), attempted(1), outcomeUnknown(1), attempted(2)), BUSY, 1)).toEqual([]);
  });
});

describe('a refusal for good', () => {
  it('is recorded with its reason', () => {
    expect(record(attempting, REFUSED)).toEqual([
      { type: 'DeliveryRejected', data: { deliveryId: DELIVERY, attempt: 1, reason: 'RECIPIENT_REFUSED', raw: '550' } },
    ]);
  });
});

describe('an outcome that nobody knows', () => {
  it('is tried again under RESEND', () => {
    expect(record(attempting, SILENT)).toMatchObject([
      { type: 'DeliveryOutcomeUnknown', data: { retryAt: at(31_000) } },
    ]);
  });

  it('waits as long as the provider asked for, when that is longer than the pause of the schedule', () => {
    const failed: Outcome = { kind: 'unknown', reason: 'PROVIDER_FAILED', afterMs: 90_000, raw: '503' };
    const [event] = record(attempting, failed);
    expect(event).toMatchObject({
      type: 'DeliveryOutcomeUnknown',
      data: { reason: 'PROVIDER_FAILED', retryAt: at(91_000) },
    });
    expect(record(attempting, { ...failed, afterMs: 10_000 })).toMatchObject([{ data: { retryAt: at(31_000) } }]);
    expect(record(attempting, { ...failed, afterMs: null })).toMatchObject([{ data: { retryAt: at(31_000) } }]);
  });

  it('expires when the provider asked for a pause until after its time', () => {
    const state = given(requested({ expiresAt: at(60_000) }), routed(), attempted());
    const failed: Outcome = { kind: 'unknown', reason: 'PROVIDER_FAILED', afterMs: 59_000, raw: '503' };
    expect(record(state, failed)).toMatchObject([
      { type: 'DeliveryOutcomeUnknown', data: { retryAt: null } },
      { type: 'DeliveryExpired' },
    ]);
    expect(record(state, { ...failed, afterMs: 58_999 })).toMatchObject([{ data: { retryAt: at(59_999) } }]);
  });

  it('is held under HOLD', () => {
    expect(recordedTypes(attempting, SILENT, 1, { ...POLICY, doubt: 'HOLD' })).toEqual([
      'DeliveryOutcomeUnknown',
      'DeliveryHeld',
    ]);
  });

  it('ends a cancelled delivery in doubt', () => {
    const events = record(given(requested(), routed(), attempted(), cancelled), SILENT);
    expect(events.at(-1)).toEqual({
      type: 'DeliveryCancelled',
      data: { deliveryId: DELIVERY, reason: 'ATTEMPT_IN_DOUBT' },
    });
  });

  it('after the last attempt is dead-lettered', () => {
    expect(recordedTypes(given(requested(), routed(), ...failures(3), attempted(4)), SILENT, 4)).toEqual([
      'DeliveryOutcomeUnknown',
      'DeliveryDeadLettered',
    ]);
  });
});
