import {
  END,
  eventTypeFilter,
  excludeSystemEvents,
  START,
  streamNameFilter,
  type AllStreamResolvedEvent,
  type AllStreamSubscription,
  type EventStoreDBClient,
  type Position,
  type ResolvedEvent,
  type StreamSubscription,
} from '@eventstore/db-client';
import { describe, expect, it } from 'vitest';

import { eventually } from '../support/eventually.ts';
import { startEventStoreCluster } from '../support/eventstore/cluster.ts';
import { connectTo, events, short, withEventStore } from '../support/eventstore/client.ts';
import { startEventStore } from '../support/eventstore/server.ts';

/** What a subscription has said so far, in words: events, checkpoints, and how it fares. */
interface Heard {
  readonly events: (ResolvedEvent | AllStreamResolvedEvent)[];
  readonly signs: string[];
}

function listen(subscription: AllStreamSubscription | StreamSubscription): Heard {
  const heard: Heard = { events: [], signs: [] };
  const sign = (text: string) => (): void => void heard.signs.push(text);
  subscription
    .on('confirmation', sign('confirmed'))
    .on('caughtUp', sign('caught up'))
    .on('end', sign('ended'))
    .on('error', (error: Error) => void heard.signs.push(`failed: ${'type' in error ? String(error.type) : ''}`))
    .on('data', (event: ResolvedEvent) => void heard.events.push(event));
  return heard;
}

/** Makes the client take a call of its own for an append. */
const alone = { credentials: { username: 'admin', password: 'changeit' } };

const OURS = streamNameFilter({ prefixes: ['s-'] });

