import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { eventually } from '../support/eventually.ts';
import { AUTHORIZATION, startService, type Service } from '../support/service.ts';
import { CUT, openScriptedSmtp, type Script } from '../support/smtp-server.ts';
import { withTempDir } from '../support/temp-dir.ts';

/** Each stands in one field that nobody but its recipient, or its owner, may read. */
const MARKS = {
  domain: 'mark-domain.example.org',
  numbers: /\+1500555\d{4}|\+1202555\d{4}/,
  token: 'MarkToken',
  title: 'MarkTitle',
  body: 'MarkBody',
  html: 'MarkHtml',
  url: 'MarkUrl',
  data: 'MarkData',
  template: 'MarkTemplate',
  secretKey: 'MarkSecretKey'.padEnd(40, 'x'),
  smtpPassword: 'MarkSmtpPassword',
  appSecret: 'a-secret-of-the-test',
  wrongSecret: 'MarkWrongSecret',
  idempotencyKey: 'MarkIdempotencyKey',
  query: 'MarkQuery',
  receipt: 'MarkReceipt',
} as const;

const BASE64 = (text: string): string => Buffer.from(text).toString('base64').replace(/=+$/, '').slice(0, -1);

/** What must be nowhere, in the clear or as it travels in headers. */
const FORBIDDEN: readonly (string | RegExp)[] = [
  ...Object.values(MARKS),
  BASE64(MARKS.smtpPassword),
  BASE64(MARKS.appSecret),
  AUTHORIZATION.slice('Basic '.length, -4),
];

const REGISTER = 'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }';
const DEVICE = 'mutation ($input: RegisterDeviceInput!) { registerDevice(input: $input) { id } }';
const TEMPLATE = 'mutation ($input: PublishTemplateInput!) { publishTemplate(input: $input) { key } }';
const REQUEST =
  'mutation ($input: RequestNotificationInput!) { requestNotification(input: $input) { notification { id } } }';
const STATE = 'query ($id: ID!) { notification(id: $id) { status deliveries { status reason } } }';

const MAILBOXES = ['fine', 'refused', 'busy', 'cut', 'later'];
const PHONES = ['+12025550123', '+15005550001', '+15005550429', '+15005550500', '+15005553003'];
const TOKENS = ['fine', 'unregistered', 'invalid-argument', 'quota-exceeded', 'internal', 'lost'];

/** By connection. */
const lastRecipient = new Map<number, string>();

/** A server that repeats whatever it was told, as some do. */
const chatty: Script = ({ step, line, connection }) => {
  if (step !== 'RCPT') return answerTo(step, lastRecipient.get(connection) ?? '');
  lastRecipient.set(connection, line);
  if (line.includes('refused')) return `550 5.1.1 no such user: ${line}`;
  if (line.includes('busy')) return `451 4.2.0 not now: ${line}`;
  return line.includes('cut') ? CUT : undefined;
};

function answerTo(step: string, to: string): string | undefined {
  if (step === 'EHLO') return '250-hello\r\n250 AUTH PLAIN LOGIN';
  if (step === 'AUTH') return '235 welcome';
  if (step === 'message' && to.includes('later')) return `451 4.3.0 not ${MARKS.title} ${MARKS.body} ${to}`;
  return undefined;
}

const content = {
  title: MARKS.title,
  body: MARKS.body,
  html: `<p>${MARKS.html}</p>`,
  url: `https://example.org/?who=${MARKS.url}`,
};

/** One user for each way in which a message can fail, on all channels; answers the ids of the notifications. */
async function sendToAll({ ask }: Service): Promise<readonly string[]> {
  const template = { key: 'welcome', title: `${MARKS.template} {{ name }}`, body: `${MARKS.template} {{ name }}` };
  await ask(TEMPLATE, { input: template });
  const ids: string[] = [];
  for (const [index, name] of TOKENS.entries()) {
    const email = `${MAILBOXES[index] ?? 'fine'}@${MARKS.domain}`;
    await ask(REGISTER, { input: { id: name, email, phone: PHONES[index] ?? PHONES[0] } });
    await ask(DEVICE, { input: { userId: name, platform: 'ANDROID', token: `${name}-${MARKS.token}` } });
    const words = index % 2 === 0 ? { content } : { template: { key: 'welcome' }, data: { name: MARKS.data } };
    const input = { userId: name, idempotencyKey: `${MARKS.idempotencyKey}-${name}`, ...words };
    const { requestNotification } = await ask<{ requestNotification: { notification: { id: string } } }>(REQUEST, {
      input,
    });
    ids.push(requestNotification.notification.id);
  }
  return ids;
}

interface Ask {
  readonly body: string;
  readonly authorization?: string;
  readonly path?: string;
  readonly type?: string;
}

