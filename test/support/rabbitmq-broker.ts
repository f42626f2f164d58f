import { Connection } from 'rabbitmq-client';
import type { Started } from '../../src/lifecycle.ts';
import type { Broker } from '../../src/ports/broker/broker.ts';
import { openRabbitMq, type RabbitMqOptions } from '../../src/ports/broker/rabbitmq.ts';
import { QUEUE_CAPACITY, topologyOf, type Topology } from '../../src/ports/broker/topology.ts';

/** Short steps, so that tests need not wait, and the longest. */
export const TEST_STEPS_MS = [10, 1_000, 3_600_000] as const;

/** The queues of a broker that was opened with these options. */
export function topologyFor({ prefix = 'heliograph.', capacity = QUEUE_CAPACITY }: Partial<RabbitMqOptions>): Topology {
  return topologyOf({ prefix, capacity, retryStepsMs: TEST_STEPS_MS });
}

/** A broker with short retry steps whose queues are empty. Queues of another capacity are other queues. */
export async function openEmptyRabbitMq(options: RabbitMqOptions): Promise<Started<Broker>> {
  const prefix = `${options.prefix ?? 'heliograph.'}${String(options.capacity ?? 'usual')}.`;
  const opened = await openRabbitMq({ failureRetryMs: 1, retryStepsMs: TEST_STEPS_MS, ...options, prefix });
  await withRabbit(options.url, async (rabbit) => {
    for (const { queue } of topologyFor({ ...options, prefix }).queues) await rabbit.queuePurge(queue);
  });
  return opened;
}

/** Speaks to the server past the adapter. */
export async function withRabbit<T>(url: string, work: (rabbit: Connection) => Promise<T>): Promise<T> {
  const rabbit = new Connection({ url, noDelay: true });
  try {
    return await work(rabbit);
  } finally {
    rabbit.unsafeDestroy();
  }
}
