import { describe, expect, it } from 'vitest';
import { startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { adapters, PATIENCE_MS } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';
import { withTempDir } from '../support/temp-dir.ts';

interface Delivery {
  readonly channel: string;
  readonly platform: string | null;
  readonly address: string;
  readonly status: string;
  readonly provider: string;
}

interface Message {
  readonly channel: string;
  readonly platform: string | null;
  readonly address: string;
  readonly text: string;
}

const REGISTER = `mutation {
  registerUser(input: { id: "ada", email: "ada@example.com", phone: "+12025550123" }) { id }
  iphone: registerDevice(input: { userId: "ada", platform: IOS, token: "iphone-of-ada-7f3c91" }) { tokenHint }
  android: registerDevice(input: { userId: "ada", platform: ANDROID, token: "android-of-ada-2b8e04" }) { tokenHint }
  browser: registerDevice(input: { userId: "ada", platform: WEB, token: "browser-of-ada-c5d6a7" }) { tokenHint }
}`;

const REQUEST = `mutation {
  requestNotification(input: { userId: "ada", content: { title: "Hello Ada", body: "The first light.", url: "https://example.com/light" } }) {
    notification { id }
  }
}`;

/**
 * One request, every address of the user: a mail, a text message, and a push to each of three devices, each through the
 * vendor's own library to a stand-in that speaks the vendor's protocol. A phone network tells what it delivered, with a
 * signed receipt; the other providers only ever say that they accepted a message, and so do we.
 */
describe.each(adapters())(
  'one request for somebody with a mailbox, a phone number and three devices, $name',
  ({ isSkipped, open }) => {
    it.skipIf(isSkipped)(
      'becomes five messages with five honest statuses',
      () =>
        withTempDir(async (folder) => {
          const { value: servers, stop: stopServers } = await open();
          const config = readConfig({ PORT: '0', DATA_DIR: folder, ...servers.settings });
          const { value: app, stop } = await startApp(config, SILENT);
          const authorization = `Basic ${Buffer.from(`${app.appKey}:${app.appSecret ?? ''}`).toString('base64')}`;
          const ask = async <T>(query: string): Promise<T> => {
            const headers = { authorization, 'content-type': 'application/json' };
            const init = { method: 'POST', headers, body: JSON.stringify({ query }) };
            return ((await (await fetch(`${app.url}/graphql`, init)).json()) as { readonly data: T }).data;
          };

          // A push token is a credential: what is shown of it is its end.
          expect(await ask(REGISTER)).toMatchObject({
            iphone: { tokenHint: '7f3c91' },
            browser: { tokenHint: 'c5d6a7' },
          });
          const { requestNotification } = await ask<{ requestNotification: { notification: { id: string } } }>(REQUEST);
          const { id } = requestNotification.notification;

          const fields = 'status deliveries { channel platform address status provider }';
          const { deliveries } = await eventually(async () => {
            const { notification } = await ask<{ notification: { status: string; deliveries: readonly Delivery[] } }>(
              `{ notification(id: "${id}") { ${fields} } }`,
            );
            expect(notification.status).toBe('COMPLETED');
            expect(notification.deliveries.find(({ channel }) => channel === 'SMS')?.status).toBe('DELIVERED');
            return notification;
          });
          expect(deliveries).toEqual([
            { channel: 'PUSH', platform: 'IOS', address: '7f3c91', status: 'SENT', provider: 'fcm' },
            { channel: 'PUSH', platform: 'ANDROID', address: '2b8e04', status: 'SENT', provider: 'fcm' },
            { channel: 'PUSH', platform: 'WEB', address: 'c5d6a7', status: 'SENT', provider: 'fcm' },
            { channel: 'SMS', platform: null, address: '+12025550123', status: 'DELIVERED', provider: 'twilio' },
            { channel: 'EMAIL', platform: null, address: 'ada@example.com', status: 'SENT', provider: 'smtp' },
          ]);

          const outbox = await fetch(`${app.url}/sandbox/outbox`, { headers: { authorization } });
          const messages = (await outbox.json()) as readonly Message[];
          const seen = messages.map(({ channel, platform, address }) => [channel, platform, address].join(' '));
          expect(seen.toSorted()).toEqual(
            deliveries.map(({ channel, platform, address }) => [channel, platform, address].join(' ')).toSorted(),
          );
          expect(messages.every(({ text }) => text.includes('The first light.'))).toBe(true);
          await stop();
          await stopServers();
        }),
      PATIENCE_MS,
    );
  },
);
