import type { Channel } from '../events/event.ts';
import type { Decision, DecisionReason, DecisionRule } from '../events/notifications.ts';
import type { UserState } from '../events/users.ts';
import { addressOf, SENDABLE } from '../events/users.ts';
import { deliveryId } from '../ids.ts';

/** What a routing decides on. */
export interface RoutingInput {
  readonly notificationId: string;
  /** Null: every channel the user can be reached on. */
  readonly channels: readonly Channel[] | null;
  readonly category: string;
}

type Recipient = Pick<UserState, 'email' | 'preferences'>;

/**
 * One decision for each delivery: the channels asked for, else every channel with an address, else every channel there
 * is, so that even a routing that reaches nobody says why. A pure function: the same inputs give the same decisions.
 */
export function decideRouting(input: RoutingInput, recipient: Recipient | null): readonly Decision[] {
  const reachable = SENDABLE.filter((channel) => recipient !== null && addressOf(recipient, channel) !== null);
  const channels = input.channels ?? (reachable.length > 0 ? reachable : SENDABLE);
  return channels.map((channel) => decideDelivery(input, recipient, channel));
}

function decideDelivery(
  { notificationId, category }: RoutingInput,
  recipient: Recipient | null,
  channel: Channel,
): Decision {
  const address = recipient && addressOf(recipient, channel);
  const channelOptIn = preferenceOf(recipient, channel, null);
  const categoryOptIn = preferenceOf(recipient, channel, category);
  const { reason, rule } = firstRule({ hasAddress: address !== null, channelOptIn, categoryOptIn });
  return {
    deliveryId: deliveryId(notificationId, channel, address),
    channel,
    platform: null,
    address,
    outcome: reason === 'DELIVERABLE' ? 'QUEUE' : 'SUPPRESS',
    reason,
    rule,
    inputs: { hasAddress: address !== null, category, channelOptIn, categoryOptIn },
  };
}

interface RuleInput {
  readonly hasAddress: boolean;
  /** Null: never said. */
  readonly channelOptIn: boolean | null;
  readonly categoryOptIn: boolean | null;
}

/** The first rule that objects decides. Whoever switched a whole channel off gets nothing on it, whatever a category says. */
function firstRule({ hasAddress, channelOptIn, categoryOptIn }: RuleInput): {
  reason: DecisionReason;
  rule: DecisionRule;
} {
  if (!hasAddress) return { reason: 'NO_ADDRESS', rule: 'reachability' };
  if (channelOptIn === false) return { reason: 'CHANNEL_OPTED_OUT', rule: 'channel-preference' };
  if (categoryOptIn === false) return { reason: 'CATEGORY_OPTED_OUT', rule: 'category-preference' };
  return { reason: 'DELIVERABLE', rule: 'default' };
}

function preferenceOf(recipient: Recipient | null, channel: Channel, category: string | null): boolean | null {
  const found = recipient?.preferences.find((each) => each.channel === channel && each.category === category);
  return found?.optIn ?? null;
}
