import { reportFault } from '../support/faults.ts';
import { describe, expect, it } from 'vitest';
import { createCommands } from '../../src/commands/create.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { openCursors, systemIds, streamOf } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { isPhoneNumber } from '../../src/senders/sms-phone.ts';
import { liquidTemplates } from '../../src/senders/templates.ts';
import { adapters, openLogOver, PATIENCE_MS } from '../support/adapters.ts';
import { CALLER, requestFor } from '../support/pipeline.ts';
import { withTempDir } from '../support/temp-dir.ts';

/**
 * The tour: read these files in order to see a notification on its way through the house. Each stop is made twice, with
 * what the process has in itself, and over an EventStoreDB and a RabbitMQ: nothing on the way knows which.
 *
 * First stop, `src/commands`. A command reads one stream, folds it, decides, and appends what happened; what it
 * answers is durable. Nothing has been sent yet and nobody has decided to: there is one event.
 */
describe.each(adapters())('from a command to an event, $name', (over) => {
  it.skipIf(over.isSkipped)(
    'a request becomes one event in the stream of its notification',
    () =>
      withTempDir(async (folder) => {
        const { value: log, stop } = await openLogOver(over, folder);
        const keys = openKeys('a key of at least thirty-two characters');
        const commands = createCommands({
          log,
          now: Date.now,
          ids: systemIds,
          keys,
          cursors: openCursors(log.id, keys.mac),
          templates: liquidTemplates,
          channels: CHANNELS,
          isPhoneNumber,
          reportFault,
        });

        await commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
        const { notification, replayed } = await commands.requestNotification(
          CALLER,
          requestFor('ada', { idempotencyKey: 'hello-1' }),
        );

        const [requested, ...more] = await log.read(streamOf.notification(notification.state.id));
        expect(more).toEqual([]);
        expect(requested).toMatchObject({
          type: 'NotificationRequested',
          version: 1,
          data: { userId: 'ada', content: { body: 'The first light.' } },
          metadata: { tenant: 'default', notification: { userId: 'ada', lane: 'TRANSACTIONAL' } },
        });
        expect(replayed).toBe(false);

        // The same key and the same input: the first answer again, and no second event.
        const again = await commands.requestNotification(CALLER, requestFor('ada', { idempotencyKey: 'hello-1' }));
        expect(again).toMatchObject({ replayed: true, notification: { state: { id: notification.state.id } } });
        expect(await log.read(streamOf.notification(notification.state.id))).toHaveLength(1);
        await stop();
      }),
    PATIENCE_MS,
  );
});
