import shared from '@eventstore/db-client/generated/shared_pb.js';
import messages from '@eventstore/db-client/generated/streams_pb.js';

import type { Metadata } from '../../events/event.ts';
import type { Encoded } from './append-checks.ts';
import { START, type EventFilter, type NewEvent, type Position, type RecordedEvent } from './event-log.ts';

type ReadReq = messages.ReadReq;
type Options = messages.ReadReq.Options;

/** As the server sends it; decimal digits. */
interface WirePosition {
  getCommitPosition(): string;
  getPreparePosition(): string;
}

const DIGITS = 16;
const POSITION = /^[\da-f]{32}$/;
/** The server's words for no position, an unknown one and the end are beyond it. */
const LARGEST = 2n ** 63n;

/**
 * Commit and prepare position, 16 hexadecimal digits each: text order is log order. Both, because servers have had
 * checkpoints of which only both together were right (KurrentDB #4991). Null when it is no place in the log.
 */
export function toPosition(wire: WirePosition | undefined): Position | null {
  if (!wire) return null;
  const [commit, prepare] = [BigInt(wire.getCommitPosition()), BigInt(wire.getPreparePosition())];
  if (commit >= LARGEST || prepare >= LARGEST || commit < 0n || prepare < 0n) return null;
  return `${hex(commit)}${hex(prepare)}` as Position;
}

function hex(value: bigint): string {
  return value.toString(16).padStart(DIGITS, '0');
}

/** Throws RangeError unless it is START or has the form of a position. */
export function checkPosition(position: Position): void {
  if (position !== START && !POSITION.test(position)) {
    throw new RangeError(`'${position}' is not a position of this log`);
  }
}

function fromPosition(position: Position): messages.ReadReq.Options.Position {
  const [commit, prepare] = [position.slice(0, DIGITS), position.slice(DIGITS)].map((digits) => BigInt(`0x${digits}`));
  return new messages.ReadReq.Options.Position().setCommitPosition(String(commit)).setPreparePosition(String(prepare));
}

/** Stream names and event types that begin so are the server's own. */
const SYSTEM = '$';

/** Throws RangeError for what EventStoreDB has no place for. */
export function checkForServer(stream: string, events: readonly NewEvent[]): void {
  if (stream.startsWith(SYSTEM)) throw new RangeError(`stream '${stream}' has a name that is reserved for the server`);
  for (const { id, type } of events) {
    if (type.startsWith(SYSTEM)) throw new RangeError(`type '${type}' is reserved for the server`);
    if (!UUID.test(id)) throw new RangeError(`id '${id}' is not a UUID in lower case`);
  }
}

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

export interface Proposed {
  readonly message: messages.BatchAppendReq.ProposedMessage;
  readonly bytes: number;
}

export function encodeProposed({ event, data, metadata }: Encoded): Proposed {
  const message = new messages.BatchAppendReq.ProposedMessage()
    .setId(uuid(event.id))
    .setData(data)
    .setCustomMetadata(metadata);
  message.getMetadataMap().set('type', event.type).set('content-type', 'application/json');
  return { message, bytes: data.length + metadata.length };
}

export function uuid(text: string): shared.UUID {
  return new shared.UUID().setString(text);
}

export function streamIdentifier(stream: string): shared.StreamIdentifier {
  return new shared.StreamIdentifier().setStreamName(Buffer.from(stream));
}

function newOptions(): Options {
  const uuids = new messages.ReadReq.Options.UUIDOption().setString(new shared.Empty());
  return new messages.ReadReq.Options().setUuidOption(uuids).setResolveLinks(false);
}

function request(options: Options): ReadReq {
  return new messages.ReadReq().setOptions(options);
}

function backwards(options: Options): Options {
  return options.setReadDirection(messages.ReadReq.Options.ReadDirection.BACKWARDS).setCount('1');
}

/** With it, servers end what they read from a stream by naming the stream's last event. */
const TELL_THE_END = 1;

function ofStream(options: Options, from: messages.ReadReq.Options.StreamOptions, stream: string): ReadReq {
  const control = new messages.ReadReq.Options.ControlOption().setCompatibility(TELL_THE_END);
  const named = from.setStreamIdentifier(streamIdentifier(stream));
  return request(options.setStream(named).setControlOption(control).setNoFilter(new shared.Empty()));
}

/** The events of a stream from version `after` + 1 on, at most `count`. */
export function readForward(stream: string, after: number, count = Number.MAX_SAFE_INTEGER): ReadReq {
  const from = new messages.ReadReq.Options.StreamOptions().setRevision(String(after));
  return ofStream(newOptions().setCount(String(count)), from, stream);
}

export function readLast(stream: string): ReadReq {
  const from = new messages.ReadReq.Options.StreamOptions().setEnd(new shared.Empty());
  return ofStream(backwards(newOptions()), from, stream);
}

/** The newest event of the whole log, whoever wrote it. */
export function readHead(): ReadReq {
  const from = new messages.ReadReq.Options.AllOptions().setEnd(new shared.Empty());
  return request(backwards(newOptions().setAll(from).setNoFilter(new shared.Empty())));
}

