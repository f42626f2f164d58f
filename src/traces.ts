import type { TracesConfig } from './config-traces.ts';
import type { Started } from './lifecycle.ts';
import type { Log } from './log.ts';

/**
 * Spans of one notification's way. A parent is always given by hand, in the form of W3C's `traceparent`: a context that follows the
 * code by itself would need AsyncLocalStorage, which slows down every promise of the process from its first use on.
 */
export interface Tracer {
  /** Never throws. Without a parent only a `server` span begins a trace; any other one is not recorded then. */
  readonly start: (name: string, start: SpanStart) => Span;
}

export interface SpanStart {
  readonly kind: 'server' | 'internal' | 'producer' | 'consumer' | 'client';
  readonly parent: string | undefined;
  /** When it began, in milliseconds since the epoch; left out: now. */
  readonly at?: number;
  /** Names and numbers of ours; nothing personal, nothing long. */
  readonly attributes?: Attributes;
}

export interface Span {
  /** What its children are started under, in this process and others; undefined where nothing is traced. */
  readonly traceparent: string | undefined;
  /** `failed`: why, as a stable word. */
  readonly end: (attributes?: Attributes, failed?: string) => void;
}

export type Attributes = Readonly<Record<string, string | number | undefined>>;

const NO_SPAN: Span = { traceparent: undefined, end: () => undefined };
export const NO_TRACER: Tracer = { start: () => NO_SPAN };

/** Sends spans in the background; nothing waits for it, and it is nobody's trouble when it fails. Null loads and does nothing. */
export async function openTraces(config: TracesConfig | null, logger: Log): Promise<Started<Tracer>> {
  if (config === null) return { value: NO_TRACER, stop: () => Promise.resolve() };
  const { openOtlp } = await import('./traces-otlp.ts');
  return openOtlp(config, logger);
}
