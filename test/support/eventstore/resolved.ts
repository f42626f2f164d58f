import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { ReadResp } from '@eventstore/db-client/generated/streams_pb.js';

import { DELETED, type EventStoreLog, type LogRecord } from './log.ts';
import { resolveLink, type Place } from './reading.ts';
import { identifier, uuid } from './wire.ts';

const MAX_INT64 = '9223372036854775807';
const TICKS_PER_MILLISECOND = 10_000n;

/** An event as a reader gets it; a link together with what it points to, if he wants that. */
export function eventAnswer(log: EventStoreLog, record: LogRecord, resolveLinks: boolean): ReadResp {
  const event = new streams.ReadResp.ReadEvent().setCommitPosition(String(record.position));
  if (resolveLinks && record.type === '$>') {
    event.setLink(recorded(record));
    const target = resolveLink(log, record);
    if (target) event.setEvent(recorded(target));
  } else {
    event.setEvent(recorded(record));
  }
  return new streams.ReadResp().setEvent(event);
}

function recorded(record: LogRecord): ReadResp.ReadEvent.RecordedEvent {
  const event = new streams.ReadResp.ReadEvent.RecordedEvent()
    .setId(uuid(record.id))
    .setStreamIdentifier(identifier(record.stream))
    .setStreamRevision(record.number === DELETED ? MAX_INT64 : String(record.number))
    .setCommitPosition(String(record.position))
    .setPreparePosition(String(record.position))
    .setData(record.data)
    .setCustomMetadata(record.metadata);
  event
    .getMetadataMap()
    .set('type', record.type)
    .set('created', String(BigInt(record.created) * TICKS_PER_MILLISECOND))
    .set('content-type', record.json ? 'application/json' : 'application/octet-stream');
  return event;
}

export function notFoundAnswer(stream: string): ReadResp {
  const notFound = new streams.ReadResp.StreamNotFound().setStreamIdentifier(identifier(stream));
  return new streams.ReadResp().setStreamNotFound(notFound);
}

/** Ends a read of a stream: the number of the stream's last event, however many of them were read. */
export function lastPositionAnswer(number: number): ReadResp {
  return new streams.ReadResp().setLastStreamPosition(String(number));
}

export function confirmationAnswer(id: string): ReadResp {
  const confirmation = new streams.ReadResp.SubscriptionConfirmation().setSubscriptionId(id);
  return new streams.ReadResp().setConfirmation(confirmation);
}

export function checkpointAnswer({ commit, prepare }: Place): ReadResp {
  const checkpoint = new streams.ReadResp.Checkpoint()
    .setCommitPosition(String(commit))
    .setPreparePosition(String(prepare));
  return new streams.ReadResp().setCheckpoint(checkpoint);
}

export function caughtUpAnswer(): ReadResp {
  return new streams.ReadResp().setCaughtUp(new streams.ReadResp.CaughtUp());
}
