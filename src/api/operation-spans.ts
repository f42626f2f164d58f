import type { SubscribePayload } from 'graphql-ws';
import type { ApiOptions, OperationSpan } from './options.ts';

/** Of operations over WebSockets that have begun, by the message that asked. */
const spans = new WeakMap<SubscribePayload, OperationSpan>();

/** What the operation's caller has of its span; nothing where it is not traced. The message came at `since` on the monotonic clock. */
export function beginSpan(
  { traceOperation }: Pick<ApiOptions, 'traceOperation'>,
  payload: SubscribePayload,
  { requestId, since }: { readonly requestId: string; readonly since: number },
): { readonly traceparent?: string } {
  const given = payload.extensions?.['traceparent'];
  const elapsedMs = performance.now() - since;
  const span = traceOperation(typeof given === 'string' ? given : undefined, { requestId, elapsedMs });
  if (span.traceparent === undefined) return {};
  spans.set(payload, span);
  return { traceparent: span.traceparent };
}

/** For one that is not traced it does nothing. `type`: undefined for one that was refused before it ran. */
export function endSpan(payload: SubscribePayload, type: string | undefined, isFailed = false): void {
  spans.get(payload)?.end(type, isFailed);
  spans.delete(payload);
}

/** Ends the span with `work`: an answer is there, or a subscription is open, which lasts for as long as its client likes. */
export async function spanned<T>(
  asking: { readonly payload: SubscribePayload; readonly type: string } | undefined,
  work: () => Promise<T> | T,
): Promise<T> {
  try {
    return await work();
  } finally {
    if (asking) endSpan(asking.payload, asking.type);
  }
}
