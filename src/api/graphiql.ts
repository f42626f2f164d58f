import type * as Graphiql from '@graphql-yoga/render-graphiql';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.ts';
import { sendHtml } from './pages.ts';

/** A browser that was pointed at /graphql, not a program that asks for something. */
export function isForPeople({ method, headers, url }: FastifyRequest): boolean {
  const asks = /[?&]query=/.test(url);
  return method === 'GET' && !asks && (headers.accept?.includes('text/html') ?? false);
}

/** The editor puts styles on its elements and runs its language workers from blobs; it can talk to this server alone. */
function policy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    'worker-src blob:',
    "style-src 'unsafe-inline'",
    'font-src data:',
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

/** GraphiQL with everything it needs inside the page. */
export async function sendGraphiql(reply: FastifyReply): Promise<FastifyReply> {
  const { renderGraphiQL } = await loadGraphiql();
  const page = renderGraphiQL({
    title: 'Heliograph',
    endpoint: '/graphql',
    defaultQuery: WELCOME,
    headers: JSON.stringify({ Authorization: 'Basic <base64 of appKey:appSecret>' }, null, 2),
    // Credentials are what is typed in, never what the browser remembers.
    credentials: 'omit',
    subscriptionsProtocol: 'WS',
  });
  return sendHtml(reply, (nonce) => page.replace('<script>', `<script nonce="${nonce}">`), policy);
}

/** Nine megabytes that only development installs, and only this page needs. */
async function loadGraphiql(): Promise<typeof Graphiql> {
  try {
    return await import('@graphql-yoga/render-graphiql');
  } catch {
    throw new DomainError('NOT_FOUND', 'GraphiQL is not installed: it comes with the development dependencies');
  }
}

const WELCOME = `# Every operation needs an appKey and its appSecret.
# Put them under "Headers" below, as what this prints:
#
#   printf %s "$KEY:$SECRET" | base64 | tr -d '\\n'
#
# Then press the refresh button at the lower left:
# the schema, too, can be read only with credentials.

query WhereTheLogEnds {
  head
}
`;
