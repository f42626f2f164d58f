import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHANNELS } from '../../src/events/event.ts';
import type { Platform } from '../../src/events/notifications.ts';
import type { Device, Preference } from '../../src/events/users.ts';
import { decideRouting, type RoutingInput } from '../../src/projections/route-decision.ts';
import { NOTIFICATION } from '../support/given.ts';

const NOBODY = { email: null, phone: null, devices: [], preferences: [] };
const ADA = { ...NOBODY, email: 'ada@example.com' };
const INPUT: RoutingInput = { notificationId: NOTIFICATION, channels: null, category: 'news', available: CHANNELS };

function decide(user: Parameters<typeof decideRouting>[1], input: Partial<RoutingInput> = {}) {
  return decideRouting({ ...INPUT, ...input }, user);
}

function device(id: string, platform: Platform, active = true): Device {
  return { id, platform, token: `token-of-${id}`, active };
}

function off(category: string | null): Preference {
  return { channel: 'EMAIL', category, optIn: false };
}

describe('a routing', () => {
  it('queues one delivery for each channel with an address', () => {
    expect(decide(ADA)).toMatchObject([
      { outcome: 'QUEUE', channel: 'EMAIL', address: 'ada@example.com', reason: 'DELIVERABLE', rule: 'default' },
    ]);
    expect(decide({ ...ADA, phone: '+12025550123' })).toMatchObject([
      { outcome: 'QUEUE', channel: 'SMS', address: '+12025550123', platform: null },
      { outcome: 'QUEUE', channel: 'EMAIL', address: 'ada@example.com' },
    ]);
  });

  it('queues a push for each active device, and none for a dead one', () => {
    const devices = [device('iphone', 'IOS'), device('old', 'ANDROID', false), device('browser', 'WEB')];
    const decisions = decide({ ...NOBODY, devices });
    expect(decisions).toMatchObject([
      { outcome: 'QUEUE', channel: 'PUSH', platform: 'IOS', address: 'token-of-iphone' },
      { outcome: 'QUEUE', channel: 'PUSH', platform: 'WEB', address: 'token-of-browser' },
    ]);
    expect(new Set(decisions.map((each) => each.deliveryId)).size).toBe(2);
  });

  it('tells a user whose devices are all dead from one who never had any', () => {
    const dead = { ...ADA, devices: [device('old', 'ANDROID', false)] };
    const rule = { outcome: 'SUPPRESS', rule: 'reachability', address: null, platform: null };
    const channels = ['PUSH'] as const;
    expect(decide(dead, { channels })).toMatchObject([
      { ...rule, reason: 'NO_ACTIVE_DEVICE', inputs: { hasAddress: false, hasDeadDevice: true } },
    ]);
    expect(decide(ADA, { channels })).toMatchObject([
      { ...rule, reason: 'NO_ADDRESS', inputs: { hasAddress: false, hasDeadDevice: false } },
    ]);
    expect(decide(dead)).toMatchObject([{ channel: 'EMAIL', outcome: 'QUEUE', inputs: { hasDeadDevice: false } }]);
  });

  it('does not count a dead device where another one is alive', () => {
    const devices = [device('old', 'ANDROID', false), device('new', 'ANDROID')];
    expect(decide({ ...NOBODY, devices })).toMatchObject([{ reason: 'DELIVERABLE', address: 'token-of-new' }]);
  });

  it('suppresses what there is no provider for where it was asked for, and leaves it out where it was not', () => {
    const user = { ...ADA, phone: '+12025550123', devices: [device('iphone', 'IOS')] };
    const available = ['EMAIL'] as const;
    expect(decide(user, { available })).toMatchObject([{ channel: 'EMAIL', outcome: 'QUEUE' }]);
    const off = {
      outcome: 'SUPPRESS',
      reason: 'CHANNEL_SWITCHED_OFF',
      rule: 'provider',
      inputs: { isAvailable: false },
    };
    expect(decide(user, { available, channels: ['PUSH', 'SMS', 'EMAIL'] })).toMatchObject([
      { ...off, channel: 'PUSH', platform: 'IOS' },
      { ...off, channel: 'SMS' },
      { channel: 'EMAIL', outcome: 'QUEUE', inputs: { isAvailable: true } },
    ]);
  });

  it('suppresses a channel that the user switched off, and says by which rule', () => {
    expect(decide({ ...ADA, preferences: [off(null)] })).toMatchObject([
      { outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT', rule: 'channel-preference', inputs: { channelOptIn: false } },
    ]);
  });

  it('suppresses a category that the user switched off, and no other', () => {
    expect(decide({ ...ADA, preferences: [off('news')] })).toMatchObject([{ reason: 'CATEGORY_OPTED_OUT' }]);
    expect(decide({ ...ADA, preferences: [off('billing')] })).toMatchObject([{ outcome: 'QUEUE' }]);
  });

  it('does not let a category switch on what the user switched off as a whole', () => {
    const preferences = [off(null), { channel: 'EMAIL', category: 'news', optIn: true } as const];
    expect(decide({ ...ADA, preferences })).toMatchObject([{ reason: 'CHANNEL_OPTED_OUT' }]);
  });

  it('of a user who switched off pushes suppresses one for each device', () => {
    const devices = [device('iphone', 'IOS'), device('browser', 'WEB')];
    const preferences = [{ channel: 'PUSH', category: null, optIn: false } as const];
    const suppressed = { channel: 'PUSH', outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT' };
    expect(decide({ ...NOBODY, devices, preferences })).toMatchObject([suppressed, suppressed]);
  });

  it('that reaches nobody still says why, for every channel', () => {
    for (const user of [NOBODY, null]) {
      const decisions = decide(user);
      expect(decisions.map(({ channel }) => channel)).toEqual(CHANNELS);
      for (const decision of decisions) {
        expect(decision).toMatchObject({ outcome: 'SUPPRESS', reason: 'NO_ADDRESS', address: null });
      }
    }
    expect(decide(NOBODY, { channels: ['EMAIL'] })).toHaveLength(1);
  });

  it('gives a delivery the same id whenever it is decided again on the same inputs', () => {
    fc.assert(
      fc.property(fc.emailAddress(), fc.boolean(), (email, optIn) => {
        const preferences = [{ channel: 'EMAIL', category: null, optIn } as const];
        expect(decide({ ...NOBODY, email, preferences })).toEqual(decide({ ...NOBODY, email, preferences }));
      }),
    );
  });
});
