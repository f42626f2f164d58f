import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { claimDelivery, type ClaimContext } from '../../src/commands/claim-delivery.ts';
import type { Draft } from '../../src/commands/handle.ts';
import { cancelNotification } from '../../src/commands/cancel-notification.ts';
import { recordOutcome } from '../../src/commands/record-outcome.ts';
import { recordReceipt } from '../../src/commands/record-receipt.ts';
import type { DeliveryState } from '../../src/events/delivery.ts';
import { foldNotification, type Stored } from '../../src/events/fold.ts';
import { notificationMetadata } from '../../src/events/metadata.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import type { NotificationEvent } from '../../src/events/notifications.ts';
import { BOUNCE_REASONS, type Outcome, type Receipt, type ReceiptVerdict } from '../../src/events/outcome.ts';
import {
  at,
  attempted,
  cancelled,
  DELIVERY,
  given,
  NOTIFICATION,
  outcomeUnknown,
  POLICY,
  requested,
  retryScheduled,
  routed,
  sent,
  stored,
  T0,
} from '../support/given.ts';

const ACCEPTED: ReceiptVerdict = { kind: 'accepted' };
const DELIVERED: ReceiptVerdict = { kind: 'delivered' };
const BOUNCED: ReceiptVerdict = { kind: 'bounced', reason: 'RECIPIENT_UNREACHABLE' };

function receiptFor(verdict: ReceiptVerdict, changes: Partial<Receipt> = {}): Receipt {
  return {
    notificationId: NOTIFICATION,
    deliveryId: DELIVERY,
    attempt: 1,
    provider: 'twilio',
    providerMessageId: 'SM1',
    verdict,
    raw: verdict.kind,
    ...changes,
  };
}

function record(
  state: NotificationState | null,
  verdict: ReceiptVerdict,
  attempt = 1,
): readonly NotificationEvent[] | 'unknown' {
  const decided = recordReceipt(state, receiptFor(verdict, { attempt }), T0 + 1_000);
  return decided === 'unknown' ? decided : decided.map(({ event }) => event as NotificationEvent);
}

function typesOf(events: readonly NotificationEvent[] | 'unknown'): readonly string[] | 'unknown' {
  return events === 'unknown' ? events : events.map(({ type }) => type);
}

const attempting = [requested(), routed(), attempted()];
const arrived = fact('DeliveryDelivered');
const bounced = fact('DeliveryBounced');

function fact(type: 'DeliveryDelivered' | 'DeliveryBounced', attempt = 1): NotificationEvent {
  const data = { deliveryId: DELIVERY, attempt, provider: 'twilio', providerMessageId: 'SM1', raw: type };
  return type === 'DeliveryDelivered' ? { type, data } : { type, data: { ...data, reason: 'RECIPIENT_UNREACHABLE' } };
}

