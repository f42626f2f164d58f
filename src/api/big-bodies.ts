import type { preParsingAsyncHookHandler } from 'fastify';
import { authenticate } from './authenticate.ts';
import type { ApiOptions } from './options.ts';

/** Bytes of an HTTP body or a WebSocket message. */
export const MAX_BODY = 4 * 1024 * 1024;

/** What is read from whoever has not said who they are: parsing JSON blocks everybody else. */
export const MAX_STRANGERS_BODY = 64 * 1024;

/**
 * Refuses bodies that are big, or of unknown size, unread unless their credentials are right. What is too big for
 * anybody is left to the body limit, which parses nothing of it either.
 */
export function bigBodiesOfClientsOnly({ queries }: Pick<ApiOptions, 'queries'>): preParsingAsyncHookHandler {
  return async ({ headers, id }, reply) => {
    const length = headers['transfer-encoding'] === undefined ? Number(headers['content-length'] ?? 0) : null;
    if (length !== null && (length <= MAX_STRANGERS_BODY || length > MAX_BODY)) return;
    try {
      await authenticate(queries, headers.authorization, id);
    } catch (error) {
      reply.header('connection', 'close');
      throw error;
    }
  };
}
