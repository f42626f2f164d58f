import type { Channel } from '../events/event.ts';
import { CHANNELS } from '../events/event.ts';
import type { Decision, DecisionReason, DecisionRule } from '../events/notifications.ts';
import type { Address, UserState } from '../events/users.ts';
import { addressesOf } from '../events/users.ts';
import { deliveryId } from '../ids.ts';

/** What a routing decides on. */
export interface RoutingInput {
  readonly notificationId: string;
  /** Null: every channel the user can be reached on. */
  readonly channels: readonly Channel[] | null;
  readonly category: string;
  /** Channels that this service has a provider for. */
  readonly available: readonly Channel[];
}

type Recipient = Pick<UserState, 'email' | 'phone' | 'devices' | 'preferences'>;

/** A user who is not there: reached nowhere, and never said anything. */
const NOBODY: Recipient = { email: null, phone: null, devices: [], preferences: [] };

/**
 * One decision for each delivery, so one for each device where it is about a push: on the channels asked for, else on
 * every channel with an address, else on every channel there is, so that even a routing that reaches nobody says why.
 * A pure function: the same inputs give the same decisions.
 */
export function decideRouting(input: RoutingInput, recipient: Recipient | null): readonly Decision[] {
  const user = recipient ?? NOBODY;
  const reachable = input.available.filter((channel) => addressesOf(user, channel).length > 0);
  const channels = input.channels ?? (reachable.length > 0 ? reachable : CHANNELS);
  return channels.flatMap((channel) => decideChannel(input, user, channel));
}

function decideChannel(input: RoutingInput, user: Recipient, channel: Channel): readonly Decision[] {
  const addresses = addressesOf(user, channel);
  const ruling = firstRule({
    isAvailable: input.available.includes(channel),
    hasAddress: addresses.length > 0,
    hasDeadDevice: channel === 'PUSH' && user.devices.some(({ active }) => !active),
    category: input.category,
    channelOptIn: preferenceOf(user, channel, null),
    categoryOptIn: preferenceOf(user, channel, input.category),
  });
  const nowhere: Address = { address: '', platform: null };
  return (addresses.length === 0 ? [nowhere] : addresses).map(({ address, platform }) => ({
    deliveryId: deliveryId(input.notificationId, channel, address),
    channel,
    platform,
    address: address === '' ? null : address,
    outcome: ruling.reason === 'DELIVERABLE' ? 'QUEUE' : 'SUPPRESS',
    ...ruling,
  }));
}

interface RuleInput {
  readonly isAvailable: boolean;
  readonly hasAddress: boolean;
  readonly hasDeadDevice: boolean;
  readonly category: string;
  /** Null: never said. */
  readonly channelOptIn: boolean | null;
  readonly categoryOptIn: boolean | null;
}

type Ruling = Pick<Decision, 'reason' | 'rule' | 'inputs'>;

/** The first rule that objects decides. Whoever switched a whole channel off gets nothing on it, whatever a category says. */
function firstRule(input: RuleInput): Ruling {
  const { isAvailable, hasAddress, hasDeadDevice, channelOptIn, categoryOptIn } = input;
  const ruled = (reason: DecisionReason, rule: DecisionRule): Ruling => {
    return { reason, rule, inputs: { ...input } };
  };
  if (!isAvailable) return ruled('CHANNEL_SWITCHED_OFF', 'provider');
  if (!hasAddress) return ruled(hasDeadDevice ? 'NO_ACTIVE_DEVICE' : 'NO_ADDRESS', 'reachability');
  if (channelOptIn === false) return ruled('CHANNEL_OPTED_OUT', 'channel-preference');
  if (categoryOptIn === false) return ruled('CATEGORY_OPTED_OUT', 'category-preference');
  return ruled('DELIVERABLE', 'default');
}

function preferenceOf(recipient: Recipient, channel: Channel, category: string | null): boolean | null {
  const found = recipient.preferences.find((each) => each.channel === channel && each.category === category);
  return found?.optIn ?? null;
}
