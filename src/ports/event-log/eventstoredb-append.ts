import { randomUUID } from 'node:crypto';

import type { StreamsClient } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import messages from '@eventstore/db-client/generated/streams_pb.js';

import type { Position } from './event-log.ts';
import { streamIdentifier, toPosition, uuid, type Proposed } from './eventstoredb-codec.ts';
import { EventStoreDBError, toLogError, type Connection } from './eventstoredb-connection.ts';
import { openGate } from './eventstoredb-gate.ts';

type BatchAppendReq = messages.BatchAppendReq;
type BatchAppendResp = messages.BatchAppendResp;

export interface Append {
  readonly stream: string;
  readonly events: readonly Proposed[];
  readonly expectedVersion: number;
}

export type AppendAnswer =
  /** `position` of the last event; null when the server does not say. */
  | { readonly kind: 'appended'; readonly version: number; readonly position: Position | null }
  | { readonly kind: 'conflict'; readonly actual: number };

export interface Appender {
  /**
   * One attempt: written behind others to one long-lived call, many of them under way at once. Rejects when there is no
   * answer by `deadline` (this machine's clock) or the call breaks; then it may have been appended.
   * @throws RangeError when it is larger than the server takes.
   */
  readonly attempt: (append: Append, deadline: number) => Promise<AppendAnswer>;
  /** Cuts off what is under way. */
  readonly close: () => void;
}

/** Bytes sent and not answered, or one append if it is larger. */
const MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024;

export function openAppender(connection: Connection): Appender {
  const gate = openGate(MAX_IN_FLIGHT_BYTES, 'an append');
  let current: Batch | undefined;

  /** The call on the channel that is current; an older one is left to finish what it has. */
  const batchOn = (streams: StreamsClient): Batch => {
    if (current?.streams !== streams || !current.answers()) {
      current?.retire();
      current = openBatch(connection, streams);
    }
    return current;
  };

  return {
    attempt: async (append, deadline) => {
      const bytes = append.events.reduce((sum, event) => sum + event.bytes, 0);
      await gate.enter(bytes, deadline);
      try {
        const batch = batchOn(await connection.streams());
        // It took so long to find the server that nobody waits for this attempt any more: it would come after the next one.
        if (Date.now() >= deadline)
          throw new EventStoreDBError('EventStoreDB: no connection for an append in time', true);
        return await batch.append(requestOf(append), deadline);
      } finally {
        gate.leave(bytes);
      }
    },
    close: () => current?.cancel(),
  };
}

interface Batch {
  readonly streams: StreamsClient;
  readonly append: (request: BatchAppendReq, deadline: number) => Promise<AppendAnswer>;
  /** Neither broken, nor silent to an append for as long as that was waited for. */
  readonly answers: () => boolean;
  /** Takes nothing more, and ends once nothing is under way. */
  readonly retire: () => void;
  readonly cancel: () => void;
}

interface Waiting {
  readonly resolve: (answer: AppendAnswer) => void;
  readonly reject: (error: Error) => void;
}

interface BatchState {
  readonly connection: Connection;
  readonly streams: StreamsClient;
  readonly call: ReturnType<StreamsClient['batchAppend']>;
  /** By correlation id. */
  readonly waiting: Map<string, Waiting>;
  broken: boolean;
  silent: boolean;
  retired: boolean;
  /** When the last answer came, on the monotonic clock. */
  heardAt: number;
  /** When the first came of those refusals for now that no other answer has followed. */
  refusedSince: number | null;
}

function openBatch(connection: Connection, streams: StreamsClient): Batch {
  const call = streams.batchAppend(...connection.argumentsOf());
  const state: BatchState = {
    connection,
    streams,
    call,
    waiting: new Map(),
    broken: false,
    silent: false,
    retired: false,
    heardAt: -Infinity,
    refusedSince: null,
  };
  call.on('data', (answer: BatchAppendResp) => receive(state, answer));
  call.on('error', (error) => breakOff(state, error));
  // A server may end the call as if all were well; the vendor's client then waits for ever.
  call.on('status', () => {
    breakOff(state, new EventStoreDBError('EventStoreDB: the server ended the call for appends', true));
  });
  return {
    streams,
    answers: () => !state.broken && !state.silent,
    retire: () => {
      state.retired = true;
      if (state.waiting.size === 0) call.cancel();
    },
    cancel: () => call.cancel(),
    append: (request, deadline) => write(state, request, deadline),
  };
}

function write(state: BatchState, request: BatchAppendReq, deadline: number): Promise<AppendAnswer> {
  return new Promise((resolve, reject) => {
    const correlation = randomUUID();
    const writtenAt = performance.now();
    // After a pause of this process the answer may be there, and not read yet.
    const overdue = (): void => void setImmediate(giveUp, state, correlation, writtenAt);
    const timer = setTimeout(overdue, deadline - Date.now());
    const settled = <T>(then: (value: T) => void) => {
      return (value: T): void => {
        clearTimeout(timer);
        then(value);
      };
    };
    state.waiting.set(correlation, { resolve: settled(resolve), reject: settled(reject) });
    state.call.write(request.setCorrelationId(uuid(correlation)));
  });
}

