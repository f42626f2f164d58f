import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Platform } from '../../src/events/notifications.ts';
import type { Message } from '../../src/senders/outcome.ts';
import { composePush, LARGEST_MESSAGE } from '../../src/senders/push-fcm-message.ts';
import { ACCOUNT, ACCEPT, openStandIn, PUSH } from '../support/fcm-server.ts';
import { openFcmSender } from '../../src/senders/push-fcm.ts';

const NOW = Date.parse('2026-03-01T12:00:00.000Z');
const IN_AN_HOUR = '2026-03-01T13:00:00.000Z';
const ID = PUSH.notificationId;
const PLATFORMS = ['IOS', 'ANDROID', 'WEB'] as const;

function compose(message: Partial<Message>): ReturnType<typeof composePush> {
  return composePush({ ...PUSH, ...message }, NOW);
}

describe('the message for a device', () => {
  it('has the words, the ids and the link, whatever the device', () => {
    const url = 'myapp://orders/1';
    for (const platform of PLATFORMS) {
      expect(compose({ platform, url })).toMatchObject({
        token: PUSH.address,
        notification: { title: PUSH.title, body: PUSH.body },
        data: { notificationId: ID, deliveryId: PUSH.deliveryId, url },
      });
    }
  });

  it('has no title where there is none, no link where there is none, and never HTML', () => {
    const message = compose({ title: null, html: '<b>Hi</b>' });
    expect(message?.notification).toEqual({ body: PUSH.body });
    expect(message?.data).toEqual({ notificationId: ID, deliveryId: PUSH.deliveryId });
    expect(JSON.stringify(message)).not.toContain('<b>');
  });

  it('has the options of its own platform and of no other', () => {
    const keys = PLATFORMS.map((platform) => Object.keys(compose({ platform }) ?? {}));
    expect(keys).toEqual(['apns', 'android', 'webpush'].map((name) => ['token', 'notification', 'data', name]));
    expect(Object.keys(compose({ platform: null }) ?? {})).toEqual(['token', 'notification', 'data']);
  });
});

describe('for iOS', () => {
  it('it is loud and urgent in the transactional lane', () => {
    expect(compose({ platform: 'IOS', expiresAt: IN_AN_HOUR })?.apns).toEqual({
      headers: {
        'apns-push-type': 'alert',
        'apns-priority': '10',
        'apns-expiration': String(Date.parse(IN_AN_HOUR) / 1000),
        'apns-collapse-id': ID,
      },
      payload: { aps: { sound: 'default' } },
    });
  });

  it('it is silent and saves power in bulk, and is kept for as long as APNs likes when it does not expire', () => {
    expect(compose({ platform: 'IOS', lane: 'BULK' })?.apns).toEqual({
      headers: { 'apns-push-type': 'alert', 'apns-priority': '5', 'apns-collapse-id': ID },
    });
  });

  it('it is not kept when it has expired', () => {
    expect(compose({ platform: 'IOS', expiresAt: '2026-03-01T11:00:00Z' })?.apns?.headers?.['apns-expiration']).toBe(
      '0',
    );
  });

  it('it has no collapse id longer than APNs takes', () => {
    const notificationId = 'é'.repeat(33);
    expect(compose({ platform: 'IOS', notificationId })?.apns?.headers).not.toHaveProperty('apns-collapse-id');
  });
});

describe('for Android', () => {
  it('it replaces what was shown of it, and is never collapsed with others', () => {
    expect(compose({ platform: 'ANDROID', expiresAt: IN_AN_HOUR })?.android).toEqual({
      priority: 'high',
      ttl: 3_600_000,
      notification: { tag: ID },
    });
    expect(compose({ platform: 'ANDROID', lane: 'BULK' })?.android).toEqual({
      priority: 'normal',
      notification: { tag: ID },
    });
  });

  it.each([
    ['2026-03-01T11:00:00Z', 0],
    ['2026-03-01T12:00:00.999Z', 0],
    ['2030-01-01T00:00:00Z', 28 * 86_400_000],
  ])('that expires at %s lives for %i ms', (expiresAt, ttl) => {
    expect(compose({ platform: 'ANDROID', expiresAt })?.android?.ttl).toBe(ttl);
  });
});

describe('for the web', () => {
  it('it has the headers of Web Push, and a link over https', () => {
    const url = 'https://shop.example/orders/1';
    expect(compose({ platform: 'WEB', expiresAt: IN_AN_HOUR, url })?.webpush).toEqual({
      headers: { Urgency: 'high', TTL: '3600', Topic: '0190b3a1000070008000000000000001' },
      notification: { tag: ID },
      fcmOptions: { link: url },
    });
  });

  it('has a long link once, where the browser looks for it, and room for words', () => {
    const url = `https://shop.example/${'x'.repeat(2_000)}`;
    const message = compose({ platform: 'WEB', url, body: 'y'.repeat(1_000) });
    expect(message?.webpush?.fcmOptions?.link).toBe(url);
    expect(message?.data).toEqual({ notificationId: ID, deliveryId: PUSH.deliveryId });
    expect(message?.notification?.body).toBe('y'.repeat(1_000));
  });

  it.each(['http://shop.example/1', 'myapp://orders/1', 'not a link'])('%s is no link for FCM', (url) => {
    const message = compose({ platform: 'WEB', lane: 'BULK', url });
    expect(message?.webpush).toEqual({
      headers: { Urgency: 'normal', Topic: '0190b3a1000070008000000000000001' },
      notification: { tag: ID },
    });
    expect(message?.data).toMatchObject({ url });
  });

  it.each(['x'.repeat(33), 'a b', 'é', ''])('%j is no topic for Web Push', (notificationId) => {
    expect(compose({ platform: 'WEB', notificationId })?.webpush?.headers).not.toHaveProperty('Topic');
  });
});

