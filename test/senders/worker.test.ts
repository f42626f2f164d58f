import { describe, expect, it } from 'vitest';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import type { DeliveryPolicy } from '../../src/commands/delivery-policy.ts';
import type { DeliveryState } from '../../src/events/delivery.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { systemIds } from '../../src/ids.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Job } from '../../src/ports/broker/broker.ts';
import { openInProcessBroker, type InProcessBroker } from '../../src/ports/broker/in-process.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { startDispatch } from '../../src/projections/dispatch.ts';
import { startRoute } from '../../src/projections/route.ts';
import { composeWith } from '../../src/senders/compose.ts';
import type { Message, Outcome, Sender } from '../../src/senders/outcome.ts';
import { startWorker, type Composed, type WorkerOptions } from '../../src/senders/worker.ts';
import { eventually } from '../support/eventually.ts';
import { ACCEPT, BUSY, scriptedProvider } from '../support/provider.ts';
import { gate, onAbort, senderThat } from '../support/senders.ts';
import { registered, requested, requestedMany, typesOf, withWorld, type World } from '../support/world.ts';

const POLICY: DeliveryPolicy = { retryDelaysMs: [30_000], doubt: 'RESEND', claimMs: 25_000, busyMs: 5 };
const STOPPED: Outcome = { kind: 'retry', reason: 'SENDER_STOPPED', afterMs: null, raw: null };

interface Pipe {
  readonly world: World;
  readonly broker: InProcessBroker;
}

/** Requests become jobs in the broker; no worker is there yet. */
async function withPipe(work: (pipe: Pipe) => Promise<void>): Promise<void> {
  await withWorld(async (world) => {
    const { log, logger, clock } = world;
    const broker = world.use(openInProcessBroker());
    await registered(world);
    world.use(
      startRoute({ log, state: world.state('route'), logger, ids: systemIds, now: clock.now, channels: CHANNELS }),
    );
    world.use(await startDispatch({ log, state: world.state('dispatch'), broker, logger, now: clock.now }));
    await work({ world, broker });
  });
}

interface WorkOptions extends Partial<WorkerOptions> {
  readonly log?: EventLog;
  readonly policy?: Partial<DeliveryPolicy>;
}

/** Stopped by the test, or else at its end. */
async function work({ world, broker }: Pipe, sender: Sender, changes: WorkOptions = {}): Promise<Started<void>> {
  const { log = world.log, policy = {}, ...options } = changes;
  const context = { ...world.context, log };
  const rules = { ...POLICY, ...policy };
  const worker = await startWorker({
    broker,
    type: 'email',
    sender,
    deliveries: createDeliveries(context, rules),
    compose: composeWith(log),
    logger: world.logger,
    now: world.clock.now,
    concurrency: 8,
    timeLimitMs: 10_000,
    drainMs: 1_000,
    ...options,
  });
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= worker.stop());
  world.use({ value: undefined, stop });
  return { value: undefined, stop };
}

async function deliveryOf({ world }: Pipe, id: string): Promise<DeliveryState> {
  const delivery = (await world.queries.notification('default', id))?.state.deliveries[0];
  if (delivery === undefined) throw new Error(`${id} is not routed`);
  return delivery;
}

function untilDelivery(pipe: Pipe, id: string, expected: object): Promise<void> {
  return eventually(async () => {
    expect(await deliveryOf(pipe, id)).toMatchObject(expected);
  });
}

async function untilQueued({ broker }: Pipe, transactional: number, bulk = 0): Promise<void> {
  await eventually(async () => {
    expect((await broker.depth('email.transactional')).depth).toBe(transactional);
    expect((await broker.depth('email.bulk')).depth).toBe(bulk);
  });
}

/** A job as it lies in the queue. */
async function jobOf(pipe: Pipe, id: string): Promise<Job> {
  const { id: deliveryId, attempts } = await eventually(() => deliveryOf(pipe, id));
  const due = pipe.world.clock.now();
  return { tenant: 'default', notificationId: id, deliveryId, attempt: attempts + 1, due, expires: null };
}

