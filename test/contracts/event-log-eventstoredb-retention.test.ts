import { EventStoreDBClient } from '@eventstore/db-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openScope, type Scope } from '../../src/lifecycle.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import { openEventStoreDb } from '../../src/ports/event-log/eventstoredb.ts';
import { serverAt } from '../support/eventstore/address.ts';
import { startEventStore, type EventStoreStandIn } from '../support/eventstore/server.ts';
import { newEvents } from './event-log.reading.ts';

const STREAM = 'lease-route';

describe('the EventStoreDB event log that keeps only the newest events of a stream', () => {
  let scope: Scope;
  let server: EventStoreStandIn;
  let log: EventLog;
  let client: EventStoreDBClient;

  beforeEach(async () => {
    scope = openScope();
    server = scope.use(await startEventStore());
    const limits = { attemptMs: 250, totalMs: 4_000 };
    log = scope.use(await openEventStoreDb({ server: serverAt(server.url), limits }));
    client = EventStoreDBClient.connectionString`${server.url}`;
    scope.use({ value: client, stop: () => client.dispose() });
  });
  afterEach(() => scope.stop());

  const metadata = () => client.getStreamMetadata(STREAM);
  /** How often the metadata were written. */
  const changes = async (): Promise<number> => {
    for await (const { event } of client.readStream(`$$${STREAM}`)) return Number(event?.revision) + 1;
    return 0;
  };

  it('forgets the others, and reads on from versions that are gone', async () => {
    const events = newEvents(10);
    await log.append(STREAM, events, 0);
    await log.keepNewest(STREAM, 3);
    const newest = events.slice(-3).map(({ id }) => id);
    for (const after of [0, 4, 7]) expect((await log.read(STREAM, after)).map(({ id }) => id)).toEqual(newest);
    expect((await log.read(STREAM)).map(({ version }) => version)).toEqual([8, 9, 10]);
    expect((await log.read(STREAM, 9)).map(({ version }) => version)).toEqual([10]);
    await log.append(STREAM, newEvents(1), 10);
    expect((await log.read(STREAM)).map(({ version }) => version)).toEqual([9, 10, 11]);
  });

  it('appends nothing when an append is made again that it has forgotten', async () => {
    const events = newEvents(1);
    await log.append(STREAM, events, 0);
    await log.keepNewest(STREAM, 2);
    await log.append(STREAM, newEvents(3), 1);
    const { version } = (await log.last(STREAM)) ?? {};
    await log.append(STREAM, events, 0).catch(() => undefined);
    expect(await log.last(STREAM)).toMatchObject({ version });
  });

  it('says it once, however often it starts', async () => {
    await log.keepNewest(STREAM, 10);
    expect(await metadata()).toMatchObject({ metadata: { maxCount: 10 } });
    await log.keepNewest(STREAM, 10);
    await log.keepNewest(STREAM, 20);
    expect(await changes()).toBe(1);
  });

  it('leaves in force what others say of the stream', async () => {
    await client.setStreamMetadata(STREAM, { maxAge: 86_400, owner: 'operations' });
    await log.keepNewest(STREAM, 10);
    expect((await metadata()).metadata).toEqual({ maxAge: 86_400, owner: 'operations', maxCount: 10 });
    await client.setStreamMetadata(STREAM, { maxCount: 500 });
    await log.keepNewest(STREAM, 10);
    expect((await metadata()).metadata).toEqual({ maxCount: 500 });
  });

  it.each([true, false])('goes on when no answer comes (done all the same: %s)', async (committed) => {
    server.failAppends({ kind: 'silence', committed }, { times: 1 });
    await log.keepNewest(STREAM, 10);
    expect((await metadata()).metadata).toEqual({ maxCount: 10 });
    expect(await changes()).toBe(1);
  });
});
