import { describe, expect, it, vi } from 'vitest';

import { EventStoreDBError, openConnection, persistently } from '../../src/ports/event-log/eventstoredb-connection.ts';
import { AT_ONCE, watch } from '../../src/ports/event-log/eventstoredb-subscribe.ts';
import { serverAt } from '../support/eventstore/address.ts';

const never = (): Promise<never> => new Promise(() => undefined);

describe('making attempts', () => {
  it('tells why the attempts failed, not that the last one had no time left', async () => {
    let tries = 0;
    const attempt = (): Promise<never> => {
      tries += 1;
      return tries === 1 ? Promise.reject(new EventStoreDBError('the server is starting', true)) : never();
    };
    await expect(persistently({ attemptMs: 10_000, totalMs: 60 }, attempt)).rejects.toThrow('the server is starting');
    expect(tries).toBe(2);
  });

  it('tells of the last attempt when it had its time', async () => {
    const attempt = vi.fn(never).mockRejectedValueOnce(new EventStoreDBError('the server is starting', true));
    await expect(persistently({ attemptMs: 30, totalMs: 90 }, attempt)).rejects.toThrow('no answer within 30 ms');
  });

  it('does not open a connection again that was closed', async () => {
    const { value: connection, stop } = await openConnection(serverAt('esdb://127.0.0.1:9?tls=false'), 1_000);
    await stop();
    await expect(connection.streams()).rejects.toMatchObject({ name: 'EventStoreDBError', transient: false });
  });
});

describe('waiting for the next word of a silent server', () => {
  it('listens once, however often it asks', async () => {
    let say = (_: string): void => undefined;
    const next = new Promise<string>((resolve) => (say = resolve));
    const listened = vi.spyOn(next, 'then');
    const heardWithin = watch(next);
    for (let asked = 0; asked < 20; asked++) expect(await heardWithin(asked === 0 ? AT_ONCE : 1)).toBe(false);
    expect(listened).toHaveBeenCalledTimes(1);
    const hearing = heardWithin(60_000);
    say('hello');
    expect(await hearing).toBe(true);
    expect(await heardWithin(60_000)).toBe(true);
  });

  it('takes a failure for a word', async () => {
    expect(await watch(Promise.reject(new Error('over')))(60_000)).toBe(true);
  });
});
