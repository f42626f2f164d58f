import { describe, expect, it } from 'vitest';
import type { CommandContext } from '../../src/commands/context.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import { createReceipts } from '../../src/commands/receipts.ts';
import { foldNotification } from '../../src/events/fold.ts';
import type { DeliverySent, NotificationEvent } from '../../src/events/notifications.ts';
import type { Receipt, ReceiptVerdict } from '../../src/events/outcome.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { AppendUnknown } from '../../src/ports/event-log/supervised.ts';
import { NoSpace } from '../../src/ports/event-log/guarded.ts';
import {
  attempted,
  DELIVERY,
  NOTIFICATION,
  outcomeUnknown,
  POLICY,
  requested,
  routed,
  stored,
  T0,
  ADDRESS,
} from '../support/given.ts';
import { CALLER } from '../support/pipeline.ts';
import { everything, withWorld, type World } from '../support/world.ts';

const JOB = { tenant: 'default', notificationId: NOTIFICATION, deliveryId: DELIVERY, attempt: 1 };

function receiptFor(kind: 'accepted' | 'delivered' = 'delivered', changes: Partial<Receipt> = {}): Receipt {
  const verdict: ReceiptVerdict = { kind };
  return {
    notificationId: NOTIFICATION,
    deliveryId: DELIVERY,
    attempt: 1,
    provider: 'twilio',
    providerMessageId: 'SM1',
    verdict,
    raw: kind,
    ...changes,
  };
}

/** Puts a notification's past into the log as it is. */
async function given({ log }: World, ...events: readonly NotificationEvent[]): Promise<void> {
  const stream = streamOf.notification(NOTIFICATION);
  const past = await log.read(stream);
  const recorded = events.map((event, index) => ({ ...stored(event, index), id: systemIds.random() }));
  await log.append(stream, recorded, past.length);
}

async function deliveryIn({ log }: World): Promise<unknown> {
  return foldNotification(await log.read(streamOf.notification(NOTIFICATION)))?.deliveries[0];
}

async function typesIn(world: World): Promise<readonly string[]> {
  return (await everything(world)).map(({ type }) => type);
}

