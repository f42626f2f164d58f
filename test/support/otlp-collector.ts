import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { Started } from '../../src/lifecycle.ts';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  /** `code` 2: failed. */
  readonly status: { readonly code: number };
}

export interface Collector {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Of every request. */
  readonly requests: readonly { readonly path: string | undefined; readonly headers: IncomingHttpHeaders }[];
  /** Bodies as text. */
  readonly text: () => string;
}

interface Body {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly CollectedSpan[] }[] }[];
}

/** Takes OTLP over HTTP as JSON and keeps it; answers with `status`. */
export async function openCollector(status = 200): Promise<Started<Collector>> {
  const spans: CollectedSpan[] = [];
  const bodies: unknown[] = [];
  const requests: { path: string | undefined; headers: IncomingHttpHeaders }[] = [];
  const server = createServer((request, response) => {
    void json(request).then((body) => {
      requests.push({ path: request.url, headers: request.headers });
      bodies.push(body);
      for (const { scopeSpans } of (body as Body).resourceSpans)
        for (const each of scopeSpans) spans.push(...each.spans);
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    value: { url: `http://127.0.0.1:${String(port)}`, spans, requests, text: () => JSON.stringify(bodies) },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
