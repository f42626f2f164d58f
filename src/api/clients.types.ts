import { Field, InputType, ObjectType } from 'type-graphql';
import type { Scope } from '../events/clients.ts';
import { ScopeEnum } from './enums.ts';

@InputType('RegisterClientInput')
export class RegisterClientInput {
  @Field(() => String)
  readonly tenant!: string;
  @Field(() => String, { description: 'For people.' })
  readonly name!: string;
  @Field(() => [ScopeEnum])
  readonly scopes!: readonly Scope[];
}

@ObjectType('ClientSecret', { description: 'The secret is shown once.', simpleResolvers: true })
export class ClientSecretType {
  @Field(() => String)
  readonly appKey!: string;
  @Field(() => String)
  readonly appSecret!: string;
}