function receive(state: BatchState, answer: BatchAppendResp): void {
  state.heardAt = performance.now();
  state.connection.heard(state.streams);
  // Nobody waits for an answer that came too late.
  const found = settle(state, answer.getCorrelationId()?.getString() ?? '');
  const read = answerIn(answer);
  if (isRefusalForNow(read)) leaveIfNothingElse(state);
  else state.refusedSince = null;
  if (read instanceof Error) found?.reject(read);
  else found?.resolve(read);
}

function isRefusalForNow(answer: AppendAnswer | Error): boolean {
  return answer instanceof EventStoreDBError && answer.transient;
}

/** A node that cannot write, or leads no more, says so to every append; another one may be asked. */
function leaveIfNothingElse(state: BatchState): void {
  state.refusedSince ??= state.heardAt;
  if (state.silent || !state.connection.isSilent(state.refusedSince, -Infinity)) return;
  state.silent = true;
  state.connection.failed(state.streams, null);
}

function settle({ waiting, retired, call }: BatchState, correlation: string): Waiting | undefined {
  const found = waiting.get(correlation);
  waiting.delete(correlation);
  if (retired && waiting.size === 0) call.cancel();
  return found;
}

/** The server may be slow, this call may be dead, or the whole connection: each has another cure. */
function giveUp(state: BatchState, correlation: string, writtenAt: number): void {
  const found = settle(state, correlation);
  if (!found) return;
  if (state.connection.isSilent(state.heardAt, writtenAt)) {
    state.silent = true;
    state.connection.overdue(state.streams, writtenAt, state.heardAt === -Infinity);
  }
  found.reject(new EventStoreDBError('EventStoreDB: no answer to an append in time', true));
}

function breakOff(state: BatchState, error: unknown): void {
  if (state.broken) return;
  state.broken = true;
  if (!state.retired) state.connection.failed(state.streams, error);
  for (const { reject } of state.waiting.values()) reject(toLogError(error));
  state.waiting.clear();
}

/** Whole: all that an append may hold fits into one message. */
function requestOf({ stream, events, expectedVersion }: Append): BatchAppendReq {
  // No deadline for the server: 6.2.1 can only name a time of day, and a clock that is behind would be a time-out at once.
  const options = (expectedVersion === 0 ? noStream() : atRevision(expectedVersion - 1)).setStreamIdentifier(
    streamIdentifier(stream),
  );
  const proposed = events.map(({ message }) => message);
  return new messages.BatchAppendReq().setOptions(options).setProposedMessagesList(proposed).setIsFinal(true);
}

function atRevision(revision: number): messages.BatchAppendReq.Options {
  return new messages.BatchAppendReq.Options().setStreamPosition(String(revision));
}

/** Field 3, empty: its type is in a package that is the vendor's dependency and not ours. */
const NO_STREAM = Uint8Array.of((3 << 3) | 2, 0);

function noStream(): messages.BatchAppendReq.Options {
  return messages.BatchAppendReq.Options.deserializeBinary(NO_STREAM);
}

/** An error where the server refuses. */
function answerIn(answer: BatchAppendResp): AppendAnswer | Error {
  const success = answer.getSuccess();
  const wire = success?.getPosition();
  if (success) {
    return { kind: 'appended', version: Number(success.getCurrentRevision()) + 1, position: toPosition(wire) };
  }
  const conflict = conflictIn(answer);
  return conflict === null ? refusalIn(answer) : { kind: 'conflict', actual: conflict };
}

const TYPES = 'event_store.client.';

/** The version that the stream is at. */
function conflictIn(answer: BatchAppendResp): number | null {
  const details = answer.getError()?.getDetails();
  if (details?.getTypeName() !== `${TYPES}WrongExpectedVersion`) return null;
  const found = shared.WrongExpectedVersion.deserializeBinary(details.getValue_asU8());
  return found.hasCurrentStreamRevision() ? Number(found.getCurrentStreamRevision()) + 1 : 0;
}

function refusalIn(answer: BatchAppendResp): Error {
  const error = answer.getError();
  const type = error?.getDetails()?.getTypeName().replace(TYPES, '') ?? '';
  const text = [type, error?.getMessage() ?? ''].filter((part) => part !== '').join(': ');
  if (/^MaximumAppend(Event)?SizeExceeded/.test(type)) {
    return new RangeError('an append is larger than EventStoreDB is configured to take');
  }
  const final = type === 'AccessDenied' || type === 'StreamDeleted' || type === 'BadRequest';
  return new EventStoreDBError(`EventStoreDB refused an append: ${text}`, !final);
}