/** Requests that are refused, each for another reason. */
function badRequests(): readonly Ask[] {
  const json = (query: string, variables: object = {}): string => JSON.stringify({ query, variables });
  const wrong = `Basic ${Buffer.from(`test-client:${MARKS.wrongSecret}`).toString('base64')}`;
  return [
    { body: json(REQUEST, { input: { userId: 'fine', content: { ...content, body: [MARKS.body] } } }) },
    { body: json(REQUEST, { input: { userId: 'nobody', content } }) },
    {
      body: json(REQUEST, {
        input: { userId: 'fine', content: { body: MARKS.body }, idempotencyKey: `${MARKS.idempotencyKey}-fine` },
      }),
    },
    { body: json(REQUEST, { input: { userId: 'fine', content: { body: MARKS.body.repeat(30_000) } } }) },
    { body: json(REGISTER, { input: { id: 'x', email: `not an address @${MARKS.domain}` } }) },
    { body: json(REGISTER, { input: { id: 'x', phone: PHONES[0]?.slice(1) } }) },
    { body: json(DEVICE, { input: { userId: 'fine', platform: MARKS.token, token: { of: MARKS.token } } }) },
    { body: json(TEMPLATE, { input: { key: 'x', body: `${MARKS.template} {% if %} {{` } }) },
    { body: json(REQUEST, { input: { userId: 'fine', template: { key: 'welcome' }, data: { other: MARKS.data } } }) },
    { body: json(`{ ${MARKS.query}(where: "${MARKS.query}") }`) },
    { body: `{"query": "${MARKS.query}` },
    { body: MARKS.query, type: 'text/plain' },
    { body: json(STATE, { id: MARKS.query }), authorization: wrong },
    { body: json(STATE, { id: 'x'.repeat(5 * 2 ** 20) + MARKS.query }) },
    { body: json(STATE, { id: 'x' }), path: `/graphql/${MARKS.query}?token=${MARKS.query}` },
    {
      body: `MessageSid=${MARKS.receipt}`,
      path: `/receipts/twilio/${MARKS.receipt}`,
      type: 'application/x-www-form-urlencoded',
    },
  ];
}

async function sendBadRequests({ url }: Service): Promise<void> {
  for (const { body, path = '/graphql', type = 'application/json', authorization = AUTHORIZATION } of badRequests()) {
    const headers = { 'content-type': type, authorization };
    // A body that is over the limit may be answered with a connection that is closed.
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body }).catch(() => null);
    const text = (await response?.text().catch(() => '')) ?? '';
    if (response?.status === 200) expect(text).toContain('"errors"');
  }
  await sendBadFrame(url);
}

async function sendBadFrame(url: string): Promise<void> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.once('open', () => {
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Basic ${MARKS.wrongSecret}` } }));
    socket.send(`{"type": "${MARKS.query}`);
  });
  await closed;
}

async function untilEnded({ ask }: Service, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    await eventually(
      async () => {
        const { notification } = await ask<{ notification: { status: string } }>(STATE, { id });
        expect(notification.status).toBe('COMPLETED');
      },
      { timeoutMs: 60_000, pauseMs: 100 },
    );
  }
}

/** The lines in which something stands that must not. */
function leaks(text: string): readonly string[] {
  return text
    .split('\n')
    .filter((line) => FORBIDDEN.some((mark) => (typeof mark === 'string' ? line.includes(mark) : mark.test(line))));
}

describe('What the service logs', () => {
  it('holds no address, content or secret, whatever goes wrong, and names the request that it is about', async () => {
    await withTempDir(async (folder) => {
      const smtp = await openScriptedSmtp(chatty);
      const login = `mark-user:${MARKS.smtpPassword}@`;
      const service = await startService(folder, {
        LOG_LEVEL: 'trace',
        SECRET_KEY: MARKS.secretKey,
        SMTP_URL: smtp.value.url.replace('smtp://', `smtp://${login}`),
        SMTP_FROM: 'Heliograph <no-reply@example.com>',
        RETRY_SCHEDULE: '100ms',
      });
      try {
        const ids = await sendToAll(service);
        await sendBadRequests(service);
        await untilEnded(service, ids);
        // From here on nobody listens any more.
        await smtp.stop();
        const { requestNotification } = await service.ask<{ requestNotification: { notification: { id: string } } }>(
          REQUEST,
          {
            input: { userId: 'fine', channels: ['EMAIL'], content },
          },
        );
        await untilEnded(service, [requestNotification.notification.id]);
        const metrics = await (await fetch(`${service.url}/metrics`)).text();
        expect(leaks(metrics)).toEqual([]);
      } finally {
        service.child.kill('SIGTERM');
        await service.ended;
        await smtp.stop().catch(() => undefined);
      }
      expect(leaks(service.output())).toEqual([]);
      expect(leaks(service.log())).toEqual([]);
      expectNamed(service.log());
    });
  }, 120_000);
});

interface Line {
  readonly msg: string;
  readonly notification?: string;
  readonly delivery?: string;
  readonly requestId?: string;
}

function expectNamed(log: string): void {
  const lines = log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
  const about = lines.filter(({ msg }) => ['an attempt failed', 'dead-lettered a delivery'].includes(msg));
  expect(new Set(about.map(({ msg }) => msg)).size).toBe(2);
  const id = expect.stringMatching(/^[\da-f-]{36}$/) as unknown;
  for (const line of about) expect(line).toMatchObject({ notification: id, delivery: id, requestId: id });
}
