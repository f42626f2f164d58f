import { once } from 'node:events';

import type { handleServerStreamingCall, ServerWritableStream } from '@grpc/grpc-js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js';

import { asFailure, type ReadFault } from './faults.ts';
import type { LogRecord } from './log.ts';
import type { Node } from './node.ts';
import { isBoundary, readBackwards, readForwards, readStream, stateOf, type Filter, type Place } from './reading.ts';
import { eventAnswer, lastPositionAnswer, notFoundAnswer } from './resolved.ts';
import { subscribeToAll, subscribeToStream, type Checkpoints, type Reader } from './subscribing.ts';
import { failures, notLeading, streamOf, type Failure } from './wire.ts';

const { FORWARDS } = streams.ReadReq.Options.ReadDirection;
/** How the server searches when the client does not say. */
const WINDOW = 32;

export function readHandler(node: Node): handleServerStreamingCall<ReadReq, ReadResp> {
  return (call) => {
    const options = call.request.getOptions();
    const filter = options ? filterOf(options) : undefined;
    if (!options?.hasUuidOption() || !filter) {
      fail(call, failures.invalidArgument('the request is incomplete'));
      return;
    }
    const refusal = notLeading(node.leader, call.metadata);
    if (refusal) {
      fail(call, refusal);
      return;
    }
    const name = options.hasAll() ? '$all' : streamOf(stream(options));
    const faults = count(node, options);
    const fault = faults.take(name);
    if (fault && fault.kind !== 'cut') misbehave(call, fault);
    else if (options.hasSubscription()) subscribe(node, call, { options, filter, name });
    else read(node, call, { options, filter, name, cut: fault?.after }).catch((error: unknown) => giveUp(call, error));
  };
}

type Call = ServerWritableStream<ReadReq, ReadResp>;

interface Wanted {
  readonly options: ReadReq.Options;
  readonly filter: Filter;
  /** Of the stream. */
  readonly name: string;
  /** The events after which the answer breaks off as if it were whole. */
  readonly cut?: number | undefined;
}

const failed = new WeakSet<Call>();

/** The first failure counts. */
function fail(call: Call, failure: Failure): void {
  if (call.cancelled || failed.has(call)) return;
  failed.add(call);
  call.emit('error', failure);
}

/** Answers the faults that are for such a call. */
function count({ counts, subscribeFaults, readFaults }: Node, options: ReadReq.Options): Node['readFaults'] {
  if (options.hasSubscription()) return subscribeFaults;
  counts.reads++;
  return readFaults;
}

function giveUp(call: Call, error: unknown): void {
  fail(call, failures.unknown(String(error)));
}

function misbehave(call: Call, fault: Exclude<ReadFault, { kind: 'cut' }>): void {
  if (fault.kind === 'silence') return;
  if (fault.kind === 'end') call.end();
  else fail(call, asFailure(fault));
}

function stream(options: ReadReq.Options): ReadReq.Options.StreamOptions {
  const found = options.getStream();
  if (!found) throw new Error('neither a stream nor $all');
  return found;
}

/** Undefined for an expression that the server cannot read. */
function filterOf(options: ReadReq.Options): Filter | undefined {
  const filter = options.getFilter();
  const expression = filter?.getStreamIdentifier() ?? filter?.getEventType();
  if (!expression) return () => true;
  const subject = filter?.hasStreamIdentifier() === true ? streamName : eventType;
  if (expression.getRegex() === '') {
    const prefixes = expression.getPrefixList();
    return (record) => prefixes.some((prefix) => subject(record).startsWith(prefix));
  }
  try {
    const pattern = new RegExp(expression.getRegex());
    return (record) => pattern.test(subject(record));
  } catch {
    return undefined;
  }
}

const streamName = ({ stream: name }: LogRecord): string => name;
const eventType = ({ type }: LogRecord): string => type;

async function read(node: Node, call: Call, wanted: Wanted): Promise<void> {
  const found = wanted.options.hasAll() ? allFound(node, wanted) : streamFound(node, wanted);
  if (found.kind === 'failure') {
    fail(call, found.failure);
    return;
  }
  if (found.kind === 'not-found') {
    call.write(notFoundAnswer(wanted.name));
    call.end();
    return;
  }
  const open = { end: () => call.end(), fail: (failure: Failure) => fail(call, failure) };
  node.others.add(open);
  call.on('close', () => node.others.delete(open)).on('error', () => node.others.delete(open));
  let left = Math.min(Number(wanted.options.getCount()), wanted.cut ?? Infinity);
  const send = sender(call);
  for (const record of found.records) {
    if (left-- <= 0 || call.cancelled) break;
    await send(eventAnswer(node.log(), record, wanted.options.getResolveLinks()));
  }
  if (wanted.cut === undefined && tellsEnd(wanted)) await send(lastPositionAnswer(node.log().lastNumber(wanted.name)));
  call.end();
}