describe('a subscription to the EventStoreDB stand-in', () => {
  it('begins after the place it names, says when it has caught up, and goes on live', () =>
    withEventStore(async ({ client }) => {
      const { position } = await client.appendToStream('s-1', events(1));
      await client.appendToStream('s-1', events(70));
      const heard = listen(client.subscribeToAll({ fromPosition: position ?? START, filter: OURS }));
      await eventually(() => expect(heard.signs).toEqual(['confirmed', 'caught up']));
      expect(heard.events).toHaveLength(70);
      await client.appendToStream('s-2', events(2));
      await eventually(() => expect(heard.events).toHaveLength(72));
      expect(short(heard.events.slice(-3))).toEqual(['s-1/70', 's-2/0', 's-2/1']);
    }));

  it('from the end sees only what comes', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s-1', events(3));
      const all = listen(client.subscribeToAll({ fromPosition: END }));
      const one = listen(client.subscribeToStream('s-1', { fromRevision: END }));
      await eventually(() => expect([all.signs, one.signs]).toEqual(Array(2).fill(['confirmed', 'caught up'])));
      await client.appendToStream('s-1', events(1));
      await eventually(() => expect(all.events).toHaveLength(1));
      await eventually(() => expect(short(one.events)).toEqual(['s-1/3']));
    }));

  it('to one stream begins after the revision it names, and with a stream that is not there yet', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s-1', events(3));
      const after = listen(client.subscribeToStream('s-1', { fromRevision: 1n }));
      const early = listen(client.subscribeToStream('s-2'));
      await eventually(() => expect([after.signs.at(-1), early.signs.at(-1)]).toEqual(['caught up', 'caught up']));
      await client.appendToStream('s-2', events(1));
      await client.appendToStream('s-1', events(1));
      await eventually(() => expect(short(after.events)).toEqual(['s-1/2', 's-1/3']));
      await eventually(() => expect(short(early.events)).toEqual(['s-2/0']));
    }));

  it('from beyond the end hears nothing until the log has grown past that place', () =>
    withEventStore(async ({ server, client }) => {
      const beyond = BigInt(server.log().end() + 1000);
      const heard = listen(client.subscribeToAll({ fromPosition: { commit: beyond, prepare: beyond }, filter: OURS }));
      await eventually(() => expect(heard.signs).toEqual(['confirmed', 'caught up']));
      while (server.log().lastPosition() <= Number(beyond)) await client.appendToStream('s-1', events(1));
      await eventually(() => expect(heard.events).toHaveLength(1));
      expect(heard.events[0]?.event?.revision).toBe(BigInt(server.log().lastNumber('s-1')));
    }));

  it('from a place where no record begins fails', () =>
    withEventStore(async ({ client }) => {
      const { position } = await client.appendToStream('s-1', events(2));
      const between = (position?.commit ?? 0n) - 1n;
      const heard = listen(client.subscribeToAll({ fromPosition: { commit: between, prepare: between } }));
      await eventually(() => expect(heard.signs).toEqual(['confirmed', 'failed: unknown']));
    }));

  it('to a stream ends with an error when that is deleted for good', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s-1', events(1));
      const heard = listen(client.subscribeToStream('s-1'));
      await eventually(() => expect(heard.signs).toContain('caught up'));
      await client.tombstoneStream('s-1');
      await eventually(() => expect(heard.signs).toContain('failed: stream-deleted'));
      expect(heard.events.map(({ event }) => event?.type)).toEqual(['test', '$streamDeleted']);
    }));

  it('sees what its filter names, of the past and live', () =>
    withEventStore(async ({ client }) => {
      const filters = [
        streamNameFilter({ prefixes: ['a-', 'c-'] }),
        streamNameFilter({ regex: '^[a-b]-[0-9]+$' }),
        eventTypeFilter({ prefixes: ['Order'] }),
        eventTypeFilter({ regex: 'd$' }),
        excludeSystemEvents(),
      ];
      const write = async (): Promise<void> => {
        await client.appendToStream('a-1', events(1, 'OrderPlaced'));
        await client.appendToStream('b-1', events(1, 'Refund'));
        await client.appendToStream('c-x', events(1, 'OrderNote'));
      };
      await write();
      const heard = filters.map((filter) => listen(client.subscribeToAll({ filter })));
      await eventually(() => expect(heard.every(({ signs }) => signs.includes('caught up'))).toBe(true));
      await write();
      const wanted = [
        ['a-1/0', 'c-x/0', 'a-1/1', 'c-x/1'],
        ['a-1/0', 'b-1/0', 'a-1/1', 'b-1/1'],
        ['a-1/0', 'c-x/0', 'a-1/1', 'c-x/1'],
        ['a-1/0', 'b-1/0', 'a-1/1', 'b-1/1'],
        ['a-1/0', 'b-1/0', 'c-x/0', 'a-1/1', 'b-1/1', 'c-x/1'],
      ];
      // Filters on types let system events pass, whose types begin with $; none of these end in d.
      await eventually(() =>
        expect(heard.map((each) => short(each.events).filter((name) => !name.startsWith('$')))).toEqual(wanted),
      );
    }));

  it('of before 23.10 does not say that it has caught up', () =>
    withEventStore(
      async ({ client }) => {
        const heard = listen(client.subscribeToAll());
        await client.appendToStream('s-1', events(1));
        await eventually(() => expect(short(heard.events)).toContain('s-1/0'));
        expect(heard.signs).toEqual(['confirmed']);
      },
      { version: '22.10.0' },
    ));
});

describe('checkpoints of the EventStoreDB stand-in', () => {
  const subscribe = (
    client: EventStoreDBClient,
    fromPosition: Position | typeof START | typeof END,
    checkpointInterval: number,
  ): { readonly heard: Heard; readonly checkpoints: Position[] } => {
    const checkpoints: Position[] = [];
    const checkpointReached = (_: unknown, position: Position): void => void checkpoints.push(position);
    const filter = streamNameFilter({ prefixes: ['s-'], checkpointInterval, checkpointReached });
    return { heard: listen(client.subscribeToAll({ fromPosition, filter })), checkpoints };
  };

  it('come every interval × 32 events looked at, whether they match or not', () =>
    withEventStore(async ({ client }) => {
      const { heard, checkpoints } = subscribe(client, END, 2);
      await eventually(() => expect(heard.signs).toContain('caught up'));
      for (let count = 0; count < 64 * 3; count++) await client.appendToStream('other', events(1));
      await eventually(() => expect(checkpoints).toHaveLength(3));
      expect(heard.events).toEqual([]);
      await client.appendToStream('s-1', events(1));
      await eventually(() => expect(heard.events).toHaveLength(1));
      expect(checkpoints).toHaveLength(3);
      expect(checkpoints.every(({ commit, prepare }) => commit === prepare)).toBe(true);
    }));

  it('can have another prepare than commit position: whoever resumes there with both misses nothing', () =>
    withEventStore(async ({ client }) => {
      // Pages of 32 end exactly at the end of the log, so that the last one is empty.
      const before = listen(client.subscribeToAll());
      await eventually(() => expect(before.signs).toContain('caught up'));
      const missing = 32 - ((before.events.length + HIDDEN) % 32);
      await client.appendToStream('other', events(missing));
      const { checkpoints } = subscribe(client, START, 1000);
      await eventually(() => expect(checkpoints).toHaveLength(1));
      const checkpoint = checkpoints[0] ?? { commit: -1n, prepare: -1n };
      expect(checkpoint.prepare).toBe(0n);

      const { position } = await client.appendToStream('s-1', events(1));
      expect(position?.commit).toBe(checkpoint.commit);
      const [both, commitOnly] = [
        subscribe(client, checkpoint, 1000).heard,
        subscribe(client, { commit: checkpoint.commit, prepare: checkpoint.commit }, 1000).heard,
      ];
      await eventually(() => expect([both, commitOnly].every(({ signs }) => signs.includes('caught up'))).toBe(true));
      expect(short(both.events)).toEqual(['s-1/0']);
      expect(commitOnly.events).toEqual([]);
    }));
});

