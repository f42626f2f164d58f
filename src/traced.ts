import type { ApiOptions } from './api/options.ts';
import type { NotificationState } from './events/notification.ts';
import type { Job, NotificationType } from './ports/broker/broker.ts';
import { WrongExpectedVersion, type EventLog, type NewEvent } from './ports/event-log/event-log.ts';
import type { DispatchOptions } from './projections/dispatch.ts';
import type { Message, Sender } from './senders/outcome.ts';
import type { Claimed, Deliveries, WorkerOptions } from './senders/worker.ts';
import { NO_TRACER, type Attributes, type Span, type Tracer } from './traces.ts';

/** One GraphQL request over HTTP, which began `elapsedMs` ago. */
export function tracedRequests(tracer: Tracer): ApiOptions['trace'] {
  return (parent, { method, requestId, elapsedMs }) => {
    const attributes = { 'http.request.method': method, 'url.path': '/graphql', 'heliograph.request.id': requestId };
    const span = tracer.start('request', { kind: 'server', parent, at: Date.now() - elapsedMs, attributes });
    return {
      traceparent: span.traceparent,
      end: (status) => span.end({ 'http.response.status_code': status }, status >= 500 ? 'failed' : undefined),
    };
  };
}

/** One operation over a WebSocket, of which the message came `elapsedMs` ago. */
export function tracedOperations(tracer: Tracer): ApiOptions['traceOperation'] {
  return (parent, { requestId, elapsedMs }) => {
    const protocol = { 'network.protocol.name': 'websocket', 'url.path': '/graphql' };
    const attributes = { ...protocol, 'heliograph.request.id': requestId };
    const span = tracer.start('request', { kind: 'server', parent, at: Date.now() - elapsedMs, attributes });
    return {
      traceparent: span.traceparent,
      end: (type, isFailed) => span.end({ 'graphql.operation.type': type }, isFailed ? 'failed' : undefined),
    };
  };
}

/** One job that is published. */
export function tracedPublishing(tracer: Tracer): NonNullable<DispatchOptions['publishing']> {
  return ({ queue, traceparent: parent, ...names }) => {
    const messaging = { 'messaging.operation.type': 'send', 'messaging.destination.name': queue };
    const span = tracer.start('publish', { kind: 'producer', parent, attributes: { ...namesOf(names), ...messaging } });
    return (error) => span.end({}, error === undefined ? undefined : wordFor(error));
  };
}

/** `log`, with a span for each routing that is recorded, and for what each receipt told. */
export function tracedLog(log: EventLog, tracer: Tracer): EventLog {
  if (tracer === NO_TRACER) return log;
  return {
    ...log,
    append: async (stream, events, expectedVersion) => {
      const spans = events.flatMap((event) => startStep(tracer, event) ?? []);
      try {
        const appended = await log.append(stream, events, expectedVersion);
        for (const span of spans) span.end();
        return appended;
      } catch (error) {
        // Where somebody else was quicker it is decided anew, and of this nothing happened.
        if (error instanceof WrongExpectedVersion) throw error;
        for (const span of spans) span.end({}, wordFor(error));
        throw error;
      }
    },
  };
}

/** Null: an event that is recorded as a part of something else. */
function startStep(tracer: Tracer, { type, data, metadata }: NewEvent): Span | null {
  const { traceparent: parent, notification, delivery } = metadata;
  const about = { 'heliograph.notification.id': notification?.id };
  if (type === 'NotificationRouted') return tracer.start('route', { kind: 'internal', parent, attributes: about });
  const outcome = RECEIPTS.get(type);
  if (outcome === undefined || (outcome === 'sent' && read(data, 'byReceipt') !== true)) return null;
  const attributes = {
    ...about,
    'heliograph.delivery.id': delivery?.id,
    'heliograph.channel': delivery?.channel,
    'heliograph.attempt': given(read(data, 'attempt')),
    'heliograph.outcome': outcome,
    'heliograph.reason': given(read(data, 'reason')),
  };
  return tracer.start('receipt', { kind: 'internal', parent, attributes });
}

