import type { Config } from './config.ts';
import type { Channel } from './events/event.ts';
import { CHANNELS } from './events/event.ts';
import type { Scope } from './lifecycle.ts';
import type { Log } from './log.ts';
import { openSandboxFcm } from './sandbox/fcm.ts';
import { openOutbox, type Outbox } from './sandbox/outbox.ts';
import { openSandboxSmtp } from './sandbox/smtp.ts';
import { openSandboxTwilio, SANDBOX_TWILIO } from './sandbox/twilio.ts';
import type { Message } from './senders/outcome.ts';
import type { TwilioAccount } from './senders/sms-twilio-receipt.ts';
import type { TwilioSenderOptions } from './senders/sms-twilio.ts';
import type { SenderPlan } from './senders/thread-orders.ts';
import { openSenderThread, type SenderThread } from './senders/thread.ts';
import { channelsOf } from './roles.ts';
import type { StateStore } from './ports/state/state.ts';

/** Who takes the messages of each channel: the provider that is configured, or the sandbox. */
export interface Providers {
  /** One for each channel that this process sends on and that is not switched off. */
  readonly senders: readonly SenderThread[];
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
  const email = channels.includes('EMAIL') ? await emailPlan(scope, config, sandbox) : null;
  const sms = channels.includes('SMS') ? await smsPlan(scope, options, sandbox) : null;
  const push = channels.includes('PUSH') ? await pushPlan(scope, config, sandbox) : null;
  const senders = await openSenders(scope, [push, sms, email], options);
  // Whoever receives receipts need not be who sends.
  const twilio = config.sms.kind === 'twilio' ? config.sms : (sms?.options ?? null);
  return { senders, twilio, outbox };
}

/** Side by side, since each loads a library; one that does not open leaves none of the others open. */
async function openSenders(
  scope: Scope,
  plans: readonly (SenderPlan | null)[],
  { logger, receipts }: ProviderOptions,
): Promise<readonly SenderThread[]> {
  const common = { logger, statusCallback: receipts.callback, onFailure: failureLog(logger) };
  const opening = plans.flatMap((plan) => (plan === null ? [] : [openSenderThread({ ...common, plan })]));
  const opened = await Promise.allSettled(opening);
  const senders = opened.flatMap((each) => (each.status === 'fulfilled' ? [scope.use(each.value)] : []));
  const failed = opened.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  return senders;
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

type PlanOf<K extends SenderPlan['kind']> = Extract<SenderPlan, { readonly kind: K }>;

interface Sandbox {
  readonly states: StateStore;
  readonly outbox: Outbox;
}

function sandboxOf(sandbox: Sandbox | null): Sandbox {
  if (sandbox === null) throw new Error('a channel of the sandbox without a sandbox');
  return sandbox;
}

async function emailPlan(
  scope: Scope,
  { email, emailConcurrency: connections }: Config,
  sandbox: Sandbox | null,
): Promise<PlanOf<'smtp'> | null> {
  if (email.kind === 'off') return null;
  if (email.kind === 'smtp') return { kind: 'smtp', options: { url: email.url, from: email.from, connections } };
  const { url } = scope.use(await openSandboxSmtp(sandboxOf(sandbox).outbox));
  return { kind: 'smtp', options: { url, from: 'Heliograph <no-reply@heliograph.localhost>', connections } };
}

async function smsPlan(
  scope: Scope,
  { config, receipts }: ProviderOptions,
  sandbox: Sandbox | null,
): Promise<PlanOf<'twilio'> | null> {
  const { sms, smsConcurrency: connections } = config;
  if (sms.kind === 'off') return null;
  if (sms.kind === 'twilio') return { kind: 'twilio', options: { ...sms, connections } };
  const { states, outbox } = sandboxOf(sandbox);
  const { url } = scope.use(await openSandboxTwilio(outbox, { state: states.open('receipts'), reach: receipts.reach }));
  return { kind: 'twilio', options: { ...SANDBOX_TWILIO, messagingServiceSid: null, apiUrl: url, connections } };
}

async function pushPlan(
  scope: Scope,
  { push, pushConcurrency }: Config,
  sandbox: Sandbox | null,
): Promise<PlanOf<'fcm'> | null> {
  // Each platform has a worker of its own.
  const connections = pushConcurrency * 3;
  if (push.kind === 'off') return null;
  if (push.kind === 'fcm') return { kind: 'fcm', options: { account: push.serviceAccount, connections } };
  const loopback = scope.use(await openSandboxFcm(sandboxOf(sandbox).outbox));
  return {
    kind: 'fcm',
    options: { account: { projectId: 'sandbox', accessToken: 'sandbox' }, loopback, connections },
  };
}

/** Names the delivery, never its address or content. */
function failureLog(logger: Log): (failure: object, message: Message) => void {
  return (failure, { notificationId: notification, deliveryId: delivery, requestId, channel }) => {
    logger.warn({ notification, delivery, requestId, channel, ...failure }, 'an attempt failed');
  };
}