/** Records that count, but are shown to nobody. */
const HIDDEN = 1;

describe('subscriptions of an EventStoreDB stand-in that misbehaves', () => {
  it('end as if all were well', () =>
    withEventStore(async ({ server, client }) => {
      const heard = listen(client.subscribeToAll({ filter: OURS }));
      await eventually(() => expect(heard.signs).toContain('caught up'));
      server.endSubscriptions();
      await eventually(() => expect(heard.signs).toEqual(['confirmed', 'caught up', 'ended']));
      await eventually(() => expect(server.counts.subscriptions()).toBe(0));
    }));

  it('break', () =>
    withEventStore(async ({ server, client }) => {
      const heard = listen(client.subscribeToAll({ filter: OURS }));
      await eventually(() => expect(heard.signs).toContain('caught up'));
      server.breakSubscriptions();
      await eventually(() => expect(heard.signs).toContain('failed: unavailable'));
    }));

  it('stall, fall behind, and catch up again with nothing missing', () =>
    withEventStore(async ({ server, client }) => {
      const heard = listen(client.subscribeToAll({ filter: OURS }));
      await eventually(() => expect(heard.signs).toContain('caught up'));
      const lift = server.stallSubscriptions();
      for (let count = 0; count < 100; count++) await client.appendToStream('s-1', events(1));
      expect(heard.events).toEqual([]);
      lift();
      await eventually(() => expect(heard.events).toHaveLength(100));
      expect(short(heard.events)).toEqual(Array.from({ length: 100 }, (_, index) => `s-1/${String(index)}`));
      await eventually(() => expect(heard.signs).toEqual(['confirmed', 'caught up', 'caught up']));
    }));

  it('are not even confirmed, or refused, when they begin', () =>
    withEventStore(async ({ server, client }) => {
      server.failSubscribing({ kind: 'silence' }, { times: 1 });
      const silent = listen(client.subscribeToAll());
      await eventually(() => expect(server.counts.connections()).toBe(1));
      server.failSubscribing({ kind: 'end' }, { times: 1, stream: 's-' });
      const ended = listen(client.subscribeToStream('s-1'));
      await eventually(() => expect(ended.signs).toEqual(['ended']));
      server.failSubscribing({ kind: 'not-leader', leader: { host: '127.0.0.1', port: 9 } }, { times: 1 });
      const refused = listen(client.subscribeToStream('s-1'));
      await eventually(() => expect(refused.signs).toContain('failed: not-leader'));
      expect(silent.events).toEqual([]);
    }));
});

