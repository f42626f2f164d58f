import type { AddressInfo, Socket } from 'node:net';
import PostalMime, { decodeWords, type Email } from 'postal-mime';
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from 'smtp-server';
import type { Started } from '../lifecycle.ts';
import { type FirstTime, openFirstTime } from './first-time.ts';
import type { Outbox, OutboxEntry } from './outbox.ts';

/**
 * Recipients that make the sandbox mail server misbehave: the part before the @, alone or followed by `+` and anything,
 * at any domain. Every other recipient gets the message at once.
 */
export const SANDBOX_RECIPIENTS = [
  { name: 'refused', description: 'No such mailbox: refused for good (550 to RCPT TO).' },
  { name: 'busy', description: 'Mailbox busy, every time: deferred (451 to RCPT TO).' },
  {
    name: 'flaky',
    description: 'Deferred the first time a message is offered (451 after the data), accepted the next time.',
  },
  { name: 'slow', description: 'Accepted, but only after ten seconds.' },
  { name: 'silent', description: 'The message is taken and never answered nor delivered: the outcome stays unknown.' },
  {
    name: 'lost',
    description: 'Delivered, but the connection breaks before the sender hears of it: a resend is a duplicate.',
  },
] as const;

type Behaviour = (typeof SANDBOX_RECIPIENTS)[number]['name'];

export interface SandboxSmtpOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** How long `slow` takes; default 10,000. */
  readonly slowMs?: number;
  readonly now?: () => Date;
}

const LARGEST_MESSAGE = 1024 * 1024;

type Answer = (error?: Error | null, message?: string) => void;

/** A mail server that accepts everything into the outbox, without login or encryption: for loopback only. */
export async function openSandboxSmtp(
  outbox: Outbox,
  options: SandboxSmtpOptions = {},
): Promise<Started<{ readonly url: string }>> {
  const sockets = new Map<number, Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const server = new SMTPServer({
    name: 'sandbox.heliograph',
    banner: 'Heliograph sandbox',
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    size: LARGEST_MESSAGE,
    logger: false,
    onRcptTo: ({ address }, _session, answer) => {
      answer(refusalOf(behaviourOf(address)));
    },
    onData: receiver({
      outbox,
      sockets,
      timers,
      slowMs: options.slowMs ?? 10_000,
      now: options.now ?? (() => new Date()),
    }),
  });
  // A client that goes away is no news here: every such error is the end of its own connection.
  server.on('error', () => undefined);
  server.server.on('connection', (socket: Socket) => {
    const port = socket.remotePort ?? 0;
    sockets.set(port, socket);
    socket.once('close', () => sockets.delete(port));
  });
  const host = options.host ?? '127.0.0.1';
  const port = await listen(server, host, options.port ?? 0);
  return { value: { url: `smtp://${host.includes(':') ? `[${host}]` : host}:${String(port)}` }, stop };

  async function stop(): Promise<void> {
    for (const timer of timers) clearTimeout(timer);
    const closed = new Promise<void>((resolve) => {
      server.close(resolve);
    });
    for (const socket of sockets.values()) socket.destroy();
    await closed;
  }
}

function listen(server: SMTPServer, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.server.address() as AddressInfo).port);
    });
  });
}

interface Receiving {
  readonly outbox: Outbox;
  /** By the client's port, which is how a session is told to its socket. */
  readonly sockets: ReadonlyMap<number, Socket>;
  readonly timers: Set<NodeJS.Timeout>;
  readonly slowMs: number;
  readonly now: () => Date;
}

function receiver(
  receiving: Receiving,
): (stream: SMTPServerDataStream, session: SMTPServerSession, answer: Answer) => void {
  const isFirstTime = openFirstTime();
  return (stream, session, answer) => {
    readMail(stream)
      .then((email) => {
        if (email === null) answer(reply(552, '5.3.4 Message larger than 1 MiB'));
        else accept(email, { ...receiving, session, isFirstTime }, answer);
      })
      .catch((error: unknown) => {
        answer(reply(451, `cannot read the message: ${String(error)}`));
      });
  };
}

interface Delivery extends Receiving {
  readonly session: SMTPServerSession;
  /** Of the Message-IDs that `flaky` turns away once. */
  readonly isFirstTime: FirstTime;
}

function accept(email: Email, delivery: Delivery, answer: Answer): void {
  const recipients = delivery.session.envelope.rcptTo.map(({ address }) => address);
  const behaviours = recipients.map(behaviourOf);
  if (behaviours.includes('silent')) return;
  if (behaviours.includes('flaky') && delivery.isFirstTime(email.messageId ?? '')) {
    answer(reply(451, '4.3.0 Try again later'));
    return;
  }
  const receivedAt = delivery.now().toISOString();
  const deliver = async (): Promise<void> => {
    const added = await Promise.all(
      recipients.map((address) => delivery.outbox.add(entryOf(email, address, receivedAt))),
    );
    if (behaviours.includes('lost')) delivery.sockets.get(delivery.session.remotePort)?.destroy();
    else answer(null, `2.0.0 Accepted as ${added.map(({ id }) => id).join(', ')}`);
  };
  const settle = (): void => {
    deliver().catch((error: unknown) => {
      answer(reply(451, `4.3.0 Cannot keep the message: ${String(error)}`));
    });
  };
  if (behaviours.includes('slow')) later(delivery, settle);
  else settle();
}

function later({ timers, slowMs }: Delivery, act: () => void): void {
  const timer = setTimeout(() => {
    timers.delete(timer);
    act();
  }, slowMs);
  timers.add(timer);
}

function entryOf(email: Email, address: string, receivedAt: string): Omit<OutboxEntry, 'id'> {
  return {
    channel: 'EMAIL',
    platform: null,
    address,
    title: email.subject ?? null,
    text: email.text ?? null,
    html: email.html ?? null,
    headers: headersOf(email),
    receivedAt,
  };
}

function headersOf(email: Email): Record<string, string> {
  const headers = new Map<string, string>();
  for (const { originalKey, value } of email.headers) {
    const before = headers.get(originalKey);
    headers.set(originalKey, (before === undefined ? '' : `${before}\n`) + decodeWords(value));
  }
  return Object.fromEntries(headers);
}

/** Null for a message over the limit; the rest of it is read and dropped. */
async function readMail(stream: SMTPServerDataStream): Promise<Email | null> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (!stream.sizeExceeded) chunks.push(chunk);
  }
  return stream.sizeExceeded ? null : PostalMime.parse(Buffer.concat(chunks));
}

function behaviourOf(address: string): Behaviour | null {
  const [name] = address.toLowerCase().split(/[@+]/);
  return SANDBOX_RECIPIENTS.find((recipient) => recipient.name === name)?.name ?? null;
}

function refusalOf(behaviour: Behaviour | null): Error | null {
  if (behaviour === 'refused') return reply(550, '5.1.1 No such mailbox');
  if (behaviour === 'busy') return reply(451, '4.2.0 Mailbox busy');
  return null;
}

function reply(responseCode: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode });
}
