import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { DEFAULT_TENANT } from '../commands/clients.ts';
import type { Caller } from '../commands/commands.ts';
import { DomainError } from '../errors.ts';
import { authenticate } from './authenticate.ts';
import type { Drain } from './drain.ts';
import type { ApiOptions, SandboxView } from './options.ts';
import { requireScope } from './scopes.ts';

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** For operators and people: health, metrics, and the sandbox's outbox. */
export function addPages(app: FastifyInstance, options: ApiOptions, drain: Drain): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = drain.begun() ? { ready: false, reasons: ['stopping'] } : await options.ready();
    return ready ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', reasons });
  });
  // Numbers about this process; nothing in them is about a person or a tenant.
  app.get('/metrics', async (_request, reply) => reply.type(METRICS_TYPE).send(await options.metrics()));
  app.get('/sandbox', (_request, reply) => sendHtml(reply, sandboxOf(options).page, sandboxOf(options).policy));
  app.get<{ Querystring: { address?: string | string[] } }>('/sandbox/outbox', async (request, reply) => {
    const { messages, revision } = sandboxOf(options);
    requireOperator(await authenticate(options.queries, request.headers.authorization, request.id));
    const { address } = request.query;
    if (Array.isArray(address)) throw new DomainError('BAD_REQUEST', 'address may be given once', 'address');
    // The page asks again and again; while nothing is new, it is told so and no more.
    const tag = `"${revision()}"`;
    reply.header('etag', tag).header('cache-control', 'private, no-cache').header('vary', 'authorization');
    return request.headers['if-none-match'] === tag ? reply.code(304).send() : messages({ address });
  });
}

/** The outbox holds the messages of all tenants. */
function requireOperator({ tenant, scopes }: Caller): void {
  requireScope(scopes, 'OPERATE');
  if (tenant === DEFAULT_TENANT) return;
  const whose = `the outbox shows the messages of all tenants: only clients of the tenant ${DEFAULT_TENANT} may see it`;
  throw new DomainError('FORBIDDEN', whose);
}

function sandboxOf({ sandbox }: ApiOptions): SandboxView {
  if (sandbox === null) throw noSandbox();
  return sandbox;
}

function noSandbox(): DomainError {
  return new DomainError('NOT_FOUND', 'there is no sandbox: no channel sends to it');
}

/** Sends HTML under a policy of its own; both know the nonce that this answer's scripts carry. */
export function sendHtml(
  reply: FastifyReply,
  render: (nonce: string) => string,
  policy: (nonce: string) => string,
): FastifyReply {
  const nonce = randomBytes(16).toString('base64url');
  return reply
    .type('text/html; charset=utf-8')
    .header('content-security-policy', policy(nonce))
    .header('x-frame-options', 'DENY')
    .send(render(nonce));
}