describe('a receipt for a known attempt', () => {
  it('is recorded in the stream of its notification', async () => {
    await withWorld(async (world) => {
      await given(world, requested(), routed(), attempted());
      expect(await createReceipts(world.context).receive(receiptFor())).toBe('recorded');
      const story = ['NotificationRequested', 'NotificationRouted', 'DeliveryAttempted', 'DeliveryDelivered'];
      expect(await typesIn(world)).toEqual(story);
      expect(await deliveryIn(world)).toMatchObject({ status: 'DELIVERED', providerMessageId: 'SM1' });
    });
  });

  it('is recorded once, however often and however much at once it comes', async () => {
    await withWorld(async (world) => {
      await given(world, requested(), routed(), attempted());
      const { receive } = createReceipts(world.context);
      const kinds = ['accepted', 'delivered'] as const;
      const all = Array.from({ length: 40 }, (_, index) => receive(receiptFor(kinds[index % 2])));
      expect(new Set(await Promise.all(all))).toEqual(new Set(['recorded']));
      expect(await receive(receiptFor())).toBe('recorded');
      const types = (await typesIn(world)).slice(3);
      expect(types.filter((type) => type === 'DeliveryDelivered')).toHaveLength(1);
      expect(types.filter((type) => type === 'DeliverySent').length).toBeLessThanOrEqual(1);
      expect(types.every((type) => type === 'DeliveryDelivered' || type === 'DeliverySent')).toBe(true);
    });
  });

  it('that comes between a claim and its outcome is seen by the outcome, though that asks the log only when it must', async () => {
    await withWorld(async (world) => {
      await world.commands.registerUser(CALLER, { id: 'ada', email: ADDRESS });
      await given(world, requested(), routed());
      const stream = streamOf.notification(NOTIFICATION);
      let reads = 0;
      const read: EventLog['read'] = (name, after) => {
        if (name === stream) reads += 1;
        return world.log.read(name, after);
      };
      const policy = { ...POLICY, retryDelaysMs: [0, 0] };
      const deliveries = createDeliveries({ ...world.context, log: { ...world.log, read } }, policy);
      const claim = async (attempt: number) => {
        const claimed = await deliveries.claim({ ...JOB, attempt });
        if (claimed.kind !== 'claimed') throw new Error(`not claimed but ${claimed.kind}`);
        expect(claimed.notification).toEqual(foldNotification(await world.log.read(stream)));
        reads = 0;
        return claimed;
      };
      const unheard = { kind: 'retry', reason: 'PROVIDER_BUSY', afterMs: 0, raw: '503' } as const;
      await deliveries.record(JOB, await claim(1), 'twilio', unheard);
      expect(reads).toBe(0);
      expect(await typesIn(world)).toContain('DeliveryRetryScheduled');
      const second = await claim(2);
      expect(await createReceipts(world.context).receive(receiptFor('delivered', { attempt: 2 }))).toBe('recorded');
      await deliveries.record({ ...JOB, attempt: 2 }, second, 'twilio', unheard);
      expect(reads).toBe(1);
      expect(await deliveryIn(world)).toMatchObject({ status: 'DELIVERED' });
      expect((await typesIn(world)).filter((type) => type === 'DeliveryRetryScheduled')).toHaveLength(1);
    });
  });

  it('may come while the worker records its own outcome: each is recorded once at most', async () => {
    await withWorld(async (world) => {
      await world.commands.registerUser(CALLER, { id: 'ada', email: ADDRESS });
      await given(world, requested(), routed());
      const deliveries = createDeliveries(world.context, POLICY);
      const { receive } = createReceipts(world.context);
      expect(await deliveries.claim(JOB)).toMatchObject({ kind: 'claimed', attempt: 1 });
      const sent = { kind: 'sent', providerMessageId: 'SM1', raw: '201' } as const;
      await Promise.all([receive(receiptFor('accepted')), deliveries.record(JOB, { attempt: 1 }, 'twilio', sent)]);
      await Promise.all([receive(receiptFor('accepted')), deliveries.record(JOB, { attempt: 1 }, 'twilio', sent)]);
      // Whoever was quicker: the receipt adds nothing to the sender's own word, which is recorded in any case.
      const recorded = (await everything(world, ['DeliverySent'])).map(
        ({ data }) => (data as DeliverySent).byReceipt ?? false,
      );
      expect([[false], [true, false]]).toContainEqual(recorded);
    });
  });

  it('settles a delivery in doubt: the next attempt is not made', async () => {
    await withWorld(async (world) => {
      await given(world, requested(), routed(), attempted(), outcomeUnknown(1, 30_000));
      await createReceipts(world.context).receive(receiptFor());
      world.clock.advance(30_000);
      const claimed = await createDeliveries(world.context, POLICY).claim({ ...JOB, attempt: 2 });
      expect(claimed).toEqual({ kind: 'done', deadLettered: false });
      expect(await deliveryIn(world)).toMatchObject({ status: 'DELIVERED', inDoubt: false, attempts: 1 });
    });
  });
});

