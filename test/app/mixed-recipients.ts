/** A kind of recipient of the sandbox, and how a delivery to it may end when every failure is tried four times. */
export interface Kind {
  readonly channel: 'EMAIL' | 'SMS' | 'PUSH';
  /** Before the @, a number, or the beginning of a token. */
  readonly name: string;
  readonly ends: readonly End[];
}

/** Status and reason; the reason of a dead letter may also be that a crash left its last attempt in doubt. */
type End = string;

const email = (name: string, ...ends: readonly End[]): Kind => ({ channel: 'EMAIL', name, ends });
const sms = (name: string, ...ends: readonly End[]): Kind => ({ channel: 'SMS', name, ends });
const push = (name: string, ...ends: readonly End[]): Kind => ({ channel: 'PUSH', name, ends });

/** What a dead token comes to: refused by the vendor first, not even tried once that is known. */
const DEAD_TOKEN = ['REJECTED DEVICE_UNREGISTERED', 'SUPPRESSED DEVICE_GONE', 'SUPPRESSED NO_ACTIVE_DEVICE'] as const;

export const KINDS: readonly Kind[] = [
  email('fine', 'SENT'),
  email('refused', 'REJECTED RECIPIENT_REFUSED'),
  email('busy', 'DEAD_LETTERED RECIPIENT_BUSY'),
  email('flaky', 'SENT'),
  email('silent', 'DEAD_LETTERED NO_ANSWER'),
  email('lost', 'DEAD_LETTERED CONNECTION_LOST'),

  sms('+12025550123', 'DELIVERED'),
  sms('+15005550001', 'REJECTED RECIPIENT_REFUSED'),
  sms('+15005550002', 'REJECTED RECIPIENT_REFUSED'),
  sms('+15005550003', 'REJECTED RECIPIENT_REFUSED'),
  sms('+15005550004', 'REJECTED RECIPIENT_OPTED_OUT'),
  sms('+15005550009', 'REJECTED RECIPIENT_REFUSED'),
  sms('+15005550401', 'DEAD_LETTERED PROVIDER_AUTH'),
  sms('+15005550408', 'DEAD_LETTERED NO_ANSWER'),
  sms('+15005550410', 'DELIVERED'),
  sms('+15005550429', 'DEAD_LETTERED PROVIDER_BUSY'),
  sms('+15005550499', 'DELIVERED'),
  sms('+15005550500', 'DEAD_LETTERED PROVIDER_FAILED'),
  sms('+15005550503', 'DEAD_LETTERED PROVIDER_FAILED'),
  sms('+15005550800', 'DELIVERED'),
  sms('+15005553000', 'BOUNCED PROVIDER_FAILED'),
  sms('+15005553003', 'BOUNCED RECIPIENT_UNREACHABLE'),
  sms('+15005553004', 'BOUNCED RECIPIENT_REFUSED'),
  sms('+15005553005', 'BOUNCED RECIPIENT_UNREACHABLE'),
  sms('+15005553006', 'BOUNCED RECIPIENT_UNREACHABLE'),
  sms('+15005553007', 'BOUNCED MESSAGE_FILTERED'),
  sms('+15005553008', 'BOUNCED CARRIER_FAILED'),
  sms('+15005554000', 'DELIVERED'),
  sms('+15005554001', 'DELIVERED'),
  sms('+15005554002', 'DELIVERED'),
  sms('+15005554003', 'SENT'),

  push('fine', 'SENT'),
  push('unregistered', ...DEAD_TOKEN),
  push('invalid-token', ...DEAD_TOKEN),
  push('invalid-argument', 'REJECTED MESSAGE_REFUSED'),
  push('sender-id-mismatch', 'REJECTED RECIPIENT_REFUSED'),
  push('quota-exceeded', 'DEAD_LETTERED PROVIDER_BUSY'),
  push('unavailable', 'DEAD_LETTERED PROVIDER_FAILED'),
  push('internal', 'DEAD_LETTERED PROVIDER_FAILED'),
  push('third-party-auth-error', 'DEAD_LETTERED PROVIDER_AUTH'),
  push('flaky', 'SENT'),
  push('slow', 'SENT'),
  push('silent', 'DEAD_LETTERED NO_ANSWER'),
  push('lost', 'DEAD_LETTERED CONNECTION_LOST'),
];

const PLATFORMS = ['IOS', 'ANDROID', 'WEB'] as const;

/** One user of each kind; the mutation that registers it. A kind of token gets a device of every platform. */
export function registration(kind: Kind, index: number): string {
  const id = userOf(index);
  const contact = {
    EMAIL: `email: "${kind.name}+${String(index)}@example.com"`,
    SMS: `phone: "${kind.name}"`,
    PUSH: '',
  };
  const user = `registerUser(input: {id: "${id}" ${contact[kind.channel]}}) { id }`;
  if (kind.channel !== 'PUSH') return `mutation { ${user} }`;
  const devices = PLATFORMS.map((platform) => {
    const token = `${kind.name}-${platform.toLowerCase()}-of-${id}`;
    return `${platform}: registerDevice(input: {userId: "${id}", platform: ${platform}, token: "${token}"}) { id }`;
  });
  return `mutation { ${user} ${devices.join(' ')} }`;
}

export function userOf(index: number): string {
  return `user-${String(index)}`;
}
