import type { GraphQLResolveInfo } from 'graphql';
import { Arg, Ctx, Info, Mutation, Resolver } from 'type-graphql';
import type { ApiContext } from './context.ts';
import { argumentAsSent, within } from './context.ts';
import {
  RecordConversionInput,
  RecordConversionPayload,
  toConversionPayload,
  toRecordConversion,
} from './conversions.types.ts';
import type { Plain } from './plain.ts';

@Resolver()
export class ConversionsResolver {
  @Mutation(() => RecordConversionPayload, { description: 'The recipient did what the notification was for.' })
  recordConversion(
    @Arg('input', () => RecordConversionInput) input: RecordConversionInput,
    @Ctx() context: ApiContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Plain<RecordConversionPayload>> {
    const conversion = toRecordConversion(input, argumentAsSent('input', info, context));
    return within('input', async () =>
      toConversionPayload(await context.commands.recordConversion(context.caller, conversion)),
    );
  }
}
