import type { Caller, ClientCredentials, RegisterClient } from './commands.ts';
import type { CommandContext } from './context.ts';
import { requestMetadata } from './context.ts';
import type { Aggregate } from './handle.ts';
import { handle } from './handle.ts';
import { refuse, requireText } from './validation.ts';
import { DomainError } from '../errors.ts';
import type { ClientEvent, ClientState, Scope } from '../events/clients.ts';
import { foldClient } from '../events/fold.ts';
import { streamOf } from '../ids.ts';

/** The tenant that operates the installation: it alone may name other tenants. */
export const DEFAULT_TENANT = 'default';

const MAX_GRACE_SECONDS = 90 * 24 * 3600;

export async function registerClient(
  context: CommandContext,
  caller: Caller,
  { tenant, name, scopes }: RegisterClient,
): Promise<ClientCredentials> {
  requireText(tenant, 'tenant', 100);
  requireText(name, 'name', 200);
  refuse(scopes.length === 0, 'INVALID_INPUT', 'scopes is empty', 'scopes');
  checkReach(caller, tenant, scopes);
  const credentials = context.keys.newCredentials();
  await seedClient(context, { ...caller, tenant }, { ...credentials, name, scopes });
  return credentials;
}

/** A client of another tenant than default reaches its own tenant only and hands on no scope that it lacks. */
function checkReach(caller: Caller, tenant: string, scopes: readonly Scope[]): void {
  if (caller.tenant === DEFAULT_TENANT) return;
  refuse(tenant !== caller.tenant, 'FORBIDDEN', 'only the tenant default may name another tenant', 'tenant');
  checkScopes(caller, scopes, 'scopes');
}

function checkScopes(caller: Caller, scopes: readonly Scope[], field: string): void {
  const lacking = scopes.filter((scope) => !caller.scopes.includes(scope));
  refuse(lacking.length > 0, 'FORBIDDEN', `the client itself lacks ${lacking.join(', ')}`, field);
}

/** Records a client with the credentials given, unless there is one with that appKey. */
export async function seedClient(
  context: CommandContext,
  caller: Caller,
  client: ClientCredentials & { readonly name: string; readonly scopes: readonly Scope[] },
): Promise<void> {
  const { appKey, appSecret, name, scopes } = client;
  const secretHash = context.keys.secretHash(appKey, appSecret);
  const data = { appKey, name, scopes: [...new Set(scopes)], secretHash };
  await change(context, caller, appKey, (state) => (state === null ? [{ type: 'ClientRegistered', data }] : []));
}

export async function rotateClientSecret(
  context: CommandContext,
  caller: Caller,
  appKey: string,
  graceSeconds: number,
): Promise<ClientCredentials> {
  const inRange = graceSeconds >= 0 && graceSeconds <= MAX_GRACE_SECONDS;
  refuse(!inRange, 'INVALID_INPUT', `graceSeconds is not in 0..${String(MAX_GRACE_SECONDS)}`, 'graceSeconds');
  const { appSecret } = context.keys.newCredentials();
  const data = rotation(context, { appKey, appSecret }, graceSeconds);
  await change(context, caller, appKey, (state) => {
    if (!isVisible(state, caller) || state.revoked) throw clientNotFound(appKey);
    // Whoever is handed the secret is handed the scopes.
    if (caller.tenant !== DEFAULT_TENANT) checkScopes(caller, state.scopes, 'appKey');
    return [{ type: 'SecretRotated', data }];
  });
  return { appKey, appSecret };
}

export async function revokeClient(context: CommandContext, caller: Caller, appKey: string): Promise<boolean> {
  await change(context, caller, appKey, (state) => {
    if (!isVisible(state, caller)) throw clientNotFound(appKey);
    return state.revoked ? [] : [{ type: 'ClientRevoked', data: {} }];
  });
  return true;
}

/** Makes the configured secret of the bootstrap client the only one, when it is not among its secrets. A revoked client stays revoked, and the answer says so. */
export async function adoptSecret(
  context: CommandContext,
  caller: Caller,
  { appKey, appSecret }: ClientCredentials,
): Promise<{ readonly revoked: boolean }> {
  const data = rotation(context, { appKey, appSecret }, 0);
  const before = await change(context, caller, appKey, (state) => {
    if (state !== null && state.tenant !== caller.tenant) throw clientNotFound(appKey);
    if (state === null || state.revoked || acceptsSecret(context, state, data.secretHash)) return [];
    return [{ type: 'SecretRotated', data }];
  });
  return { revoked: before?.revoked ?? false };
}

function clientAggregate(appKey: string): Aggregate<ClientState> {
  return { stream: streamOf.client(appKey), fold: foldClient };
}

/** No client has it: its characters are not those of an appKey that was handed out, nor may one be configured. */
const NO_KEY = ':';

/**
 * The client that these credentials belong to, null when they are wrong. Unknown keys cost what wrong secrets cost: one
 * client is read that is there, one that is not, and the secret is compared.
 */
export async function authenticate(
  context: CommandContext,
  decoyKey: string,
  { appKey, appSecret }: ClientCredentials,
): Promise<ClientState | null> {
  const secretHash = context.keys.secretHash(appKey, appSecret);
  const found = await readClient(context, appKey);
  const other = await readClient(context, found === null ? decoyKey : NO_KEY);
  const compared = found ?? other;
  const accepted = compared !== null && acceptsSecret(context, compared, secretHash);
  return accepted ? found : null;
}

async function readClient({ log }: CommandContext, appKey: string): Promise<ClientState | null> {
  const { stream, fold } = clientAggregate(appKey);
  return fold(await log.read(stream));
}

/** Compares with every secret there is, always in full. */
function acceptsSecret({ keys, now }: CommandContext, client: ClientState, secretHash: string): boolean {
  const matches = client.secrets.map(
    ({ hash, until }) => keys.sameHash(hash, secretHash) && (until === null || Date.parse(until) > now()),
  );
  return !client.revoked && matches.includes(true);
}

function rotation(
  { keys, now }: CommandContext,
  { appKey, appSecret }: ClientCredentials,
  graceSeconds: number,
): { readonly secretHash: string; readonly graceUntil: string } {
  const graceUntil = new Date(now() + graceSeconds * 1000).toISOString();
  return { secretHash: keys.secretHash(appKey, appSecret), graceUntil };
}

async function change(
  context: CommandContext,
  caller: Caller,
  appKey: string,
  decide: (state: ClientState | null) => readonly ClientEvent[],
): Promise<ClientState | null> {
  const own = requestMetadata(caller, context.now());
  const aggregate = clientAggregate(appKey);
  const { state: before } = await handle({ log: context.log, newId: context.ids.random }, aggregate, (state) => {
    const metadata = { ...own, tenant: state?.tenant ?? own.tenant };
    return decide(state).map((event) => ({ event, metadata }));
  });
  return before;
}

function isVisible(client: ClientState | null, caller: Caller): client is ClientState {
  return client !== null && (caller.tenant === DEFAULT_TENANT || client.tenant === caller.tenant);
}

function clientNotFound(appKey: string): DomainError {
  return new DomainError('CLIENT_NOT_FOUND', `no client ${appKey}`, 'appKey');
}
