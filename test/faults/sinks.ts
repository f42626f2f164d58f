import type { Channel } from '../../src/events/event.ts';
import type { Keys } from '../../src/commands/context.ts';
import type { Started } from '../../src/lifecycle.ts';
import type { Role } from '../../src/roles.ts';
import type { SenderPlan } from '../../src/senders/thread-orders.ts';
import { openMailSink } from '../support/mail-sink.ts';
import { openPushSink, PUSH_HOSTS } from '../support/push-sink.ts';
import { openSmsSink, SMS_HOSTS } from '../support/sms-sink.ts';
import { openTally, type Copies } from '../support/tally.ts';
import { ACCOUNT_SID, AUTH_TOKEN } from '../support/twilio.ts';
import type { LinkName, Server } from './unit.ts';

/** A provider's stand-in: everything that is sent on its channel goes there. */
export interface Sink {
  readonly channel: Channel;
  /** Of those who send to it. */
  readonly role: Role;
  readonly provider: SenderPlan['kind'];
  readonly link: LinkName;
  readonly server: Server;
  /** By which all processes know that there is such a provider. */
  readonly credentials: Readonly<Record<string, string>>;
  /** By id of the delivery. */
  readonly copies: () => Copies;
  readonly answers: Pick<Answers, 'shut' | 'owed'>;
}

/** What each of them got. */
export function copiesAt(sinks: readonly Sink[]): ReadonlyMap<Channel, Copies> {
  return new Map(sinks.map(({ channel, copies }) => [channel, copies()]));
}

export const SINKS: Readonly<Record<Channel, (keys: Pick<Keys, 'readReceiptToken'>) => Promise<Started<Sink>>>> = {
  EMAIL: openEmail,
  PUSH: openPush,
  SMS: openSms,
};

export async function openEmail(): Promise<Started<Sink>> {
  const answers = openAnswers();
  const { value: sink, stop } = await openMailSink(answers.given);
  const value: Sink = {
    channel: 'EMAIL',
    role: 'sender:email',
    provider: 'smtp',
    link: 'SMTP',
    server: {
      variable: 'SMTP_URL',
      url: (port) => `smtp://127.0.0.1:${String(port)}`,
      port: () => Number(new URL(sink.url).port),
    },
    credentials: { SMTP_FROM: 'Heliograph <no-reply@example.com>' },
    // A Message-ID is `<id of the delivery@…>`.
    copies: () => renamed(sink.copies, (messageId) => messageId.slice(1, 37)),
    answers,
  };
  return { value, stop };
}

async function openPush(): Promise<Started<Sink>> {
  const answers = openAnswers();
  const { value: sink, stop } = await openPushSink(answers.given);
  const value: Sink = {
    channel: 'PUSH',
    role: 'sender:push',
    provider: 'fcm',
    link: 'FCM',
    server: { variable: 'ELSEWHERE_FCM', url: (port) => [port, ...PUSH_HOSTS].join(' '), port: () => sink.port },
    credentials: { FIREBASE_SERVICE_ACCOUNT: sink.serviceAccount },
    copies: () => sink.copies,
    answers,
  };
  return { value, stop };
}

async function openSms(keys: Pick<Keys, 'readReceiptToken'>): Promise<Started<Sink>> {
  const answers = openAnswers();
  const { value: sink, stop } = await openSmsSink(answers.given);
  const value: Sink = {
    channel: 'SMS',
    role: 'sender:sms',
    provider: 'twilio',
    link: 'Twilio',
    server: { variable: 'ELSEWHERE_TWILIO', url: (port) => [port, ...SMS_HOSTS].join(' '), port: () => sink.port },
    credentials: {
      TWILIO_ACCOUNT_SID: ACCOUNT_SID,
      TWILIO_AUTH_TOKEN: AUTH_TOKEN,
      TWILIO_FROM: '+15005550006',
      // Where receipts would come: that is how a message names its delivery.
      PUBLIC_URL: 'https://heliograph.example.com',
    },
    copies: () => renamed(sink.copies, (token) => keys.readReceiptToken(token)?.deliveryId ?? token),
    answers,
  };
  return { value, stop };
}

function renamed(copies: Copies, rename: (name: string) => string): Copies {
  const tally = openTally();
  for (const [name, number] of copies) tally.add(rename(name), number);
  return tally.copies;
}

/** While they are shut, messages are taken and counted, and no answer is given. */
interface Answers {
  readonly given: () => Promise<void>;
  readonly shut: () => () => void;
  /** How many messages wait for one. */
  readonly owed: () => number;
}

function openAnswers(): Answers {
  const closures = new Set<Promise<void>>();
  let owed = 0;
  return {
    owed: () => owed,
    given: async () => {
      owed += 1;
      while (closures.size > 0) await Promise.all(closures);
      owed -= 1;
    },
    shut: () => {
      let open = (): void => undefined;
      const closure = new Promise<void>((resolve) => (open = resolve));
      closures.add(closure);
      return () => {
        closures.delete(closure);
        open();
      };
    },
  };
}