describe('a receipt', () => {
  it.each([
    ['accepted', ACCEPTED, 'DeliverySent', { byReceipt: true }],
    ['delivered', DELIVERED, 'DeliveryDelivered', {}],
    ['bounced', BOUNCED, 'DeliveryBounced', { reason: 'RECIPIENT_UNREACHABLE' }],
  ] as const)('that says %s is recorded with what the provider said', (_, verdict, type, more) => {
    const data = { deliveryId: DELIVERY, attempt: 1, provider: 'twilio', providerMessageId: 'SM1', raw: verdict.kind };
    expect(record(given(...attempting), verdict)).toEqual([{ type, data: { ...data, ...more } }]);
  });

  it('is recorded with all that a projection wants to know', () => {
    const decided = recordReceipt(given(...attempting), receiptFor(DELIVERED), T0 + 1_000);
    expect(decided).toMatchObject([
      {
        metadata: {
          tenant: 'default',
          occurredAt: at(1_000),
          correlationId: 'request-1',
          causationId: 'event-2',
          notification: { id: NOTIFICATION, userId: 'ada' },
          delivery: { id: DELIVERY, channel: 'EMAIL', provider: 'twilio' },
        },
      },
    ]);
  });

  it('that came before is not recorded again', () => {
    const all = [ACCEPTED, DELIVERED, BOUNCED];
    const known = given(...attempting, sent(), arrived, bounced);
    expect(all.map((verdict) => record(known, verdict))).toEqual([[], [], []]);
  });

  it('of acceptance tells nothing new once the attempt was accepted, bounced or delivered', () => {
    for (const event of [sent(), arrived, bounced]) expect(record(given(...attempting, event), ACCEPTED)).toEqual([]);
  });

  it('that contradicts another one is recorded too', () => {
    expect(typesOf(record(given(...attempting, bounced), DELIVERED))).toEqual(['DeliveryDelivered']);
    expect(typesOf(record(given(...attempting, arrived), BOUNCED))).toEqual(['DeliveryBounced']);
  });

  it('is recorded for each attempt', () => {
    const twice = [...attempting, outcomeUnknown(1), attempted(2), sent(1), fact('DeliveryDelivered', 1)];
    for (const [verdict, type] of [
      [ACCEPTED, 'DeliverySent'],
      [DELIVERED, 'DeliveryDelivered'],
      [BOUNCED, 'DeliveryBounced'],
    ] as const)
      expect(typesOf(record(given(...twice), verdict, 2))).toEqual([type]);
  });

  it.each([
    ['was not claimed yet', 2],
    ['cannot be', 0],
    ['cannot be either', -1],
  ])('is unknown when its attempt %s', (_, attempt) => {
    expect(record(given(...attempting), DELIVERED, attempt)).toBe('unknown');
  });

  it('is unknown without its notification, its routing, its delivery or any attempt', () => {
    expect(record(null, DELIVERED)).toBe('unknown');
    expect(record(given(requested()), DELIVERED)).toBe('unknown');
    expect(record(given(requested(), routed()), DELIVERED)).toBe('unknown');
    const other = receiptFor(DELIVERED, { deliveryId: NOTIFICATION });
    expect(recordReceipt(given(...attempting), other, T0)).toBe('unknown');
  });

  it.each([
    ['before our outcome', []],
    ['after our outcome', [sent()]],
    ['for an attempt in doubt', [outcomeUnknown()]],
    ['while a later attempt runs', [outcomeUnknown(), attempted(2)]],
    ['after its cancellation', [outcomeUnknown(1, null), cancelled, ending('DeliveryCancelled')]],
    ['after its expiry', [outcomeUnknown(1, null), ending('DeliveryExpired')]],
    ['after it was dead-lettered', [outcomeUnknown(1, null), ending('DeliveryDeadLettered')]],
    ['while it is held', [outcomeUnknown(1, null), ending('DeliveryHeld')]],
    ['after our own refusal', [ending('DeliveryRejected')]],
  ] as const)('%s makes the delivery what the provider says', (_, more) => {
    for (const [verdict, status] of [
      [ACCEPTED, 'SENT'],
      [DELIVERED, 'DELIVERED'],
      [BOUNCED, 'BOUNCED'],
    ] as const) {
      const story = [...attempting, ...more];
      const events = record(given(...story), verdict);
      if (events === 'unknown') throw new Error('the attempt is known');
      const [delivery] = given(...story, ...events).deliveries;
      expect(delivery).toMatchObject({ status, accepted: [1], claimUntil: null, retryAt: null, inDoubt: false });
    }
  });
});

type Ending = 'DeliveryCancelled' | 'DeliveryExpired' | 'DeliveryDeadLettered' | 'DeliveryHeld' | 'DeliveryRejected';

function ending(type: Ending): NotificationEvent {
  const deliveryId = DELIVERY;
  switch (type) {
    case 'DeliveryCancelled':
      return { type, data: { deliveryId, reason: 'ATTEMPT_IN_DOUBT' } };
    case 'DeliveryExpired':
      return { type, data: { deliveryId, expiresAt: at(1) } };
    case 'DeliveryHeld':
      return { type, data: { deliveryId, reason: 'NO_ANSWER' } };
    case 'DeliveryDeadLettered':
      return { type, data: { deliveryId, attempt: 1, reason: 'NO_ANSWER', raw: null } };
    case 'DeliveryRejected':
      return { type, data: { deliveryId, attempt: 1, reason: 'RECIPIENT_REFUSED', raw: '550' } };
  }
}

