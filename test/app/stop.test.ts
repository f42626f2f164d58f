import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { chosenAdapters, PATIENCE_MS, type Adapters } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { openMailSink } from '../support/mail-sink.ts';
import { lacksRabbit } from '../support/rabbitmq-server.ts';
import { sharedRabbit } from '../support/rabbitmq-shared.ts';
import { startService, type Service } from '../support/service.ts';
import { withTempDir } from '../support/temp-dir.ts';

const SMTP_FROM = 'Heliograph <no-reply@example.com>';

function openGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

async function send({ ask }: Service): Promise<string> {
  await ask('mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } }');
  const { requestNotification } = await ask<{ requestNotification: { notification: { id: string } } }>(
    'mutation { requestNotification(input: {userId: "ada", content: {body: "Hello"}}) { notification { id } } }',
  );
  return requestNotification.notification.id;
}

async function timeline({ ask }: Service, id: string): Promise<readonly string[]> {
  const { notification } = await ask<{ notification: { timeline: readonly { type: string }[] } }>(
    'query($id: ID!) { notification(id: $id) { timeline { type } } }',
    { id },
  );
  return notification.timeline.map(({ type }) => type);
}

/** A service with one mail that its server has and does not answer before the gate opens. */
async function sendInFlight(folder: string, open: Adapters['open']) {
  const { value: servers, stop: stopServers } = await open();
  const gate = openGate();
  const { value: sink, stop: closeSink } = await openMailSink(() => gate.opened);
  const env = { SMTP_URL: sink.url, SMTP_FROM, ...servers.settings };
  const service = await startService(folder, env);
  const id = await send(service);
  await eventually(() => expect(sink.copies.size).toBe(1));
  const close = async (): Promise<void> => {
    await closeSink();
    await stopServers();
  };
  return { service, id, env, gate, sink, close };
}

interface Starting {
  readonly child: ChildProcess;
  readonly log: () => string;
  readonly ended: Service['ended'];
}

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** A service of which nobody expects that it will ever listen. */
function beginStart(folder: string, env: Readonly<Record<string, string>>): Starting {
  const settings = { PATH: process.env['PATH'], PORT: '0', DATA_DIR: folder, ...env };
  const child = spawn(process.execPath, [MAIN], { env: settings, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended: Service['ended'] = new Promise((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal })),
  );
  return { child, log: () => log, ended };
}

const { name, isSkipped, open } = chosenAdapters();

describe.skipIf(isSkipped)(`a stop by SIGTERM, ${name}`, { timeout: PATIENCE_MS }, () => {
  it('lets a send in flight finish and records it, also when a second SIGTERM comes, and exits with 0', () =>
    withTempDir(async (folder) => {
      const { service, id, env, gate, sink, close } = await sendInFlight(folder, open);

      service.child.kill('SIGTERM');
      await eventually(() => expect(service.log()).toContain('stopping'));
      service.child.kill('SIGTERM');
      gate.open();
      expect(await service.ended).toEqual({ code: 0, signal: null });

      const next = await startService(folder, env);
      expect(await timeline(next, id)).toEqual([
        'NotificationRequested',
        'NotificationRouted',
        'DeliveryAttempted',
        'DeliverySent',
      ]);
      next.child.kill('SIGTERM');
      await next.ended;
      expect([...sink.copies.values()]).toEqual([1]);
      await close();
    }));

  it('cuts off a send that does not finish, records that it is in doubt, and exits with 0', () =>
    withTempDir(async (folder) => {
      const { service, id, env, gate, close } = await sendInFlight(folder, open);
      service.child.kill('SIGTERM');
      expect(await service.ended).toEqual({ code: 0, signal: null });
      gate.open();

      const next = await startService(folder, { ...env, DOUBT_POLICY: 'HOLD' });
      expect((await timeline(next, id)).at(-1)).toBe('DeliveryOutcomeUnknown');
      next.child.kill('SIGTERM');
      await next.ended;
      await close();
    }));
});

describe('a start', () => {
  it('with settings given by half ends at once and names what is missing', () =>
    withTempDir(async (folder) => {
      await expect(startService(folder, { SMTP_URL: 'smtp://user@mail.example.com' })).rejects.toThrow(/SMTP_FROM/);
    }));

  it('on a folder that another process uses ends at once and says so', () =>
    withTempDir(async (folder) => {
      const first = await startService(folder);
      await expect(startService(folder)).rejects.toThrow(/in use/);
      first.child.kill('SIGTERM');
      expect(await first.ended).toEqual({ code: 0, signal: null });
    }));

  it.each([
    ['EVENT_LOG_URL', 'esdb://admin:hunter2@127.0.0.1:PORT?tls=false', 'waiting for EventStoreDB (EVENT_LOG_URL)'],
    ['BROKER_URL', 'amqp://guest:hunter2@127.0.0.1:PORT', 'RabbitMQ'],
  ])('that waits for a server, %s, ends at once on SIGTERM with 0', (variable, url, waiting) =>
    withTempDir(async (folder) => {
      const env = { [variable]: url.replace('PORT', String(await freePort())) };
      const { child, log, ended } = beginStart(folder, env);
      try {
        await eventually(() => expect(log()).toContain(waiting), { timeoutMs: 15_000 });
        child.kill('SIGTERM');
        expect(await ended, log()).toEqual({ code: 0, signal: null });
        expect(log()).toContain('stopped before the start was done');
        expect(log()).not.toContain('hunter2');
      } finally {
        child.kill('SIGKILL');
        await ended;
      }
    }),
  );

  it('with an event log that cannot be used names the variable', () =>
    withTempDir(async (folder) => {
      const url = `esdb://127.0.0.1:1?tlsCAFile=${join(folder, 'nowhere.pem')}`;
      await expect(startService(folder, { EVENT_LOG_URL: url })).rejects.toThrow(
        /with 1: .*could not start: EVENT_LOG_URL: ENOENT/s,
      );
    }));

  it.skipIf(lacksRabbit())(
    'with a RabbitMQ that refuses the user names the variable',
    () =>
      withTempDir(async (folder) => {
        const url = new URL(await sharedRabbit());
        url.username = 'nobody';
        url.password = 'hunter2';
        const refused = await startService(folder, { BROKER_URL: url.href }).catch(String);
        expect(refused).toMatch(/with 1: .*could not start: BROKER_URL: RabbitMQ cannot be used: ACCESS_REFUSED/s);
        expect(refused).not.toContain('hunter2');
      }),
    PATIENCE_MS,
  );
});