describe('a receipt for an unknown attempt', () => {
  it('is kept in a stream of its own, whole', async () => {
    await withWorld(async (world) => {
      expect(await createReceipts(world.context).receive(receiptFor())).toBe('parked');
      const [parked, ...others] = await everything(world);
      expect(others).toEqual([]);
      expect(parked).toMatchObject({ type: 'ReceiptParked', data: { receipt: receiptFor() }, version: 1 });
      expect(parked?.stream).toMatch(/^receipt-[\da-f-]{36}$/);
      expect(parked?.metadata).toMatchObject({ tenant: '', occurredAt: new Date(T0).toISOString() });
    });
  });

  it('is kept once, however often and however much at once it comes', async () => {
    await withWorld(async (world) => {
      const { receive } = createReceipts(world.context);
      const all = await Promise.all(Array.from({ length: 20 }, () => receive(receiptFor())));
      expect(new Set(all)).toEqual(new Set(['parked']));
      expect(await receive(receiptFor())).toBe('parked');
      expect(await typesIn(world)).toEqual(['ReceiptParked']);
    });
  });

  it('is not taken for another one', async () => {
    await withWorld(async (world) => {
      const { receive } = createReceipts(world.context);
      const different = [
        receiptFor(),
        receiptFor('delivered', { attempt: 2 }),
        receiptFor('delivered', { provider: 'other' }),
        receiptFor('delivered', { providerMessageId: 'SM2' }),
        receiptFor('delivered', { deliveryId: NOTIFICATION }),
        receiptFor('delivered', { notificationId: DELIVERY }),
        receiptFor('accepted'),
      ];
      for (const receipt of different) expect(await receive(receipt)).toBe('parked');
      expect(await typesIn(world)).toHaveLength(different.length);
    });
  });

  it('is kept when its id can be no notification at all', async () => {
    await withWorld(async (world) => {
      const { receive, retry } = createReceipts(world.context);
      const foreign = receiptFor('delivered', { notificationId: '$all' });
      expect(await receive(foreign)).toBe('parked');
      expect(await retry(foreign)).toBe('unknown');
    });
  });

  it('of a delivery that is known waits for its attempt', async () => {
    await withWorld(async (world) => {
      await given(world, requested(), routed());
      const { receive, retry } = createReceipts(world.context);
      expect(await receive(receiptFor())).toBe('parked');
      expect(await retry(receiptFor())).toBe('unknown');
      await given(world, attempted());
      expect(await retry(receiptFor())).toBe('recorded');
      expect(await retry(receiptFor())).toBe('recorded');
      expect((await typesIn(world)).filter((type) => type === 'DeliveryDelivered')).toHaveLength(1);
    });
  });

  it('is ended once', async () => {
    await withWorld(async (world) => {
      const { receive, settle } = createReceipts(world.context);
      await receive(receiptFor());
      await Promise.all([settle(receiptFor(), 'RECORDED'), settle(receiptFor(), 'RECORDED')]);
      await settle(receiptFor(), 'GIVEN_UP');
      const [parked, settled, ...others] = await everything(world);
      expect(others).toEqual([]);
      expect(settled).toMatchObject({ type: 'ReceiptSettled', data: { outcome: 'RECORDED' }, stream: parked?.stream });
      expect(settled?.metadata.causationId).toBe(parked?.id);
      expect(settled?.metadata.correlationId).toBe(parked?.metadata.correlationId);
    });
  });

  it('that never was parked is not ended', async () => {
    await withWorld(async (world) => {
      await createReceipts(world.context).settle(receiptFor(), 'GIVEN_UP');
      expect(await typesIn(world)).toEqual([]);
    });
  });

  it('is kept again when it comes again after it was given up', async () => {
    await withWorld(async (world) => {
      const { receive, settle } = createReceipts(world.context);
      await receive(receiptFor());
      await settle(receiptFor(), 'GIVEN_UP');
      expect(await receive(receiptFor())).toBe('parked');
      expect(await typesIn(world)).toEqual(['ReceiptParked', 'ReceiptSettled', 'ReceiptParked']);
    });
  });
});

describe('a log that does not answer', () => {
  it.each([
    ['in time', new AppendUnknown('stream', 3, null)],
    ['because its disk is almost full', new NoSpace(0)],
  ])('%s is told to whoever brought the receipt', async (_, fault) => {
    await withWorld(async (world) => {
      const log: EventLog = { ...world.log, append: () => Promise.reject(fault) };
      const context: CommandContext = { ...world.context, log };
      const { receive, settle } = createReceipts(context);
      const unavailable = { code: 'UNAVAILABLE' };
      await expect(receive(receiptFor())).rejects.toMatchObject(unavailable);
      await given(world, requested(), routed(), attempted());
      await expect(receive(receiptFor())).rejects.toMatchObject(unavailable);
      await createReceipts(world.context).receive(receiptFor('delivered', { attempt: 2 }));
      await expect(settle(receiptFor('delivered', { attempt: 2 }), 'GIVEN_UP')).rejects.toMatchObject(unavailable);
    });
  });

  it('is told even when it cannot be read', async () => {
    await withWorld(async (world) => {
      const log: EventLog = { ...world.log, read: () => Promise.reject(new Error('no answer')) };
      const { receive } = createReceipts({ ...world.context, log });
      await expect(receive(receiptFor())).rejects.toThrow('no answer');
      expect(await typesIn(world)).toEqual([]);
    });
  });
});
