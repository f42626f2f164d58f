import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sharedToken } from '../../src/senders/push-fcm-token.ts';

const HOUR_S = 3_600;

describe('an access token', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Hands out tokens that are told apart. */
  function google(): { readonly fetch: Parameters<typeof sharedToken>[0]; readonly asked: () => number } {
    let asked = 0;
    const fetch = (): Promise<{ access_token: string; expires_in: number }> =>
      Promise.resolve({ access_token: `token ${String((asked += 1))}`, expires_in: HOUR_S });
    return { fetch, asked: () => asked };
  }

  it('is asked for once by however many at once', async () => {
    const { fetch, asked } = google();
    const get = sharedToken(fetch);
    const tokens = await Promise.all(Array.from({ length: 50 }, get));
    expect(new Set(tokens.map(({ access_token }) => access_token))).toEqual(new Set(['token 1']));
    expect(asked()).toBe(1);
  });

  it('is told with the time that is left of it, and is replaced before the SDK finds it too old', async () => {
    const { fetch } = google();
    const get = sharedToken(fetch);
    await get();
    vi.setSystemTime(50 * 60_000);
    expect(await get()).toEqual({ access_token: 'token 1', expires_in: HOUR_S - 50 * 60 });
    vi.setSystemTime(55 * 60_000);
    expect(await get()).toEqual({ access_token: 'token 2', expires_in: HOUR_S });
  });

  it('is asked for again after nobody gave one', async () => {
    const { fetch } = google();
    const answers = [() => Promise.reject(new Error('busy')), fetch];
    const get = sharedToken(() => (answers.shift() ?? fetch)());
    await expect(Promise.all([get(), get()])).rejects.toThrow('busy');
    expect(await get()).toMatchObject({ access_token: 'token 1' });
  });
});
