import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { openCollector, type CollectedSpan, type Collector } from '../support/otlp-collector.ts';
import { AUTHORIZATION, startService, type Service } from '../support/service.ts';
import { withTempDir } from '../support/temp-dir.ts';

const PROBE = new URL('../support/loaded-packages.mjs', import.meta.url).href;
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLER = 'b7ad6b7169203331';

const REGISTER = 'mutation { registerUser(input: {id: "ada", email: "mark@example.org"}) { id } }';
const REQUEST =
  'mutation { requestNotification(input: {userId: "ada", content: {title: "MarkTitle", body: "MarkBody"}}) { notification { id } } }';
const STATE = 'query ($id: ID!) { notification(id: $id) { status } }';

/** A notification, asked for under the traceparent given, until its delivery has ended. */
async function send(service: Service, traceparent?: string): Promise<string> {
  await service.ask(REGISTER);
  const headers = {
    'content-type': 'application/json',
    authorization: AUTHORIZATION,
    ...(traceparent && { traceparent }),
  };
  const response = await fetch(`${service.url}/graphql`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ query: REQUEST }),
  });
  const { data } = (await response.json()) as { data: { requestNotification: { notification: { id: string } } } };
  const { id } = data.requestNotification.notification;
  await eventually(
    async () => {
      const { notification } = await service.ask<{ notification: { status: string } }>(STATE, { id });
      expect(notification.status).toBe('COMPLETED');
    },
    { timeoutMs: 30_000, pauseMs: 50 },
  );
  return id;
}

/** The packages that the service had loaded when it ended. */
async function withService(
  env: Readonly<Record<string, string>>,
  work: (service: Service) => Promise<void>,
): Promise<readonly string[]> {
  let loaded: readonly string[] = [];
  await withTempDir(async (folder) => {
    const file = join(folder, 'loaded.json');
    const probe = { NODE_OPTIONS: `--import=${PROBE}`, LOADED_PACKAGES: file };
    const service = await startService(join(folder, 'data'), { ...probe, ...env });
    try {
      await work(service);
    } finally {
      service.child.kill('SIGTERM');
      await service.ended;
    }
    loaded = JSON.parse(await readFile(file, 'utf8')) as readonly string[];
  });
  return loaded;
}

function ofTrace({ spans }: Collector, traceId: string): readonly CollectedSpan[] {
  return spans.filter((span) => span.traceId === traceId);
}

describe('Traces', () => {
  it('show the whole way of a notification under the trace of its caller', async () => {
    const { value: collector, stop } = await openCollector();
    let id = '';
    const loaded = await withService(
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/otlp/`,
        OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=a%20b',
        OTEL_SERVICE_NAME: 'heliograph-test',
      },
      async (service) => {
        id = await send(service, `00-${TRACE}-${CALLER}-01`);
      },
    );
    await stop();
    expect(loaded).toContain('@opentelemetry/sdk-trace-base');
    expect(collector.requests[0]?.path).toBe('/otlp/v1/traces');
    expect(collector.requests[0]?.headers['x-tenant']).toBe('a b');
    const spans = ofTrace(collector, TRACE);
    const names = ['claim', 'publish', 'record', 'render', 'request', 'route', 'send smtp'];
    expect(spans.map(({ name }) => name).toSorted()).toEqual(names);
    const request = spans.find(({ name }) => name === 'request');
    expect(request?.parentSpanId).toBe(CALLER);
    for (const span of spans) {
      expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
      if (span === request) continue;
      expect(span.parentSpanId).toBe(request?.spanId);
      expect(JSON.stringify(span.attributes)).toContain(id);
    }
    expect(collector.text()).toContain('heliograph-test');
    expect(collector.text()).not.toMatch(/mark@|MarkTitle|MarkBody|a-secret-of-the-test/);
  }, 60_000);

  it('begin with the request where its caller brings none that can be used', async () => {
    const { value: collector, stop } = await openCollector();
    await withService({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/t` }, async (service) => {
      await send(service, 'not a traceparent');
    });
    await stop();
    const route = collector.spans.find(({ name }) => name === 'route');
    const request = collector.spans.find(({ spanId }) => spanId === route?.parentSpanId);
    expect(request).toMatchObject({ name: 'request' });
    expect(request?.parentSpanId ?? '').toBe('');
  }, 60_000);

  it('leave out what their caller does not sample', async () => {
    const { value: collector, stop } = await openCollector();
    await withService({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async (service) => {
      await send(service, `00-${TRACE}-${CALLER}-00`);
    });
    await stop();
    expect(collector.spans.length).toBeGreaterThan(0);
    expect(ofTrace(collector, TRACE)).toEqual([]);
  }, 60_000);

  it('harm nobody when the collector fails', async () => {
    const { value: collector, stop } = await openCollector(400);
    let log = '';
    await withService({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async (service) => {
      await send(service);
      await eventually(() => expect(service.log()).toContain('traces cannot be sent'), { timeoutMs: 20_000 });
      log = service.log();
    });
    await stop();
    expect(log).not.toContain('"level":50');
  }, 60_000);

  it('cost nothing where no endpoint is given: their packages are not loaded', async () => {
    const loaded = await withService({}, async (service) => {
      await send(service, `00-${TRACE}-${CALLER}-01`);
    });
    expect(loaded).toContain('prom-client');
    // The interface alone comes with Prometheus' client, and does nothing.
    expect(loaded.filter((name) => name.startsWith('@opentelemetry/') && name !== '@opentelemetry/api')).toEqual([]);
  }, 60_000);
});
