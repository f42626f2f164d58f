import { describe, expect, it } from 'vitest';
import { startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { adapters, PATIENCE_MS } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { SILENT } from '../support/pipeline.ts';
import { withTempDir } from '../support/temp-dir.ts';

interface Mail {
  readonly title: string;
  readonly text: string;
}

/**
 * Last stop, `src/app.ts`: everything together as `npm start` runs it, GraphQL in front and a real mail server, the
 * sandbox, behind. This is what a backend sees of it.
 */
describe.each(adapters())('all of it, $name', ({ isSkipped, open }) => {
  it.skipIf(isSkipped)(
    'a mutation becomes a mail in the mailbox, and its story can be read',
    () =>
      withTempDir(async (folder) => {
        const { value: servers, stop: stopServers } = await open();
        const config = readConfig({ PORT: '0', DATA_DIR: folder, ...servers.settings });
        const { value: app, stop } = await startApp(config, SILENT);
        const authorization = `Basic ${Buffer.from(`${app.appKey}:${app.appSecret ?? ''}`).toString('base64')}`;
        const ask = async (query: string): Promise<unknown> => {
          const headers = { authorization, 'content-type': 'application/json' };
          const response = await fetch(`${app.url}/graphql`, {
            method: 'POST',
            headers,
            body: JSON.stringify({ query }),
          });
          return response.json();
        };

        await ask('mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } }');
        await ask(
          'mutation { publishTemplate(input: {key: "hello", title: "Hello {{ name }}", body: "The first light, {{ name }}."}) { version } }',
        );
        const answer = await ask(
          'mutation { requestNotification(input: {userId: "ada", template: {key: "hello"}, data: {name: "Ada"}}) { notification { id status } } }',
        );
        expect(answer).toMatchObject({ data: { requestNotification: { notification: { status: 'REQUESTED' } } } });

        const mails = await eventually(async () => {
          const response = await fetch(`${app.url}/sandbox/outbox?address=ada@example.com`, {
            headers: { authorization },
          });
          const found = (await response.json()) as readonly Mail[];
          expect(found).toHaveLength(1);
          return found;
        });
        expect(mails[0]).toMatchObject({ title: 'Hello Ada', text: 'The first light, Ada.\n' });

        const id = /"id":"([0-9a-f-]{36})"/.exec(JSON.stringify(answer))?.[1] ?? '';
        await eventually(async () => {
          expect(
            await ask(`{ notification(id: "${id}") { status deliveries { status } timeline { type } } }`),
          ).toMatchObject({
            data: { notification: { status: 'COMPLETED', deliveries: [{ status: 'SENT' }] } },
          });
        });
        await stop();
        await stopServers();
      }),
    PATIENCE_MS,
  );
});