/** Everything from `from` on, inclusive, at most `count` events. */
export function readAll(from: Position, count: number): ReadReq {
  const options = newOptions().setAll(allFrom(from)).setCount(String(count));
  return request(options.setNoFilter(new shared.Empty()));
}

function allFrom(from: Position): messages.ReadReq.Options.AllOptions {
  const options = new messages.ReadReq.Options.AllOptions();
  return from === START ? options.setStart(new shared.Empty()) : options.setPosition(fromPosition(from));
}

/** The server sends a checkpoint every so many times 32 events that it has examined. */
const CHECKPOINT_EVERY = 8;

/** Everything after `after`, exclusive, filtered as far as the server can: by prefixes of one kind. */
export function subscribeAll(after: Position, filter: EventFilter): ReadReq {
  const filtering = new messages.ReadReq.Options.FilterOptions()
    .setCount(new shared.Empty())
    .setCheckpointintervalmultiplier(CHECKPOINT_EVERY);
  const expression = new messages.ReadReq.Options.FilterOptions.Expression();
  const { streamPrefixes: prefixes, types } = filter;
  if (isUseful(prefixes)) filtering.setStreamIdentifier(expression.setPrefixList([...prefixes]));
  else if (isUseful(types)) filtering.setEventType(expression.setPrefixList([...types]));
  else filtering.setEventType(expression.setRegex(`^[^\\${SYSTEM}].*`));
  const options = newOptions().setAll(allFrom(after)).setFilter(filtering);
  return request(options.setSubscription(new messages.ReadReq.Options.SubscriptionOptions()));
}

/** An empty list matches nothing, an empty prefix everything: neither is a thing to ask a server for. */
function isUseful(prefixes: readonly string[] | undefined): prefixes is readonly string[] {
  return prefixes !== undefined && prefixes.length > 0 && !prefixes.includes('');
}

/**
 * Whether a read of a stream, or of the newest event of all, was answered to its end. A call may be ended in the middle as
 * if all were well, and what came until then looks like a shorter stream.
 */
export function isWhole(request: ReadReq, answers: readonly messages.ReadResp[]): boolean {
  const last = answers.at(-1);
  if (!last) return false;
  return request.getOptions()?.hasAll() === true || last.hasLastStreamPosition() || last.hasStreamNotFound();
}

/** An event as it came, not decoded yet. */
export type WireEvent = messages.ReadResp.ReadEvent.RecordedEvent;

export function eventIn(answer: messages.ReadResp): WireEvent | undefined {
  return answer.getEvent()?.getEvent();
}

/** In the form in which ids are given. */
export function idOf(event: WireEvent): string {
  return event.getId()?.getString() ?? '';
}

function streamOf(event: WireEvent): string {
  return Buffer.from(event.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString('utf8');
}

function typeOf(event: WireEvent): string {
  return event.getMetadataMap().get('type') ?? '';
}

/** Stream that only the adapter writes. */
export const OWN_STREAM = 'heliograph-log';

/** Tells exactly what a subscription delivers; the server's filter lets more through. */
export function compileFilter({ streamPrefixes, types }: EventFilter): (event: WireEvent) => boolean {
  const wanted = types && new Set(types);
  return (event) => {
    const [stream, type] = [streamOf(event), typeOf(event)];
    if (stream.startsWith(SYSTEM) || type.startsWith(SYSTEM) || stream === OWN_STREAM) return false;
    if (streamPrefixes && !streamPrefixes.some((prefix) => stream.startsWith(prefix))) return false;
    return !wanted || wanted.has(type);
  };
}

export function positionOf(event: WireEvent): Position | null {
  return toPosition(event);
}

export function bytesOf(event: WireEvent): number {
  return event.getData_asU8().length + event.getCustomMetadata_asU8().length;
}

/** Null for an event that is not ours: others may write to the same server. */
export function decodeEvent(event: WireEvent): RecordedEvent | null {
  const position = positionOf(event);
  if (position === null || event.getMetadataMap().get('content-type') !== 'application/json') return null;
  try {
    const metadata = fromJson(event.getCustomMetadata_asU8());
    if (!isOurs(metadata)) return null;
    return {
      id: idOf(event),
      type: typeOf(event),
      data: fromJson(event.getData_asU8()),
      metadata,
      stream: streamOf(event),
      version: versionOf(event),
      position,
    };
  } catch {
    return null;
  }
}

/** What an event says, whoever wrote it; nothing when that is no JSON object. */
export function objectIn(event: WireEvent): object {
  try {
    const value = fromJson(event.getData_asU8());
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Of the stream with this event. */
export function versionOf(event: WireEvent): number {
  return Number(event.getStreamRevision()) + 1;
}

/** Nobody else's metadata has these. */
function isOurs(value: unknown): value is Metadata {
  return typeof value === 'object' && value !== null && 'schemaVersion' in value && 'tenant' in value;
}

function fromJson(bytes: Uint8Array): unknown {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  return value;
}
