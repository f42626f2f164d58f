import { randomUUID } from 'node:crypto';

import shared from '@eventstore/db-client/generated/shared_pb.js';
import { StreamsService } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import messages from '@eventstore/db-client/generated/streams_pb.js';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { expect, it } from 'vitest';

import type { Started } from '../../src/lifecycle.ts';
import { START } from '../../src/ports/event-log/event-log.ts';
import { openEventStoreDb } from '../../src/ports/event-log/eventstoredb.ts';
import { eventually } from '../support/eventually.ts';
import { serverAt } from '../support/eventstore/address.ts';
import { follow, newEvent } from './event-log.reading.ts';

type Call = ServerWritableStream<messages.ReadReq, messages.ReadResp>;

/** A server whose every word is chosen: no real one can be told to err like this. */
interface Puppet {
  readonly url: string;
  /** Puts an event into its log; the subscriptions hear of it only by `say`. */
  readonly put: (position: number) => messages.ReadResp;
  readonly say: (answer: messages.ReadResp) => void;
  readonly subscribed: () => number;
}

function eventAt(position: number): messages.ReadResp {
  const { data, metadata } = newEvent();
  const event = new messages.ReadResp.ReadEvent.RecordedEvent()
    .setId(new shared.UUID().setString(randomUUID()))
    .setStreamIdentifier(new shared.StreamIdentifier().setStreamName(Buffer.from(`order-${String(position)}`)))
    .setStreamRevision('0')
    .setCommitPosition(String(position))
    .setPreparePosition(String(position))
    .setData(Buffer.from(JSON.stringify(data)))
    .setCustomMetadata(Buffer.from(JSON.stringify(metadata)));
  event.getMetadataMap().set('type', 'OrderPlaced').set('content-type', 'application/json');
  return new messages.ReadResp().setEvent(new messages.ReadResp.ReadEvent().setEvent(event));
}

function checkpointAt(commit: string, prepare = commit): messages.ReadResp {
  const checkpoint = new messages.ReadResp.Checkpoint().setCommitPosition(commit).setPreparePosition(prepare);
  return new messages.ReadResp().setCheckpoint(checkpoint);
}

async function startPuppet(): Promise<Started<Puppet>> {
  const log: { readonly position: number; readonly answer: messages.ReadResp }[] = [];
  const subscriptions = new Set<Call>();
  let subscribed = 0;
  const put = (position: number): messages.ReadResp => {
    const answer = eventAt(position);
    log.push({ position, answer });
    return answer;
  };
  const read = (call: Call): void => {
    const options = call.request.getOptions();
    if (options?.hasSubscription()) {
      subscribed += 1;
      subscriptions.add(call);
      call.on('cancelled', () => subscriptions.delete(call));
      return;
    }
    const backwards = options?.getReadDirection() === messages.ReadReq.Options.ReadDirection.BACKWARDS;
    const from = Number(options?.getAll()?.getPosition()?.getCommitPosition() ?? 0);
    const found = backwards ? log.slice(-1) : log.filter(({ position }) => position >= from);
    for (const answer of options?.hasStream() ? ownStream : found.map(({ answer }) => answer)) call.write(answer);
    call.end();
  };
  const ownStream = [put(1), new messages.ReadResp().setLastStreamPosition('0')];
  const server = new Server();
  const refuse = (): void => undefined;
  server.addService(StreamsService, { read, append: refuse, batchAppend: refuse, delete: refuse, tombstone: refuse });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const say = (answer: messages.ReadResp): void => {
    for (const call of subscriptions) call.write(answer);
  };
  const stop = (): Promise<void> => {
    server.forceShutdown();
    return Promise.resolve();
  };
  return { value: { url: `esdb://127.0.0.1:${String(port)}?tls=false`, put, say, subscribed: () => subscribed }, stop };
}

it('a subscription misses nothing when the server sends checkpoints that lie beyond the end of the log', async () => {
  const { value: server, stop: stopServer } = await startPuppet();
  // Looks into the log itself as good as never, so that what counts is what the server says.
  const limits = { idleMs: 60_000, stallMs: 60_000 };
  const { value: log, stop } = await openEventStoreDb({ server: serverAt(server.url), limits });
  const following = follow(log, START, { streamPrefixes: ['order-'] });
  await eventually(() => {
    expect(server.subscribed()).toBe(1);
  });
  server.say(server.put(10));
  // KurrentDB #4892 and #4970, and one of which only half is sane (#4991).
  const beyond = String(2n ** 64n - 1n);
  for (const checkpoint of [checkpointAt('500'), checkpointAt(beyond), checkpointAt('400', '0')])
    server.say(checkpoint);
  server.say(server.put(50));
  server.say(checkpointAt('60'));
  server.say(checkpointAt('20'));
  server.say(server.put(90));
  await eventually(() => {
    expect(following.events.map(({ stream }) => stream)).toEqual(['order-10', 'order-50', 'order-90']);
  });
  const positions = following.batches.map(({ position }) => position);
  expect(positions).toEqual(positions.toSorted());
  expect(positions.every((position) => position <= `${'0'.repeat(14)}5a${'0'.repeat(14)}5a`)).toBe(true);
  await following.stop();
  await stop();
  await stopServer();
});