/** As the server's Enumerator.ReadStreamForwards and …Backwards do since before 23.10. */
function tellsEnd({ options }: Wanted): boolean {
  const asked = (options.getControlOption()?.getCompatibility() ?? 0) >= 1;
  return asked && options.hasStream();
}

type Found =
  | { readonly kind: 'found'; readonly records: Iterable<LogRecord> }
  | { readonly kind: 'not-found' }
  | { readonly kind: 'failure'; readonly failure: Failure };

function allFound(node: Node, { options, filter }: Wanted): Found {
  const log = node.log();
  const from = placeIn(options, { start: { commit: 0, prepare: 0 }, end: endOf(node) });
  if (!isBoundary(log, from.commit)) return { kind: 'failure', failure: failures.invalidPosition() };
  const forwards = options.getReadDirection() === FORWARDS;
  return { kind: 'found', records: (forwards ? readForwards : readBackwards)(log, from, filter) };
}

function endOf(node: Node): Place {
  const end = node.log().end();
  return { commit: end, prepare: end };
}

/** Where the request wants to begin; the largest number means the end, too. */
function placeIn(options: ReadReq.Options, { start, end }: { readonly start: Place; readonly end: Place }): Place {
  const all = options.getAll();
  const position = all?.getPosition();
  if (!position) return all?.hasEnd() === true ? end : start;
  const commit = position.getCommitPosition();
  if (commit === MAX_UINT64) return end;
  return { commit: Number(commit), prepare: Number(position.getPreparePosition()) };
}

const MAX_UINT64 = '18446744073709551615';

function streamFound(node: Node, { options, name }: Wanted): Found {
  const state = stateOf(node.log(), name);
  if (state === 'no-stream') return { kind: 'not-found' };
  if (state === 'deleted') return { kind: 'failure', failure: failures.streamDeleted(name) };
  const from = stream(options);
  const number = from.hasEnd() ? Infinity : Number(from.getRevision());
  const forwards = options.getReadDirection() === FORWARDS;
  return { kind: 'found', records: readStream(node.log(), name, number, forwards ? 'forwards' : 'backwards') };
}

/** Writes as fast as the client takes it; settles at once when the call is over. */
function sender(call: Call): (answer: ReadResp) => Promise<void> {
  const over = new AbortController();
  for (const end of ['cancelled', 'error', 'close']) call.once(end, () => over.abort());
  return async (answer) => {
    if (over.signal.aborted || call.cancelled || call.writableEnded) return;
    if (!call.write(answer)) await once(call, 'drain', { signal: over.signal }).catch(() => undefined);
  };
}

function subscribe(node: Node, call: Call, wanted: Wanted): void {
  node.counts.subscribed++;
  const ended = new AbortController();
  const open = {
    end: () => call.end(),
    fail: (failure: Failure) => fail(call, failure),
  };
  node.subscriptions.add(open);
  const over = (): void => {
    node.subscriptions.delete(open);
    ended.abort();
  };
  call.on('cancelled', over).on('error', over).on('close', over).on('finish', over);
  const write = sender(call);
  const reader: Reader = {
    send: async (answer) => {
      await node.delivery.passed();
      ended.signal.throwIfAborted();
      await write(answer);
    },
    resolveLinks: wanted.options.getResolveLinks(),
    signal: ended.signal,
  };
  const running = wanted.options.hasAll() ? runAll(node, wanted, reader) : runStream(node, wanted, reader);
  running.then(
    (failure) => fail(call, failure),
    (error: unknown) => {
      if (!ended.signal.aborted) giveUp(call, error);
    },
  );
}

function runAll(node: Node, { options, filter }: Wanted, reader: Reader): Promise<Failure> {
  const from = placeIn(options, { start: { commit: -1, prepare: -1 }, end: { commit: Infinity, prepare: Infinity } });
  const asked = options.getFilter();
  const window = asked?.hasMax() === true ? asked.getMax() : WINDOW;
  const checkpoints: Checkpoints | undefined = asked && {
    window,
    interval: asked.getCheckpointintervalmultiplier() * window,
  };
  return subscribeToAll(node, reader, { from, filter, checkpoints });
}

function runStream(node: Node, { options, name }: Wanted, reader: Reader): Promise<Failure> {
  const from = stream(options);
  const start = from.hasStart() ? -1 : Number(from.getRevision());
  return subscribeToStream(node, reader, { stream: name, after: from.hasEnd() ? 'end' : start });
}
