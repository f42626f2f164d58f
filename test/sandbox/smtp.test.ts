import { createConnection } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openTempState } from '../support/temp-state.ts';
import { openOutbox, type Outbox } from '../../src/sandbox/outbox.ts';
import { openSandboxSmtp, SANDBOX_RECIPIENTS, type SandboxSmtpOptions } from '../../src/sandbox/smtp.ts';
import { openSmtpSender, type SmtpTimeouts } from '../../src/senders/email-smtp.ts';
import type { Message, Outcome } from '../../src/senders/outcome.ts';
import { eventually } from '../support/eventually.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const never = (): AbortSignal => new AbortController().signal;

const MESSAGE: Message = {
  tenant: 'acme',
  notificationId: 'n-1',
  deliveryId: 'd-1',
  channel: 'EMAIL',
  lane: 'TRANSACTIONAL',
  address: 'anna@example.com',
  platform: null,
  attempt: 1,
  title: 'Grüße, Anna 🎉',
  body: 'Your parcel is on its way – today.',
  html: '<p>Your <b>parcel</b> is on its way – today.</p>',
  url: 'https://shop.example/orders/1',
  requestedAt: '2026-03-01T12:30:00.000Z',
  expiresAt: null,
};

const use = stoppedAfterEach();

interface Sandbox {
  readonly outbox: Outbox;
  readonly url: string;
  readonly send: (message?: Partial<Message>) => Promise<Outcome>;
}

async function sandbox(options: SandboxSmtpOptions = {}, timeouts: Partial<SmtpTimeouts> = {}): Promise<Sandbox> {
  const outbox = openOutbox(use(await openTempState()));
  const { url } = use(await openSandboxSmtp(outbox, options));
  const sender = use(openSmtpSender({ url, from: 'Shop <shop@example.com>', connections: 2, timeouts }));
  return { outbox, url, send: (message) => sender.send({ ...MESSAGE, ...message }, never()) };
}

describe('the sandbox mail server', () => {
  it('shows a message as its recipient would read it', async () => {
    const { outbox, send } = await sandbox({ now: () => new Date('2026-03-01T12:30:05.000Z') });
    const outcome = await send();
    const [entry] = outbox.list();
    expect(entry).toMatchObject({
      channel: 'EMAIL',
      address: 'anna@example.com',
      title: 'Grüße, Anna 🎉',
      receivedAt: '2026-03-01T12:30:05.000Z',
    });
    expect(entry?.text).toContain('Your parcel is on its way – today.');
    expect(entry?.text).toContain('https://shop.example/orders/1');
    expect(entry?.html).toContain('<p>Your <b>parcel</b> is on its way – today.</p>');
    expect(entry?.headers).toMatchObject({
      From: 'Shop <shop@example.com>',
      To: 'anna@example.com',
      Subject: 'Grüße, Anna 🎉',
      'Message-ID': '<d-1@example.com>',
      'X-Heliograph-Notification': 'n-1',
    });
    expect(outcome).toMatchObject({ kind: 'sent', raw: `250 2.0.0 Accepted as ${entry?.id ?? ''}` });
  });

  it('takes many messages at once', async () => {
    const { outbox, send } = await sandbox();
    const addresses = Array.from({ length: 50 }, (_, index) => `user${String(index)}@example.com`);
    const outcomes = await Promise.all(addresses.map((address) => send({ address })));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
    expect(new Set(outbox.list().map(({ address }) => address))).toEqual(new Set(addresses));
  });

  it('refuses a message over 1 MiB and keeps none of it', async () => {
    const { outbox, send } = await sandbox();
    expect(await send({ body: 'x'.repeat(1024 * 1024), html: null })).toMatchObject({
      kind: 'rejected',
      reason: 'MESSAGE_REFUSED',
    });
    expect(outbox.list()).toEqual([]);
  });

  it('stops at once, whoever is still connected', async () => {
    const { value, stop } = await openSandboxSmtp(openOutbox(use(await openTempState())));
    const client = createConnection(Number(new URL(value.url).port), '127.0.0.1');
    client.on('error', () => undefined);
    await new Promise((resolve) => client.once('data', resolve));
    const closed = new Promise((resolve) => client.once('close', resolve));
    await stop();
    await closed;
  });

  it('says so when its port is taken', async () => {
    const { url } = await sandbox();
    await expect(
      openSandboxSmtp(openOutbox(use(await openTempState())), { port: Number(new URL(url).port) }),
    ).rejects.toThrow('EADDRINUSE');
  });
});