describe('a worker', () => {
  it('claims before it calls and records before it acknowledges', async () => {
    await withPipe(async (pipe) => {
      const { world, broker } = pipe;
      const seen: (readonly string[])[] = [];
      const outcome = gate();
      const append: EventLog['append'] = async (stream, events, version) => {
        if (events.some(({ type }) => type === 'DeliverySent')) await outcome.opened;
        return world.log.append(stream, events, version);
      };
      const sender = senderThat(async ({ notificationId }) => {
        seen.push(await typesOf(world, notificationId));
        return ACCEPT;
      });
      await work(pipe, sender, { log: { ...world.log, append } });
      const id = await requested(world);
      await eventually(() => {
        expect(seen).toEqual([['NotificationRequested', 'NotificationRouted', 'DeliveryAttempted']]);
      });
      expect((await broker.depth('email.transactional')).depth).toBe(1);
      outcome.open();
      await untilDelivery(pipe, id, { status: 'SENT', attempts: 1, providerMessageId: '<id@provider>' });
      await untilQueued(pipe, 0);
    });
  });

  it('hands over one message with everything that the provider needs', async () => {
    await withPipe(async (pipe) => {
      const { sender, accepted } = scriptedProvider(() => ACCEPT);
      await work(pipe, sender);
      const id = await requested(pipe.world, {
        content: { title: 'T', body: 'B', html: '<p>B</p>', url: 'https://a.example/' },
      });
      await untilDelivery(pipe, id, { status: 'SENT' });
      const { id: deliveryId } = await deliveryOf(pipe, id);
      const words = { title: 'T', body: 'B', html: '<p>B</p>', url: 'https://a.example/' };
      const names = { tenant: 'default', notificationId: id, deliveryId, channel: 'EMAIL', lane: 'TRANSACTIONAL' };
      const requestedAt = new Date(pipe.world.clock.now()).toISOString();
      const to = { address: 'ada@example.com', platform: null, attempt: 1 };
      expect(accepted).toEqual([{ ...names, ...to, ...words, requestId: 'request-1', requestedAt, expiresAt: null }]);
    });
  });

  it('serves transactional jobs first', async () => {
    await withPipe(async (pipe) => {
      const bulk = await requestedMany(pipe.world, 5, { lane: 'BULK' });
      const transactional = await requestedMany(pipe.world, 5);
      await untilQueued(pipe, 5, 5);
      const provider = scriptedProvider(() => ACCEPT);
      await work(pipe, provider.sender, { concurrency: 1 });
      await eventually(() => {
        expect(provider.accepted).toHaveLength(10);
      });
      const order = provider.calls.map(({ notificationId }) => notificationId);
      expect(order.slice(0, 5).toSorted()).toEqual(transactional.toSorted());
      expect(order.slice(5).toSorted()).toEqual(bulk.toSorted());
    });
  });

  it('keeps a place free for transactional jobs while bulk sends take long', async () => {
    await withPipe(async (pipe) => {
      const bulk = gate();
      const calls: Message[] = [];
      const sender = senderThat(async (message) => {
        calls.push(message);
        if (message.lane === 'BULK') await bulk.opened;
        return ACCEPT;
      });
      await requestedMany(pipe.world, 10, { lane: 'BULK' });
      await untilQueued(pipe, 0, 10);
      await work(pipe, sender, { concurrency: 4 });
      await eventually(() => {
        expect(calls).toHaveLength(3);
      });
      await untilDelivery(pipe, await requested(pipe.world), { status: 'SENT' });
      expect(calls).toHaveLength(4);
      bulk.open();
      await untilQueued(pipe, 0, 0);
    });
  });

  it('sends once, however many workers have the same job', async () => {
    await withPipe(async (pipe) => {
      const provider = scriptedProvider(() => ACCEPT);
      const ids = await requestedMany(pipe.world, 25);
      await untilQueued(pipe, 25);
      const other = pipe.world.use(openInProcessBroker());
      for (const id of ids) {
        const job = await jobOf(pipe, id);
        await Promise.all([other.publish('email.transactional', job), pipe.broker.publish('email.transactional', job)]);
      }
      await work({ ...pipe, broker: other }, provider.sender);
      await work(pipe, provider.sender);
      await eventually(async () => {
        for (const broker of [other, pipe.broker]) {
          expect(await broker.depth('email.transactional')).toMatchObject({ depth: 0, retrying: 0, dead: 0 });
        }
      });
      expect(provider.calls).toHaveLength(25);
      expect(provider.mostAtOnce()).toBe(1);
    });
  });
});

