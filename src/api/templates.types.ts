import { GraphQLInt as Int } from 'graphql';
import { Field, InputType, ObjectType } from 'type-graphql';
import type { PublishTemplate } from '../commands/commands.ts';
import type { Channel } from '../events/event.ts';
import { ChannelEnum } from './enums.ts';

@ObjectType('Template', { simpleResolvers: true })
export class TemplateType {
  @Field(() => String)
  readonly key!: string;
  @Field(() => Int)
  readonly version!: number;
}

@InputType('PublishTemplateInput', { description: 'title, body and html are Liquid.' })
export class PublishTemplateInput {
  @Field(() => String)
  readonly key!: string;
  @Field(() => String, { nullable: true })
  readonly locale?: string | null;
  @Field(() => ChannelEnum, {
    nullable: true,
    description: 'Left out: for every channel without a variant of its own.',
  })
  readonly channel?: Channel | null;
  @Field(() => String, { nullable: true })
  readonly title?: string | null;
  @Field(() => String)
  readonly body!: string;
  @Field(() => String, { nullable: true })
  readonly html?: string | null;
}

export function toPublishTemplate(input: PublishTemplateInput): PublishTemplate {
  const { key, locale, channel, title, body, html } = input;
  return {
    key,
    locale: locale ?? null,
    channel: channel ?? null,
    title: title ?? null,
    body,
    html: html ?? null,
  };
}