describe('the well-known recipients', () => {
  it('are described, each once', () => {
    expect(SANDBOX_RECIPIENTS.map(({ name }) => name)).toEqual(['refused', 'busy', 'flaky', 'slow', 'silent', 'lost']);
    for (const { description } of SANDBOX_RECIPIENTS) expect(description).toMatch(/^[A-Z].*\.$/);
  });

  it.each(['refused@example.com', 'Refused+order-7@shop.example'])('%s refuses for good', async (address) => {
    const { outbox, send } = await sandbox();
    expect(await send({ address })).toMatchObject({ kind: 'rejected', reason: 'RECIPIENT_REFUSED' });
    expect(outbox.list()).toEqual([]);
  });

  it('are no others that merely begin like them', async () => {
    const { send } = await sandbox();
    expect((await send({ address: 'refused.not@example.com' })).kind).toBe('sent');
  });

  it('busy is busy every time', async () => {
    const { outbox, send } = await sandbox();
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(await send({ address: 'busy@example.com' })).toMatchObject({ kind: 'retry', reason: 'RECIPIENT_BUSY' });
    }
    expect(outbox.list()).toEqual([]);
  });

  it('flaky takes the same message the second time, and treats every message on its own', async () => {
    const { outbox, send } = await sandbox();
    const address = 'flaky+a@example.com';
    expect(await send({ address })).toMatchObject({ kind: 'retry', reason: 'PROVIDER_BUSY' });
    expect(await send({ address, deliveryId: 'd-2' })).toMatchObject({ kind: 'retry', reason: 'PROVIDER_BUSY' });
    expect(outbox.list()).toEqual([]);
    expect((await send({ address })).kind).toBe('sent');
    expect(outbox.list()).toHaveLength(1);
  });

  it('slow takes its time', async () => {
    const { outbox, send } = await sandbox({ slowMs: 50 });
    expect((await send({ address: 'slow@example.com' })).kind).toBe('sent');
    expect(outbox.list()).toHaveLength(1);
  });

  it('slow is forgotten when the server stops', async () => {
    const outbox = openOutbox(use(await openTempState()));
    const opened = await openSandboxSmtp(outbox, { slowMs: 3_600_000 });
    const sender = use(
      openSmtpSender({ url: opened.value.url, from: 'shop@example.com', connections: 1, timeouts: { silence: 400 } }),
    );
    const outcome = await sender.send({ ...MESSAGE, address: 'slow@example.com' }, never());
    await opened.stop();
    expect(outcome).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect(outbox.list()).toEqual([]);
  });

  it('silent never answers and shows nothing', async () => {
    const { outbox, send } = await sandbox({}, { silence: 400 });
    expect(await send({ address: 'silent@example.com' })).toMatchObject({ kind: 'unknown', reason: 'NO_ANSWER' });
    expect(outbox.list()).toEqual([]);
  });

  it('lost has the message though the sender cannot know: sent again, it is there twice', async () => {
    const { outbox, send } = await sandbox();
    const address = 'lost@example.com';
    expect(await send({ address })).toMatchObject({ kind: 'unknown', reason: 'CONNECTION_LOST' });
    await eventually(() => {
      expect(outbox.list({ address })).toHaveLength(1);
    });
    await send({ address });
    await eventually(() => {
      expect(outbox.list({ address }).map(({ headers }) => headers['Message-ID'])).toEqual(
        Array(2).fill('<d-1@example.com>'),
      );
    });
  });
});
