import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { DomainError } from '../errors.ts';
import { authenticate } from './authenticate.ts';
import type { Drain } from './drain.ts';
import type { ApiOptions } from './options.ts';
import { requireScope } from './scopes.ts';

/** For operators and people: health, and the sandbox's outbox. */
export function addPages(app: FastifyInstance, options: ApiOptions, drain: Drain): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', (_request, reply) => {
    const reasons = [...options.ready().reasons, ...(drain.begun() ? ['stopping'] : [])];
    const ready = options.ready().ready && !drain.begun();
    return ready ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', reasons });
  });
  app.get('/sandbox', (_request, reply) => {
    if (options.sandboxPage === null) throw noSandbox();
    return sendHtml(reply, options.sandboxPage, SANDBOX_POLICY);
  });
  app.get<{ Querystring: { address?: string | string[] } }>('/sandbox/outbox', async (request) => {
    if (options.outbox === null) throw noSandbox();
    const { scopes } = await authenticate(options.queries, request.headers.authorization, request.id);
    requireScope(scopes, 'OPERATE');
    const { address } = request.query;
    if (Array.isArray(address)) throw new DomainError('BAD_REQUEST', 'address may be given once', 'address');
    return options.outbox({ address });
  });
}

function noSandbox(): DomainError {
  return new DomainError('NOT_FOUND', 'there is no sandbox: SMTP_URL is set, and messages go to that server');
}

/** `*` stands for the nonce. Mails are shown in frames, which inherit this: styles work, scripts and remote images do not. */
const SANDBOX_POLICY =
  "script-src 'nonce-*'; style-src 'unsafe-inline'; img-src data:; font-src data:; connect-src 'self'";

/** Sends HTML that only the server it came from may script, and nobody may frame. */
export function sendHtml(reply: FastifyReply, render: (nonce: string) => string, policy: string): FastifyReply {
  const nonce = randomBytes(16).toString('base64url');
  const fixed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  return reply
    .type('text/html; charset=utf-8')
    .header('content-security-policy', `${fixed}; ${policy.replace('*', nonce)}`)
    .header('x-frame-options', 'DENY')
    .send(render(nonce));
}
