import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeliveryState } from '../../src/events/delivery.ts';
import type { NotificationState } from '../../src/events/notification.ts';
import { statusOf } from '../../src/events/notification.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { chosenAdapters } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { CALLER, requestFor, startPipeline, type Pipeline, type PipelineOptions } from '../support/pipeline.ts';
import {
  ACCEPT,
  BUSY,
  REFUSE,
  SILENT_LOSS,
  scriptedProvider,
  type Behaviour,
  type ScriptedProvider,
} from '../support/provider.ts';
import { withTempDir } from '../support/temp-dir.ts';

const USERS = 4;
const REQUESTS = 24;
/** Each look reads every stream; a RabbitMQ gives a job back after a second at the earliest. */
const PATIENCE = { timeoutMs: 60_000, pauseMs: 20 };

/** The log dies for its users after some appends: what was acknowledged stays, nothing else is ever answered. */
function dyingAfter(appends: number): (log: EventLog) => EventLog {
  let left = appends;
  return (log) => ({
    ...log,
    append: async (...args) => {
      left -= 1;
      if (left === 0) {
        await log.append(...args).catch(() => undefined);
        throw new Error('the process died before it heard of this append');
      }
      if (left < 0) throw new Error('the process is dead');
      return log.append(...args);
    },
  });
}

async function requestAll(pipeline: Pipeline): Promise<void> {
  for (let user = 0; user < USERS; user += 1) {
    await pipeline.commands.registerUser(CALLER, {
      id: `user-${String(user)}`,
      email: `user-${String(user)}@example.com`,
    });
  }
  const inputs = Array.from({ length: REQUESTS }, (_, index) =>
    requestFor(`user-${String(index % USERS)}`, { idempotencyKey: `key-${String(index)}` }),
  );
  await pipeline.commands.requestNotifications(CALLER, inputs);
}

async function states(pipeline: Pipeline): Promise<readonly NotificationState[]> {
  const again = Array.from({ length: REQUESTS }, (_, index) =>
    requestFor(`user-${String(index % USERS)}`, { idempotencyKey: `key-${String(index)}` }),
  );
  const results = await pipeline.commands.requestNotifications(CALLER, again);
  return results.map((result) => {
    if (result instanceof Error) throw result;
    expect(result.replayed).toBe(true);
    return result.notification.state;
  });
}

async function untilCompleted(pipeline: Pipeline): Promise<readonly NotificationState[]> {
  return eventually(async () => {
    const all = await states(pipeline);
    expect(all.map(statusOf).filter((status) => status !== 'COMPLETED')).toEqual([]);
    return all;
  }, PATIENCE);
}

/** No loss, no invention, and a duplicate only where an attempt was in doubt. */
function checkLedger(provider: ScriptedProvider, deliveries: readonly DeliveryState[]): void {
  for (const delivery of deliveries) {
    const copies = provider.accepted.filter(({ deliveryId }) => deliveryId === delivery.id).length;
    if (delivery.status === 'SENT') expect(copies).toBeGreaterThanOrEqual(1);
    if (copies > 1 || (copies === 1 && delivery.status !== 'SENT')) expect(delivery.inDoubt).toBe(true);
    expect(delivery.accepted.length).toBeLessThanOrEqual(copies);
  }
}

const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Behaviour>(ACCEPT) },
  { weight: 3, arbitrary: fc.constant<Behaviour>(BUSY) },
  { weight: 1, arbitrary: fc.constant<Behaviour>(REFUSE) },
  { weight: 1, arbitrary: fc.constant<Behaviour>(SILENT_LOSS) },
  { weight: 1, arbitrary: fc.constant<Behaviour>({ kind: 'silently' }) },
);

const { name, isSkipped, open } = chosenAdapters();

describe(`whatever the provider does and whenever the process dies, ${name}`, () => {
  it.skipIf(isSkipped)(
    'every accepted request ends, and a duplicate arises only where an attempt was in doubt',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(behaviour, { minLength: 40, maxLength: 40 }),
          fc.array(fc.integer({ min: 1, max: 80 }), { maxLength: 3 }),
          (script, crashes) =>
            withTempDir(async (folder) => {
              const { value: servers, stop: stopServers } = await open();
              const provider = scriptedProvider((_, call) => script[call % script.length] ?? ACCEPT);
              const options = { sender: provider.sender, timeLimitMs: 150, settings: servers.settings };
              try {
                checkLedger(provider, await dieAndEnd(folder, options, crashes));
                expect(provider.mostAtOnce()).toBe(1);
              } finally {
                await stopServers();
              }
            }),
        ),
        { numRuns: 12 },
      );
    },
    240_000,
  );
});

/** Takes all requests, dies after each of `crashes` many appends, and lives on to the end. */
async function dieAndEnd(
  folder: string,
  options: PipelineOptions,
  crashes: readonly number[],
): Promise<readonly DeliveryState[]> {
  const first = await startPipeline(folder, options);
  await requestAll(first.value);
  await first.stop();
  for (const appends of crashes) await runUntilDead(folder, { ...options, wrap: dyingAfter(appends) });
  const last = await startPipeline(folder, options);
  try {
    const all = await untilCompleted(last.value);
    return all.flatMap(({ deliveries }) => deliveries);
  } finally {
    await last.stop();
  }
}

async function runUntilDead(folder: string, options: PipelineOptions): Promise<void> {
  let dead = false;
  const dying = options.wrap;
  const wrap = (log: EventLog): EventLog => {
    const mortal = dying?.(log) ?? log;
    return {
      ...mortal,
      append: (...args) =>
        mortal.append(...args).catch((error: unknown) => {
          if (String(error).includes('the process')) dead = true;
          throw error;
        }),
    };
  };
  const pipeline = await startPipeline(folder, { ...options, wrap, forgets: true });
  try {
    await eventually(async () => {
      const all = await states(pipeline.value);
      expect(dead || all.every((state) => statusOf(state) === 'COMPLETED')).toBe(true);
    }, PATIENCE);
  } finally {
    await pipeline.stop();
  }
}