describe('appends to an EventStoreDB stand-in that misbehaves', () => {
  /** How an append ended by now, if it did. */
  const watch = (append: Promise<unknown>): { outcome: string } => {
    const watched = { outcome: 'pending' };
    append.then(
      () => (watched.outcome = 'appended'),
      (error: unknown) => (watched.outcome = error instanceof Error && 'type' in error ? String(error.type) : 'failed'),
    );
    return watched;
  };

  it('hang, with the event in the log or without', () =>
    withEventStore(async ({ server, client }) => {
      server.failAppends({ kind: 'silence', committed: true }, { stream: 's-1' });
      server.failAppends({ kind: 'silence', committed: false }, { stream: 's-2' });
      const hanging = [watch(client.appendToStream('s-1', events(1))), watch(client.appendToStream('s-2', events(1)))];
      await eventually(() => expect(server.counts.appends()).toBe(2));
      await client.appendToStream('s-3', events(1));
      expect(hanging.map(({ outcome }) => outcome)).toEqual(['pending', 'pending']);
      expect(['s-1', 's-2'].map((stream) => server.log().eventsOf(stream).length)).toEqual([1, 0]);
      server.dropConnections();
      await eventually(() => expect(hanging.map(({ outcome }) => outcome)).toEqual(['unavailable', 'unavailable']));
    }));

  it('are answered late, but are there at once', () =>
    withEventStore(async ({ server, client }) => {
      const lift = server.failAppends({ kind: 'hold' }, { stream: 's-1' });
      server.failAppends({ kind: 'late', ms: 20 }, { stream: 's-2' });
      const held = watch(client.appendToStream('s-1', events(1)));
      await client.appendToStream('s-2', events(1));
      expect(server.log().eventsOf('s-1')).toHaveLength(1);
      expect(held.outcome).toBe('pending');
      lift();
      await eventually(() => expect(held.outcome).toBe('appended'));
    }));

  it('are told that the deadline has passed although they are there', () =>
    withEventStore(async ({ server, client }) => {
      server.failAppends({ kind: 'deadline-exceeded', committed: true }, { times: 2 });
      const same = events(1);
      await expect(client.appendToStream('s', same, { expectedRevision: 'no_stream' })).rejects.toMatchObject({
        type: 'deadline-exceeded',
      });
      await expect(client.appendToStream('t', events(1), alone)).rejects.toMatchObject({ type: 'timeout' });
      expect((await client.appendToStream('s', same, { expectedRevision: 'no_stream' })).nextExpectedRevision).toBe(0n);
      expect(server.log().eventsOf('s')).toHaveLength(1);
      expect(server.log().eventsOf('t')).toHaveLength(1);
    }));

  it('are refused by a node that does not lead, which names the one that does', async () => {
    const leader = await startEventStore();
    await withEventStore(
      async ({ server }) => {
        const address = { host: '127.0.0.1', port: leader.value.port };
        server.failAppends({ kind: 'not-leader', leader: address });
        for (const call of [alone, {}]) {
          const follower = connectTo(server.url);
          const refused = follower.appendToStream('s', events(1), call);
          await expect(refused).rejects.toMatchObject({
            type: 'not-leader',
            leader: { address: '127.0.0.1', port: address.port },
          });
          await follower.appendToStream('s', events(1), call);
          await follower.dispose();
        }
        expect(leader.value.counts.appends()).toBe(2);
        expect(server.log().eventsOf('s')).toHaveLength(2);
      },
      { log: leader.value.log() },
    );
    await leader.stop();
  });

  it('lose their call in silence: appends of this client hang from then on', () =>
    withEventStore(async ({ server, client }) => {
      server.failAppends({ kind: 'end', committed: true }, { times: 1 });
      const ended = watch(client.appendToStream('s', events(1)));
      await eventually(() => expect(server.counts.appends()).toBe(1));
      await eventually(() => expect(server.counts.batchStreams()).toBe(0));
      const next = watch(client.appendToStream('s', events(1)));
      const another = connectTo(server.url);
      await another.appendToStream('s', events(1));
      expect([ended.outcome, next.outcome]).toEqual(['pending', 'pending']);
      await another.dispose();
      await client.appendToStream('s', events(1), alone);
      server.endBatchStreams();
      await eventually(() => expect(server.counts.batchStreams()).toBe(0));
      expect(server.log().eventsOf('s')).toHaveLength(3);
    }));

  it('lose their call or their connection with noise', () =>
    withEventStore(async ({ server, client }) => {
      for (const call of [alone, {}]) {
        server.failAppends({ kind: 'unavailable', committed: false }, { times: 1 });
        await expect(client.appendToStream('s', events(1), call)).rejects.toMatchObject({ type: 'unavailable' });
        server.failAppends({ kind: 'reset', committed: true }, { times: 1 });
        await expect(client.appendToStream('s', events(1), call)).rejects.toMatchObject({ type: 'unavailable' });
      }
      expect(server.log().eventsOf('s')).toHaveLength(2);
    }));
});

