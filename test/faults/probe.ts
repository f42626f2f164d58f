import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { MailSink } from '../support/mail-sink.ts';
import type { Service } from '../support/service.ts';
import { askAny } from './load.ts';
import { RECOVERED } from './settings.ts';

const REQUEST = `mutation ($input: RequestNotificationInput!) {
  requestNotification(input: $input) { notification { id } }
}`;

interface Probed {
  readonly apis: () => readonly Service[];
  readonly sink: MailSink;
}

/** One more request, as soon as the last fault is over. Answers how many milliseconds its mail took. */
export async function probe(probed: Probed, seed: number): Promise<number> {
  const startedAt = performance.now();
  const content = { title: 'Hello', body: 'Is anybody there?' };
  const input = { userId: 'user-0', idempotencyKey: `probe-${String(seed)}`, content };
  await eventually(async () => {
    expect(await isSent(probed, input), 'a request after the last fault was not sent in time').toBe(true);
  }, RECOVERED);
  return performance.now() - startedAt;
}

async function isSent({ apis, sink }: Probed, input: object): Promise<boolean> {
  const { requestNotification } = await askAny<{ requestNotification: { notification: { id: string } } }>(
    apis,
    REQUEST,
    { variables: { input } },
  );
  const { notification } = await askAny<{ notification: { deliveries: readonly { id: string }[] } }>(
    apis,
    `{ notification(id: "${requestNotification.notification.id}") { deliveries { id } } }`,
  );
  const arrived = [...sink.copies.keys()];
  return notification.deliveries.some(({ id }) => arrived.some((messageId) => messageId.includes(id)));
}
