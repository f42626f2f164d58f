import {
  ANY,
  BACKWARDS,
  binaryEvent,
  END,
  jsonEvent,
  MaxAppendSizeExceededError,
  NO_STREAM,
  STREAM_EXISTS,
  StreamDeletedError,
  StreamNotFoundError,
  WrongExpectedVersionError,
  type AppendResult,
  type AppendToStreamOptions,
  type EventData,
  type EventStoreDBClient,
} from '@eventstore/db-client';
import { describe, expect, it } from 'vitest';

import { collect, connectTo, events, short, withEventStore } from '../support/eventstore/client.ts';
import { eventually } from '../support/eventually.ts';
import { openCommittedEvents } from '../support/eventstore/committed-events.ts';
import { startEventStore } from '../support/eventstore/server.ts';

/** The client takes another call for appends that carry their own credentials; both must behave alike. */
const CALLS: Readonly<Record<string, AppendToStreamOptions>> = {
  'a batch': {},
  'a call of its own': { credentials: { username: 'admin', password: 'changeit' } },
};

describe.each(Object.entries(CALLS))('an append in %s to the EventStoreDB stand-in', (_name, call) => {
  const append = (
    client: EventStoreDBClient,
    stream: string,
    data: EventData[],
    expectedRevision: AppendToStreamOptions['expectedRevision'] = ANY,
  ): Promise<AppendResult> => client.appendToStream(stream, data, { ...call, expectedRevision });

  it('answers with the revision and the position of its last event', () =>
    withEventStore(async ({ client }) => {
      const { nextExpectedRevision, position } = await append(client, 'order-1', events(3), NO_STREAM);
      expect(nextExpectedRevision).toBe(2n);
      const [last] = await collect(
        client.readStream('order-1', { direction: BACKWARDS, fromRevision: END, maxCount: 1 }),
      );
      expect(last?.event?.position).toEqual(position);
    }));

  it('keeps JSON and bytes, with and without metadata', () =>
    withEventStore(async ({ client }) => {
      const bytes = Buffer.from([0, 255, 7]);
      await append(client, 'mixed', [
        jsonEvent({ type: 'json', data: { wort: 'Grüße ‐ 1830' }, metadata: { by: 'anna' } }),
        binaryEvent({ type: 'bytes', data: bytes, metadata: bytes }),
        jsonEvent({ type: 'bare', data: 'text' }),
      ]);
      const read = await collect(client.readStream('mixed'));
      expect(read.map(({ event }) => event?.type)).toEqual(['json', 'bytes', 'bare']);
      expect(read.map(({ event }) => event?.isJson)).toEqual([true, false, true]);
      expect(read[0]?.event).toMatchObject({ data: { wort: 'Grüße ‐ 1830' }, metadata: { by: 'anna' } });
      expect(Buffer.from(read[1]?.event?.data as Uint8Array)).toEqual(bytes);
      expect(read[2]?.event?.metadata).toBeUndefined();
      expect(read[0]?.event?.created.getTime()).toBeCloseTo(Date.now(), -5);
    }));

  it('is refused at another revision, and says which', () =>
    withEventStore(async ({ client }) => {
      await append(client, 's', events(2), NO_STREAM);
      const refused = { streamName: 's', actualVersion: 1n };
      await expect(append(client, 's', events(1), NO_STREAM)).rejects.toMatchObject({
        ...refused,
        expectedVersion: NO_STREAM,
      });
      await expect(append(client, 's', events(1), 0n)).rejects.toMatchObject({ ...refused, expectedVersion: 0n });
      await expect(append(client, 's', events(1), 7n)).rejects.toMatchObject({ ...refused, expectedVersion: 7n });
      await expect(append(client, 'none', events(1), STREAM_EXISTS)).rejects.toMatchObject({
        expectedVersion: STREAM_EXISTS,
        actualVersion: NO_STREAM,
      });
      await expect(append(client, 'none', events(1), 0n)).rejects.toBeInstanceOf(WrongExpectedVersionError);
      await append(client, 's', events(1), 1n);
      await append(client, 's', events(1), STREAM_EXISTS);
      expect(await collect(client.readStream('s'))).toHaveLength(4);
    }));

  it('repeated at its revision succeeds again with the same answer, for ever', () =>
    withEventStore(async ({ server, client }) => {
      const [first, second] = [events(2), events(2)];
      const answers = [await append(client, 's', first, NO_STREAM), await append(client, 's', second, 1n)];
      await append(client, 's', events(1), 3n);
      server.log().forgetMemory();
      expect(await append(client, 's', first, NO_STREAM)).toEqual(answers[0]);
      expect(await append(client, 's', second, 1n)).toEqual(answers[1]);
      expect(await collect(client.readStream('s'))).toHaveLength(5);
    }));

  it('that only begins like one before is refused, wherever it says to go', () =>
    withEventStore(async ({ client }) => {
      const first = events(2);
      await append(client, 's', first, NO_STREAM);
      const longer = [...first, ...events(1)];
      for (const revision of [NO_STREAM, ANY, STREAM_EXISTS] as const) {
        await expect(append(client, 's', longer, revision)).rejects.toBeInstanceOf(WrongExpectedVersionError);
      }
      expect(await collect(client.readStream('s'))).toHaveLength(2);
    }));

  it('repeated anywhere is known only until the server restarts', () =>
    withEventStore(async ({ server, client }) => {
      const same = events(2);
      const once = await append(client, 's', same);
      expect(await append(client, 's', same)).toEqual(once);
      expect(await append(client, 's', same, STREAM_EXISTS)).toEqual(once);
      server.log().forgetMemory();
      expect((await append(client, 's', same)).nextExpectedRevision).toBe(3n);
    }));

  it('with the ids of another stream is a new one', () =>
    withEventStore(async ({ client }) => {
      const same = events(1);
      await append(client, 'a', same, NO_STREAM);
      await append(client, 'b', same, NO_STREAM);
      await append(client, 'c', same);
      expect(await collect(client.readStream('b'))).toHaveLength(1);
      expect(await collect(client.readStream('c'))).toHaveLength(1);
    }));

  it('over the limit is refused as a whole', () =>
    withEventStore(
      async ({ client }) => {
        const tooLarge = append(client, 's', events(200));
        await expect(tooLarge).rejects.toBeInstanceOf(MaxAppendSizeExceededError);
        await expect(tooLarge).rejects.toMatchObject({ maxAppendSize: 2048 });
        await expect(collect(client.readStream('s'))).rejects.toBeInstanceOf(StreamNotFoundError);
      },
      { maxAppendSize: 2048 },
    ));

  it('to a stream deleted for good is refused', () =>
    withEventStore(async ({ client }) => {
      await append(client, 's', events(1));
      await client.tombstoneStream('s');
      await expect(append(client, 's', events(1))).rejects.toBeInstanceOf(StreamDeletedError);
    }));
});

