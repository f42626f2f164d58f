import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { Service } from '../support/service.ts';
import { askAny } from './load.ts';
import { RECOVERED } from './settings.ts';
import { copiesAt, type Sink } from './sinks.ts';

const REQUEST = `mutation ($input: RequestNotificationInput!) {
  requestNotification(input: $input) { notification { id } }
}`;

interface Probed {
  readonly apis: () => readonly Service[];
  readonly sinks: readonly Sink[];
}

/** One more request, as soon as the last fault is over. Answers how many milliseconds it took until there was something of it on every channel. */
export async function probe(probed: Probed, seed: number): Promise<number> {
  const startedAt = performance.now();
  const content = { title: 'Hello', body: 'Is anybody there?' };
  const input = { userId: 'user-0', idempotencyKey: `probe-${String(seed)}`, content };
  await eventually(async () => {
    expect(await isSent(probed, input), 'a request after the last fault was not sent in time').toBe(true);
  }, RECOVERED);
  return performance.now() - startedAt;
}

async function isSent({ apis, sinks }: Probed, input: object): Promise<boolean> {
  const { requestNotification } = await askAny<{ requestNotification: { notification: { id: string } } }>(
    apis,
    REQUEST,
    { variables: { input } },
  );
  const { notification } = await askAny<{ notification: { deliveries: readonly { id: string }[] } }>(
    apis,
    `{ notification(id: "${requestNotification.notification.id}") { deliveries { id } } }`,
  );
  const arrived = [...copiesAt(sinks).values()];
  return arrived.every((copies) => notification.deliveries.some(({ id }) => copies.has(id)));
}
