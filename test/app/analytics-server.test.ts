import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { startApp, type Running } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { start } from '../../src/lifecycle.ts';
import type { Log } from '../../src/log.ts';
import { engineOf, openTestAnalytics } from '../support/analytics.ts';
import { eventually } from '../support/eventually.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { openTempDir } from '../support/temp-dir.ts';

const PATIENCE = { timeoutMs: 40_000, pauseMs: 100 };

/** Data, or the code of the first error. */
async function ask({ url, appKey, appSecret }: Running, query: string): Promise<unknown> {
  const authorization = `Basic ${Buffer.from(`${appKey}:${appSecret ?? ''}`).toString('base64')}`;
  const headers = { authorization, 'content-type': 'application/json' };
  const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }) });
  const { data, errors } = (await response.json()) as Answer;
  return errors?.[0]?.extensions.code ?? data;
}

interface Answer {
  readonly data: unknown;
  readonly errors?: readonly { readonly extensions: { readonly code: string } }[];
}

const DAY_MS = 86_400_000;
const FROM = new Date(Date.now() - DAY_MS).toISOString();
const TO = new Date(Date.now() + DAY_MS).toISOString();
const FUNNEL = `{ funnel(input: {stages: [REQUESTED, SENT], from: "${FROM}", to: "${TO}"}) { groups { stages { count } } } }`;

function figures(count: number): object {
  return { funnel: { groups: [{ stages: [{ count }, { count }] }] } };
}

async function deliver(app: Running, title: string): Promise<void> {
  const input = `{userId: "ada", content: {title: "${title}", body: "Hello"}}`;
  const asked = await ask(app, `mutation { requestNotification(input: ${input}) { notification { id } } }`);
  const { id } = (asked as { requestNotification: { notification: { id: string } } }).requestNotification.notification;
  await eventually(
    async () =>
      expect(await ask(app, `{ notification(id: "${id}") { status } }`)).toEqual({
        notification: { status: 'COMPLETED' },
      }),
    PATIENCE,
  );
}

/** Keeps everything that is logged, as a person would see it. */
function openLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (fields: object, message?: string): void => {
    lines.push(`${message ?? ''} ${inspect(fields, { depth: 20, showHidden: true })}`);
  };
  return { log: { debug: write, info: write, warn: write, error: write }, lines };
}

describe('the service with a ClickHouse server', () => {
  it('starts and delivers while the server is away, and has exact figures whenever it is there', async () => {
    const { stop } = await start(async (scope) => {
      const engine = scope.use(await openTestAnalytics(scope.use(await openTempDir())));
      const proxy = scope.use(await openTcpProxy(() => Number(new URL(engineOf(engine).url).port)));
      await proxy.goDown();
      const { password } = engineOf(engine);
      const server = `http://default:${password}@127.0.0.1:${String(proxy.port)}/default`;
      const settings = { PORT: '0', DATA_DIR: scope.use(await openTempDir()), ANALYTICS_URL: server };
      const { log, lines } = openLog();
      const app = scope.use(await startApp(readConfig(settings), log));
      await eventually(async () => expect((await fetch(`${app.url}/readyz`)).status).toBe(200), PATIENCE);
      await ask(app, 'mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } }');
      await deliver(app, 'one');
      expect(await ask(app, FUNNEL)).toBe('ANALYTICS_UNAVAILABLE');

      await proxy.comeBack();
      await eventually(async () => expect(await ask(app, FUNNEL)).toEqual(figures(1)), PATIENCE);

      // The next insert is done, and its answer is lost.
      proxy.become({ kind: 'cut-answer', bytes: 1 });
      await deliver(app, 'two');
      await proxy.goDown();
      expect(await ask(app, FUNNEL)).toBe('ANALYTICS_UNAVAILABLE');
      await proxy.comeBack();
      proxy.become({ kind: 'ok' });
      await eventually(async () => expect(await ask(app, FUNNEL)).toEqual(figures(2)), PATIENCE);
      const [counted] = await engine.query(
        'SELECT (SELECT count() FROM delivery_events) AS events, (SELECT sum(updates) FROM activity_hourly) AS updates, (SELECT uniqExact(position, update_index) FROM delivery_events) AS different',
      );
      expect(counted?.['events']).toBe(counted?.['different']);
      expect(counted?.['updates']).toBe(counted?.['different']);
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.join('\n')).not.toContain(password);
    });
    await stop();
  }, 120_000);
});