function claimedAt(now: number): ClaimContext {
  return { policy: POLICY, now, isAddressGone: false };
}

describe('a receipt for an attempt in doubt', () => {
  const job = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt: 2 };

  it.each([
    ['accepted', ACCEPTED],
    ['delivered', DELIVERED],
    ['bounced', BOUNCED],
  ])('that says %s stops the resend', (_, verdict) => {
    const doubtful = [...attempting, outcomeUnknown(1, 30_000)];
    expect(claimDelivery(given(...doubtful), job, claimedAt(T0 + 30_000)).kind).toBe('claimed');
    const events = record(given(...doubtful), verdict);
    if (events === 'unknown') throw new Error('the attempt is known');
    const settled = given(...doubtful, ...events);
    expect(claimDelivery(settled, job, claimedAt(T0 + 30_000))).toEqual({ kind: 'done', drafts: [] });
  });

  it('stops the recovery of a claim that ran out as well', () => {
    const lost = given(requested(), routed(), attempted(1, 25_000), arrived);
    expect(claimDelivery(lost, { ...job, attempt: 1 }, claimedAt(T0 + 25_000))).toEqual({ kind: 'done', drafts: [] });
  });
});

/** What became of an attempt as its worker knows it; `lost`: the worker died. */
type OwnEnd = 'sent' | 'unknown' | 'busy' | 'refused' | 'lost';

const OUTCOMES: Readonly<Record<Exclude<OwnEnd, 'lost'>, Outcome>> = {
  sent: { kind: 'sent', providerMessageId: 'SM1', raw: '201 queued' },
  unknown: { kind: 'unknown', reason: 'NO_ANSWER', raw: null },
  busy: { kind: 'retry', reason: 'PROVIDER_BUSY', afterMs: null, raw: '429' },
  refused: { kind: 'rejected', reason: 'RECIPIENT_REFUSED', raw: '21211' },
};

/** A day between any two steps: every claim has run out, every retry is due. */
const STEP_MS = 86_400_000;

/** The log of one notification as it comes about. */
interface Story {
  readonly events: (Stored & { readonly by: 'us' | 'a receipt' })[];
  readonly append: (by: 'us' | 'a receipt', drafts: readonly Draft[]) => void;
  readonly state: () => NotificationState;
}

function storyOf(beginning: readonly NotificationEvent[]): Story {
  const events: Story['events'] = beginning.map((event, index) => ({ ...stored(event, 0, index), by: 'us' }));
  return {
    events,
    append: (by, drafts) => {
      for (const { event, metadata } of drafts) {
        events.push({ id: `event-${String(events.length)}`, ...event, metadata, by });
      }
    },
    state: () => {
      const state = foldNotification(events);
      if (state === null) throw new Error('a story begins with NotificationRequested');
      return state;
    },
  };
}

/** Our own part, decided as it is in the service. */
type OwnStep = (story: Story, now: number) => void;

function stepsOf(ends: readonly OwnEnd[], cancelAfter: number | null): readonly OwnStep[] {
  const cancel: OwnStep = (story, now) => {
    const state = story.state();
    story.append('us', cancelNotification(state, notificationMetadata(state, now), now));
  };
  const claims = new Map<number, number>();
  const steps = ends.flatMap((end, index): readonly OwnStep[] => [
    (story, now) => {
      const job = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt: index + 1 };
      const claim = claimDelivery(story.state(), job, claimedAt(now));
      story.append('us', claim.drafts);
      if (claim.kind === 'claimed') claims.set(index, claim.attempt);
    },
    (story, now) => {
      const attempt = claims.get(index);
      if (end === 'lost' || attempt === undefined) return;
      const made = { deliveryId: DELIVERY, attempt, provider: 'twilio', outcome: OUTCOMES[end] };
      story.append('us', recordOutcome(story.state(), made, POLICY, now));
    },
  ]);
  return cancelAfter === null ? steps : [...steps.slice(0, cancelAfter), cancel, ...steps.slice(cancelAfter)];
}

