import type { Metadata, handleBidiStreamingCall, handleClientStreamingCall, handleUnaryCall } from '@grpc/grpc-js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type {
  AppendReq,
  AppendResp,
  BatchAppendReq,
  BatchAppendResp,
  DeleteReq,
  DeleteResp,
  TombstoneReq,
  TombstoneResp,
} from '@eventstore/db-client/generated/streams_pb.js';
import google from 'google-protobuf/google/protobuf/empty_pb.js';

import type { AppendFault } from './faults.ts';
import { ANY, NO_STREAM, STREAM_EXISTS, type Outcome, type ProposedEvent } from './log.ts';
import type { Node, OpenCall } from './node.ts';
import {
  appendSize,
  expectedOf,
  failures,
  notLeading,
  proposedEvent,
  refusals,
  streamOf,
  uuidText,
  type Failure,
} from './wire.ts';

interface Append {
  readonly stream: string;
  readonly expected: number;
  readonly events: readonly ProposedEvent[];
  /** Of the call. */
  readonly metadata: Metadata;
}

/** The ways an append can be answered. */
interface Answers {
  readonly outcome: (outcome: Outcome) => void;
  readonly deadlineExceeded: () => void;
  /** Ends the call. */
  readonly fail: (failure: Failure) => void;
  readonly end: () => void;
}

/** Appends and answers, or misbehaves as told. */
function perform(node: Node, { stream, expected, events, metadata }: Append, answers: Answers): void {
  const refusal = notLeading(node.leader, metadata);
  if (refusal) {
    answers.fail(refusal);
    return;
  }
  let answerHeld = (): void => undefined;
  const fault = node.appendFaults.take(stream, () => answerHeld());
  const commit = (): Outcome => node.log().append(stream, expected, events);
  node.counts.appends++;
  if (!fault) {
    answers.outcome(commit());
    return;
  }
  const wanted = fault.kind === 'hold' || fault.kind === 'late' || (fault.kind !== 'not-leader' && fault.committed);
  const outcome = wanted ? commit() : undefined;
  if (outcome && fault.kind === 'hold') answerHeld = () => answers.outcome(outcome);
  else if (outcome && fault.kind === 'late') node.later(fault.ms, () => answers.outcome(outcome));
  else misbehave(node, fault, answers);
}

function misbehave(node: Node, fault: AppendFault, answers: Answers): void {
  switch (fault.kind) {
    case 'deadline-exceeded':
      answers.deadlineExceeded();
      break;
    case 'end':
      answers.end();
      break;
    case 'reset':
      node.dropConnections();
      break;
    case 'unavailable':
      answers.fail(failures.unavailable());
      break;
    case 'not-leader':
      answers.fail(failures.notLeader(fault.leader));
      break;
    case 'silence':
    case 'hold':
    case 'late':
      break;
  }
}

export function appendHandler(node: Node): handleClientStreamingCall<AppendReq, AppendResp> {
  return (call, callback) => {
    let options: AppendReq.Options | undefined;
    const events: ProposedEvent[] = [];
    let size = 0;
    let failed = false;
    const fail = (failure: Failure): void => {
      node.others.delete(open);
      if (!failed) callback(failure);
      failed = true;
    };
    // A call with one answer cannot end well without it.
    const open: OpenCall = { fail, end: () => fail(failures.unknown('No status received')) };
    node.others.add(open);
    call.on('cancelled', () => node.others.delete(open));
    const succeed = (answer: AppendResp): void => {
      node.others.delete(open);
      if (!failed) callback(null, answer);
    };
    call.on('data', (request: AppendReq) => {
      options ??= request.getOptions();
      const message = request.getProposedMessage();
      if (!message) return;
      try {
        const event = proposedEvent(message);
        events.push(event);
        size += appendSize([event]);
      } catch (error) {
        fail(failures.missingMetadata(error instanceof Error ? error.message : ''));
      }
      if (size > node.maxAppendSize) fail(failures.tooLarge(node.maxAppendSize));
    });
    call.on('end', () => {
      if (failed || !options) return;
      const [stream, expected] = [streamOf(options), expectedOf(options)];
      perform(
        node,
        { stream, expected, events, metadata: call.metadata },
        {
          outcome: (outcome) => {
            if (outcome.kind === 'deleted') fail(failures.streamDeleted(stream));
            else succeed(appendAnswer(outcome, expected));
          },
          deadlineExceeded: () => fail(failures.timeout()),
          fail,
          // A call with one answer cannot end well without it.
          end: () => fail(failures.unknown('No status received')),
        },
      );
    });
  };
}

