import { describe, expect, it } from 'vitest';
import { startApp, type Running } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { eventually } from '../support/eventually.ts';
import { startEventStore } from '../support/eventstore/server.ts';
import { SILENT } from '../support/pipeline.ts';
import { withTempDir } from '../support/temp-dir.ts';

const REQUESTS = 40;
const PATIENCE = { timeoutMs: 40_000, pauseMs: 100 };

type Ask = <T>(query: string) => Promise<T>;

function askingOf({ url, appKey, appSecret }: Running): { readonly ask: Ask; readonly authorization: string } {
  const authorization = `Basic ${Buffer.from(`${appKey}:${appSecret ?? ''}`).toString('base64')}`;
  const ask = async <T>(query: string): Promise<T> => {
    const headers = { authorization, 'content-type': 'application/json' };
    const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }) });
    const { data, errors } = (await response.json()) as { readonly data: T; readonly errors?: unknown };
    if (errors !== undefined) throw new Error(JSON.stringify(errors));
    return data;
  };
  return { ask, authorization };
}

/** Asks until it is told yes; the idempotency key sees to it that it counts once. */
async function request(ask: Ask, key: string): Promise<string> {
  const input = `{idempotencyKey: "${key}", userId: "ada", content: {title: "${key}", body: "Hello"}}`;
  const mutation = `mutation { requestNotification(input: ${input}) { notification { id } } }`;
  const answer = await eventually(
    () => ask<{ requestNotification: { notification: { id: string } } }>(mutation),
    PATIENCE,
  );
  return answer.requestNotification.notification.id;
}

describe('the service over an EventStoreDB', () => {
  it(
    'delivers everything that it accepted once, while connections drop, calls end and the server restarts',
    () =>
      withTempDir(async (folder) => {
        const { value: server, stop: stopServer } = await startEventStore();
        const config = { PORT: '0', DATA_DIR: folder, EVENT_LOG_URL: server.url };
        const first = await startApp(readConfig(config), SILENT);
        const before = askingOf(first.value);
        await eventually(
          () => before.ask('mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } }'),
          PATIENCE,
        );
        const keys = Array.from({ length: REQUESTS }, (_, index) => `note ${String(index)}`);
        const ids: string[] = [];
        for (const [index, key] of keys.entries()) {
          if (index === 10) server.dropConnections();
          if (index === 15) server.endSubscriptions();
          if (index === 20) server.endBatchStreams();
          if (index === 25) await server.goDown().then(server.comeBack);
          if (index === 30) server.failAppends({ kind: 'reset', committed: true }, { times: 1 });
          ids.push(await request(before.ask, key));
        }
        await eventually(async () => {
          for (const id of ids) {
            expect(await before.ask(`{ notification(id: "${id}") { status } }`)).toEqual({
              notification: { status: 'COMPLETED' },
            });
          }
        }, PATIENCE);
        const mailsOf = async ({ url }: Running, authorization: string): Promise<readonly string[]> => {
          const address = `${url}/sandbox/outbox?address=ada@example.com`;
          const response = await fetch(address, { headers: { authorization } });
          return ((await response.json()) as { title: string }[]).map(({ title }) => title);
        };
        expect((await mailsOf(first.value, before.authorization)).toSorted()).toEqual(keys.toSorted());
        await first.stop();

        // Another life finds everything in the log, and sends nothing again.
        const second = await startApp(readConfig(config), SILENT);
        const after = askingOf(second.value);
        expect(await request(after.ask, 'note 0')).toBe(ids[0]);
        const last = await request(after.ask, 'one more');
        await eventually(async () => {
          expect(await after.ask(`{ notification(id: "${last}") { status } }`)).toEqual({
            notification: { status: 'COMPLETED' },
          });
        }, PATIENCE);
        expect(await mailsOf(second.value, after.authorization)).toHaveLength(REQUESTS + 1);
        await second.stop();
        await stopServer();
      }),
    120_000,
  );

  it(
    'says while the server is away that it is, and answers again when it is back',
    () =>
      withTempDir(async (folder) => {
        const { value: server, stop: stopServer } = await startEventStore();
        const service = await startApp(readConfig({ PORT: '0', DATA_DIR: folder, EVENT_LOG_URL: server.url }), SILENT);
        const { ask } = askingOf(service.value);
        const ready = async (): Promise<unknown> => (await fetch(`${service.value.url}/readyz`)).json();
        const operations = [
          'mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } }',
          'mutation { requestNotifications(inputs: [{userId: "ada", content: {title: "a", body: "b"}}]) { error { code } } }',
          '{ notification(id: "0190163d-8694-739b-aea5-966c26f8ad91") { status } }',
          '{ head }',
        ];
        await eventually(async () => expect(await ready()).toEqual({ status: 'ready' }), PATIENCE);
        await server.goDown();
        const refusals = await Promise.all(operations.map((operation) => ask(operation).catch(String)));
        expect(refusals.map((refusal) => /"code":"(\w+)"/.exec(String(refusal))?.[1])).toEqual(
          operations.map(() => 'UNAVAILABLE'),
        );
        expect(await ready()).toEqual({ status: 'not ready', reasons: ['the event log does not answer'] });
        await server.comeBack();
        await eventually(async () => expect(await ready()).toEqual({ status: 'ready' }), PATIENCE);
        for (const operation of operations) await ask(operation);
        await service.stop();
        await stopServer();
      }),
    120_000,
  );
});