describe('the EventStoreDB stand-in', () => {
  it('puts a batch together that comes in parts', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s', events(500), { batchAppendSize: 1024 });
      expect(await collect(client.readStream('s'))).toHaveLength(500);
    }));

  it('takes no batch whose deadline has passed', () =>
    withEventStore(async ({ client }) => {
      const late = client.appendToStream('s', events(1), { deadline: -1000 });
      await expect(late).rejects.toMatchObject({ type: 'deadline-exceeded' });
      await expect(collect(client.readStream('s'))).rejects.toBeInstanceOf(StreamNotFoundError);
    }));

  it('forgets the oldest ids once they take 8 MiB', () => {
    const committed = openCommittedEvents();
    const stream = 'x'.repeat(40);
    const fitting = Math.floor((8 * 1024 * 1024) / (16 + 4 + 8 + 2 * stream.length));
    for (let index = 0; index < fitting; index++) committed.remember(`id-${String(index)}`, stream, index);
    expect(committed.numberOf('id-0', stream)).toBe(0);
    expect(committed.numberOf('id-0', 'another')).toBeUndefined();
    committed.remember('one-more', stream, fitting);
    expect(committed.numberOf('id-0', stream)).toBeUndefined();
    expect(committed.numberOf('id-1', stream)).toBe(1);
  });

  it('of before 21.10 knows no batches', () =>
    withEventStore(
      async ({ server, client }) => {
        await client.appendToStream('s', events(1), { expectedRevision: NO_STREAM });
        expect(server.counts.batchStreams()).toBe(0);
        expect(await collect(client.readStream('s'))).toHaveLength(1);
      },
      { version: '20.10.0' },
    ));

  it('tells who leads', () =>
    withEventStore(async ({ server }) => {
      const client = connectTo(server.discoverUrl);
      await client.appendToStream('s', events(1));
      await client.dispose();
      expect(server.counts.appends()).toBe(1);
    }));
});

