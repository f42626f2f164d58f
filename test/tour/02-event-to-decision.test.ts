import { reportFault } from '../support/faults.ts';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createCommands } from '../../src/commands/create.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { openCursors, systemIds, streamOf } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { openLmdbState } from '../../src/ports/state/lmdb.ts';
import { startRoute } from '../../src/projections/route.ts';
import { isPhoneNumber } from '../../src/senders/sms-phone.ts';
import { liquidTemplates } from '../../src/senders/templates.ts';
import { adapters, openLogOver, PATIENCE_MS } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { CALLER, requestFor, SILENT } from '../support/pipeline.ts';
import { withTempDir } from '../support/temp-dir.ts';

/**
 * Second stop, `src/projections/route.ts`. It follows users and requests in log order and decides for each request, once,
 * who gets it on which channel. Every decision is recorded with its reason, also the decision not to send.
 */
describe.each(adapters())('from an event to a decision, $name', (over) => {
  it.skipIf(over.isSkipped)(
    'a request is routed, and what is not sent is explained',
    () =>
      withTempDir(async (folder) => {
        const { value: log, stop: closeLog } = await openLogOver(over, folder);
        const { value: states, stop: closeStates } = await openLmdbState(join(folder, 'state'));
        const state = states.open('route');
        const route = startRoute({
          log,
          state,
          logger: SILENT,
          ids: systemIds,
          now: Date.now,
          channels: CHANNELS,
        });
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
        await commands.setPreference(CALLER, { userId: 'ada', channel: 'EMAIL', category: 'news', optIn: false });
        const receipt = await commands.requestNotification(CALLER, requestFor('ada', { category: 'receipts' }));
        const news = await commands.requestNotification(CALLER, requestFor('ada', { category: 'news' }));

        const decisionOn = async ({ notification }: typeof receipt): Promise<unknown> => {
          const events = await log.read(streamOf.notification(notification.state.id));
          return events.find(({ type }) => type === 'NotificationRouted')?.data;
        };
        await eventually(async () => {
          expect(await decisionOn(receipt)).toMatchObject({
            decisions: [{ channel: 'EMAIL', outcome: 'QUEUE', address: 'ada@example.com', reason: 'DELIVERABLE' }],
          });
          expect(await decisionOn(news)).toMatchObject({
            decisions: [
              { channel: 'EMAIL', outcome: 'SUPPRESS', reason: 'CATEGORY_OPTED_OUT', rule: 'category-preference' },
            ],
          });
        });
        await route.stop();
        await closeStates();
        await closeLog();
      }),
    PATIENCE_MS,
  );
});
