import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createCommands } from '../../src/commands/create.ts';
import { CHANNELS } from '../../src/events/event.ts';
import { updatesOf } from '../../src/events/updates.ts';
import { openCursors, systemIds, streamOf } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { start } from '../../src/lifecycle.ts';
import { startAnalytics } from '../../src/projections/analytics.ts';
import type { FunnelInput } from '../../src/projections/funnel-input.ts';
import { createFunnels } from '../../src/projections/funnel.ts';
import { isPhoneNumber } from '../../src/senders/sms-phone.ts';
import { liquidTemplates } from '../../src/senders/templates.ts';
import { adapters, openLogOver, PATIENCE_MS } from '../support/adapters.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { reportFault } from '../support/faults.ts';
import { CALLER, requestFor, SILENT } from '../support/pipeline.ts';
import { openTempDir } from '../support/temp-dir.ts';

/**
 * Last stop: `src/projections/analytics.ts` and `funnel.ts`. Whatever was appended, by whomever, becomes rows in
 * ClickHouse: one an update, and one a delivery with a bit for each stage that it reached. Funnels are counted on those.
 * Here the engine is the embedded one, in a process of its own; to this code it is a server.
 */
describe.each(adapters())('from the log to a figure, $name', (over) => {
  it.skipIf(over.isSkipped)(
    'a notification that led to a purchase stands in both stages of the funnel',
    async () => {
      const { stop } = await start(async (scope) => {
        const folder = scope.use(await openTempDir());
        const log = scope.use(await openLogOver(over, folder));
        const keys = openKeys('a key of at least thirty-two characters');
        const cursors = openCursors(log.id, keys.mac);
        const given = { log, now: Date.now, ids: systemIds, keys, cursors, templates: liquidTemplates };
        const commands = createCommands({ ...given, channels: CHANNELS, isPhoneNumber, reportFault });
        const analytics = scope.use(await openTestAnalytics(join(folder, 'analytics')));
        const ingest = scope.use(startAnalytics({ log, analytics, logger: SILENT, ids: systemIds, now: Date.now }));
        const funnels = createFunnels({ analytics, ingest, cursors, now: Date.now });

        await commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
        const { notification } = await commands.requestNotification(CALLER, requestFor('ada', { campaign: 'spring' }));
        const { id } = notification.state;
        await commands.recordConversion(CALLER, {
          idempotencyKey: 'order-4711',
          notificationId: id,
          deliveryId: null,
          name: 'purchase',
          value: 19.9,
          currency: 'EUR',
          occurredAt: null,
          asSent: {},
        });

        // One row an update: the request, and a conversion that is put down to no delivery, for nothing was sent here.
        const rows = await eventually(async () => {
          const found = await analytics.query(
            'SELECT type, position, update_index FROM delivery_events ORDER BY position',
          );
          expect(found).toHaveLength(2);
          return found;
        });
        const events = await log.read(streamOf.notification(id));
        const updates = events.flatMap(({ type, position, data }) =>
          updatesOf(data).map(({ index }) => ({ type, position, update_index: index })),
        );
        expect(rows).toEqual(updates);

        const now = Date.now();
        const asked: FunnelInput = {
          stages: ['REQUESTED', 'CONVERTED'],
          from: new Date(now - 60_000),
          to: new Date(now + 60_000),
          windowSeconds: 3_600,
          channels: null,
          campaign: 'spring',
          category: null,
          unit: 'NOTIFICATION',
          groupBy: ['CAMPAIGN'],
          timeZone: 'UTC',
        };
        // Until the writer has caught up, the answer is that it has not.
        const figures = await eventually(() => funnels.read(CALLER.tenant, asked));
        expect(figures.groups.map(({ key, stages }) => [key, stages.map(({ count }) => count)])).toEqual([
          ['spring', [1, 1]],
        ]);
        // What the figures include is a place in the log: whoever subscribes from there misses nothing.
        const { position = '' } = cursors.read(CALLER.tenant, figures.cursor) ?? {};
        expect(position >= String(rows.at(-1)?.['position'])).toBe(true);
      });
      await stop();
    },
    PATIENCE_MS,
  );
});
