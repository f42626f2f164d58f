import { setImmediate as turnOver } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openFairQueue, openGate, openPace, openQuota } from '../../src/projections/turns.ts';

describe('a fair queue', () => {
  it('gives tenants turns, and within a tenant the first comes first', () => {
    const queue = openFairQueue<string>();
    for (const item of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1']) queue.add(item.charAt(0), item);
    queue.add('a', 'a1');
    expect(queue.size()).toBe(7);
    queue.delete('a', 'a3');
    queue.delete('c', 'none');
    const taken = Array.from({ length: 7 }, () => queue.shift());
    expect(taken).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a4', null]);
    expect(queue.size()).toBe(0);
  });
});

describe('a gate', () => {
  it('lets in one of another tenant before the rest of many that came first', async () => {
    const gate = openGate(1);
    const entered: string[] = [];
    const { signal } = new AbortController();
    const pass = (tenant: string): Promise<unknown> =>
      gate.pass({ tenant, signal }, async () => {
        entered.push(tenant);
        await turnOver();
      });
    await Promise.all(['big', 'big', 'big', 'big', 'small'].map(pass));
    expect(entered).toEqual(['big', 'big', 'small', 'big', 'big']);
  });

  it('is passed by nobody who has gone, and keeps nobody else back for that', async () => {
    const gate = openGate(1);
    const [stays, goes] = [new AbortController(), new AbortController()];
    const first = gate.pass({ tenant: 'a', signal: stays.signal }, turnOver);
    const gone = gate.pass({ tenant: 'a', signal: goes.signal }, () => Promise.resolve('never'));
    const last = gate.pass({ tenant: 'a', signal: stays.signal }, () => Promise.resolve('passed'));
    goes.abort();
    expect(await gone).toBeNull();
    await first;
    expect(await last).toBe('passed');
    expect(await gate.pass({ tenant: 'a', signal: goes.signal }, () => Promise.resolve('never'))).toBeNull();
  });
});

describe('a pace', () => {
  it('lets so many proceed in one turn, tenant by tenant, and all of them in the end', async () => {
    const pace = openPace(2);
    const proceeded: string[] = [];
    const names = ['a1', 'a2', 'a3', 'a4', 'a5', 'b1'];
    const all = Promise.all(
      names.map(async (name) => {
        await pace.next(name.charAt(0));
        proceeded.push(name);
      }),
    );
    const turns: number[] = [];
    while (proceeded.length < names.length) {
      await turnOver();
      turns.push(proceeded.length);
    }
    await all;
    expect(proceeded).toEqual(['a1', 'a2', 'a3', 'b1', 'a4', 'a5']);
    // The first two proceed before the first turn is over.
    expect(turns.slice(-2)).toEqual([4, 6]);
    await turnOver();
    expect([pace.next('a'), pace.next('a')]).toEqual([null, null]);
  });
});

describe('a quota', () => {
  it('gives one tenant its share and all of them no more than there is, and takes places back', () => {
    const quota = openQuota(8, 1 / 4);
    const taken = ['a', 'a', 'b', 'b', 'c', 'c', 'd'].map((tenant) => quota.take(tenant));
    expect(taken).not.toContain(null);
    expect(quota.take('a')).toBeNull();
    expect(quota.take('d')).not.toBeNull();
    expect(quota.take('e')).toBeNull();
    taken[0]?.();
    expect(quota.size()).toBe(7);
    expect(quota.take('b')).toBeNull();
    expect(quota.take('a')).not.toBeNull();
  });

  it('gives everybody one place at least', () => {
    const quota = openQuota(3, 1 / 4);
    expect(['a', 'a', 'b'].map((tenant) => quota.take(tenant) !== null)).toEqual([true, false, true]);
  });
});
