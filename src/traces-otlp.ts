import type { Context, SpanContext, Span as OtelSpan, Tracer as OtelTracer } from '@opentelemetry/api';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import type { TracesConfig } from './config-traces.ts';
import type { Started } from './lifecycle.ts';
import { openOutage, type Log } from './log.ts';
import { NO_TRACER, type Attributes, type Span, type SpanStart, type Tracer } from './traces.ts';
import { withinMs } from './within.ts';

/** The packages would read from the environment what they are not given; so they are given all of it. Times in milliseconds. */
const BATCHES = {
  maxExportBatchSize: 512,
  maxQueueSize: 8_192,
  scheduledDelayMillis: 1_000,
  exportTimeoutMillis: 5_000,
};
const LIMITS = { attributeValueLengthLimit: 256, attributeCountLimit: 32 };
const SPAN_LIMITS = {
  ...LIMITS,
  linkCountLimit: 8,
  eventCountLimit: 8,
  attributePerEventCountLimit: 8,
  attributePerLinkCountLimit: 8,
};
const TIMEOUT_MS = 5_000;
/** A stop has other things to wait for. */
const FLUSH_MS = 1_000;

const KINDS: Readonly<Record<SpanStart['kind'], SpanKind>> = {
  server: SpanKind.SERVER,
  internal: SpanKind.INTERNAL,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  client: SpanKind.CLIENT,
};

export function openOtlp({ url, headers, serviceName, ratio }: TracesConfig, logger: Log): Started<Tracer> {
  const exporter = new OTLPTraceExporter({
    url,
    headers: { ...headers },
    timeoutMillis: TIMEOUT_MS,
    concurrencyLimit: 4,
  });
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': serviceName }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    generalLimits: LIMITS,
    spanLimits: SPAN_LIMITS,
    spanProcessors: [new BatchSpanProcessor(telling(exporter, logger), BATCHES)],
  });
  const tracer = provider.getTracer('heliograph');
  return {
    value: { start: (name, start) => startSpan(tracer, name, start) },
    stop: async () => {
      await withinMs(FLUSH_MS, provider.shutdown()).catch(() => undefined);
    },
  };
}

/** The exporter keeps its failures to itself. */
function telling(exporter: OTLPTraceExporter, logger: Log): SpanExporter {
  const outage = openOutage(logger, {
    failed: 'traces cannot be sent; they are lost',
    well: 'traces are sent again',
    isHarmless: true,
  });
  return {
    export: (spans, done) => {
      exporter.export(spans, (result) => {
        const code: number = result.code;
        if (code === 0) outage.over({});
        else outage.met({ reason: result.error?.message.slice(0, 200) });
        done(result);
      });
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
}

function startSpan(tracer: OtelTracer, name: string, { kind, parent, at, attributes = {} }: SpanStart): Span {
  const context = contextOf(parent);
  if (context === null && kind !== 'server') return NO_TRACER.start(name, { kind, parent });
  const options = { kind: KINDS[kind], attributes: given(attributes), ...(at !== undefined && { startTime: at }) };
  const span = tracer.startSpan(name, options, context ?? ROOT_CONTEXT);
  return { traceparent: traceparentOf(span), end: (last, failed) => endSpan(span, last, failed) };
}

function endSpan(span: OtelSpan, attributes: Attributes = {}, failed?: string): void {
  span.setAttributes(given(attributes));
  if (failed !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: failed });
  span.end();
}

function given(attributes: Attributes): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(attributes).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

const TRACEPARENT = /^[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;
const NOTHING = /^0+$/;

/** Null: not a traceparent as https://www.w3.org/TR/trace-context/ has it. */
function contextOf(traceparent: string | undefined): Context | null {
  const [, traceId = '', spanId = '', flags = ''] = TRACEPARENT.exec(traceparent ?? '') ?? [];
  if (traceId === '' || NOTHING.test(traceId) || NOTHING.test(spanId) || traceparent?.startsWith('ff')) return null;
  const context: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, context);
}

function traceparentOf(span: OtelSpan): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-0${String(traceFlags & 1)}`;
}
