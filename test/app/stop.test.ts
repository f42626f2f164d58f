import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { openMailSink } from '../support/mail-sink.ts';
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
async function sendInFlight(folder: string) {
  const gate = openGate();
  const { value: sink, stop: closeSink } = await openMailSink(() => gate.opened);
  const env = { SMTP_URL: sink.url, SMTP_FROM };
  const service = await startService(folder, env);
  const id = await send(service);
  await eventually(() => expect(sink.copies.size).toBe(1));
  return { service, id, env, gate, sink, closeSink };
}

describe('a stop by SIGTERM', () => {
  it('lets a send in flight finish and records it, also when a second SIGTERM comes, and exits with 0', () =>
    withTempDir(async (folder) => {
      const { service, id, env, gate, sink, closeSink } = await sendInFlight(folder);

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
      await closeSink();
    }));

  it('cuts off a send that does not finish, records that it is in doubt, and exits with 0', () =>
    withTempDir(async (folder) => {
      const { service, id, env, gate, closeSink } = await sendInFlight(folder);
      service.child.kill('SIGTERM');
      expect(await service.ended).toEqual({ code: 0, signal: null });
      gate.open();

      const next = await startService(folder, { ...env, DOUBT_POLICY: 'HOLD' });
      expect((await timeline(next, id)).at(-1)).toBe('DeliveryOutcomeUnknown');
      next.child.kill('SIGTERM');
      await next.ended;
      await closeSink();
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
});