function appendAnswer(outcome: Exclude<Outcome, { kind: 'deleted' }>, expected: number): AppendResp {
  const answer = new streams.AppendResp();
  if (outcome.kind === 'wrong-version') return answer.setWrongExpectedVersion(wrongVersion(expected, outcome.current));
  const success = new streams.AppendResp.Success();
  if (outcome.revision < 0) success.setNoStream(new shared.Empty());
  else success.setCurrentRevision(String(outcome.revision));
  if (outcome.position < 0) success.setNoPosition(new shared.Empty());
  else success.setPosition(positionIn(new streams.AppendResp.Position(), outcome.position));
  return answer.setSuccess(success);
}

function wrongVersion(expected: number, current: number): AppendResp.WrongExpectedVersion {
  const answer = new streams.AppendResp.WrongExpectedVersion();
  if (current === NO_STREAM) answer.setCurrentNoStream(new shared.Empty());
  else answer.setCurrentRevision(String(current));
  if (expected === ANY) return answer.setExpectedAny(new shared.Empty());
  if (expected === STREAM_EXISTS) return answer.setExpectedStreamExists(new shared.Empty());
  if (expected === NO_STREAM) return answer.setExpectedNoStream(new shared.Empty());
  return answer.setExpectedRevision(String(expected));
}

function positionIn<P extends { setCommitPosition: (value: string) => P; setPreparePosition: (value: string) => P }>(
  holder: P,
  position: number,
): P {
  return holder.setCommitPosition(String(position)).setPreparePosition(String(position));
}

interface Pending {
  readonly stream: string;
  readonly expected: number;
  readonly events: ProposedEvent[];
  size: number;
}

export function batchAppendHandler(node: Node): handleBidiStreamingCall<BatchAppendReq, BatchAppendResp> {
  return (call) => {
    const pending = new Map<string, Pending>();
    const open: OpenCall = { end: () => call.end(), fail: (failure) => call.emit('error', failure) };
    node.batchStreams.add(open);
    node.counts.batchCalls++;
    const forget = (): void => void node.batchStreams.delete(open);
    call.on('error', forget).on('cancelled', forget).on('close', forget);
    call.on('end', () => {
      forget();
      call.end();
    });
    call.on('data', (request: BatchAppendReq) => {
      const answer = (fill: (answer: BatchAppendResp) => BatchAppendResp): void => {
        const blank = new streams.BatchAppendResp().setCorrelationId(request.getCorrelationId());
        if (!call.cancelled && !call.writableEnded) call.write(fill(blank));
      };
      let whole: Pending | undefined;
      try {
        whole = collect(node, pending, request, answer);
      } catch (error) {
        answer((response) => response.setError(refusals.badRequest(String(error))));
      }
      if (!whole) return;
      const { stream, expected } = whole;
      const named = (response: BatchAppendResp): BatchAppendResp =>
        response.setStreamIdentifier(new shared.StreamIdentifier().setStreamName(Buffer.from(stream)));
      perform(
        node,
        { ...whole, metadata: call.metadata },
        {
          outcome: (outcome) => answer((response) => batchAnswer(named(response), outcome, { stream, expected })),
          deadlineExceeded: () => answer((response) => named(response).setError(refusals.timeout())),
          fail: open.fail,
          end: open.end,
        },
      );
    });
  };
}