describe('a sender', () => {
  it('that hangs is cut off, and its delivery is in doubt', async () => {
    await withPipe(async (pipe) => {
      await work(
        pipe,
        senderThat(() => new Promise(() => undefined)),
        { timeLimitMs: 200 },
      );
      await untilDelivery(pipe, await requested(pipe.world), { status: 'SENDING', reason: 'NO_ANSWER', inDoubt: true });
    });
  });

  it('is told when its time is over, and believed', async () => {
    await withPipe(async (pipe) => {
      const sender = senderThat(async (_, signal) => {
        await onAbort(signal);
        return { kind: 'retry', reason: 'PROVIDER_UNREACHABLE', afterMs: null, raw: null };
      });
      await work(pipe, sender, { timeLimitMs: 200 });
      const expected = { status: 'RETRYING', reason: 'PROVIDER_UNREACHABLE', inDoubt: false };
      await untilDelivery(pipe, await requested(pipe.world), expected);
    });
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('a bug'))],
    [
      'throws',
      () => {
        throw new Error('a bug');
      },
    ],
  ])('that %s leaves its delivery in doubt, and people are told', async (_, send) => {
    await withPipe(async (pipe) => {
      await work(pipe, senderThat(send));
      await untilDelivery(pipe, await requested(pipe.world), { status: 'SENDING', inDoubt: true });
      expect(pipe.world.logger.errors).toEqual([expect.stringContaining('threw')]);
    });
  });

  it('is not called when its time was over before the claim was won', async () => {
    await withPipe(async (pipe) => {
      const provider = scriptedProvider(() => ACCEPT);
      const late = gate();
      const append: EventLog['append'] = async (...args) => {
        await late.opened;
        return pipe.world.log.append(...args);
      };
      await work(pipe, provider.sender, { timeLimitMs: 50, log: { ...pipe.world.log, append } });
      const id = await requested(pipe.world);
      await eventually(async () => {
        expect((await pipe.broker.depth('email.transactional')).retrying).toBe(1);
      });
      late.open();
      await untilDelivery(pipe, id, { status: 'RETRYING', reason: 'SENDER_STOPPED', attempts: 1 });
      expect(provider.calls).toEqual([]);
    });
  });
});

