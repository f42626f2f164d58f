import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Preference } from '../../src/events/users.ts';
import { decideRouting } from '../../src/projections/route-decision.ts';
import { NOTIFICATION } from '../support/given.ts';

function decide(email: string | null, preferences: readonly Preference[], channels: readonly ['EMAIL'] | null = null) {
  return decideRouting({ notificationId: NOTIFICATION, channels, category: 'news' }, { email, preferences });
}

function off(category: string | null): Preference {
  return { channel: 'EMAIL', category, optIn: false };
}

describe('a routing', () => {
  it('queues one delivery for each channel with an address', () => {
    expect(decide('ada@example.com', [])).toMatchObject([
      { outcome: 'QUEUE', channel: 'EMAIL', address: 'ada@example.com', reason: 'DELIVERABLE', rule: 'default' },
    ]);
  });

  it('suppresses a channel that the user switched off, and says by which rule', () => {
    expect(decide('ada@example.com', [off(null)])).toMatchObject([
      { outcome: 'SUPPRESS', reason: 'CHANNEL_OPTED_OUT', rule: 'channel-preference', inputs: { channelOptIn: false } },
    ]);
  });

  it('suppresses a category that the user switched off, and no other', () => {
    expect(decide('ada@example.com', [off('news')])).toMatchObject([{ reason: 'CATEGORY_OPTED_OUT' }]);
    expect(decide('ada@example.com', [off('billing')])).toMatchObject([{ outcome: 'QUEUE' }]);
  });

  it('does not let a category switch on what the user switched off as a whole', () => {
    const preferences = [off(null), { channel: 'EMAIL', category: 'news', optIn: true } as const];
    expect(decide('ada@example.com', preferences)).toMatchObject([{ reason: 'CHANNEL_OPTED_OUT' }]);
  });

  it('that reaches nobody still says why', () => {
    expect(decide(null, [])).toMatchObject([{ outcome: 'SUPPRESS', reason: 'NO_ADDRESS', address: null }]);
    expect(decideRouting({ notificationId: NOTIFICATION, channels: null, category: 'news' }, null)).toHaveLength(1);
  });

  it('gives a delivery the same id whenever it is decided again on the same inputs', () => {
    fc.assert(
      fc.property(fc.emailAddress(), fc.boolean(), (email, optIn) => {
        const preferences = [{ channel: 'EMAIL', category: null, optIn } as const];
        expect(decide(email, preferences)).toEqual(decide(email, preferences));
      }),
    );
  });
});
