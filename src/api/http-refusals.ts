import type { Duplex } from 'node:stream';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { ErrorCode } from '../errors.ts';
import { DomainError } from '../errors.ts';
import { formatError } from './format-error.ts';
import type { ApiOptions } from './options.ts';

/** Refusals that have an HTTP status of their own; the rest happens inside GraphQL. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  INTERNAL_SERVER_ERROR: 500,
  UNAVAILABLE: 503,
  SHUTTING_DOWN: 503,
};

/** Of every answer, pages and refusals included. */
export function setCommonHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({
    'x-request-id': request.id,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  });
}

/** Answers with one error in GraphQL's form. */
export function sendError(
  { development, log, observe }: Pick<ApiOptions, 'development' | 'log' | 'observe'>,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  // Some errors come before the hook that sets these.
  setCommonHeaders(request, reply);
  const formatted = formatError(refusalOf(error), { development, log, observe, requestId: request.id });
  const code = formatted.extensions?.['code'];
  if (code === 'UNAUTHENTICATED') reply.header('www-authenticate', 'Basic realm="heliograph"');
  if (code === 'PAYLOAD_TOO_LARGE') letUploadEnd(request, reply);
  return reply
    .code(statusOf(code))
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ errors: [formatted] }));
}

function statusOf(code: unknown): number {
  return Object.entries(STATUS).find(([each]) => each === code)?.[1] ?? 400;
}

/** Fastify's own refusals in our words. */
function refusalOf(error: unknown): unknown {
  if (!isFastifyError(error)) return error;
  if (error.statusCode === 413) return new DomainError('PAYLOAD_TOO_LARGE', 'the body is over 4 MiB');
  if (error.statusCode === 415) return new DomainError('UNSUPPORTED_MEDIA_TYPE', 'the body must be application/json');
  const isTheirs = error.statusCode !== undefined && error.statusCode < 500;
  return isTheirs ? new DomainError('BAD_REQUEST', error.message) : error;
}

function isFastifyError(error: unknown): error is Partial<FastifyError> & Error {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number';
}

/** A connection closed on a client that is still sending loses the answer; the request timeout bounds the rest. */
function letUploadEnd({ raw }: FastifyRequest, reply: FastifyReply): void {
  reply.removeHeader('connection');
  raw.resume();
}

interface SocketRefusal {
  readonly reason: string;
  readonly error: DomainError;
}

const SOCKET_REFUSALS = {
  400: {
    reason: 'Bad Request',
    error: new DomainError('BAD_REQUEST', 'this is no HTTP request that can be understood'),
  },
  403: {
    reason: 'Forbidden',
    error: new DomainError('FORBIDDEN', 'pages of this origin may not open WebSockets here'),
  },
  404: { reason: 'Not Found', error: new DomainError('NOT_FOUND', 'there is no WebSocket at this path') },
  408: { reason: 'Request Timeout', error: new DomainError('BAD_REQUEST', 'the request took too long to arrive') },
  503: { reason: 'Service Unavailable', error: new DomainError('SHUTTING_DOWN', 'this process is stopping') },
} as const satisfies Record<number, SocketRefusal>;

/** Answers where there is no HTTP response to answer with, and hangs up. */
export function refuseSocket(socket: Duplex, status: keyof typeof SOCKET_REFUSALS, requestId: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { reason, error } = SOCKET_REFUSALS[status];
  const body = JSON.stringify({ errors: [{ message: error.message, extensions: { code: error.code } }] });
  const head = [
    `HTTP/1.1 ${String(status)} ${reason}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `content-length: ${String(Buffer.byteLength(body))}`,
    `x-request-id: ${requestId}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
