import { Metadata, status, type StatusObject } from '@grpc/grpc-js';
import codes from '@eventstore/db-client/generated/code_pb.js';
import type { Code } from '@eventstore/db-client/generated/code_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { StreamIdentifier, UUID } from '@eventstore/db-client/generated/shared_pb.js';
import rpc from '@eventstore/db-client/generated/status_pb.js';
import type { Status } from '@eventstore/db-client/generated/status_pb.js';
import any from 'google-protobuf/google/protobuf/any_pb.js';
import google from 'google-protobuf/google/protobuf/empty_pb.js';
import type { Map as ProtobufMap, Message } from 'google-protobuf';

import { ANY, NO_STREAM, STREAM_EXISTS, type ProposedEvent } from './log.ts';

/** How a call fails; what the client tells errors apart by is in its trailers. */
export type Failure = Pick<StatusObject, 'code' | 'details' | 'metadata'>;

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Why this node does not serve a call that requires the leader; undefined when it leads, or the call does not mind. */
export function notLeading(leader: 'self' | 'nobody' | Address, metadata: Metadata): Failure | undefined {
  if (leader === 'self' || !metadata.get('requires-leader').includes('true')) return undefined;
  return leader === 'nobody' ? failures.unavailable() : failures.notLeader(leader);
}

function failure(code: status, details: string, trailers: Readonly<Record<string, string>> = {}): Failure {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value);
  return { code, details, metadata };
}

export const failures = {
  notLeader: ({ host, port }: Address): Failure =>
    failure(status.NOT_FOUND, 'Leader info available', {
      exception: 'not-leader',
      'leader-endpoint-host': host,
      'leader-endpoint-port': String(port),
    }),
  cancelled: (): Failure => failure(status.CANCELLED, 'Call canceled by the server.'),
  unavailable: (): Failure => failure(status.UNAVAILABLE, 'Server Is Not Ready'),
  timeout: (): Failure => failure(status.ABORTED, 'Operation timed out: Commit phase timeout.'),
  deadlineExceeded: (): Failure => failure(status.DEADLINE_EXCEEDED, 'Deadline exceeded'),
  streamDeleted: (stream: string): Failure =>
    failure(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, {
      exception: 'stream-deleted',
      'stream-name': stream,
    }),
  wrongVersion: (stream: string, expected: number, current: number): Failure =>
    failure(status.FAILED_PRECONDITION, `Delete failed due to WrongExpectedVersion. Stream: ${stream}`, {
      exception: 'wrong-expected-version',
      'stream-name': stream,
      'expected-version': String(expected),
      'actual-version': String(current),
    }),
  tooLarge: (limit: number): Failure =>
    failure(status.INVALID_ARGUMENT, `Maximum Append Size of ${String(limit)} Exceeded.`, {
      exception: 'maximum-append-size-exceeded',
      'maximum-append-size': String(limit),
    }),
  missingMetadata: (key: string): Failure =>
    failure(status.INVALID_ARGUMENT, `Required Metadata Property '${key}' is missing`, {
      exception: 'missing-required-metadata-property',
      'required-metadata-properties': 'type,content-type',
    }),
  invalidPosition: (): Failure => failure(status.INVALID_ARGUMENT, 'Trying to read from an invalid position.'),
  invalidArgument: (details: string): Failure => failure(status.INVALID_ARGUMENT, details),
  unknown: (details: string): Failure => failure(status.UNKNOWN, details),
};

/** Failures as answers of a batch, which go on in the same call. */
export const refusals = {
  wrongVersion: (expected: number, current: number): Status => {
    const details = new shared.WrongExpectedVersion();
    if (current === NO_STREAM) details.setCurrentNoStream(new google.Empty());
    else details.setCurrentStreamRevision(String(current));
    if (expected === ANY) details.setExpectedAny(new google.Empty());
    else if (expected === STREAM_EXISTS) details.setExpectedStreamExists(new google.Empty());
    else if (expected === NO_STREAM) details.setExpectedNoStream(new google.Empty());
    else details.setExpectedStreamPosition(String(expected));
    return refusal(codes.Code.ALREADY_EXISTS, 'WrongExpectedVersion', details);
  },
  streamDeleted: (stream: string): Status => {
    const details = new shared.StreamDeleted().setStreamIdentifier(identifier(stream));
    return refusal(codes.Code.NOT_FOUND, 'StreamDeleted', details);
  },
  timeout: (): Status => refusal(codes.Code.DEADLINE_EXCEEDED, 'Timeout', new shared.Timeout()),
  tooLarge: (limit: number): Status => {
    const details = new shared.MaximumAppendSizeExceeded().setMaxappendsize(limit);
    return refusal(codes.Code.INVALID_ARGUMENT, 'MaximumAppendSizeExceeded', details);
  },
  badRequest: (message: string): Status =>
    refusal(codes.Code.INVALID_ARGUMENT, 'BadRequest', new shared.BadRequest().setMessage(message)),
};

function refusal(code: Code, name: string, details: Message): Status {
  const packed = new any.Any();
  packed.pack(details.serializeBinary(), `event_store.client.${name}`);
  return new rpc.Status().setCode(code).setMessage(name).setDetails(packed);
}

export function identifier(stream: string): StreamIdentifier {
  return new shared.StreamIdentifier().setStreamName(Buffer.from(stream));
}

export function streamOf(named: { getStreamIdentifier: () => StreamIdentifier | undefined }): string {
  return Buffer.from(named.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
}

export function uuid(id: string): UUID {
  return new shared.UUID().setString(id);
}

/** A UUID in its usual form, in small letters. */
export function uuidText(id: UUID | undefined): string {
  const structured = id?.getStructured();
  if (!structured) return (id?.getString() ?? '').toLowerCase();
  const half = (bits: string): string => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0');
  const hex = half(structured.getMostSignificantBits()) + half(structured.getLeastSignificantBits());
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

interface ProposedMessage {
  getId: () => UUID | undefined;
  getMetadataMap: () => ProtobufMap<string, string>;
  getCustomMetadata_asU8: () => Uint8Array;
  getData_asU8: () => Uint8Array;
}

/** @throws Error when the event has no type or no content type: that key is the message. */
export function proposedEvent(message: ProposedMessage): ProposedEvent {
  const known = message.getMetadataMap();
  const required = (key: string): string => {
    const value = known.get(key);
    if (value === undefined) throw new Error(key);
    return value;
  };
  return {
    id: uuidText(message.getId()),
    type: required('type'),
    json: required('content-type') === 'application/json',
    data: message.getData_asU8(),
    metadata: message.getCustomMetadata_asU8(),
  };
}

/** What an append may hold at most counts data, metadata and types. */
export function appendSize(events: readonly ProposedEvent[]): number {
  return events.reduce((sum, { type, data, metadata }) => sum + data.length + metadata.length + 2 * type.length, 0);
}

/** The expected revision of a request; the two ways to append name their fields differently. */
export function expectedOf(options: {
  hasNoStream: () => boolean;
  hasAny: () => boolean;
  hasStreamExists: () => boolean;
  getRevision: () => string;
}): number {
  if (options.hasNoStream()) return NO_STREAM;
  if (options.hasAny()) return ANY;
  return options.hasStreamExists() ? STREAM_EXISTS : Number(options.getRevision());
}
