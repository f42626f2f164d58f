import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ErrorCode } from './errors.ts';
import type { Channel, Lane } from './events/event.ts';
import { addGauges, type Sources } from './metrics-gauges.ts';
import { counter, histogram } from './metrics-registry.ts';
import type { NotificationType } from './ports/broker/broker.ts';

/**
 * What the parts of this process tell of what they do. A call takes about half a microsecond and never throws. Labels take no
 * value that clients choose. All times are in seconds.
 */
export interface Metrics {
  /** A new request is on record. */
  readonly accepted: (lane: Lane) => void;
  /** The first answer was given again. */
  readonly replayed: () => void;
  readonly refused: (code: ErrorCode) => void;
  /** One call, of however many requests. */
  readonly acceptTook: (seconds: number, mutation: AcceptMutation) => void;
  readonly eventAppended: (type: string) => void;
  readonly appendTook: (seconds: number) => void;
  readonly appendFailed: (reason: AppendFailure) => void;
  readonly claimed: (type: NotificationType, result: ClaimResult) => void;
  readonly outcome: (channel: Channel, provider: string | null, kind: OutcomeKind) => void;
  readonly doubted: (channel: Channel, reason: string) => void;
  /** An attempt was claimed after one in doubt: where that one reached its recipient, this one is a duplicate. */
  readonly resent: (channel: Channel) => void;
  readonly providerTook: (seconds: number, channel: Channel, provider: string) => void;
  /** From the request, or the time that it was to be delivered at, to the provider's acceptance. */
  readonly deliveryTook: (seconds: number, channel: Channel, lane: Lane) => void;
  readonly receiptCame: (outcome: ReceiptResult) => void;
  /** `route`: the pattern that was matched, never the path. */
  readonly httpTook: (seconds: number, route: string, status: number) => void;
  readonly errorAnswered: (code: ErrorCode) => void;
  readonly socketsOpen: (open: number) => void;
  /** What is not given is not shown; what is given again replaces what was. */
  readonly watch: (sources: Partial<Sources>) => void;
  /** Everything in Prometheus' text format 0.0.4. A source that gives no answer is left out. */
  readonly text: () => Promise<string>;
}

export type AcceptMutation = 'requestNotification' | 'requestNotifications';
export type AppendFailure = 'conflict' | 'no_space' | 'too_large' | 'unknown';
export type ClaimResult = 'claimed' | 'done' | 'later' | 'foreign' | 'failed';
export type ReceiptResult = 'recorded' | 'parked' | 'ignored' | 'forged' | 'unknown-provider' | 'failed';
export type OutcomeKind =
  | 'sent'
  | 'retry'
  | 'rejected'
  | 'unknown'
  | 'held'
  | 'expired'
  | 'cancelled'
  | 'suppressed'
  | 'dead_lettered'
  | 'delivered'
  | 'bounced';

/** Of what takes milliseconds. */
const QUICK = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Until a sender is told to settle. */
const CALL = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];
/** The goal is a tenth of a second; a schedule of retries takes minutes. */
const PATH = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600];

/** Everything is counted here and nowhere else: two of them in one process know nothing of each other. `now` is in milliseconds. */
export function openMetrics(now: () => number): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const sockets = new Gauge({
    name: 'heliograph_websockets',
    help: 'WebSockets that are open.',
    registers: [registry],
  });
  return {
    ...requestMetrics(registry),
    ...eventMetrics(registry),
    ...deliveryMetrics(registry),
    ...edgeMetrics(registry),
    socketsOpen: (open) => {
      sockets.set(open);
    },
    watch: addGauges(registry, now),
    text: () => registry.metrics(),
  };
}

function requestMetrics(registry: Registry): Pick<Metrics, 'accepted' | 'replayed' | 'refused' | 'acceptTook'> {
  return {
    accepted: counter(registry, {
      name: 'heliograph_requests_accepted_total',
      help: 'Requests that are on record.',
      labels: ['lane'],
    }),
    replayed: counter(registry, {
      name: 'heliograph_requests_replayed_total',
      help: 'Requests that were on record already and got the first answer again.',
    }),
    refused: counter(registry, {
      name: 'heliograph_requests_refused_total',
      help: 'Requests that were refused, each item of a bulk request by itself.',
      labels: ['code'],
    }),
    acceptTook: histogram(
      registry,
      {
        name: 'heliograph_accept_duration_seconds',
        help: 'From the checked mutation to all its requests being on record or refused.',
        labels: ['mutation'],
      },
      QUICK,
    ),
  };
}

function eventMetrics(registry: Registry): Pick<Metrics, 'eventAppended' | 'appendTook' | 'appendFailed'> {
  return {
    eventAppended: counter(registry, {
      name: 'heliograph_events_appended_total',
      help: 'Events that this process appended.',
      labels: ['type'],
    }),
    appendTook: histogram(
      registry,
      { name: 'heliograph_append_duration_seconds', help: 'Until the log said that events are durable.' },
      QUICK,
    ),
    appendFailed: counter(registry, {
      name: 'heliograph_append_failures_total',
      help: 'Appends that the log did not take, or did not answer.',
      labels: ['reason'],
    }),
  };
}

function deliveryMetrics(
  registry: Registry,
): Pick<Metrics, 'claimed' | 'outcome' | 'doubted' | 'resent' | 'providerTook' | 'deliveryTook' | 'receiptCame'> {
  const outcome = counter(registry, {
    name: 'heliograph_outcomes_total',
    help: 'What was recorded of deliveries.',
    labels: ['channel', 'provider', 'kind'],
  });
  return {
    outcome: (channel, provider, kind) => outcome(channel, provider ?? '', kind),
    claimed: counter(registry, {
      name: 'heliograph_claims_total',
      help: 'What became of jobs that a sender took.',
      labels: ['type', 'result'],
    }),
    doubted: counter(registry, {
      name: 'heliograph_doubts_total',
      help: 'Attempts of which nobody knew whether the provider had accepted them.',
      labels: ['channel', 'reason'],
    }),
    resent: counter(registry, {
      name: 'heliograph_resends_total',
      help: 'Attempts claimed after one in doubt: no more duplicates than these can have arisen.',
      labels: ['channel'],
    }),
    providerTook: histogram(
      registry,
      {
        name: 'heliograph_provider_call_duration_seconds',
        help: 'One call of a provider, whatever came of it.',
        labels: ['channel', 'provider'],
      },
      CALL,
    ),
    deliveryTook: histogram(
      registry,
      {
        name: 'heliograph_delivery_latency_seconds',
        help: 'From the request, or its time of delivery, to acceptance by the provider.',
        labels: ['channel', 'lane'],
      },
      PATH,
    ),
    receiptCame: counter(registry, {
      name: 'heliograph_receipts_total',
      help: 'Receipts of providers.',
      labels: ['result'],
    }),
  };
}

function edgeMetrics(registry: Registry): Pick<Metrics, 'httpTook' | 'errorAnswered'> {
  const took = histogram(
    registry,
    { name: 'heliograph_http_request_duration_seconds', help: 'HTTP requests.', labels: ['route', 'status'] },
    QUICK,
  );
  return {
    httpTook: (seconds, route, status) => took(seconds, route, String(status)),
    errorAnswered: counter(registry, {
      name: 'heliograph_errors_total',
      help: 'Errors that clients were answered, over HTTP and WebSockets; not those of items of a bulk request.',
      labels: ['code'],
    }),
  };
}
