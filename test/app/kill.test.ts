import { describe, expect, it } from 'vitest';
import { chosenAdapters } from '../support/adapters.ts';
import { eventually } from '../support/eventually.ts';
import { openMailSink } from '../support/mail-sink.ts';
import { startService, type Service } from '../support/service.ts';
import { withTempDir } from '../support/temp-dir.ts';

const REQUESTS = 600;

interface Told {
  readonly status: string;
  readonly deliveries: readonly { readonly id: string; readonly status: string; readonly attempts: number }[];
  readonly timeline: readonly { readonly type: string; readonly deliveryId: string | null }[];
}

const BULK =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) ' +
  '{ replayed error { code } notification { id status deliveries { id status attempts } timeline { type deliveryId } } } }';

const inputs = Array.from({ length: REQUESTS }, (_, index) => ({
  userId: `user-${String(index % 20)}`,
  idempotencyKey: `key-${String(index)}`,
  content: { title: 'Hello', body: `Message ${String(index)}` },
  lane: index % 2 === 0 ? 'BULK' : 'TRANSACTIONAL',
}));

async function registerUsers({ ask }: Service): Promise<void> {
  for (let user = 0; user < 20; user += 1) {
    const id = `user-${String(user)}`;
    await ask('mutation($input: RegisterUserInput!) { registerUser(input: $input) { id } }', {
      input: { id, email: `${id}@example.com` },
    });
  }
}

async function requestAll({
  ask,
}: Service): Promise<readonly { replayed: boolean; error: unknown; notification: Told }[]> {
  const { requestNotifications } = await ask<{
    requestNotifications: readonly { replayed: boolean; error: unknown; notification: Told }[];
  }>(BULK, { inputs });
  return requestNotifications;
}

const { name, isSkipped, open } = chosenAdapters();

describe(`a service that is killed in the middle of six hundred mails, ${name}`, () => {
  it.skipIf(isSkipped)(
    'sends every one of them after the next start, and a duplicate only where an attempt was in doubt',
    () =>
      withTempDir(async (folder) => {
        const { value: servers, stop: stopServers } = await open();
        const { value: sink, stop: closeSink } = await openMailSink();
        const mail = { SMTP_URL: sink.url, SMTP_FROM: 'Heliograph <no-reply@example.com>' };
        const env = { ...mail, LOG_LEVEL: 'error', ...servers.settings };
        const first = await startService(folder, env);
        await registerUsers(first);
        const accepted = await requestAll(first);
        expect(accepted.filter(({ error }) => error !== null)).toEqual([]);
        await eventually(() => expect(sink.copies.size).toBeGreaterThan(REQUESTS / 10), { timeoutMs: 20_000 });
        first.child.kill('SIGKILL');
        await first.ended;
        const before = sink.copies.size;
        expect(before).toBeLessThan(REQUESTS);

        const second = await startService(folder, env);
        const told = await eventually(
          async () => {
            const all = await requestAll(second);
            expect(all.filter(({ replayed, notification: { status } }) => !replayed || status !== 'COMPLETED')).toEqual(
              [],
            );
            return all.map(({ notification }) => notification);
          },
          { timeoutMs: 150_000, pauseMs: 250 },
        );
        second.child.kill('SIGTERM');
        expect(await second.ended).toEqual({ code: 0, signal: null });
        await closeSink();
        await stopServers();

        expect(sink.copies.size).toBe(REQUESTS);
        expect(told.flatMap(({ deliveries }) => deliveries).every(({ status }) => status === 'SENT')).toBe(true);
        const doubtful = new Set(
          told.flatMap(({ timeline }) =>
            timeline.filter(({ type }) => type === 'DeliveryOutcomeUnknown').map((each) => each.deliveryId),
          ),
        );
        const duplicated = [...sink.copies].filter(([, copies]) => copies > 1).map(([id]) => id.slice(1, 37));
        expect(duplicated.filter((id) => !doubtful.has(id))).toEqual([]);
        console.log(
          `killed after ${String(before)} of ${String(REQUESTS)} mails: ${String(doubtful.size)} in doubt, ${String(duplicated.length)} duplicates`,
        );
      }),
    240_000,
  );
});
