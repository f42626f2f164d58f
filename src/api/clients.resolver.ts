import { GraphQLInt as Int } from 'graphql';
import { Arg, Ctx, Mutation, Resolver } from 'type-graphql';
import { ClientSecretType, RegisterClientInput } from './clients.types.ts';
import type { ApiContext } from './context.ts';
import type { Plain } from './plain.ts';
import { within } from './context.ts';

const DEFAULT_GRACE_SECONDS = 24 * 3600;

@Resolver()
export class ClientsResolver {
  @Mutation(() => ClientSecretType, {
    description: 'ADMIN. Only the tenant default may name another tenant. The secret is shown once.',
  })
  registerClient(
    @Arg('input', () => RegisterClientInput) { tenant, name, scopes }: RegisterClientInput,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<ClientSecretType>> {
    return within('input', () => commands.registerClient(caller, { tenant, name, scopes }));
  }

  @Mutation(() => ClientSecretType, {
    description: 'Old and new secret both work until the old one is revoked or graceSeconds have passed.',
  })
  rotateClientSecret(
    @Arg('appKey', () => String) appKey: string,
    @Arg('graceSeconds', () => Int, { nullable: true, defaultValue: DEFAULT_GRACE_SECONDS })
    graceSeconds: number | null | undefined,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<ClientSecretType>> {
    return commands.rotateClientSecret(caller, appKey, graceSeconds ?? DEFAULT_GRACE_SECONDS);
  }

  @Mutation(() => Boolean, { description: 'Ends the client and closes its sockets. False: it was revoked before.' })
  revokeClient(@Arg('appKey', () => String) appKey: string, @Ctx() { commands, caller }: ApiContext): Promise<boolean> {
    return commands.revokeClient(caller, appKey);
  }
}
