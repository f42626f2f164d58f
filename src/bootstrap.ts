import type { Caller } from './commands/commands.ts';
import { adoptSecret, DEFAULT_TENANT, seedClient } from './commands/clients.ts';
import type { CommandContext } from './commands/context.ts';
import type { DataDir } from './data-dir.ts';
import { SCOPES } from './events/clients.ts';
import { newCredentials } from './keys.ts';
import type { Log } from './log.ts';

/**
 * Sees to it that there is a first client with every scope: the one configured, else one made once and kept in the data
 * directory. A secret that was configured anew replaces the old one at once.
 */
export async function seedBootstrapClient(
  context: CommandContext,
  configured: { readonly appKey: string; readonly appSecret: string } | null,
  { dataDir, logger }: { readonly dataDir: DataDir; readonly logger: Log },
): Promise<{ readonly appKey: string; readonly appSecret: string | null }> {
  const credentials = configured ?? (await keptCredentials(dataDir));
  const caller: Caller = {
    tenant: DEFAULT_TENANT,
    appKey: credentials.appKey,
    scopes: SCOPES,
    correlationId: context.ids.random(),
  };
  await seedClient(context, caller, { ...credentials, name: 'bootstrap', scopes: SCOPES });
  const { revoked } = await adoptSecret(context, caller, credentials);
  if (revoked)
    logger.warn({ appKey: credentials.appKey }, 'the bootstrap client is revoked: its credentials do not work');
  return { appKey: credentials.appKey, appSecret: configured === null ? credentials.appSecret : null };
}

async function keptCredentials(dataDir: DataDir): Promise<{ readonly appKey: string; readonly appSecret: string }> {
  const fresh = newCredentials();
  const appKey = await dataDir.secret('bootstrap-app-key', () => fresh.appKey);
  const appSecret = await dataDir.secret('bootstrap-app-secret', () => fresh.appSecret);
  return { appKey, appSecret };
}