type Answering = (fill: (answer: BatchAppendResp) => BatchAppendResp) => void;

/** Puts the parts of an append together; answers the whole once its final part is there, and undefined before. */
function collect(
  node: Node,
  pending: Map<string, Pending>,
  request: BatchAppendReq,
  answer: Answering,
): Pending | undefined {
  const id = uuidText(request.getCorrelationId());
  const options = request.getOptions();
  const identifier = options?.getStreamIdentifier();
  if (options) {
    const deadline = options.getDeadline()?.toDate().getTime() ?? Infinity;
    if (deadline <= Date.now()) {
      answer((response) => response.setStreamIdentifier(identifier).setError(refusals.timeout()));
      return undefined;
    }
    const getRevision = (): string => options.getStreamPosition();
    const expected = expectedOf({
      hasNoStream: () => options.hasNoStream(),
      hasAny: () => options.hasAny(),
      hasStreamExists: () => options.hasStreamExists(),
      getRevision,
    });
    pending.set(id, { stream: streamOf(options), expected, events: [], size: 0 });
  }
  const append = pending.get(id);
  if (!append) return undefined;
  const part = request.getProposedMessagesList().map(proposedEvent);
  append.events.push(...part);
  append.size += appendSize(part);
  if (append.size > node.maxAppendSize) {
    pending.delete(id);
    const named = new shared.StreamIdentifier().setStreamName(Buffer.from(append.stream));
    answer((response) => response.setStreamIdentifier(named).setError(refusals.tooLarge(node.maxAppendSize)));
    return undefined;
  }
  if (!request.getIsFinal()) return undefined;
  pending.delete(id);
  return append;
}

function batchAnswer(
  answer: BatchAppendResp,
  outcome: Outcome,
  { stream, expected }: { readonly stream: string; readonly expected: number },
): BatchAppendResp {
  if (outcome.kind === 'deleted') return answer.setError(refusals.streamDeleted(stream));
  if (outcome.kind === 'wrong-version') return answer.setError(refusals.wrongVersion(expected, outcome.current));
  const success = new streams.BatchAppendResp.Success();
  if (outcome.revision < 0) success.setNoStream(new google.Empty());
  else success.setCurrentRevision(String(outcome.revision));
  if (outcome.position < 0) success.setNoPosition(new google.Empty());
  else success.setPosition(positionIn(new shared.AllStreamPosition(), outcome.position));
  return answer.setSuccess(success);
}

export function deleteHandler(node: Node): handleUnaryCall<DeleteReq, DeleteResp> {
  return ({ request, metadata }, callback) => {
    const outcome = notLeading(node.leader, metadata) ?? removal(node, request.getOptions(), false);
    if ('code' in outcome) callback(outcome);
    else
      callback(null, new streams.DeleteResp().setPosition(positionIn(new streams.DeleteResp.Position(), outcome.at)));
  };
}

export function tombstoneHandler(node: Node): handleUnaryCall<TombstoneReq, TombstoneResp> {
  return ({ request, metadata }, callback) => {
    const outcome = notLeading(node.leader, metadata) ?? removal(node, request.getOptions(), true);
    if ('code' in outcome) callback(outcome);
    else {
      const position = positionIn(new streams.TombstoneResp.Position(), outcome.at);
      callback(null, new streams.TombstoneResp().setPosition(position));
    }
  };
}

function removal(
  node: Node,
  options: DeleteReq.Options | TombstoneReq.Options | undefined,
  forGood: boolean,
): Failure | { readonly at: number } {
  if (!options) return failures.invalidArgument('options are missing');
  const [stream, expected] = [streamOf(options), expectedOf(options)];
  const outcome = node.log().remove(stream, expected, forGood);
  if (outcome.kind === 'deleted') return failures.streamDeleted(stream);
  if (outcome.kind === 'wrong-version') return failures.wrongVersion(stream, expected, outcome.current);
  return { at: outcome.position };
}
