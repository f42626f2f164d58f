import type { FastifyInstance } from 'fastify';
import { start, type Started } from '../lifecycle.ts';
import type { Drain } from './drain.ts';
import { openDrain } from './drain.ts';
import { close, createHttp, describe, letFinish, methodsOfHealth } from './http.ts';
import type { Api, ApiOptions } from './options.ts';
import { DEFAULT_TIMINGS } from './options.ts';

export type HealthOptions = Pick<
  ApiOptions,
  'host' | 'port' | 'publicUrl' | 'development' | 'ready' | 'metrics' | 'observe' | 'log' | 'newId' | 'timings'
>;

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** For operators. */
export function addHealth(
  app: FastifyInstance,
  { ready, metrics }: Pick<ApiOptions, 'ready' | 'metrics'>,
  drain: Drain,
): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const answer = drain.begun() ? { ready: false, reasons: ['stopping'] } : await ready();
    return answer.ready ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', reasons: answer.reasons });
  });
  // Numbers about this process; nothing in them is about a person or a tenant.
  app.get('/metrics', async (_request, reply) => reply.type(METRICS_TYPE).send(await metrics()));
}

/** The edge of a process that answers no clients. */
export function openHealth(options: HealthOptions): Promise<Started<Api>> {
  return start(async (scope) => {
    const timings = { ...DEFAULT_TIMINGS, ...options.timings };
    const drain = openDrain();
    const app = createHttp({ ...options, methods: methodsOfHealth }, timings, drain);
    scope.use({ value: undefined, stop: () => close(app) });
    addHealth(app, options, drain);
    scope.use({ value: undefined, stop: () => letFinish(drain, timings.drainMs) });
    await app.listen({ host: options.host, port: options.port });
    return describe(app.server.address(), options);
  });
}
