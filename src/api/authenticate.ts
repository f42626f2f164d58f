import type { Caller, Queries } from '../commands/commands.ts';
import { DomainError, ERROR_CODES } from '../errors.ts';

/** The credentials of `Basic base64(appKey:appSecret)`; null when they do not have that form. */
export function readBasic(authorization: unknown): { readonly appKey: string; readonly appSecret: string } | null {
  const encoded = typeof authorization === 'string' ? /^Basic +([\w+/-]+=*)$/i.exec(authorization)?.[1] : undefined;
  if (encoded === undefined) return null;
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon < 1 ? null : { appKey: decoded.slice(0, colon), appSecret: decoded.slice(colon + 1) };
}

/**
 * Who sent this `Authorization`.
 * @throws DomainError UNAUTHENTICATED, the same for missing, malformed, unknown, wrong and revoked credentials.
 */
export async function authenticate(queries: Queries, authorization: unknown, correlationId: string): Promise<Caller> {
  const credentials = readBasic(authorization);
  const client = credentials && (await queries.authenticate(credentials.appKey, credentials.appSecret));
  if (client === null) throw new DomainError('UNAUTHENTICATED', ERROR_CODES.UNAUTHENTICATED);
  const { tenant, appKey, scopes } = client;
  return { tenant, appKey, scopes, correlationId };
}