/** What receipts tell; that a message was sent its sender tells as well. */
const RECEIPTS: ReadonlyMap<string, string> = new Map([
  ['DeliverySent', 'sent'],
  ['DeliveryDelivered', 'delivered'],
  ['DeliveryBounced', 'bounced'],
]);

function given(value: unknown): string | number | undefined {
  return typeof value === 'string' || typeof value === 'number' ? value : undefined;
}

function read(data: unknown, name: string): unknown {
  return typeof data === 'object' && data !== null ? Reflect.get(data, name) : undefined;
}

/** What one worker is made of, with a span for each step of an attempt. */
export function tracedWork<T extends Pick<WorkerOptions, 'type' | 'deliveries' | 'compose' | 'sender'>>(
  work: T,
  tracer: Tracer,
): T {
  if (tracer === NO_TRACER) return work;
  const { type, deliveries, compose, sender } = work;
  return {
    ...work,
    deliveries: tracedDeliveries(deliveries, tracer, type),
    compose: (notification, channel) => {
      const attributes = { 'heliograph.notification.id': notification.id, 'heliograph.channel': channel };
      const span = tracer.start('render', { kind: 'internal', parent: notification.traceparent, attributes });
      return ending(compose(notification, channel), (failed) => span.end({}, failed));
    },
    sender: tracedSender(sender, tracer),
  };
}

function tracedDeliveries(deliveries: Deliveries, tracer: Tracer, type: NotificationType): Deliveries {
  const of = (notification: NotificationState, job: Job): { parent: string | undefined; attributes: Attributes } => ({
    parent: notification.traceparent,
    attributes: { ...namesOf(job), 'heliograph.attempt': job.attempt },
  });
  return {
    claim: async (job) => {
      const at = Date.now();
      const claim = await deliveries.claim(job);
      if (claim.kind === 'claimed') {
        const { parent, attributes } = of(claim.notification, job);
        const messaging = { 'messaging.operation.type': 'process', 'messaging.destination.name': type };
        tracer.start('claim', { kind: 'consumer', parent, at, attributes: { ...attributes, ...messaging } }).end();
      }
      return claim;
    },
    record: (job, claim: Claimed, provider, outcome) => {
      const { parent, attributes } = of(claim.notification, job);
      const said = {
        'heliograph.outcome': outcome.kind,
        'heliograph.reason': 'reason' in outcome ? outcome.reason : undefined,
      };
      const span = tracer.start('record', { kind: 'internal', parent, attributes: { ...attributes, ...said } });
      return ending(deliveries.record(job, claim, provider, outcome), (failed) => span.end({}, failed));
    },
  };
}

function tracedSender(sender: Sender, tracer: Tracer): Sender {
  return {
    ...sender,
    send: async (message: Message, signal) => {
      const attributes = {
        ...namesOf(message),
        'heliograph.channel': message.channel,
        'heliograph.attempt': message.attempt,
      };
      const name = `send ${sender.provider}`;
      const span = tracer.start(name, { kind: 'client', parent: message.traceparent, attributes });
      try {
        const outcome = await sender.send(message, signal);
        span.end({ 'heliograph.outcome': outcome.kind }, 'reason' in outcome ? outcome.reason : undefined);
        return outcome;
      } catch (error) {
        span.end({}, 'failed');
        throw error;
      }
    },
  };
}

function namesOf({ notificationId, deliveryId }: Pick<Job, 'notificationId' | 'deliveryId'>): Attributes {
  return { 'heliograph.notification.id': notificationId, 'heliograph.delivery.id': deliveryId };
}

async function ending<T>(work: Promise<T>, end: (failed: string | undefined) => void): Promise<T> {
  try {
    const result = await work;
    end(undefined);
    return result;
  } catch (error) {
    end(wordFor(error));
    throw error;
  }
}

/** Not its message: vendors repeat addresses. */
function wordFor(error: unknown): string {
  return error instanceof Error ? error.name : 'failed';
}