function receive(story: Story, receipt: Receipt, now: number): 'recorded' | 'unknown' {
  const decided = recordReceipt(story.state(), receipt, now);
  if (decided === 'unknown') return decided;
  story.append('a receipt', decided);
  return 'recorded';
}

/** Each receipt comes before the step of that number; what is unknown then is tried again after every step. */
function tell(steps: readonly OwnStep[], receipts: readonly (readonly [number, Receipt])[]): Story {
  const story = storyOf([requested(), routed()]);
  let parked: readonly Receipt[] = [];
  for (const index of Array.from({ length: steps.length + 1 }).keys()) {
    const now = T0 + index * STEP_MS;
    const due = [...parked, ...receipts.filter(([before]) => before === index).map(([, receipt]) => receipt)];
    parked = due.filter((receipt) => receive(story, receipt, now) === 'unknown');
    steps[index]?.(story, now);
  }
  for (const receipt of parked) receive(story, receipt, T0 + steps.length * STEP_MS);
  return story;
}

/** What must not depend on who was quicker. */
function meaningOf(story: Story): unknown {
  const [delivery] = story.state().deliveries;
  if (delivery === undefined) throw new Error('no delivery');
  const { status, reason, accepted, delivered, bounces, inDoubt, deliveredAt, sentAt } = delivery;
  const times = { arrived: deliveredAt !== null, accepted: sentAt !== null };
  return { status, reason, accepted, delivered, bounces, inDoubt, times };
}

/** The same story in its plainest order: all of ours, then every receipt once. */
function canonical(told: Story, receipts: readonly (readonly [number, Receipt])[]): Story {
  const plain = storyOf([]);
  plain.events.push(...told.events.filter(({ by }) => by === 'us'));
  const sorted = receipts.map(([, receipt]) => receipt).toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  for (const receipt of sorted) receive(plain, receipt, T0 + 100 * STEP_MS);
  return plain;
}

function orderOf({ attempt, verdict: { kind } }: Receipt): string {
  return `${String(attempt)}-${kind}`;
}

const ends = fc.array(fc.constantFrom<OwnEnd>('sent', 'unknown', 'busy', 'refused', 'lost'), {
  minLength: 1,
  maxLength: 3,
});

interface Drawn {
  readonly steps: readonly OwnStep[];
  readonly receipts: readonly (readonly [number, Receipt])[];
}

const stories: fc.Arbitrary<Drawn> = fc.record({ ends, cancelAfter: fc.option(fc.nat(6)) }).chain((drawn) => {
  const steps = drawn.ends.length * 2 + (drawn.cancelAfter === null ? 0 : 1);
  const attempt = fc.integer({ min: 1, max: drawn.ends.length });
  const kind = fc.constantFrom('accepted', 'delivered', 'bounced');
  const receipt = fc.tuple(fc.nat(steps), fc.record({ attempt, kind }).map(receiptOf));
  return fc.array(receipt, { maxLength: 12 }).map((receipts) => {
    return { steps: stepsOf(drawn.ends, drawn.cancelAfter), receipts };
  });
});

/** A provider gives one reason for one message. */
function receiptOf({ attempt, kind }: { attempt: number; kind: ReceiptVerdict['kind'] }): Receipt {
  const reason = BOUNCE_REASONS[attempt] ?? 'CARRIER_FAILED';
  return receiptFor(kind === 'bounced' ? { kind, reason } : { kind }, { attempt });
}

