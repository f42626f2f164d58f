import { GraphQLInt as Int } from 'graphql';
import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import type { PublishTemplate } from '../commands/commands.ts';
import type { ApiContext } from './context.ts';
import type { Plain } from './plain.ts';
import { within } from './context.ts';
import { notYetSupported } from './not-yet-supported.ts';
import { PublishTemplateInput, TemplateType, toPublishTemplate } from './templates.types.ts';

@Resolver()
export class TemplatesResolver {
  @Query(() => TemplateType, { nullable: true })
  template(
    @Arg('key', () => String) key: string,
    @Arg('version', () => Int, { nullable: true, description: 'Left out: the newest.' })
    version: number | null | undefined,
    @Ctx() { queries, caller }: ApiContext,
  ): Promise<Plain<TemplateType> | null> {
    return queries.template(caller.tenant, key, version ?? null);
  }

  @Mutation(() => TemplateType, {
    description: 'Version n+1 is version n with this variant added or replaced.',
  })
  publishTemplate(
    @Arg('input', () => PublishTemplateInput) input: PublishTemplateInput,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<TemplateType>> {
    const template = toPublishTemplate(input);
    return within('input', async () => {
      refuseUnsupported(template);
      return commands.publishTemplate(caller, template);
    });
  }
}

function refuseUnsupported({ locale }: PublishTemplate): void {
  if (locale !== null) throw notYetSupported('a template per locale', 'locale');
}
