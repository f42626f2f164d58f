import { describe, expect, it } from 'vitest';
import { adapters, PATIENCE_MS } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { CALLER, requestFor, startPipeline } from '../support/pipeline.ts';
import { ACCEPT, BUSY, scriptedProvider } from '../support/provider.ts';
import { withTempDir } from '../support/temp-dir.ts';

/**
 * Third stop, `src/projections/dispatch.ts` and `src/senders/worker.ts`. Dispatch feeds a small job for each queued
 * delivery to the queue of its type and lane; the worker claims the attempt in the log, calls the provider once, and
 * records what became of it. Here a provider that is busy the first time.
 */
describe.each(adapters())('from a decision to the provider, $name', ({ isSkipped, open }) => {
  it.skipIf(isSkipped)(
    'a delivery is claimed, attempted, retried, sent, and every step is in its story',
    () =>
      withTempDir(async (folder) => {
        const provider = scriptedProvider((_, call) => (call === 1 ? BUSY : ACCEPT));
        const { value: servers, stop: stopServers } = await open();
        const options = { sender: provider.sender, settings: servers.settings };
        const { value: pipeline, stop } = await startPipeline(folder, options);

        await pipeline.commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
        const { notification } = await pipeline.commands.requestNotification(CALLER, requestFor('ada'));

        const view = await eventually(async () => {
          const found = await pipeline.queries.notification('default', notification.state.id);
          expect(found?.state.deliveries[0]?.status).toBe('SENT');
          return found;
        });
        expect(view?.timeline().map(({ type }) => type)).toEqual([
          'NotificationRequested',
          'NotificationRouted',
          'DeliveryAttempted',
          'DeliveryRetryScheduled',
          'DeliveryAttempted',
          'DeliverySent',
        ]);
        expect(provider.calls).toHaveLength(2);
        expect(provider.accepted).toMatchObject([
          { address: 'ada@example.com', title: 'Hello', body: 'The first light.' },
        ]);
        await stop();
        await stopServers();
      }),
    PATIENCE_MS,
  );
});