describe('reading a stream of the EventStoreDB stand-in', () => {
  it('goes both ways, from anywhere, as far as asked', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s', events(40));
      await client.appendToStream('other', events(2));
      const numbers = async (options: Parameters<EventStoreDBClient['readStream']>[1]): Promise<number[]> =>
        (await collect(client.readStream('s', options))).map(({ event }) => Number(event?.revision));
      expect(await numbers({})).toEqual(Array.from({ length: 40 }, (_, index) => index));
      expect(await numbers({ fromRevision: 38n })).toEqual([38, 39]);
      expect(await numbers({ fromRevision: 40n })).toEqual([]);
      expect(await numbers({ fromRevision: END })).toEqual([]);
      expect(await numbers({ maxCount: 2 })).toEqual([0, 1]);
      expect(await numbers({ direction: BACKWARDS, fromRevision: END, maxCount: 3 })).toEqual([39, 38, 37]);
      expect(await numbers({ direction: BACKWARDS, fromRevision: 1n })).toEqual([1, 0]);
      expect(await numbers({ direction: BACKWARDS, fromRevision: 1000n, maxCount: 1 })).toEqual([39]);
    }));

  it('says that there is none', () =>
    withEventStore(async ({ client }) => {
      const none = collect(client.readStream('none'));
      await expect(none).rejects.toBeInstanceOf(StreamNotFoundError);
      await expect(none).rejects.toMatchObject({ streamName: 'none' });
    }));

  it('shows the target of a link to those who want it', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('target', events(3));
      await client.appendToStream('links', [
        binaryEvent({ type: '$>', data: Buffer.from('2@target') }),
        binaryEvent({ type: '$>', data: Buffer.from('9@target') }),
      ]);
      const resolved = await collect(client.readStream('links', { resolveLinkTos: true }));
      expect(short(resolved)).toEqual(['target/2', '?/?']);
      expect(resolved[0]?.link?.streamId).toBe('links');
      expect(short(await collect(client.readStream('links')))).toEqual(['links/0', 'links/1']);
    }));

  it('hides what the metadata of the stream say', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s', events(5));
      await client.setStreamMetadata('s', { maxCount: 3 });
      expect(short(await collect(client.readStream('s')))).toEqual(['s/2', 's/3', 's/4']);
      await client.setStreamMetadata('s', { truncateBefore: 4 });
      expect(short(await collect(client.readStream('s')))).toEqual(['s/4']);
      expect((await client.getStreamMetadata('s')).metadata).toEqual({ truncateBefore: 4 });
      const backwards = client.readStream('s', { direction: BACKWARDS, fromRevision: END });
      expect(short(await collect(backwards))).toEqual(['s/4']);
    }));
});

