import type { Config } from './config.ts';
import type { Channel } from './events/event.ts';
import { CHANNELS } from './events/event.ts';
import type { Scope } from './lifecycle.ts';
import type { Log } from './log.ts';
import { openSandboxFcm } from './sandbox/fcm.ts';
import { openOutbox, type Outbox } from './sandbox/outbox.ts';
import { openSandboxSmtp } from './sandbox/smtp.ts';
import { openSandboxTwilio, SANDBOX_TWILIO } from './sandbox/twilio.ts';
import { openSmtpSender, type SmtpSenderOptions } from './senders/email-smtp.ts';
import type { Message, Sender } from './senders/outcome.ts';
import { openFcmSender, type FcmSenderOptions } from './senders/push-fcm.ts';
import type { TwilioAccount } from './senders/sms-twilio-receipt.ts';
import { openTwilioSender, type TwilioSenderOptions } from './senders/sms-twilio.ts';
import { channelsOf } from './roles.ts';
import type { StateStore } from './ports/state/state.ts';

/** Who takes the messages of each channel: the provider that is configured, or the sandbox. */
export interface Providers {
  /** One for each channel that this process sends on and that is not switched off. */
  readonly senders: readonly Sender[];
  /** Whose signature the receipts of text messages carry; null when there are none. */
  readonly twilio: TwilioAccount | null;
  /** What the sandbox took; null when nothing goes there. */
  readonly outbox: Outbox | null;
}

export interface ProviderOptions {
  readonly config: Config;
  readonly logger: Log;
  /** Opens what the sandbox keeps; called at most once. */
  readonly openSandboxStates: () => Promise<StateStore>;
  readonly receipts: ReceiptAddress;
}

/** Where providers send receipts. The address listened on is known only once the API is open. */
export interface ReceiptAddress {
  /** As the provider is told; null while or where it cannot reach us. */
  readonly callback: TwilioSenderOptions['statusCallback'];
  /** The same URL as this machine reaches it, whatever stands in front of it for others. */
  readonly reach: (url: string) => string | null;
}

export async function openProviders(scope: Scope, options: ProviderOptions): Promise<Providers> {
  const { config } = options;
  const needed = Object.values(destinationsOf(config)).includes('sandbox');
  const states = needed ? await options.openSandboxStates() : null;
  const outbox = states && openOutbox(states.open('outbox'));
  const sandbox: Sandbox | null = states && outbox && { states, outbox };
  const channels = channelsOf(config.roles);
  const email = channels.includes('EMAIL') ? await emailOptions(scope, options, sandbox) : null;
  const sms = channels.includes('SMS') ? await smsOptions(scope, options, sandbox) : null;
  const push = channels.includes('PUSH') ? await pushOptions(scope, options, sandbox) : null;
  const senders = [
    push && scope.use(openFcmSender(push)),
    sms && scope.use(openTwilioSender(sms)),
    email && scope.use(openSmtpSender(email)),
  ];
  // Whoever receives receipts need not be who sends.
  const twilio = config.sms.kind === 'twilio' ? config.sms : sms;
  return { senders: senders.filter((sender) => sender !== null), twilio, outbox };
}

/** Channels that messages can be sent on. */
export function availableChannels(config: Config): readonly Channel[] {
  const destinations = destinationsOf(config);
  return CHANNELS.filter((channel) => destinations[channel] !== 'off');
}

/** Where the messages of a channel go: `sandbox`, `off`, or the name of the provider. */
export type Destination = 'sandbox' | 'off' | 'smtp' | 'twilio' | 'fcm';

export function destinationsOf({ email, sms, push }: Config): Readonly<Record<Channel, Destination>> {
  return { PUSH: push.kind, SMS: sms.kind, EMAIL: email.kind };
}

interface Sandbox {
  readonly states: StateStore;
  readonly outbox: Outbox;
}

function sandboxOf(sandbox: Sandbox | null): Sandbox {
  if (sandbox === null) throw new Error('a channel of the sandbox without a sandbox');
  return sandbox;
}

async function emailOptions(
  scope: Scope,
  { config, logger }: ProviderOptions,
  sandbox: Sandbox | null,
): Promise<SmtpSenderOptions | null> {
  const { email, emailConcurrency: connections } = config;
  const onFailure = failureLog(logger);
  if (email.kind === 'off') return null;
  if (email.kind === 'smtp') return { url: email.url, from: email.from, connections, onFailure };
  const { url } = scope.use(await openSandboxSmtp(sandboxOf(sandbox).outbox));
  return { url, from: 'Heliograph <no-reply@heliograph.localhost>', connections, onFailure };
}

async function smsOptions(
  scope: Scope,
  { config, logger, receipts }: ProviderOptions,
  sandbox: Sandbox | null,
): Promise<TwilioSenderOptions | null> {
  const { sms, smsConcurrency: connections } = config;
  const common = { connections, statusCallback: receipts.callback, onFailure: failureLog(logger) };
  if (sms.kind === 'off') return null;
  if (sms.kind === 'twilio') return { ...sms, ...common };
  const { states, outbox } = sandboxOf(sandbox);
  const { url } = scope.use(await openSandboxTwilio(outbox, { state: states.open('receipts'), reach: receipts.reach }));
  return { ...SANDBOX_TWILIO, messagingServiceSid: null, apiUrl: url, ...common };
}

async function pushOptions(
  scope: Scope,
  { config, logger }: ProviderOptions,
  sandbox: Sandbox | null,
): Promise<FcmSenderOptions | null> {
  const { push, pushConcurrency } = config;
  // Each platform has a worker of its own.
  const common = { connections: pushConcurrency * 3, onFailure: failureLog(logger) };
  if (push.kind === 'off') return null;
  if (push.kind === 'fcm') return { account: push.serviceAccount, ...common };
  const loopback = scope.use(await openSandboxFcm(sandboxOf(sandbox).outbox));
  return { account: { projectId: 'sandbox', accessToken: 'sandbox' }, loopback, ...common };
}

/** Names the delivery, never its address or content. */
function failureLog(logger: Log): (failure: object, message: Message) => void {
  return (failure, { notificationId: notification, deliveryId: delivery, requestId, channel }) => {
    logger.warn({ notification, delivery, requestId, channel, ...failure }, 'an attempt failed');
  };
}