describe('the network and the machine of an EventStoreDB stand-in', () => {
  it('freeze without a sign, and go on', () =>
    withEventStore(async ({ server, client }) => {
      const heard = listen(client.subscribeToAll({ filter: OURS }));
      await eventually(() => expect(heard.signs).toContain('caught up'));
      const lift = server.freeze();
      const appended = client.appendToStream('s-1', events(1));
      await expect(
        connectTo(server.url).appendToStream('s-2', events(1), {
          deadline: 50,
          credentials: { username: 'a', password: 'b' },
        }),
      ).rejects.toMatchObject({ type: 'deadline-exceeded' });
      expect(server.log().eventsOf('s-1')).toEqual([]);
      lift();
      await appended;
      await eventually(() => expect(short(heard.events)).toContain('s-1/0'));
    }));

  it.each(['crash', 'shutdown'] as const)('go down in a %s and come back with all that was there', (how) =>
    withEventStore(async ({ server, client }) => {
      await client.appendToStream('s-1', events(2));
      const heard = listen(client.subscribeToAll({ filter: OURS }));
      await eventually(() => expect(heard.signs).toContain('caught up'));
      await server.goDown(how);
      const sign = how === 'crash' ? 'failed: unavailable' : 'failed: cancelled';
      await eventually(() => expect(heard.signs).toContain(sign));
      await expect(client.appendToStream('s-1', events(1))).rejects.toThrow('UNAVAILABLE');
      await server.comeBack();
      const again = await eventually(() => client.appendToStream('s-1', events(1)), { timeoutMs: 15_000 });
      expect(again.nextExpectedRevision).toBe(2n);
    }),
  );

  it('come back empty once wiped', () =>
    withEventStore(async ({ server, client }) => {
      await client.appendToStream('s-1', events(2));
      await server.goDown();
      server.wipe();
      await server.comeBack();
      const again = await eventually(() => client.appendToStream('s-1', events(1)), { timeoutMs: 15_000 });
      expect(again.nextExpectedRevision).toBe(0n);
    }));

  it('leave reads without an answer', () =>
    withEventStore(async ({ server, client }) => {
      const lift = server.failReads({ kind: 'silence' }, { stream: '$all' });
      let answered = false;
      const all = client.readAll({ maxCount: 1 });
      all.on('data', () => (answered = true)).on('error', () => undefined);
      await client.appendToStream('s', events(1));
      expect(answered).toBe(false);
      lift();
      server.failReads({ kind: 'unavailable' }, { times: 1 });
      const broken = new Promise((_resolve, reject) => client.readStream('s').on('error', reject).resume());
      await expect(broken).rejects.toMatchObject({ type: 'unavailable' });
    }));
});

describe('a cluster of EventStoreDB stand-ins', () => {
  it('refuses what requires the leader elsewhere, and names it', async () => {
    const { value: cluster, stop } = await startEventStoreCluster();
    const [leader, follower] = cluster.nodes;
    if (!leader || !follower) throw new Error('a cluster of none');
    const client = connectTo(follower.url);
    await client.appendToStream('s', events(1));
    const refused = client.appendToStream('s', events(1), { requiresLeader: true, ...alone });
    await expect(refused).rejects.toMatchObject({ type: 'not-leader', leader: { port: leader.port } });
    // The client has moved to the node that was named.
    await client.appendToStream('s', events(1), { requiresLeader: true, ...alone });
    expect(leader.counts.appends()).toBe(1);
    expect(leader.log().eventsOf('s')).toHaveLength(2);
    void client.dispose();
    await stop();
  });

  it('goes on with another leader when one dies', async () => {
    const { value: cluster, stop } = await startEventStoreCluster();
    const [first, second] = cluster.nodes;
    if (!first || !second) throw new Error('a cluster of none');
    const client = connectTo(cluster.url);
    const leads = { requiresLeader: true, ...alone };
    await client.appendToStream('s', events(1), leads);
    expect(first.counts.appends()).toBe(1);
    await cluster.kill(first);
    await expect(client.appendToStream('s', events(1), leads)).rejects.toThrow('UNAVAILABLE');
    cluster.elect('nobody');
    await expect(client.appendToStream('s', events(1), leads)).rejects.toMatchObject({ type: 'unavailable' });
    cluster.elect(second);
    await eventually(() => client.appendToStream('s', events(1), leads));
    expect(second.log().eventsOf('s')).toHaveLength(2);
    void client.dispose();
    await stop();
  });
});