describe('deleting a stream of the EventStoreDB stand-in', () => {
  it('hides it until someone writes to it again, and then goes on counting', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s', events(3));
      await client.deleteStream('s', { expectedRevision: 2n });
      await expect(collect(client.readStream('s'))).rejects.toBeInstanceOf(StreamNotFoundError);
      await expect(client.appendToStream('s', events(1), { expectedRevision: STREAM_EXISTS })).rejects.toBeInstanceOf(
        StreamDeletedError,
      );
      const again = await client.appendToStream('s', events(2), { expectedRevision: NO_STREAM });
      expect(again.nextExpectedRevision).toBe(4n);
      expect(short(await collect(client.readStream('s')))).toEqual(['s/3', 's/4']);
    }));

  it('is refused at another revision, and where there is nothing', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s', events(3));
      const refused = client.deleteStream('s', { expectedRevision: 0n });
      await expect(refused).rejects.toMatchObject({ streamName: 's', expectedVersion: 0n, actualVersion: 2n });
      await expect(client.deleteStream('none')).rejects.toBeInstanceOf(WrongExpectedVersionError);
      await client.setStreamMetadata('implicit', { cacheControl: 1 });
      await client.deleteStream('implicit', { expectedRevision: NO_STREAM });
    }));

  it('for good leaves a tombstone in $all', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('s', events(1));
      await expect(client.tombstoneStream('s', { expectedRevision: 5n })).rejects.toBeInstanceOf(
        WrongExpectedVersionError,
      );
      const { position } = await client.tombstoneStream('s');
      await expect(collect(client.readStream('s'))).rejects.toMatchObject({ type: 'stream-deleted', streamName: 's' });
      const [last] = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
      expect(last?.event).toMatchObject({ type: '$streamDeleted', revision: 2n ** 63n - 1n, position });
      await expect(client.deleteStream('s')).rejects.toBeInstanceOf(StreamDeletedError);
    }));
});

describe('reading $all of the EventStoreDB stand-in', () => {
  it('goes both ways: forwards from a position with its event, backwards without', () =>
    withEventStore(async ({ client }) => {
      await client.appendToStream('a', events(1));
      const { position } = await client.appendToStream('b', events(1));
      await client.appendToStream('c', events(2));
      const at = position ?? { commit: -1n, prepare: -1n };
      expect(short(await collect(client.readAll({ fromPosition: at })))).toEqual(['b/0', 'c/0', 'c/1']);
      const before = client.readAll({ direction: BACKWARDS, fromPosition: at, maxCount: 1 });
      expect(short(await collect(before))).toEqual(['a/0']);
      const newest = client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 3 });
      expect(short(await collect(newest))).toEqual(['c/1', 'c/0', 'b/0']);
      expect(await collect(client.readAll({ fromPosition: END }))).toEqual([]);
    }));

  it('holds system events, too, and shows nobody its own bookkeeping', () =>
    withEventStore(async ({ client }) => {
      const types = (await collect(client.readAll())).map(({ event }) => event?.type);
      expect(types).toContain('$statsCollected');
      expect(types).not.toContain('$epoch-information');
    }));

  it('fails at a place where no record begins', () =>
    withEventStore(async ({ client }) => {
      const { position } = await client.appendToStream('s', events(2));
      const between = (position?.commit ?? 0n) - 1n;
      const broken = collect(client.readAll({ fromPosition: { commit: between, prepare: between } }));
      await expect(broken).rejects.toThrow('invalid position');
    }));

  it('is the same log after a restart, and on another server with its data', async () => {
    const first = await startEventStore();
    const client = connectTo(first.value.url);
    const { position } = await client.appendToStream('s', events(3));
    await client.dispose();
    await first.stop();
    await withEventStore(
      async ({ server, client: again }) => {
        expect(server.port).toBe(first.value.port);
        // The first call may still find the connection of before.
        const [last] = await eventually(() =>
          collect(again.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 })),
        );
        expect(last?.event?.position).toEqual(position);
      },
      { port: first.value.port, log: first.value.log() },
    );
  });
});