describe('receipts in any order, any number of times, between any of our own steps', () => {
  it('make the same delivery as in their plainest order, and are recorded once each', () => {
    fc.assert(
      fc.property(stories, ({ steps, receipts }) => {
        const told = tell(steps, receipts);
        expect(meaningOf(told)).toEqual(meaningOf(canonical(told, receipts)));
        const facts = told.events.filter(({ type }) => /^Delivery(Sent|Delivered|Bounced)$/.test(type));
        // The sender's own word and the receipt's are two facts, where the receipt was quicker.
        const names = facts.map(({ type, data }) => {
          const { attempt, byReceipt = false } = data as { attempt: number; byReceipt?: true };
          return `${type} ${String(attempt)} ${String(byReceipt)}`;
        });
        expect(names).toEqual([...new Set(names)]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('are all heard, whatever the rest of the story: every claimed attempt is what they say', () => {
    fc.assert(
      fc.property(stories, ({ steps, receipts }) => {
        const [delivery] = tell(steps, receipts).state().deliveries;
        for (const [, receipt] of receipts.filter(([, { attempt }]) => attempt <= (delivery?.attempts ?? 0))) {
          expect(hears(delivery, receipt)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

function hears(delivery: DeliveryState | undefined, { attempt, verdict }: Receipt): boolean {
  switch (verdict.kind) {
    case 'accepted':
      return delivery?.accepted.includes(attempt) ?? false;
    case 'delivered':
      return delivery?.status === 'DELIVERED' && delivery.delivered.includes(attempt);
    case 'bounced':
      return delivery?.bounces.some((bounce) => bounce.attempt === attempt) ?? false;
  }
}

describe("a worker's own outcome after a receipt for its attempt", () => {
  const made = { deliveryId: DELIVERY, attempt: 1, provider: 'twilio' };

  it('adds nothing to an acceptance that is on record', () => {
    const state = given(...attempting, sent());
    for (const outcome of Object.values(OUTCOMES)) {
      expect(recordOutcome(state, { ...made, outcome }, POLICY, T0)).toEqual([]);
    }
  });

  it('keeps one DeliverySent where the receipt said more than that', () => {
    for (const event of [arrived, bounced]) {
      const story = [...attempting, event];
      const drafts = recordOutcome(given(...story), { ...made, outcome: OUTCOMES.sent }, POLICY, T0);
      expect(drafts.map(({ event: { type } }) => type)).toEqual(['DeliverySent']);
      const after = given(...story, sent());
      expect(after.deliveries[0]?.status).toBe(given(...story).deliveries[0]?.status);
      expect(recordOutcome(after, { ...made, outcome: OUTCOMES.sent }, POLICY, T0)).toEqual([]);
      expect(record(after, ACCEPTED)).toEqual([]);
    }
  });

  it('that failed or is in doubt changes nothing any more', () => {
    for (const event of [sent(), arrived, bounced]) {
      for (const end of ['unknown', 'busy', 'refused'] as const) {
        const state = given(...attempting, event);
        expect(recordOutcome(state, { ...made, outcome: OUTCOMES[end] }, POLICY, T0)).toEqual([]);
      }
    }
  });

  it('of a later attempt is recorded: both reached the provider', () => {
    const state = given(...attempting, outcomeUnknown(1), attempted(2), arrived);
    const drafts = recordOutcome(state, { ...made, attempt: 2, outcome: OUTCOMES.sent }, POLICY, T0);
    expect(drafts.map(({ event: { type } }) => type)).toEqual(['DeliverySent']);
    const after = given(...attempting, outcomeUnknown(1), attempted(2), arrived, sent(2));
    expect(after.deliveries[0]).toMatchObject({ status: 'DELIVERED', accepted: [1, 2], inDoubt: true });
  });
});

describe('an attempt in doubt after a receipt for an earlier one', () => {
  it('is on record as such: it may be a duplicate', () => {
    const story = [...attempting, outcomeUnknown(1), attempted(2), arrived];
    const made = { deliveryId: DELIVERY, attempt: 2, provider: 'twilio', outcome: OUTCOMES.unknown };
    const drafts = recordOutcome(given(...story), made, POLICY, T0);
    expect(drafts.map(({ event: { type } }) => type)).toEqual(['DeliveryOutcomeUnknown']);
    const after = given(...story, ...drafts.map(({ event }) => event as NotificationEvent));
    expect(after.deliveries[0]).toMatchObject({ status: 'DELIVERED', inDoubt: true, accepted: [1] });
    expect(recordOutcome(after, made, POLICY, T0)).toEqual([]);
  });
});

describe('a retry that was scheduled before a receipt came', () => {
  it('is not made: the provider has the message after all', () => {
    const state = given(...attempting, retryScheduled(1, 30_000), arrived);
    const job = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt: 2 };
    expect(claimDelivery(state, job, claimedAt(T0 + 30_000))).toEqual({ kind: 'done', drafts: [] });
  });
});
