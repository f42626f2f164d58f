import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.ts';
import { sendError } from './http-refusals.ts';
import type { ApiOptions, ProviderReceipts, ReceiptOutcome } from './options.ts';

/** Bytes of a body. */
const MAX_RECEIPT = 64 * 1024;
const FORM = 'application/x-www-form-urlencoded';
/** Seconds. */
const RETRY_AFTER = '10';
const FORGED_REPORT_MS = 60_000;

export const RECEIPT_METHODS = 'POST';

/** Whether receipts are received at this path; `path` as it came, without a query. */
export function isReceiptPath(path: string): boolean {
  return /^\/receipts\/[^/]+\/[^/]+$/.test(path);
}

/**
 * What providers call back, at `/receipts/:provider/:token`. Nothing of it is believed here: the receiver gets the
 * body and the URL as they came. A receipt is answered as received once it is durable.
 *
 * @param publicUrl where providers reach this server; asked at each receipt.
 */
export async function addReceipts(app: FastifyInstance, options: ApiOptions, publicUrl: () => string): Promise<void> {
  const { receipts } = options;
  if (!receipts) return;
  const reportForged = forgedReporter(options);
  await app.register((routes, _options, done) => {
    routes.removeAllContentTypeParsers();
    routes.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, parsed) => {
      parsed(null, body);
    });
    routes.setErrorHandler((error, request, reply) => sendError(options, refuse(error, reply), request, reply));
    routes.post<{ Params: Path }>('/receipts/:provider/:token', { bodyLimit: MAX_RECEIPT }, async (request, reply) => {
      const outcome = await receive(receipts, request, publicUrl());
      if (outcome === 'forged') reportForged(request.id);
      check(outcome);
      return reply.code(204).send();
    });
    done();
  });
}

interface Path {
  readonly provider: string;
  readonly token: string;
}

async function receive(
  receipts: ProviderReceipts,
  { body, params, raw }: FastifyRequest<{ Params: Path }>,
  publicUrl: string,
): Promise<ReceiptOutcome> {
  if (typeof body !== 'string') throw notAForm();
  const [signature, ...others] = raw.headersDistinct['x-twilio-signature'] ?? [];
  if (others.length > 0) return 'forged';
  const { provider, token } = params;
  return receipts.receive({ provider, token, url: publicUrl + (raw.url ?? ''), signature, body });
}

/** @throws DomainError for what is not to come again. */
function check(outcome: ReceiptOutcome): void {
  if (outcome === 'forged') throw new DomainError('FORBIDDEN', 'this receipt was not signed for this address');
  if (outcome === 'unknown-provider') throw new DomainError('NOT_FOUND', 'no receipts of this provider are received');
}

/** Anybody can forge one, so that a line a minute tells of them; all of them look forged where PUBLIC_URL is wrong. */
function forgedReporter({ log }: Pick<ApiOptions, 'log'>): (requestId: string) => void {
  let reportedAt = -Infinity;
  return (requestId) => {
    if (performance.now() - reportedAt < FORGED_REPORT_MS) return;
    reportedAt = performance.now();
    log.warn({ requestId }, 'a receipt without a good signature was refused; is PUBLIC_URL what the provider calls?');
  };
}

/** Refusals in the words of this path; a provider tries again what could not be recorded. */
function refuse(error: unknown, reply: FastifyReply): unknown {
  if (isStatus(error, 413)) return new DomainError('PAYLOAD_TOO_LARGE', 'the body is over 64 KiB');
  if (isStatus(error, 415)) return notAForm();
  const refusal =
    error instanceof DomainError && error.code === 'CONFLICT'
      ? new DomainError('UNAVAILABLE', 'the receipt could not be recorded now')
      : error;
  const passes = refusal instanceof DomainError && (refusal.code === 'UNAVAILABLE' || refusal.code === 'SHUTTING_DOWN');
  if (passes) reply.header('retry-after', RETRY_AFTER);
  return refusal;
}

function isStatus(error: unknown, status: number): boolean {
  return error instanceof Error && 'statusCode' in error && error.statusCode === status;
}

function notAForm(): DomainError {
  return new DomainError('UNSUPPORTED_MEDIA_TYPE', `the body must be ${FORM}`);
}