describe('a job', () => {
  it.each([
    ['of another tenant', { tenant: 'other' }],
    ['for an unknown delivery', { deliveryId: 'e5bd2b0c-0000-5000-8000-000000000000' }],
    ['for an unknown notification', { notificationId: '018f3a52-0000-7000-8000-000000000009' }],
  ])('%s is set aside and reported, and nothing is sent or recorded', async (_, forged) => {
    await withPipe(async (pipe) => {
      const { world, broker } = pipe;
      const provider = scriptedProvider(() => ACCEPT);
      const job = { ...(await jobOf(pipe, await requested(world))), ...forged };
      await untilQueued(pipe, 1);
      const consumer = await broker.consume(
        { queues: [{ name: 'email.transactional', concurrency: 1 }], concurrency: 1, timeLimitMs: 1_000 },
        () => Promise.resolve({ kind: 'ack' }),
      );
      await untilQueued(pipe, 0);
      await consumer.stop(1_000);
      const head = await world.log.head();
      await broker.publish('email.transactional', job);
      await work(pipe, provider.sender);
      await eventually(() => {
        expect(broker.setAside('email.transactional')).toEqual([{ job, reason: 'UNKNOWN_DELIVERY' }]);
      });
      expect(provider.calls).toEqual([]);
      expect(world.logger.errors).toHaveLength(1);
      expect(await world.log.head()).toBe(head);
    });
  });

  it('whose message cannot be rendered ends as rejected, and nothing is sent', async () => {
    await withPipe(async (pipe) => {
      const provider = scriptedProvider(() => ACCEPT);
      await work(pipe, provider.sender, { compose: () => Promise.resolve({ ok: false, message: 'too long' }) });
      await untilDelivery(pipe, await requested(pipe.world), { status: 'REJECTED', reason: 'RENDER_FAILED' });
      expect(provider.calls).toEqual([]);
    });
  });

  it('whose message could not be composed for now is retried, and not in doubt', async () => {
    await withPipe(async (pipe) => {
      const provider = scriptedProvider(() => ACCEPT);
      await work(pipe, provider.sender, { compose: () => Promise.reject(new Error('the log does not answer')) });
      const expected = { status: 'RETRYING', reason: 'SENDER_FAILED', inDoubt: false };
      await untilDelivery(pipe, await requested(pipe.world), expected);
      expect(provider.calls).toEqual([]);
    });
  });

  it('is not sent when its claim ran out while the process stood still', async () => {
    await withPipe(async (pipe) => {
      const provider = scriptedProvider(() => ACCEPT);
      const content = { title: null, body: 'late', html: null, url: null };
      const standStill = (): Promise<Composed> => {
        pipe.world.clock.advance(POLICY.claimMs);
        return Promise.resolve({ ok: true, content });
      };
      await work(pipe, provider.sender, { compose: standStill });
      await untilDelivery(pipe, await requested(pipe.world), { status: 'RETRYING', reason: 'SENDER_STOPPED' });
      expect(provider.calls).toEqual([]);
    });
  });

  it('of a dead-lettered delivery is set aside with the reason', async () => {
    await withPipe(async (pipe) => {
      await work(pipe, scriptedProvider(() => BUSY).sender, { policy: { retryDelaysMs: [] } });
      const id = await requested(pipe.world);
      await untilDelivery(pipe, id, { status: 'DEAD_LETTERED', reason: 'PROVIDER_BUSY' });
      await eventually(() => {
        expect(pipe.broker.setAside('email.transactional')).toMatchObject([{ reason: 'PROVIDER_BUSY' }]);
      });
      expect(pipe.world.logger.errors).toHaveLength(1);
    });
  });

  it('stays until its outcome is recorded, though the log fails for a while', async () => {
    await withPipe(async (pipe) => {
      const provider = scriptedProvider(() => ACCEPT);
      let faults = 3;
      const append: EventLog['append'] = (stream, events, version) => {
        const isOutcome = events.some(({ type }) => type === 'DeliverySent');
        if (isOutcome) faults -= 1;
        if (isOutcome && faults >= 0) return Promise.reject(new Error('the log is out of order'));
        return pipe.world.log.append(stream, events, version);
      };
      await work(pipe, provider.sender, { log: { ...pipe.world.log, append } });
      await untilDelivery(pipe, await requested(pipe.world), { status: 'SENT', attempts: 1, inDoubt: false });
      expect(provider.calls).toHaveLength(1);
    });
  });
});

describe('stopping', () => {
  it('lets sends in flight finish, records them, and takes no further job', async () => {
    await withPipe(async (pipe) => {
      const sending = gate();
      const calls: Message[] = [];
      const sender = senderThat(async (message, signal) => {
        calls.push(message);
        await Promise.race([sending.opened, onAbort(signal)]);
        return signal.aborted ? STOPPED : ACCEPT;
      });
      const ids = await requestedMany(pipe.world, 3);
      await untilQueued(pipe, 3);
      const worker = await work(pipe, sender, { concurrency: 1, drainMs: 9_000 });
      await eventually(() => {
        expect(calls).toHaveLength(1);
      });
      const stopped = worker.stop();
      for (const user of ['meanwhile', 'others', 'go', 'on']) await registered(pipe.world, user);
      sending.open();
      await stopped;
      const statuses = await Promise.all(ids.map(async (id) => (await deliveryOf(pipe, id)).status));
      expect(statuses.toSorted()).toEqual(['QUEUED', 'QUEUED', 'SENT']);
      expect(calls).toHaveLength(1);
    });
  });

  it.each([
    [
      'as its sender says',
      async (_: Message, signal: AbortSignal) => onAbort(signal).then(() => STOPPED),
      'RETRYING',
      false,
    ],
    ['in doubt when its sender says nothing', () => new Promise<Outcome>(() => undefined), 'SENDING', true],
  ] as const)('cuts off a send that outlasts the drain and records it %s', async (_, send, status, inDoubt) => {
    await withPipe(async (pipe) => {
      const sending = gate();
      const sender = senderThat((message, signal) => {
        sending.open();
        return send(message, signal);
      });
      const worker = await work(pipe, sender, { drainMs: 10 });
      const id = await requested(pipe.world);
      await sending.opened;
      await worker.stop();
      expect(await deliveryOf(pipe, id)).toMatchObject({ status, inDoubt, attempts: 1 });
    });
  });
});