describe('a message that is too long', () => {
  const sizeOf = (message: object): number => Buffer.byteLength(JSON.stringify({ ...message, token: undefined }));

  it('loses the end of its body', () => {
    const body = 'Grüße 👩‍👩‍👧‍👦 '.repeat(1_000);
    const message = compose({ body });
    const kept = message?.notification?.body ?? '';
    expect(kept.endsWith('…')).toBe(true);
    expect(body.startsWith(kept.slice(0, -1))).toBe(true);
    expect(message?.notification?.title).toBe(PUSH.title);
    expect(sizeOf(message ?? {})).toBeGreaterThan(LARGEST_MESSAGE - 60);
    expect(sizeOf(message ?? {})).toBeLessThanOrEqual(LARGEST_MESSAGE);
  });

  it('loses the end of its title as well when that leaves no room for the body', () => {
    const message = compose({ title: 't'.repeat(10_000), body: 'b'.repeat(10_000) });
    expect(message?.notification?.title).toMatch(/^t+…$/);
    expect(message?.notification?.body).toMatch(/^b{990,}…$/);
  });

  it('keeps a short body whole, and cuts the title', () => {
    const message = compose({ title: 't'.repeat(10_000), body: 'Now!' });
    expect(message?.notification).toEqual({ title: expect.stringMatching(/^t{3000,}…$/) as string, body: 'Now!' });
  });

  it('never ends within a character', () => {
    const family = '👩‍👩‍👧‍👦';
    const kept = compose({ body: family.repeat(400) })?.notification?.body ?? '';
    expect(kept.replaceAll(family, '')).toBe('…');
  });

  it('is none at all when its link alone is too long', () => {
    expect(compose({ url: `https://shop.example/${'x'.repeat(4_000)}` })).toBeNull();
    expect(compose({ url: `https://shop.example/${'é'.repeat(2_000)}` })).toBeNull();
  });

  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 3_000 }),
    fc.string({ unit: 'grapheme', maxLength: 3_000 }),
    fc.string({
      unit: fc.constantFrom('\0', '"', '\\', '\ud800', '\udc00', '\u0301', '👍🏽', 'e', ' '),
      maxLength: 5_000,
    }),
  );
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  const charactersOf = (words: string): readonly string[] =>
    Array.from(graphemes.segment(words), ({ segment }) => segment);
  const wellFormed = (words: string): string => Buffer.from(words).toString();

  /** What of `words` may be left: all of it, or whole characters from its beginning, spaces at the end dropped. */
  function isShortened(kept: string, words: string): boolean {
    const whole = wellFormed(words);
    if (kept === whole) return true;
    const start = charactersOf(whole).slice(0, Math.max(0, charactersOf(kept.slice(0, -1)).length + 50));
    let soFar = '';
    for (const character of ['', ...start]) {
      soFar += character;
      if (kept === `${soFar.trimEnd()}…`) return true;
    }
    return false;
  }

  it('fits, keeps ids and link, is well-formed and ends at a character, whatever is in it', () => {
    const property = fc.property(
      fc.option(text, { nil: null }),
      text,
      fc.option(fc.webUrl(), { nil: null }),
      fc.constantFrom<Platform>(...PLATFORMS),
      (title, body, url, platform) => {
        const message = compose({ title, body, url, platform });
        if (message === null) throw new Error('there was room');
        expect(sizeOf(message)).toBeLessThanOrEqual(LARGEST_MESSAGE);
        expect(message.data).toEqual({
          notificationId: ID,
          deliveryId: PUSH.deliveryId,
          ...(url === null ? {} : { url }),
        });
        const kept = message.notification ?? {};
        expect(isShortened(kept.body ?? '', body)).toBe(true);
        expect(title === null ? kept.title === undefined : isShortened(kept.title ?? '', title)).toBe(true);
        expect(JSON.stringify(message)).not.toMatch(/\\ud[89a-f]/i);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });
});

describe('on the wire', () => {
  const expiresAt = new Date(Date.now() + 40 * 86_400_000).toISOString();
  const wire = {
    IOS: {
      apns: {
        headers: {
          'apns-push-type': 'alert',
          'apns-priority': '10',
          'apns-expiration': String(Math.floor(Date.parse(expiresAt) / 1000)),
          'apns-collapse-id': ID,
        },
        payload: { aps: { sound: 'default' } },
      },
    },
    ANDROID: { android: { priority: 'high', ttl: '2419200s', notification: { tag: ID } } },
    WEB: {
      webpush: {
        headers: { Urgency: 'high', TTL: '2419200', Topic: '0190b3a1000070008000000000000001' },
        notification: { tag: ID },
        fcmOptions: { link: 'https://shop.example/orders/1' },
      },
    },
  };

  it.each(PLATFORMS)('a message for %s is what FCM HTTP v1 takes', async (platform) => {
    const fcm = await openStandIn(ACCEPT);
    const sender = openFcmSender({ account: ACCOUNT, loopback: fcm.value.address, connections: 1 });
    const url = 'https://shop.example/orders/1';
    await sender.value.send({ ...PUSH, platform, url, expiresAt }, new AbortController().signal);
    await sender.stop();
    await fcm.stop();
    expect(fcm.value.posts.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      {
        message: {
          token: PUSH.address,
          notification: { title: PUSH.title, body: PUSH.body },
          data: { notificationId: ID, deliveryId: PUSH.deliveryId, url },
          ...wire[platform],
        },
      },
    ]);
  });
});
