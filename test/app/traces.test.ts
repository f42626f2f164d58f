import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { openCollector, type CollectedSpan, type Collector } from '../support/otlp-collector.ts';
import { AUTHORIZATION, startService, type Service } from '../support/service.ts';
import { subscribe } from '../support/subscriber.ts';
import { withTempDir } from '../support/temp-dir.ts';

const PROBE = new URL('../support/loaded-packages.mjs', import.meta.url).href;
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLER = 'b7ad6b7169203331';

const REGISTER = 'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }';
const REQUEST =
  'mutation { requestNotification(input: {userId: "ada", content: {title: "MarkTitle", body: "MarkBody"}}) { notification { id } } }';
const STATE = 'query ($id: ID!) { notification(id: $id) { status deliveries { status } } }';

const WHOLE_WAY = ['claim', 'publish', 'record', 'render', 'request', 'route', 'send smtp'];

const EMAIL = { email: 'mark@example.org' };
/** The sandbox tells by a receipt that it has sent the message before it answers, and then that it is delivered. */
const EARLY_PHONE = { phone: '+15005554001' };

interface Requested {
  readonly requestNotification: { readonly notification: { readonly id: string } };
}

interface State {
  readonly notification: { readonly status: string; readonly deliveries: readonly { readonly status: string }[] };
}

/** A notification, asked for under the traceparent given, until its delivery has ended. */
async function send(service: Service, traceparent?: string, contact: object = EMAIL): Promise<string> {
  await service.ask(REGISTER, { input: { id: 'ada', ...contact } });
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
  const { data } = (await response.json()) as { data: Requested };
  const { id } = data.requestNotification.notification;
  await untilStatus(service, id, contact === EARLY_PHONE ? 'DELIVERED' : 'SENT');
  return id;
}

async function untilStatus(service: Service, id: string, status: string): Promise<void> {
  await eventually(
    async () => {
      const { notification } = await service.ask<State>(STATE, { id });
      expect(notification).toEqual({ status: 'COMPLETED', deliveries: [{ status }] });
    },
    { timeoutMs: 30_000, pauseMs: 50 },
  );
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

function attributesOf({ attributes }: CollectedSpan): Readonly<Record<string, unknown>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

function failed(): never {
  throw new Error('no such span');
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
    expect(spans.map(({ name }) => name).toSorted()).toEqual(WHOLE_WAY);
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

  it('show what each receipt told under the same trace', async () => {
    const { value: collector, stop } = await openCollector();
    let id = '';
    await withService({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async (service) => {
      id = await send(service, `00-${TRACE}-${CALLER}-01`, EARLY_PHONE);
    });
    await stop();
    const spans = ofTrace(collector, TRACE);
    const request = spans.find(({ name }) => name === 'request');
    const receipts = spans.filter(({ name }) => name === 'receipt');
    const about = { 'heliograph.notification.id': id, 'heliograph.channel': 'SMS', 'heliograph.attempt': 1 };
    const outcomes = receipts.map(attributesOf).map((each) => each['heliograph.outcome']);
    expect(outcomes.toSorted()).toEqual(['delivered', 'sent']);
    for (const receipt of receipts) {
      expect(attributesOf(receipt)).toMatchObject(about);
      expect(receipt.parentSpanId).toBe(request?.spanId);
    }
    expect(collector.text()).not.toMatch(/5005554001|MarkTitle|MarkBody/);
  }, 60_000);

  it('show an operation over a WebSocket like one over HTTP, under the trace that its message names', async () => {
    const { value: collector, stop } = await openCollector();
    await withService({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async (service) => {
      await service.ask(REGISTER, { input: { id: 'ada', ...EMAIL } });
      const traceparent = `00-${TRACE}-${CALLER}-01`;
      const asked = await subscribe<Requested>(service.url, REQUEST, {}, { traceparent });
      const { requestNotification } = await asked.next();
      asked.cut();
      await untilStatus(service, requestNotification.notification.id, 'SENT');
    });
    await stop();
    const spans = ofTrace(collector, TRACE);
    expect(spans.map(({ name }) => name).toSorted()).toEqual(WHOLE_WAY);
    const request = spans.find(({ name }) => name === 'request');
    expect(request?.parentSpanId).toBe(CALLER);
    expect(attributesOf(request ?? failed())).toMatchObject({
      'network.protocol.name': 'websocket',
      'graphql.operation.type': 'mutation',
    });
    for (const span of spans) if (span !== request) expect(span.parentSpanId).toBe(request?.spanId);
  }, 60_000);

  it('show a subscription until it is open, and one that is refused', async () => {
    const { value: collector, stop } = await openCollector();
    const types = (): readonly unknown[] =>
      ofTrace(collector, TRACE).map((span) => attributesOf(span)['graphql.operation.type'] ?? null);
    await withService({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async (service) => {
      const extensions = { traceparent: `00-${TRACE}-${CALLER}-01` };
      const open = await subscribe(service.url, 'subscription { deliveryUpdated { cursor } }', {}, extensions);
      await eventually(() => expect(types()).toEqual(['subscription']), { timeoutMs: 20_000 });
      const refused = await subscribe(service.url, 'subscription { nothing }', {}, extensions);
      await expect(refused.next()).rejects.toThrow('GRAPHQL_VALIDATION_FAILED');
      await eventually(() => expect(types()).toEqual(['subscription', null]), { timeoutMs: 20_000 });
      open.cut();
      refused.cut();
    });
    await stop();
    expect(types()).toHaveLength(2);
    expect(ofTrace(collector, TRACE).map(({ status }) => status.code)).toEqual([0, 0]);
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
